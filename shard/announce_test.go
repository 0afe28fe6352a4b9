package shard

import (
	"fmt"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"millrace/call"
)

// Followers learn at once that a lone write is committed, although Raft would tell them
// only with the next record or after an hour. Each hears of it once.
func TestFollowersLearnCommit(t *testing.T) {
	c := newTestCluster(t, "a", "b", "c")
	c.tune = func(_ string, cfg *Config) { cfg.Timing.CommitTimeout = time.Hour }
	c.startAll()
	n := c.leader()
	for i := range 3 {
		n.mustDo(t, call.Write, "APPEND", "k", fmt.Sprint(i))
		index := n.shard.gate.index.Load()
		c.eventually("every replica has applied the write", func() bool {
			for _, id := range c.ids {
				if c.nodes[id].shard.gate.index.Load() < index {
					return false
				}
			}
			return true
		})
	}
	news := n.shard.news
	c.eventually("nothing is left to announce", func() bool {
		news.mu.Lock()
		defer news.mu.Unlock()
		return !news.armed && news.at.index == n.shard.gate.index.Load()
	})
	st := n.shard.Status()
	for _, id := range c.others(n.id) {
		if st.Stored[id] != st.LastIndex {
			t.Errorf("%s has stored %d of %d", id, st.Stored[id], st.LastIndex)
		}
	}
}

// A follower that was away is told nothing before it has the records, and is told then.
func TestAnnouncementAfterAbsence(t *testing.T) {
	c := newTestCluster(t, "a", "b", "c")
	c.tune = func(_ string, cfg *Config) { cfg.Timing.CommitTimeout = time.Hour }
	c.startAll()
	n := c.leader()
	n.mustDo(t, call.Write, "APPEND", "k", "0")
	c.converge()
	away := c.nodes[c.others(n.id)[0]]
	c.net.setCut(n.id, away.id, true)
	n.mustDo(t, call.Write, "APPEND", "k", "1")
	if at := n.shard.Status().Stored[away.id]; at >= n.shard.gate.index.Load() {
		t.Fatalf("a replica that is cut off counts as having record %d", at)
	}
	c.net.setCut(n.id, away.id, false)
	n.mustDo(t, call.Write, "APPEND", "k", "2") // Raft sends the records again with the next one
	c.eventually("it has applied the write", func() bool {
		return away.shard.gate.index.Load() >= n.shard.gate.index.Load()
	})
	c.converge()
}

// toldTransport notes the announcements that are sent.
type toldTransport struct {
	testEndpoint
	told chan *raft.AppendEntriesRequest
}

func (f *toldTransport) AppendEntries(id raft.ServerID, _ raft.ServerAddress, args *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) error {
	if id != "b" {
		return fmt.Errorf("announced to %s", id)
	}
	resp.Success = true
	f.told <- args
	return nil
}

// An announcement goes only to a follower that has the record, and proves that its log
// agrees with the leader's.
func TestAnnouncement(t *testing.T) {
	cfg := Config{NodeID: "a", Limits: Limits{}.withDefaults()}
	sh := newShared(&cfg)
	far := &toldTransport{told: make(chan *raft.AppendEntriesRequest, 4)}
	news := newAnnouncer(sh)
	e, err := newEndpoint(far, newRetention(newStopwatch(), time.Second), news, nil)
	if err != nil {
		t.Fatal(err)
	}
	sh.current.Store(&instance{trans: e})
	sh.open.Store(5)
	sh.configs.set(1, raft.Configuration{Servers: []raft.Server{{ID: "a"}, {ID: "b"}, {ID: "c"}}})
	news.stored("d", 4, 9, 0) // of an earlier term
	news.stored("b", 5, 8, 6)
	news.stored("c", 5, 7, 6)
	news.stored("d", 5, 8, 6) // no replica any more
	news.stored("b", 4, 9, 9) // late
	news.applied(applied{index: 8, term: 5})
	select {
	case m := <-far.told:
		if m.Term != 5 || m.PrevLogEntry != 8 || m.PrevLogTerm != 5 || m.LeaderCommitIndex != 8 || len(m.Entries) != 0 || string(m.ID) != "a" {
			t.Errorf("%+v", m)
		}
	case <-time.After(testPatience):
		t.Fatal("nothing was announced")
	}
	news.sending.Wait()
	if f := news.followers["c"]; f.busy || f.knows != 6 {
		t.Errorf("c was told: %+v", f)
	}
	if got := fmt.Sprint(news.positions(5)); got != "map[b:8 c:7 d:8]" {
		t.Errorf("positions %s", got)
	}
	if got := news.positions(6); len(got) != 0 {
		t.Errorf("positions of a later term: %v", got)
	}

	// Nothing is announced while a record is under way, or in another term.
	sh.inflight.add(&proposal{seq: 1})
	news.stored("b", 5, 9, 8)
	news.applied(applied{index: 9, term: 5})
	waitFor(t, "the timer has run", func() bool { news.mu.Lock(); defer news.mu.Unlock(); return !news.armed })
	sh.inflight.take(sh.inflight.origin, 1)
	sh.open.Store(6)
	news.announce()
	if n := len(far.told); n != 0 {
		t.Errorf("%d announcements too many", n)
	}
}

package placement

import (
	"fmt"
	"sync"
	"testing"
	"time"
)

// leaderSteps are calls of Learn and Forget for one shard, in order.
var leaderSteps = []struct {
	call string // learn or forget
	node string
	term uint64
	news bool
	want string // node and term after the call
}{
	{"forget", "", 9, false, " 0"},
	{"learn", "", 0, false, " 0"},
	{"learn", "a", 2, true, "a 2"},
	{"learn", "a", 2, false, "a 2"},
	{"learn", "", 2, false, "a 2"},  // an unknown leader does not replace a known one
	{"learn", "b", 2, false, "a 2"}, // a term has one leader
	{"learn", "b", 1, false, "a 2"},
	{"forget", "", 1, false, "a 2"}, // the failure of an earlier leader does not concern the present one
	{"forget", "", 2, true, " 2"},
	{"forget", "", 2, false, " 2"},
	{"learn", "b", 1, false, " 2"}, // an old hint is refused even if no leader is known
	{"learn", "a", 2, true, "a 2"},
	{"learn", "", 3, true, " 3"}, // an election is under way
	{"learn", "a", 2, false, " 3"},
	{"learn", "b", 3, true, "b 3"},
	{"forget", "", 7, true, " 3"},
	{"learn", "c", 9, true, "c 9"},
}

func TestLeaders(t *testing.T) {
	l := NewLeaders()
	for _, s := range leaderSteps {
		_, _, changed := l.Watch(4)
		var news bool
		if s.call == "learn" {
			news = l.Learn(4, s.node, s.term)
		} else {
			news = l.Forget(4, s.term)
		}
		node, term := l.Get(4)
		if got := fmt.Sprint(node, " ", term); got != s.want || news != s.news {
			t.Fatalf("%+v: %s, news %v", s, got, news)
		}
		select {
		case <-changed:
			if !news {
				t.Fatalf("%+v: woken for nothing", s)
			}
		default:
			if news {
				t.Fatalf("%+v: not woken", s)
			}
		}
	}
	if node, term := l.Get(5); node != "" || term != 0 {
		t.Errorf("another shard: %s %d", node, term)
	}
	for _, shard := range []uint32{MaxShards + 1, 1<<32 - 1} {
		if l.Learn(shard, "a", 1) || l.Forget(shard, 1) {
			t.Errorf("shard %d: learnt", shard)
		}
		if node, _, changed := l.Watch(shard); node != "" || changed != nil {
			t.Errorf("shard %d: %s", shard, node)
		}
	}
	if !l.Learn(MaxShards, "a", 1) || !l.Learn(MetaShard, "a", 1) {
		t.Error("the first or the last shard is unknown")
	}
}

// TestLeadersWakeAll shows that every waiting goroutine is woken by every change.
func TestLeadersWakeAll(t *testing.T) {
	l := NewLeaders()
	const last = 200
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			var seen uint64
			for seen < last {
				_, term, changed := l.Watch(1)
				if term < seen {
					t.Errorf("term %d after %d", term, seen)
					return
				}
				if seen = term; seen == last {
					return
				}
				select {
				case <-changed:
				case <-time.After(10 * time.Second):
					t.Error("not woken")
					return
				}
			}
		})
	}
	for w := range 4 {
		wg.Go(func() {
			for term := uint64(w); term <= last; term++ {
				l.Learn(1, fmt.Sprint("n", w), term)
				l.Forget(1, term)
			}
		})
	}
	wg.Wait()
}

package router

import (
	"bufio"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"millrace/resp"
)

// given is a set of entries: a key and an ID each.
type given map[string]bool

// consumer is one consumer of TestGroupOverAllShards while its connection lasts.
type consumer struct {
	name string
	line string // the call that it repeats
	id   string // of its client
	nc   net.Conn
	got  given // entries in its replies
	cut  bool  // the connection ended under a call
}

// The sizes of TestGroupOverAllShards.
const (
	groupShards, groupStreams = 5, 50
	groupEntries              = 600
	groupAtOnce               = 10 // consumers at any moment
)

// groupRun is a run of TestGroupOverAllShards.
type groupRun struct {
	t          *testing.T
	g          *rig
	w, control *client
	keys       []string
	want       given // all entries that were added

	stop chan struct{}
	wg   sync.WaitGroup // the consumers

	mu      sync.Mutex
	current [groupAtOnce]*consumer // guarded by mu
	past    []*consumer            // guarded by mu
}

// TestGroupOverAllShards has consumers of one group read 50 streams on all shards, blocked
// or not, while leaders move, calls are unblocked and connections end at random. Every entry
// is delivered once. The pending entries of a consumer are those of its replies and, when its
// connection ended under a call, those of that call. So no entry goes to a call that has
// returned, and none is lost with a call that has not.
func TestGroupOverAllShards(t *testing.T) {
	g := newRig(t, groupShards, nil)
	r := &groupRun{t: t, g: g, w: g.dial(), control: g.dial(), want: given{}, stop: make(chan struct{})}
	for i := range groupStreams {
		key := g.cl.key(i%groupShards, i/groupShards)
		r.keys = append(r.keys, key)
		r.w.want("XGROUP CREATE "+key+" g 0 MKSTREAM", "+OK")
	}
	r.startConsumers()
	cuts := r.addEntries()
	eventually(t, "all entries are delivered", func() bool { _, n := r.pending(); return n >= len(r.want) })
	r.stopConsumers()
	lost := r.checkOwners()
	t.Logf("%d consumers, %d connections ended, %d entries given to calls without a reply", len(r.past), cuts, lost)
	r.claimAll()
}

// reads returns the arguments of the calls that consumers make. The short times often end
// at the moment when an entry comes.
func (r *groupRun) reads() []string {
	all := "STREAMS " + strings.Join(r.keys, " ") + strings.Repeat(" >", groupStreams)
	var ofOne []string // the streams of one shard
	for i := 0; i < groupStreams; i += groupShards {
		ofOne = append(ofOne, r.keys[i])
	}
	one := "STREAMS " + strings.Join(ofOne, " ") + strings.Repeat(" >", len(ofOne))
	return []string{"BLOCK 0 " + all, "BLOCK 3 " + all, all, "BLOCK 0 " + one, "BLOCK 3 " + one}
}

// startConsumers starts consumers that read until stop is closed. A consumer whose
// connection is ended is followed by another.
func (r *groupRun) startConsumers() {
	reads := r.reads()
	for n := range groupAtOnce {
		r.wg.Go(func() {
			for life := 0; ; life++ {
				c := &consumer{name: fmt.Sprintf("c%d-%d", n, life), got: given{}}
				c.line = fmt.Sprintf("XREADGROUP GROUP g %s COUNT 2 %s", c.name, reads[n%len(reads)])
				if err := c.join(r.g); err != nil {
					r.t.Errorf("consumer %s: %v", c.name, err)
					return
				}
				r.mu.Lock()
				r.current[n] = c
				r.past = append(r.past, c)
				r.mu.Unlock()
				err := c.consume(r.stop)
				c.nc.Close()
				switch {
				case err != nil:
					r.t.Errorf("consumer %s: %v", c.name, err)
					return
				case !c.cut:
					return // it was stopped between two calls
				}
			}
		})
	}
}

// addEntries adds all entries in bursts, and before each burst ends a connection, unblocks
// a call or moves a leader. It returns how many connections it ended.
func (r *groupRun) addEntries() (cuts int) {
	rng := rand.New(rand.NewPCG(3, 50))
	for added := 0; added < groupEntries; {
		burst := min(1+rng.IntN(8), groupEntries-added)
		var to, lines []string
		for range burst {
			key := r.keys[rng.IntN(groupStreams)]
			to = append(to, key)
			lines = append(lines, fmt.Sprintf("XADD %s * n %d", key, added))
			added++
		}
		cut, unblocks := r.disturb(rng)
		if cut {
			cuts++
		}
		r.w.send(lines...)
		if unblocks {
			r.control.recv()
		}
		for _, key := range to {
			v, err := r.w.read()
			if err != nil || v.Kind != resp.KindBulk {
				r.t.Fatalf("XADD %s: %s, %v", key, show(v), err)
			}
			r.want[key+" "+string(v.Str)] = true
		}
	}
	if cuts == 0 {
		r.t.Fatal("no connection was ended")
	}
	return cuts
}

// disturb ends a consumer's connection, unblocks its call, or moves a leader. For a call that
// is unblocked, the caller reads the reply to CLIENT UNBLOCK.
func (r *groupRun) disturb(rng *rand.Rand) (cut, unblocks bool) {
	r.mu.Lock()
	victim := r.current[rng.IntN(groupAtOnce)]
	r.mu.Unlock()
	switch choice := rng.IntN(7); {
	case choice < 2 && victim != nil:
		victim.nc.Close()
		return true, false
	case choice < 4 && victim != nil:
		r.control.send("CLIENT UNBLOCK " + victim.id)
		return false, true
	case choice < 6:
		shard := rng.IntN(groupShards)
		if choice == 5 {
			r.g.cl.move(shard, -1)
			runtime.Gosched()
		}
		r.g.cl.move(shard, rng.IntN(3))
	}
	return false, false
}

// pending returns the pending entries of each consumer, and their number. Nothing is
// acknowledged, so all entries are pending once all are delivered.
func (r *groupRun) pending() (owned map[string]given, n int) {
	owned = make(map[string]given)
	for _, key := range r.keys {
		r.w.send(fmt.Sprintf("XPENDING %s g - + %d", key, 2*groupEntries))
		v, err := r.w.read()
		if err != nil || v.Kind != resp.KindArray {
			r.t.Fatalf("XPENDING %s: %s, %v", key, show(v), err)
		}
		for _, e := range v.Elems {
			id, name := string(e.Elems[0].Str), string(e.Elems[1].Str)
			if owned[name] == nil {
				owned[name] = given{}
			}
			owned[name][key+" "+id] = true
			if e.Elems[3].Int != 1 {
				r.t.Errorf("entry %s of %s was delivered %d times", id, key, e.Elems[3].Int)
			}
			n++
		}
	}
	return owned, n
}

// stopConsumers ends all consumers, and waits until no shard keeps a call of theirs.
func (r *groupRun) stopConsumers() {
	close(r.stop)
	stopped := make(chan struct{})
	go func() { r.wg.Wait(); close(stopped) }()
	eventually(r.t, "all consumers stop", func() bool {
		r.mu.Lock()
		current := r.current
		r.mu.Unlock()
		for _, c := range current {
			if c != nil {
				r.control.do("CLIENT UNBLOCK " + c.id)
			}
		}
		select {
		case <-stopped:
			return true
		default:
			return false
		}
	})
	eventually(r.t, "the connections are forgotten", func() bool { return len(r.g.r.clients()) == 2 })
	for i := range groupShards {
		r.g.blocked(i, 0)
	}
}

// checkOwners compares the pending entries of each consumer with its replies and with its
// history over all shards. It returns how many entries were given to calls without a reply.
func (r *groupRun) checkOwners() (lost int) {
	owned, _ := r.pending()
	total := given{}
	for _, c := range r.past {
		has := owned[c.name]
		for e := range c.got {
			if !has[e] {
				r.t.Errorf("%s got %s, which is not pending for it", c.name, e)
			}
		}
		for e := range has {
			if c.got[e] {
				continue
			}
			lost++
			if !c.cut {
				r.t.Errorf("%s was given %s, which is in none of its replies", c.name, e)
			}
		}
		history := r.history(c)
		if !maps.Equal(history, has) {
			r.t.Errorf("history of %s: got %v, want %v", c.name, history.sorted(), has.sorted())
		}
		maps.Copy(total, history)
	}
	if !maps.Equal(total, r.want) {
		r.t.Errorf("the consumers were given %d entries, not the %d that were added", len(total), len(r.want))
	}
	return lost
}

// history returns the entries that XREADGROUP with the ID 0 answers a consumer.
func (r *groupRun) history(c *consumer) given {
	r.w.send(fmt.Sprintf("XREADGROUP GROUP g %s STREAMS %s%s", c.name, strings.Join(r.keys, " "), strings.Repeat(" 0", groupStreams)))
	v, err := r.w.read()
	if err != nil || v.IsErr() {
		r.t.Fatalf("history of %s: %s, %v", c.name, show(v), err)
	}
	history := given{}
	history.add(v)
	return history
}

// claimAll checks that another consumer can take every entry.
func (r *groupRun) claimAll() {
	claimed := given{}
	for _, key := range r.keys {
		r.w.send(fmt.Sprintf("XAUTOCLAIM %s g other 0 0 COUNT %d JUSTID", key, groupEntries))
		v, err := r.w.read()
		if err != nil || v.Kind != resp.KindArray {
			r.t.Fatalf("XAUTOCLAIM %s: %s, %v", key, show(v), err)
		}
		for _, id := range v.Elems[1].Elems {
			claimed[key+" "+string(id.Str)] = true
		}
	}
	if !maps.Equal(claimed, r.want) {
		r.t.Errorf("XAUTOCLAIM took %d entries, not the %d that were added", len(claimed), len(r.want))
	}
}

// join connects c and learns its client's ID.
func (c *consumer) join(g *rig) error {
	nc, err := net.Dial("tcp", g.r.Addr().String())
	if err != nil {
		return err
	}
	v, err := ask(nc, resp.NewValueReader(bufio.NewReader(nc), 1<<20), "CLIENT ID")
	c.id, c.nc = fmt.Sprint(v.Int), nc
	return err
}

// consume repeats the call of c. It returns nil between two calls once stop is closed, or with
// c.cut set once the connection has ended. It returns an error when a reply is wrong.
func (c *consumer) consume(stop <-chan struct{}) error {
	vr := resp.NewValueReader(bufio.NewReader(c.nc), 1<<20)
	for {
		select {
		case <-stop:
			return nil
		default:
		}
		v, err := ask(c.nc, vr, c.line)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return err
		}
		if err != nil {
			c.cut = true
			return nil
		}
		if v.IsErr() {
			return fmt.Errorf("the reply is %s", show(v))
		}
		if twice := c.got.add(v); twice != "" {
			return fmt.Errorf("%s came twice", twice)
		}
		if v.Kind == resp.KindNullArray {
			time.Sleep(time.Millisecond) // otherwise the consumers that do not block would keep the processor busy
		}
	}
}

// ask sends one command and reads its reply.
func ask(nc net.Conn, vr *resp.ValueReader, line string) (resp.Value, error) {
	nc.SetDeadline(time.Now().Add(patience))
	if _, err := nc.Write(resp.AppendCommand(nil, argvOf(line)...)); err != nil {
		return resp.Value{}, err
	}
	return vr.ReadValue()
}

// add adds the entries of a reply to XREADGROUP. It returns one that s had before, if any.
func (s given) add(v resp.Value) (twice string) {
	for _, stream := range v.Elems {
		for _, entry := range stream.Elems[1].Elems {
			e := string(stream.Elems[0].Str) + " " + string(entry.Elems[0].Str)
			if s[e] {
				twice = e
			}
			s[e] = true
		}
	}
	return twice
}

func (s given) sorted() []string { return slices.Sorted(maps.Keys(s)) }

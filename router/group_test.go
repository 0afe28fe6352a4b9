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

// consumer is one consumer of the test below for as long as its connection lasts.
type consumer struct {
	name string
	line string // its call, again and again
	id   string // of the client
	nc   net.Conn
	got  given // what replies brought it
	cut  bool  // the connection ended under a call
}

// Consumers of one group read 50 streams on all shards, blocked or not, while leaders
// move, their calls are unblocked and their connections end at random. Every entry is
// delivered once. What a consumer has pending is what its replies brought it, and, when
// its connection ended under a call, what that call was given: so nothing goes to a
// call that has returned, and nothing is lost with one that has not.
func TestGroupOverAllShards(t *testing.T) {
	const shards, streams, entries, atOnce = 5, 50, 600, 10
	g := newRig(t, shards, nil)
	w, control := g.dial(), g.dial()
	keys := make([]string, streams)
	for i := range keys {
		keys[i] = g.cl.key(i%shards, i/shards)
		w.want("XGROUP CREATE "+keys[i]+" g 0 MKSTREAM", "+OK")
	}
	all := "STREAMS " + strings.Join(keys, " ") + strings.Repeat(" >", streams)
	var ofOne []string
	for i := 0; i < streams; i += shards {
		ofOne = append(ofOne, keys[i])
	}
	one := "STREAMS " + strings.Join(ofOne, " ") + strings.Repeat(" >", len(ofOne))
	reads := []string{ // the short times often end just when there is something
		"BLOCK 0 " + all, "BLOCK 3 " + all, all,
		"BLOCK 0 " + one, "BLOCK 3 " + one,
	}

	var (
		mu      sync.Mutex
		current [atOnce]*consumer // guarded by mu
		past    []*consumer       // likewise
		stop    = make(chan struct{})
		wg      sync.WaitGroup
	)
	for n := range atOnce {
		wg.Go(func() {
			for life := 0; ; life++ {
				c := &consumer{name: fmt.Sprintf("c%d-%d", n, life), got: given{}}
				c.line = fmt.Sprintf("XREADGROUP GROUP g %s COUNT 2 %s", c.name, reads[n%len(reads)])
				err := c.join(g)
				if err != nil {
					t.Errorf("consumer %s: %v", c.name, err)
					return
				}
				mu.Lock()
				current[n] = c
				past = append(past, c)
				mu.Unlock()
				err = c.consume(stop)
				c.nc.Close()
				switch {
				case err != nil:
					t.Errorf("consumer %s: %v", c.name, err)
					return
				case !c.cut:
					return // it was stopped between two calls
				}
			}
		})
	}

	rng := rand.New(rand.NewPCG(3, 50))
	want, cuts := given{}, 0
	for added := 0; added < entries; {
		burst := min(1+rng.IntN(8), entries-added)
		var to, lines []string
		for range burst {
			key := keys[rng.IntN(streams)]
			to = append(to, key)
			lines = append(lines, fmt.Sprintf("XADD %s * n %d", key, added))
			added++
		}
		mu.Lock()
		victim := current[rng.IntN(atOnce)]
		mu.Unlock()
		unblocks := false
		switch what := rng.IntN(7); {
		case what < 2 && victim != nil:
			victim.nc.Close()
			cuts++
		case what < 4 && victim != nil:
			control.send("CLIENT UNBLOCK " + victim.id)
			unblocks = true
		case what < 6:
			shard := rng.IntN(shards)
			if what == 5 {
				g.cl.move(shard, -1)
				runtime.Gosched()
			}
			g.cl.move(shard, rng.IntN(3))
		}
		w.send(lines...)
		if unblocks {
			control.recv()
		}
		for _, key := range to {
			v, err := w.read()
			if err != nil || v.Kind != resp.KindBulk {
				t.Fatalf("XADD %s: %s, %v", key, show(v), err)
			}
			want[key+" "+string(v.Str)] = true
		}
	}
	if cuts == 0 {
		t.Fatal("no connection was ended")
	}

	// Nothing is acknowledged, so all entries are pending once all are delivered.
	pending := func() (owned map[string]given, n int) {
		owned = make(map[string]given)
		for _, key := range keys {
			w.send(fmt.Sprintf("XPENDING %s g - + %d", key, 2*entries))
			v, err := w.read()
			if err != nil || v.Kind != resp.KindArray {
				t.Fatalf("XPENDING %s: %s, %v", key, show(v), err)
			}
			for _, e := range v.Elems {
				id, name := string(e.Elems[0].Str), string(e.Elems[1].Str)
				if owned[name] == nil {
					owned[name] = given{}
				}
				owned[name][key+" "+id] = true
				if e.Elems[3].Int != 1 {
					t.Errorf("entry %s of %s was delivered %d times", id, key, e.Elems[3].Int)
				}
				n++
			}
		}
		return owned, n
	}
	eventually(t, "all entries are delivered", func() bool { _, n := pending(); return n >= len(want) })
	close(stop)
	unblocked := make(chan struct{})
	go func() { wg.Wait(); close(unblocked) }()
	eventually(t, "all consumers stop", func() bool {
		mu.Lock()
		waiting := current
		mu.Unlock()
		for _, c := range waiting {
			if c != nil {
				control.do("CLIENT UNBLOCK " + c.id)
			}
		}
		select {
		case <-unblocked:
			return true
		default:
			return false
		}
	})
	eventually(t, "the connections are forgotten", func() bool { return len(g.r.clients()) == 2 })
	for i := range shards {
		g.blocked(i, 0)
	}

	owned, _ := pending()
	total, lost := given{}, 0
	for _, c := range past {
		has := owned[c.name]
		for e := range c.got {
			if !has[e] {
				t.Errorf("%s got %s, which is not pending for it", c.name, e)
			}
		}
		for e := range has {
			if c.got[e] {
				continue
			}
			lost++
			if !c.cut {
				t.Errorf("%s was given %s, which no reply brought it", c.name, e)
			}
		}
		// All that it was given is in its history, over all shards.
		line := fmt.Sprintf("XREADGROUP GROUP g %s STREAMS %s%s", c.name, strings.Join(keys, " "), strings.Repeat(" 0", streams))
		w.send(line)
		v, err := w.read()
		if err != nil || v.IsErr() {
			t.Fatalf("history of %s: %s, %v", c.name, show(v), err)
		}
		history := given{}
		history.add(v)
		if !maps.Equal(history, has) {
			t.Errorf("history of %s: got %v, want %v", c.name, history.sorted(), has.sorted())
		}
		maps.Copy(total, history)
	}
	if !maps.Equal(total, want) {
		t.Errorf("the consumers were given %d entries, not the %d that were added", len(total), len(want))
	}
	t.Logf("%d consumers, %d connections ended, %d entries given to calls without a reply", len(past), cuts, lost)

	// And another consumer can take it all.
	claimed := given{}
	for _, key := range keys {
		w.send(fmt.Sprintf("XAUTOCLAIM %s g other 0 0 COUNT %d JUSTID", key, entries))
		v, err := w.read()
		if err != nil || v.Kind != resp.KindArray {
			t.Fatalf("XAUTOCLAIM %s: %s, %v", key, show(v), err)
		}
		for _, id := range v.Elems[1].Elems {
			claimed[key+" "+string(id.Str)] = true
		}
	}
	if !maps.Equal(claimed, want) {
		t.Errorf("XAUTOCLAIM took %d entries, not the %d that were added", len(claimed), len(want))
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

// consume calls until stop is closed, and returns between two calls then; until the
// connection ends, which it notes; or until a reply is wrong.
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
			time.Sleep(time.Millisecond) // or those that do not block keep all others from the processor
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

// add adds the entries of a reply of XREADGROUP, and returns one that was there.
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

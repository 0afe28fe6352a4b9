package shard

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"millrace/call"
	"millrace/kv"
	"millrace/stream"
)

// TestWatchContended lets several clients count up one value. Each step is a read and an
// EXEC that runs only if nobody else has changed the value in between, while the
// leadership moves. All acknowledged steps are in the value, and no two of them are the
// same.
func TestWatchContended(t *testing.T) {
	c := newTestCluster(t, "a", "b", "c")
	c.tune = func(_ string, cfg *Config) { cfg.Machine = streamMachine{stream.NewState(cfg.FirstSlot, cfg.LastSlot)} }
	c.startAll()
	key := keyBelow(99)
	c.leader()

	var steps watchedSteps
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if err := steps.step(c, key); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for i := range 3 {
		c.eventually("steps are made, and some are lost to others", func() bool {
			return steps.acked.Load() >= int64(20*(i+1)) && steps.lost.Load() > int64(i)
		})
		n := c.leader()
		if err := n.shard.Transfer(background(t), c.others(n.id)[0]); err != nil {
			t.Logf("transfer: %v", err) // the leadership may have moved by itself
		}
	}
	close(stop)
	wg.Wait()
	reply := c.leader().mustDo(t, call.Read, "GET", key)
	got, err := strconv.ParseInt(strings.Split(reply, "\r\n")[1], 10, 64)
	acked, unknown := steps.acked.Load(), steps.unknown.Load()
	if err != nil || got < acked || got > acked+unknown {
		t.Errorf("the value is %q after %d steps, %d of unknown fate", reply, acked, unknown)
	}
	c.converge()
}

// watchedSteps counts the steps of TestWatchContended by their outcome.
type watchedSteps struct {
	acked, unknown atomic.Int64
	lost           atomic.Int64 // another client had changed the value
}

// step counts the value at key up by one, if no other client changes it meanwhile. It
// returns an error for an answer that makes no sense.
func (s *watchedSteps) step(c *testCluster, key string) error {
	n := c.leaderNow()
	number, err := n.do(c.t, call.Read, "_MODIFIED", key)
	value, err2 := n.do(c.t, call.Read, "GET", key)
	if err != nil || err2 != nil {
		return nil // refused: the leadership moves
	}
	next := 1
	if lines := strings.Split(value, "\r\n"); len(lines) > 2 {
		v, err := strconv.Atoi(lines[1])
		if err != nil {
			return fmt.Errorf("GET answers %q", value)
		}
		next = v + 1
	}
	number = strings.TrimPrefix(strings.Split(number, "\r\n")[1], ":")
	w, done := newCall(call.Write, n.shard.lead.leads(), "_WATCHED", key, number)
	w.Cmds = append(w.Cmds, words("SET", key, strconv.Itoa(next)))
	w.Multi = true
	n.shard.Submit(w)
	switch reply, err := await(c.t, done); {
	case errors.Is(err, call.ErrInDoubt):
		s.unknown.Add(1)
	case err != nil: // refused
	case reply == "*2\r\n+OK\r\n+OK\r\n":
		s.acked.Add(1)
	case reply == "*2\r\n$-1\r\n$-1\r\n":
		s.lost.Add(1)
	default:
		return fmt.Errorf("EXEC answers %q", reply)
	}
	return nil
}

// TestFlushWakes removes all names of a shard while a call is blocked on one of them.
func TestFlushWakes(t *testing.T) {
	c := newTestCluster(t, "a", "b", "c")
	c.tune = func(_ string, cfg *Config) { cfg.Machine = streamMachine{stream.NewState(cfg.FirstSlot, cfg.LastSlot)} }
	c.startAll()
	n := c.leader()
	key := keyBelow(99)
	n.mustDo(t, call.Write, "XGROUP", "CREATE", key, "g", "$", "MKSTREAM")
	b, done := newCall(call.Block, n.shard.lead.leads(), "XREADGROUP", "GROUP", "g", "c", "BLOCK", "0", "STREAMS", key, ">")
	n.shard.Submit(b)
	c.eventually("the call is kept", func() bool { return n.shard.waits.count.Load() == 1 })
	n.mustDo(t, call.Write, "_FLUSH")
	want := "-NOGROUP No such key '" + key + "' or consumer group 'g' in XREADGROUP with GROUP option\r\n"
	if reply, err := await(t, done); err != nil || reply != want {
		t.Errorf("the blocked call is answered %q, %v", reply, err)
	}
	if got := n.mustDo(t, call.Read, "_DBSIZE"); got != ":0\r\n" {
		t.Errorf("_DBSIZE answers %q", got)
	}
	c.converge()
}

// keyBelow returns a key of one of the slots 0 to last.
func keyBelow(last uint16) string {
	for i := 0; ; i++ {
		if key := fmt.Sprint("k", i); kv.Slot([]byte(key)) <= last {
			return key
		}
	}
}

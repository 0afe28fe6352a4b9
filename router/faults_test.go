package router

import (
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"millrace/call"
)

// Each kind of failure has its reply, and decides whether the router sends the call again.
func TestErrorClasses(t *testing.T) {
	for _, tc := range []struct {
		name    string
		err     error
		command string
		want    string
		once    bool // the call must not be repeated
	}{
		{"in doubt write", call.ErrInDoubt, "XADD s * a b", "-" + textInDoubt, true},
		{"in doubt read", call.ErrInDoubt, "XLEN s", "-" + textNoLeader, false},
		{"overloaded", call.ErrOverloaded, "XADD s * a b", "-" + textOverloaded, false},
		{"no space", call.ErrNoSpace, "XADD s * a b", "-" + textNoSpace, false},
		{"timeout", call.ErrTimeout, "XADD s * a b", "-" + textTimeout, false},
		{"too large", call.ErrTooLarge, "XADD s * a b", "-" + textTooLarge, true},
		{"not sent", call.ErrNotSent, "XADD s * a b", "-" + textNoLeader, false},
		{"no shard", call.ErrNoShard, "XLEN s", "-" + textNoLeader, false},
		{"stopping", call.ErrStopping, "XADD s * a b", "-" + textNoLeader, false},
		{"no leader", &call.NotLeader{}, "XADD s * a b", "-" + textNoLeader, false},
		{"in doubt exec", call.ErrInDoubt, "EXEC", "-" + textInDoubt, true},
		{"in doubt del", call.ErrInDoubt, "DEL s", "-" + textInDoubt, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			g := newRig(t, 1, func(c *Config) { c.Limits.Patience = 300 * time.Millisecond })
			var calls atomic.Int32
			g.cl.setFault(func(string, *call.Call) fault {
				calls.Add(1)
				return fault{err: tc.err}
			})
			c := g.dial()
			if tc.command == "EXEC" {
				c.want("MULTI", "+OK")
				c.want("XADD s * a b", "+QUEUED")
				c.want("PING", "+QUEUED")
			}
			c.want(tc.command, tc.want)
			if n := calls.Load(); tc.once != (n == 1) {
				t.Errorf("the call was sent %d times", n)
			}
			g.cl.setFault(nil)
			c.want("XLEN s", ":0") // the lane works again
		})
	}
}

// A lone command waits until there is a leader.
func TestWaitsForLeader(t *testing.T) {
	g := newRig(t, 1, nil)
	c := g.dial()
	c.want("XLEN s", ":0")
	g.cl.move(0, -1)
	c.send("XADD s 1-1 a b")
	eventually(t, "the router looks for a leader", func() bool {
		s := g.r.seeker(1)
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.running
	})
	g.cl.move(0, 2)
	if got := c.recv(); got != `"1-1"` {
		t.Errorf("got %s", got)
	}
}

// Of a pipeline of six commands, the shard refuses 2, 3, 5 and 6. The router sends 5 and 6
// again, because no later command was accepted. 2 and 3 would now come after 4, so they fail.
func TestOvertaken(t *testing.T) {
	g := newRig(t, 1, nil)
	c := g.dial()
	c.want("XLEN s", ":0")
	var n atomic.Int32
	g.cl.setFault(func(_ string, c *call.Call) fault {
		switch n.Add(1) {
		case 2:
			return fault{err: call.ErrOverloaded}
		case 3:
			return fault{err: call.ErrNotSent}
		case 5, 6:
			return fault{err: call.ErrOverloaded}
		}
		return fault{}
	})
	g.cl.hold(0, true)
	c.send("XADD s * n 1", "XADD s * n 2", "XADD s * n 3", "XADD s * n 4", "XADD s * n 5", "XADD s * n 6")
	eventually(t, "all were sent", func() bool {
		box := g.cl.boxes[g.cl.nodes[0]]
		box.mu.Lock()
		defer box.mu.Unlock()
		return len(box.calls) == 6
	})
	g.cl.hold(0, false)
	for i, want := range []string{`"`, "-" + textOverloaded, "-" + textOvertaken, `"`, `"`, `"`} {
		if got := c.recv(); !strings.HasPrefix(got, want) {
			t.Errorf("reply %d: got %s, want %s", i+1, got, want)
		}
	}
	want := "XADD s * n 1|XADD s * n 4|XADD s * n 5|XADD s * n 6"
	if got := strings.Join(g.cl.applied(0), "|"); got != want {
		t.Errorf("applied %s, want %s", got, want)
	}
}

// A write that is never answered is in doubt, and such a read times out. The connection lives on.
func TestSilence(t *testing.T) {
	g := newRig(t, 1, func(c *Config) {
		c.Limits.Patience = 100 * time.Millisecond
		c.Limits.Answer = 100 * time.Millisecond
	})
	c := g.dial()
	c.want("XLEN s", ":0")
	g.cl.setFault(func(string, *call.Call) fault { return fault{silent: true} })
	c.want("XADD s * a b", "-"+textInDoubt)
	c.want("XLEN s", "-"+textTimeout)
	g.cl.setFault(nil)
	c.want("XADD s 1-1 a b", `"1-1"`)
}

// Connections that look for the leader of the same shard share one search, so the number of
// questions to replicas does not grow with them.
func TestSeekersAreShared(t *testing.T) {
	g := newRig(t, 1, func(c *Config) { c.Limits.Patience = 300 * time.Millisecond })
	g.cl.move(0, -1)
	const n = 50
	var cs []*client
	for range n {
		c := g.dial()
		c.send("XLEN s")
		cs = append(cs, c)
	}
	for _, c := range cs {
		if got := c.recv(); got != "-"+textNoLeader {
			t.Errorf("got %s", got)
		}
	}
	g.r.seekMu.Lock()
	defer g.r.seekMu.Unlock()
	if asked := g.r.seekers[1].next; asked > 100 {
		t.Errorf("%d questions for %d connections in %v", asked, n, 300*time.Millisecond)
	}
}

package shard

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"millrace/call"
	"millrace/kv"
	"millrace/stream"
)

// withStreams makes replicas run the state machine of streams.
func withStreams(_ string, cfg *Config) {
	cfg.Machine = streamMachine{stream.NewState(cfg.FirstSlot, cfg.LastSlot)}
}

// streamNames returns n names in the slots of the test shard.
func streamNames(n int) []string {
	var out []string
	for i := 0; len(out) < n; i++ {
		if name := fmt.Sprint("name", i); kv.Slot([]byte(name)) <= 99 {
			out = append(out, name)
		}
	}
	return out
}

// keys returns the number of names that a replica has, expired or not.
func (n *testNode) keys(t testing.TB) string {
	t.Helper()
	return n.mustDo(t, call.ReadStale, "_DBSIZE")
}

// write runs a command on the leader among some nodes until it is done. The command may
// run twice.
func (c *testCluster) write(among []string, argv ...string) string {
	c.t.Helper()
	var reply string
	c.eventually(fmt.Sprint(argv, " is done"), func() (ok bool) {
		var err error
		reply, err = c.leader(among...).do(c.t, call.Write, argv...)
		return err == nil
	})
	return reply
}

// Expired names that no command asks for are removed on all replicas, by a record of the
// leader and not before. A call that is blocked on one hears of it.
func TestExpiryWithoutAsking(t *testing.T) {
	c := newTestCluster(t, "a", "b", "c")
	c.tune = func(id string, cfg *Config) {
		withStreams(id, cfg)
		cfg.Timing.Heartbeat = 2 * time.Second // long, because blocked calls end with their term
	}
	c.startAll()
	n := c.leader()
	names := streamNames(3)
	key, other, str := names[0], names[1], names[2]
	n.mustDo(t, call.Write, "XGROUP", "CREATE", key, "g", "0", "MKSTREAM")
	n.mustDo(t, call.Write, "XGROUP", "CREATECONSUMER", key, "g", "c")
	n.mustDo(t, call.Write, "XADD", other, "1-1", "f", "v")
	n.mustDo(t, call.Write, "SET", str, "v", "PX", "5000")
	n.mustDo(t, call.Write, "PEXPIRE", key, "5000")
	_, group := n.block(0, "XREADGROUP", "GROUP", "g", "c", "BLOCK", "0", "STREAMS", key, ">")
	_, read := n.block(0, "XREAD", "BLOCK", "0", "STREAMS", key, "0")
	n.waiting(t, 2)
	c.clock.Add(4999)
	if got := n.mustDo(t, call.Read, "EXISTS", key, str); got != ":2\r\n" {
		t.Fatalf("a moment before: %s", got)
	}
	c.converge()
	if got := n.keys(t); got != ":3\r\n" {
		t.Fatalf("a moment before there are %s", got)
	}
	c.clock.Add(1)
	if got, err := await(t, group); err != nil || !strings.HasPrefix(got, "-NOGROUP ") {
		t.Fatalf("the blocked XREADGROUP: %q, %v", got, err)
	}
	for _, id := range c.ids {
		c.eventually("the names are gone on "+id, func() bool { return c.nodes[id].keys(t) == ":1\r\n" })
	}
	c.converge()
	// A blocked XREAD waits on, also when the name comes back with another type.
	n.mustDo(t, call.Write, "SET", key, "v")
	n.mustDo(t, call.Write, "DEL", key)
	n.waiting(t, 1)
	n.mustDo(t, call.Write, "XADD", key, "7-7", "f", "v")
	if got, err := await(t, read); err != nil || !strings.Contains(got, "7-7") {
		t.Fatalf("the blocked XREAD: %q, %v", got, err)
	}
}

// A removal that is due when the leader dies is proposed by the next leader. A removal
// that is due when a replica comes back is done there by the log alone.
func TestExpiryAcrossLeaders(t *testing.T) {
	c := newTestCluster(t, "a", "b", "c")
	c.tune = withStreams
	c.startAll()
	names := streamNames(300)
	for _, name := range names {
		c.write(c.ids, "SET", name, "v", "PX", "1000")
	}
	c.write(c.ids, "PERSIST", names[0])
	c.converge()
	first := c.leader().id
	c.net.isolate(first, c.ids, true, true)
	rest := c.others(first)
	c.leader(rest...)
	c.clock.Add(1000)
	for _, id := range rest {
		c.eventually("the names are gone on "+id, func() bool { return c.nodes[id].keys(t) == ":1\r\n" })
	}
	// The replica that does not hear from the others removes nothing, although it may
	// believe that it leads.
	if got := c.nodes[first].keys(t); got != ":300\r\n" {
		t.Fatalf("the old leader has %s", got)
	}
	if got := c.write(rest, "PEXPIRE", names[0], "500"); got != ":1\r\n" {
		t.Fatal(got)
	}
	c.net.isolate(first, c.ids, false, true)
	next := c.leader(rest...).id
	c.stop(next)
	c.clock.Add(500)
	for _, id := range c.others(next) {
		c.eventually("nothing is left on "+id, func() bool { return c.nodes[id].keys(t) == ":0\r\n" })
	}
	c.start(next)
	c.leader()
	c.converge()
	if got := c.nodes[next].keys(t); got != ":0\r\n" {
		t.Fatalf("the one that was away has %s", got)
	}
}

// Deadlines come with a snapshot: a replica that got its names in one removes them when
// it leads.
func TestExpiryAfterSnapshot(t *testing.T) {
	c := newTestCluster(t, "a", "b", "c")
	small := smallLogs(60)
	c.tune = func(id string, cfg *Config) {
		small(id, cfg)
		withStreams(id, cfg)
	}
	c.startAll()
	away := c.others(c.leader().id)[0]
	rest := c.others(away)
	c.net.isolate(away, c.ids, true, true)
	for i, name := range streamNames(100) {
		c.write(rest, "SET", name, strings.Repeat("v", 100), "PX", fmt.Sprint(1000+i))
	}
	c.truncated(c.leader(rest...).id, 20)
	c.net.isolate(away, c.ids, false, true)
	c.eventually("a snapshot is installed", func() bool { return c.nodes[away].shard.Status().SnapshotsStaged > 0 })
	c.converge()
	c.eventually("it leads", func() bool {
		now := c.leader()
		if now.id != away {
			_ = now.shard.Transfer(background(t), away) // if it fails, the next round tries again
		}
		return now.id == away
	})
	if got := c.nodes[away].keys(t); got != ":100\r\n" {
		t.Fatalf("after the snapshot there are %s", got)
	}
	c.clock.Add(1049)
	for _, id := range c.ids {
		c.eventually("half of the names are gone on "+id, func() bool { return c.nodes[id].keys(t) == ":50\r\n" })
	}
	c.clock.Add(50)
	for _, id := range c.ids {
		c.eventually("all names are gone on "+id, func() bool { return c.nodes[id].keys(t) == ":0\r\n" })
	}
	c.converge()
}

// timedMachine counts the questions for due commands, and answers as it is told.
type timedMachine struct {
	*listMachine
	mu     sync.Mutex
	asked  int
	answer func(nowMS int64) (argv [][]byte, againMS int64)
}

func (m *timedMachine) Due(_ kv.Reader, nowMS int64) ([][]byte, int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.asked++
	argv, againMS := m.answer(nowMS)
	return argv, againMS, nil
}

func (m *timedMachine) times() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.asked
}

func (m *timedMachine) tell(answer func(nowMS int64) ([][]byte, int64)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.answer = answer
}

// timedNode runs one replica of a timedMachine whose supervisor never ticks.
func timedNode(t *testing.T, answer func(nowMS int64) ([][]byte, int64)) (*testCluster, *testNode, *timedMachine) {
	t.Helper()
	c := newTestCluster(t, "a")
	m := &timedMachine{listMachine: newListMachine(0), answer: answer}
	c.tune = func(_ string, cfg *Config) {
		cfg.Machine = m
		cfg.Timing.Watch = 1 << 62
	}
	c.startAll()
	return c, c.leader(), m
}

// tick makes the shard ask the machine, and waits until everything that follows from it
// is done.
func (n *testNode) tick(t testing.TB) {
	t.Helper()
	d := n.shard.due
	d.tick(n.shard.lead.leads())
	waitFor(t, "an end of asking", func() bool { return !d.busy.Load() })
}

// A machine is asked when something was applied or its time has come, and never
// otherwise.
func TestDueAsksWhenItMust(t *testing.T) {
	c, n, m := timedNode(t, func(int64) ([][]byte, int64) { return nil, 0 })
	expect := func(when string, want int) {
		t.Helper()
		for range 3 {
			n.tick(t)
		}
		if got := m.times(); got != want {
			t.Fatalf("%s: asked %d times, not %d", when, got, want)
		}
	}
	expect("at first", 1)
	c.clock.Add(1 << 40)
	expect("nothing happened", 1)
	n.mustDo(t, call.Write, "APPEND", "k", "v")
	expect("something was applied", 2)
	at := c.clock.Load() + 100
	m.tell(func(int64) ([][]byte, int64) { return nil, at })
	n.mustDo(t, call.Write, "APPEND", "k", "v")
	expect("something more was applied", 3)
	c.clock.Store(at - 1)
	expect("before its time", 3)
	c.clock.Store(at)
	m.tell(func(int64) ([][]byte, int64) { return nil, 0 })
	expect("at its time", 4)
	expect("after its time", 4)
}

// Due commands are proposed one after the other until none is due, without another tick.
func TestDueGoesOn(t *testing.T) {
	left := 5
	_, n, m := timedNode(t, nil)
	m.tell(func(int64) ([][]byte, int64) {
		if left == 0 {
			return nil, 0
		}
		left--
		return words("APPEND", "k", "v"), 0
	})
	n.tick(t)
	if got := n.mustDo(t, call.Read, "LEN", "k"); got != ":5\r\n" {
		t.Fatalf("of five commands that were due %s were applied", got)
	}
}

// After a command was refused, or the machine panicked, the next tick asks again.
func TestDueAfterAFailure(t *testing.T) {
	_, n, m := timedNode(t, nil)
	done := false
	m.tell(func(int64) ([][]byte, int64) {
		if done {
			return nil, 0
		}
		done = true
		return words("APPEND", "k", "v"), 0
	})
	n.shard.due.tick(n.shard.lead.leads() + 1) // a term that never was
	waitFor(t, "an end of asking", func() bool { return !n.shard.due.busy.Load() })
	done = false
	n.tick(t)
	if got := n.mustDo(t, call.Read, "LEN", "k"); got != ":1\r\n" {
		t.Fatalf("after a refusal the length is %s", got)
	}
	n.mustDo(t, call.Write, "APPEND", "k", "v")
	m.tell(func(int64) ([][]byte, int64) { panic("poison") })
	n.tick(t)
	done = false
	m.tell(func(int64) ([][]byte, int64) {
		if done {
			return nil, 0
		}
		done = true
		return words("APPEND", "k", "v"), 0
	})
	n.tick(t)
	if got := n.mustDo(t, call.Read, "LEN", "k"); got != ":3\r\n" {
		t.Fatalf("after a panic the length is %s", got)
	}
}

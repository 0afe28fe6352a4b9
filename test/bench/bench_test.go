package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"millrace/kv"
	"millrace/resp"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// mustRun runs cfg to its end without progress.
func mustRun(t *testing.T, cfg Config) Report {
	t.Helper()
	rep, err := Run(context.Background(), cfg, nil)
	if err != nil {
		t.Fatal(err)
	}
	return rep
}

// TestXAdd checks the entries that a run adds, and the report's counts.
func TestXAdd(t *testing.T) {
	f := newFake(t)
	rep := mustRun(t, Config{Addrs: []string{f.addr}, Clients: 5, Depth: 7, Streams: 10, Size: 33, Count: 10_003, Name: "x"})
	if rep.Commands != 10_003 || rep.Errors != 0 || rep.Lost != 0 {
		t.Errorf("got %d commands, %d errors, %d lost; want 10003, 0, 0", rep.Commands, rep.Errors, rep.Lost)
	}
	if f.commands["XADD"] != 10_003 || len(f.streams) != 10 {
		t.Errorf("the server saw %d XADDs to %d streams", f.commands["XADD"], len(f.streams))
	}
	if f.deepest < 2 || f.deepest > 7 {
		t.Errorf("%d commands arrived together, want 2 to 7", f.deepest)
	}
	distinct := map[string]bool{}
	for i := range 10 {
		s := f.streams[fmt.Sprintf("bench-x-%d", i)]
		if n := len(s.ids); n < 900 || n > 1100 {
			t.Errorf("stream %d has %d entries, want about 1000", i, n)
		}
		for _, v := range s.values {
			if len(v) != 33 {
				t.Fatalf("a value of %d bytes", len(v))
			}
			distinct[v] = true
		}
	}
	if len(distinct) < ringRequests {
		t.Errorf("%d different values, want %d", len(distinct), ringRequests)
	}
	if l := rep.Latency; l.Samples < 10_003/7 || l.P50 <= 0 || l.P50 > l.P99 || l.P99 > l.Max {
		t.Errorf("latency %+v", l)
	}
	if want := float64(rep.Commands) / rep.Elapsed.Seconds(); rep.Rate != want || want <= 0 {
		t.Errorf("rate %v, want %v", rep.Rate, want)
	}
}

// TestDurationAndRemove bounds a run by its time, and removes its streams.
func TestDurationAndRemove(t *testing.T) {
	f := newFake(t)
	rep := mustRun(t, Config{Addrs: []string{f.addr}, Clients: 2, Depth: 1, Streams: 3, MaxLen: 5, Duration: 50 * time.Millisecond, Remove: true})
	if rep.Elapsed < 50*time.Millisecond || rep.Elapsed > 5*time.Second || rep.Commands == 0 {
		t.Errorf("%d commands in %v", rep.Commands, rep.Elapsed)
	}
	if len(f.streams) != 0 {
		t.Errorf("%d streams are left", len(f.streams))
	}
}

// TestRead runs mode read twice. The second run must use the streams of the first.
func TestRead(t *testing.T) {
	f := newFake(t)
	cfg := Config{Mode: ModeRead, Addrs: []string{f.addr}, Clients: 3, Depth: 4, Streams: 2, Prepare: 500, ReadCount: 20, Count: 2000, Name: "r"}
	rep := mustRun(t, cfg)
	if rep.Commands != 2000 || rep.Errors != 0 || rep.EntriesRead != 40_000 {
		t.Errorf("got %d commands, %d errors (%s), %d entries", rep.Commands, rep.Errors, rep.FirstError, rep.EntriesRead)
	}
	if f.commands["XADD"] != 1000 || f.commands["XRANGE"] < 900 || f.commands["XREAD"] < 900 {
		t.Errorf("the server saw %v", f.commands)
	}
	// Prepared streams are used again, but only if they have the right number of entries.
	mustRun(t, cfg)
	if f.commands["XADD"] != 1000 {
		t.Errorf("prepared streams were written again: %d XADDs", f.commands["XADD"])
	}
	cfg.Prepare = 600
	if _, err := Run(context.Background(), cfg, nil); err == nil || !strings.Contains(err.Error(), "has 500 entries") {
		t.Errorf("streams of another length: %v", err)
	}
}

// TestReadNoticesMissingEntries empties the prepared streams. Short replies are errors.
func TestReadNoticesMissingEntries(t *testing.T) {
	f := newFake(t)
	f.refuse = func(name string, n int) (resp.Value, bool) {
		if name == "XRANGE" && n == 1 { // before the first read
			for _, s := range f.streams {
				s.ids, s.values = s.ids[:0], s.values[:0]
			}
		}
		return resp.Null(), false
	}
	rep := mustRun(t, Config{Mode: ModeRead, Addrs: []string{f.addr}, Clients: 1, Depth: 2, Streams: 1, Prepare: 50, Count: 100})
	if rep.Errors != 100 || rep.Commands != 0 || rep.Codes["unexpected"] != 100 {
		t.Errorf("got %d commands, %d errors, %v", rep.Commands, rep.Errors, rep.Codes)
	}
}

// TestGroup checks that all entries are delivered and acknowledged.
func TestGroup(t *testing.T) {
	for _, c := range []struct{ clients, streams int }{{2, 1}, {6, 2}, {4, 100}} {
		t.Run(fmt.Sprint(c), func(t *testing.T) {
			f := newFake(t)
			rep := mustRun(t, Config{Mode: ModeGroup, Addrs: []string{f.addr}, Clients: c.clients, Depth: 5, Streams: c.streams, Size: 40, Count: 3000})
			g := rep.Group
			if rep.Errors != 0 || rep.Commands != 3000 || g.Delivered != 3000 || g.Acked != 3000 || g.NotDelivered != 0 {
				t.Errorf("added %d, %d errors (%s), %+v", rep.Commands, rep.Errors, rep.FirstError, g)
			}
			if g.Delivery.Samples != 3000 || g.Delivery.P50 <= 0 || g.Delivery.Max > 30*time.Second {
				t.Errorf("delivery %+v", g.Delivery)
			}
			acked := 0
			for _, s := range f.streams {
				acked += s.acked
			}
			if acked != 3000 {
				t.Errorf("the server saw %d acknowledged", acked)
			}
		})
	}
}

// TestLatencyIsOneCommandAtATime checks that mode latency ignores Clients and Depth.
func TestLatencyIsOneCommandAtATime(t *testing.T) {
	f := newFake(t)
	rep := mustRun(t, Config{Mode: ModeLatency, Addrs: []string{f.addr}, Clients: 50, Depth: 16, Count: 300, FsyncDir: t.TempDir()})
	if f.deepest != 1 || rep.Clients != 1 || rep.Latency.Samples != 300 {
		t.Errorf("%d together, %d clients, %d samples", f.deepest, rep.Clients, rep.Latency.Samples)
	}
	if rep.Fsync == nil || rep.Fsync.Samples != fsyncSamples || rep.Fsync.P50 <= 0 || rep.Fsync.P50 > rep.Fsync.P99 {
		t.Errorf("fsync %+v", rep.Fsync)
	}
	if text := rep.String(); !strings.Contains(text, "round trip of a command") || !strings.Contains(text, "fsync     p50") {
		t.Errorf("report:\n%s", text)
	}
}

// TestAddressesAreDealtOut checks that every address gets load.
func TestAddressesAreDealtOut(t *testing.T) {
	a, b := newFake(t), newFake(t)
	mustRun(t, Config{Addrs: []string{a.addr, b.addr}, Clients: 4, Depth: 2, Streams: 5, Count: 4000})
	if a.commands["XADD"] == 0 || b.commands["XADD"] == 0 {
		t.Errorf("XADDs: %d and %d", a.commands["XADD"], b.commands["XADD"])
	}
}

// TestClusterAware checks that each stream is used only at its leader.
func TestClusterAware(t *testing.T) {
	for _, mode := range []Mode{ModeXAdd, ModeRead, ModeGroup} {
		fs := []*fake{newFake(t), newFake(t), newFake(t)}
		lead(fs...)
		rep := mustRun(t, Config{Mode: mode, Addrs: []string{fs[0].addr}, ClusterAware: true, Clients: 12, Depth: 3, Streams: 40, Count: 6000, Prepare: 20})
		if rep.Commands != 6000 || rep.Errors != 0 || len(rep.Places) != 3 {
			t.Errorf("%s: %d commands, %d errors (%s), places %v", mode, rep.Commands, rep.Errors, rep.FirstError, rep.Places)
		}
		if mode == ModeGroup && (rep.Group.Delivered != 6000 || rep.Group.Acked != 6000) {
			t.Errorf("%+v", rep.Group)
		}
		streams := 0
		for i, f := range fs {
			streams += len(f.streams)
			for name := range f.streams {
				if lo, hi := 16384*i/3, 16384*(i+1)/3; int(kv.Slot([]byte(name))) < lo || int(kv.Slot([]byte(name))) >= hi {
					t.Errorf("%s: stream %s went to node %d", mode, name, i)
				}
			}
		}
		if streams != 40 {
			t.Errorf("%s: %d streams, want 40", mode, streams)
		}
	}
}

// TestClusterSlots runs with a dead address, with a server without a cluster, and with slots
// without a leader.
func TestClusterSlots(t *testing.T) {
	// An empty host in CLUSTER SLOTS stands for the host of the node that was asked.
	fs := []*fake{newFake(t), newFake(t)}
	lead(fs...)
	rep := mustRun(t, Config{Addrs: []string{"127.0.0.1:1", fs[1].addr}, ClusterAware: true, Clients: 2, Streams: 20, Count: 100})
	if rep.Commands != 100 {
		t.Errorf("with a dead address first: %+v", rep)
	}
	f := newFake(t)
	if _, err := Run(context.Background(), Config{Addrs: []string{f.addr}, ClusterAware: true, Count: 1}, nil); err == nil || !strings.Contains(err.Error(), "cluster support disabled") {
		t.Errorf("a server without a cluster: %v", err)
	}
	f.slots = resp.Array(resp.Array(resp.Int(0), resp.Int(1), resp.Array(resp.BulkString("h"), resp.Int(1))))
	if _, err := Run(context.Background(), Config{Addrs: []string{f.addr}, ClusterAware: true, Count: 1, Name: "x"}, nil); err == nil || !strings.Contains(err.Error(), "no node leads slot") {
		t.Errorf("slots without a leader: %v", err)
	}
}

// TestErrorsAreCounted checks the counts of error replies, and their text in the report.
func TestErrorsAreCounted(t *testing.T) {
	f := newFake(t)
	f.refuse = func(name string, n int) (resp.Value, bool) {
		switch {
		case n%10 == 3:
			return resp.Err("INDOUBT the outcome is unknown"), false
		case n%10 == 5:
			return resp.Err("CLUSTERDOWN no leader"), false
		}
		return resp.Null(), false
	}
	rep := mustRun(t, Config{Addrs: []string{f.addr}, Clients: 1, Depth: 16, Count: 1000})
	if rep.Commands != 800 || rep.Errors != 200 || rep.Codes["INDOUBT"] != 100 || rep.Codes["CLUSTERDOWN"] != 100 {
		t.Errorf("got %d commands, %d errors, %v", rep.Commands, rep.Errors, rep.Codes)
	}
	if rep.FirstError != "INDOUBT the outcome is unknown" {
		t.Errorf("first error %q", rep.FirstError)
	}
	if text := rep.String(); !strings.Contains(text, "errors    200 (CLUSTERDOWN 100, INDOUBT 100); first: INDOUBT the") {
		t.Errorf("report:\n%s", text)
	}
}

// TestWaitForReplicas checks that a batch counts only if enough replicas have it.
func TestWaitForReplicas(t *testing.T) {
	f := newFake(t)
	f.replicas = 1
	rep := mustRun(t, Config{Addrs: []string{f.addr}, Clients: 2, Depth: 8, Count: 800, WaitReplicas: 1})
	if rep.Commands != 800 || rep.Lost != 0 || f.commands["WAIT"] != 100 {
		t.Errorf("%d commands, %d lost, %d waits", rep.Commands, rep.Lost, f.commands["WAIT"])
	}
	rep = mustRun(t, Config{Addrs: []string{f.addr}, Clients: 2, Depth: 8, Count: 800, WaitReplicas: 2})
	if rep.Commands != 0 || rep.Lost != 800 {
		t.Errorf("with one replica of two: %d commands, %d lost", rep.Commands, rep.Lost)
	}
}

// TestBrokenConnectionsComeBack breaks connections during a run, which must go on.
func TestBrokenConnectionsComeBack(t *testing.T) {
	for _, mode := range []Mode{ModeXAdd, ModeGroup} {
		f := newFake(t)
		f.refuse = func(name string, n int) (resp.Value, bool) {
			return resp.Null(), name == "XADD" && n%500 == 250
		}
		rep := mustRun(t, Config{Mode: mode, Addrs: []string{f.addr}, Clients: 2, Depth: 8, Count: 2000, Size: 30})
		if rep.Disconnects == 0 || rep.Lost == 0 || rep.Commands+rep.Lost != 2000 || rep.FirstError == "" {
			t.Errorf("%s: %d disconnects, %d lost, %d commands, first %q", mode, rep.Disconnects, rep.Lost, rep.Commands, rep.FirstError)
		}
		if mode == ModeGroup && rep.Group.Delivered < rep.Commands {
			t.Errorf("added %d, %+v", rep.Commands, rep.Group)
		}
	}
}

// TestReplyTimeout lets one command hang. Its connection counts as lost.
func TestReplyTimeout(t *testing.T) {
	f := newFake(t)
	stuck := make(chan struct{})
	f.refuse = func(name string, n int) (resp.Value, bool) {
		if n == 100 {
			f.mu.Unlock()
			<-stuck
			f.mu.Lock()
		}
		return resp.Null(), false
	}
	rep := mustRun(t, Config{Addrs: []string{f.addr}, Clients: 1, Depth: 4, Count: 1000, ReplyTimeout: 100 * time.Millisecond})
	close(stuck)
	if rep.Disconnects != 1 || rep.Commands+rep.Lost != 1000 {
		t.Errorf("%d disconnects, %d commands, %d lost", rep.Disconnects, rep.Commands, rep.Lost)
	}
}

// TestCancel cancels a run in each mode. It must end soon, with a report.
func TestCancel(t *testing.T) {
	for _, mode := range []Mode{ModeXAdd, ModeRead, ModeGroup, ModeLatency} {
		f := newFake(t)
		ctx, cancel := context.WithCancel(context.Background())
		var seen atomic.Int64
		f.refuse = func(name string, n int) (resp.Value, bool) {
			if (name == "XADD" && mode != ModeRead || name == "XRANGE") && seen.Add(1) == 500 {
				cancel()
			}
			return resp.Null(), false
		}
		began := time.Now()
		rep, err := Run(ctx, Config{Mode: mode, Addrs: []string{f.addr}, Clients: 4, Duration: time.Hour, Prepare: 50}, nil)
		if err != nil || !rep.Interrupted || rep.Commands == 0 {
			t.Errorf("%s: %v, interrupted %v, %d commands", mode, err, rep.Interrupted, rep.Commands)
		}
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("%s: ended %v after it was canceled", mode, took)
		}
		cancel()
	}
}

// TestPassword runs with the right and with a wrong password.
func TestPassword(t *testing.T) {
	f := newFake(t)
	f.password = "secret"
	if rep := mustRun(t, Config{Addrs: []string{f.addr}, Clients: 2, Count: 100, Password: "secret"}); rep.Commands != 100 {
		t.Errorf("with the password: %+v", rep)
	}
	if _, err := Run(context.Background(), Config{Addrs: []string{f.addr}, Count: 1, Password: "no"}, nil); err == nil || !strings.Contains(err.Error(), "WRONGPASS") {
		t.Errorf("with a wrong password: %v", err)
	}
}

// TestWrongConfig checks the errors for bad fields, and for a server that is not there.
func TestWrongConfig(t *testing.T) {
	for want, cfg := range map[string]Config{
		`mode "x" is not`:     {Mode: "x", Addrs: []string{"a:1"}},
		"no address":          {},
		"clients is 20001":    {Addrs: []string{"a:1"}, Clients: 20001},
		"clients is 1,":       {Addrs: []string{"a:1"}, Mode: ModeGroup, Clients: 1},
		"depth is -1":         {Addrs: []string{"a:1"}, Depth: -1},
		"size is 10,":         {Addrs: []string{"a:1"}, Mode: ModeGroup, Size: 10},
		"too short for reads": {Addrs: []string{"a:1"}, Mode: ModeRead, Prepare: 5},
		"does not wait":       {Addrs: []string{"a:1"}, Mode: ModeRead, WaitReplicas: 1},
		"must not be neg":     {Addrs: []string{"a:1"}, Count: -1},
	} {
		if _, err := Run(context.Background(), cfg, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	f := newFake(t)
	big := Config{Addrs: []string{f.addr}, Streams: 1000, Size: 2 << 20, Count: 1}
	if _, err := Run(context.Background(), big, nil); err == nil || !strings.Contains(err.Error(), "use fewer streams") {
		t.Errorf("requests over the bound: %v", err)
	}
	addr := f.addr
	f.close()
	if _, err := Run(context.Background(), Config{Addrs: []string{addr}, Count: 1}, nil); err == nil || !strings.Contains(err.Error(), "connect") {
		t.Errorf("without a server: %v", err)
	}
}

// TestProgressAndJSON checks the calls of progress, and the JSON form of the report.
func TestProgressAndJSON(t *testing.T) {
	f := newFake(t)
	var got []Progress
	rep, err := Run(context.Background(), Config{Addrs: []string{f.addr}, Clients: 2, Duration: progressEvery * 5 / 2}, func(p Progress) { got = append(got, p) })
	if err != nil {
		t.Fatal(err)
	}
	if len(got) < 2 {
		t.Fatalf("%d calls", len(got))
	}
	p, q := got[0], got[1]
	if p.Phase != "load" || p.Done == 0 || p.Rate <= 0 || p.Fraction <= 0 || q.Fraction <= p.Fraction || q.Fraction > 1 || q.Done <= p.Done {
		t.Errorf("progress %+v, then %+v", p, q)
	}
	b, err := json.Marshal(rep)
	if err != nil {
		t.Fatal(err)
	}
	var back map[string]any
	if err := json.Unmarshal(b, &back); err != nil || back["mode"] != "xadd" || back["commands"] != float64(rep.Commands) {
		t.Errorf("%v: %s", err, b)
	}
}

// TestFsyncProbe checks the measurements, and that no file is left.
func TestFsyncProbe(t *testing.T) {
	dir := t.TempDir()
	f, err := FsyncProbe(dir, 20)
	if err != nil || f.Samples != 20 || f.P50 <= 0 || f.P99 < f.P50 {
		t.Errorf("%+v, %v", f, err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	if _, err := FsyncProbe(dir+"/none", 1); err == nil {
		t.Error("no error for a missing directory")
	}
}

// TestRing checks that every batch of a ring consists of consecutive requests, also across
// the end of the cycle.
func TestRing(t *testing.T) {
	const unit, depth = 3, 50
	r, err := newRing(unit, depth, ringBytes/(4*unit), func(dst []byte, i int) ([]byte, []byte) {
		return fmt.Appendf(dst, "<%d>", i), []byte{byte(i)}
	})
	if err != nil {
		t.Fatal(err)
	}
	if r.cycle != 4*unit {
		t.Fatalf("a cycle of %d", r.cycle)
	}
	for at := range r.cycle {
		for n := 1; n <= depth; n++ {
			var want []byte
			for i := range n {
				want = fmt.Appendf(want, "<%d>", (at+i)%r.cycle)
			}
			got, expect := r.batch(at, n)
			if !bytes.Equal(got, want) || len(expect) != n || int(expect[n-1][0]) != (at+n-1)%r.cycle {
				t.Fatalf("batch(%d, %d) is %s, want %s", at, n, got, want)
			}
		}
	}
}

// TestTokensRefuseOtherReplies collects entries from malformed replies, and from one with
// a deleted entry.
func TestTokensRefuseOtherReplies(t *testing.T) {
	for _, in := range []string{":1\r\n", "+OK\r\n", "*1\r\n:1\r\n", "*1\r\n*1\r\n$1\r\na\r\n", "*1\r\n*2\r\n:1\r\n*0\r\n", "*1\r\n*2\r\n$1\r\ns\r\n*1\r\n$1\r\na\r\n", "*1\r\n*2\r\n$-1\r\n*0\r\n"} {
		c := &consumer{worker: worker{load: &load{}}, delivery: newHistogram()}
		if err := c.collect([]byte(in)); err == nil {
			t.Errorf("%q was accepted as a reply to XREADGROUP", in)
		}
	}
	c := &consumer{worker: worker{load: &load{}}, delivery: newHistogram()}
	if err := c.collect([]byte("*1\r\n*2\r\n$1\r\ns\r\n*2\r\n*2\r\n$3\r\n1-0\r\n*-1\r\n*2\r\n$3\r\n2-0\r\n*2\r\n$1\r\nf\r\n$1\r\nx\r\n")); err != nil || c.nacks != 1 || c.delivered.Load() != 2 {
		t.Errorf("a deleted entry among others: %v, %d, %d", err, c.nacks, c.delivered.Load())
	}
	if want := "*5\r\n$4\r\nXACK\r\n$1\r\ns\r\n$5\r\nbench\r\n$3\r\n1-0\r\n$3\r\n2-0\r\n"; string(c.acks) != want {
		t.Errorf("got %q", c.acks)
	}
}

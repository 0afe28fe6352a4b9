package shard

import (
	"io"
	"math"
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

// The records that the least advanced replica needs are kept while it answers, and so are
// those after a snapshot on its way.
func TestRetention(t *testing.T) {
	const recent = time.Minute
	r := newRetention(newStopwatch(), recent)
	r.lacks("z", 90)
	if got := r.needed(); got != 90 {
		t.Errorf("one that is new and lacks records after 90 needs those after %d", got)
	}
	r = newRetention(newStopwatch(), recent)
	want := func(what string, index uint64) {
		t.Helper()
		if got := r.needed(); got != index {
			t.Errorf("%s: records after %d are needed, want %d", what, got, index)
		}
	}
	want("nobody", math.MaxUint64)
	r.has("b", 30)
	r.has("c", 40)
	want("two", 30)
	r.has("b", 50)
	want("one went on", 40)
	r.lacks("c", 90)
	want("one was refused what it should have had", 40)
	r.lacks("c", 7)
	want("one begins again", 7)
	unpin, again := r.pin(5), r.pin(5)
	unpin()
	want("a snapshot is under way", 5)
	again()
	want("it has arrived", 7)
	r.watch.start = r.watch.start.Add(-recent - time.Second)
	r.has("b", 60)
	want("one has not answered for long", 60)
	answered := r.asks("b")
	r.asks("c")()
	r.watch.start = r.watch.start.Add(-recent - time.Second)
	want("a message has been under way for long", 60)
	r.has("b", 70)
	r.watch.start = r.watch.start.Add(-recent - time.Second)
	want("another message is still under way", 70)
	answered()
	want("it was not answered", math.MaxUint64)
}

// While replicas need more than the log's bound, the log stays, up to another bound.
func TestLogHolds(t *testing.T) {
	const each = segmentRecords // records between two looks
	l := Limits{LogRecords: 4 * each, TrailingRecords: each, HeldRecords: 12 * each}.withDefaults()
	needs := newRetention(newStopwatch(), time.Hour)
	low := false
	w := &watchedLog{limits: &l, needs: needs, scarce: func() bool { return low }}
	add := func() bool {
		logs := make([]*raft.Log, each)
		for i := range logs {
			logs[i] = &raft.Log{Index: w.records + uint64(i) + 1}
		}
		return w.account(logs)
	}
	needs.has("b", 10)
	for n := uint64(1); n <= 12; n++ {
		// All records are needed. The log is full all the same when so many were written
		// since the last snapshot that a start would take long.
		unmarked := n % 4
		if full := add(); full != (unmarked == 0) {
			t.Fatalf("full: %v, with %d records after the last snapshot", full, unmarked*each)
		}
		if unmarked == 0 {
			w.marked(w.records)
		}
		if kept := w.trailing(); kept != n*each {
			t.Fatalf("%d of %d records kept", kept, n*each)
		}
	}
	if w.full() {
		t.Error("full with a snapshot of all of it")
	}
	if !add() {
		t.Error("a log beyond what it may hold is not full")
	}
	if kept := w.trailing(); kept != l.HeldRecords {
		t.Errorf("%d records kept, want %d", kept, l.HeldRecords)
	}
	low = true
	if kept := w.trailing(); kept != each {
		t.Errorf("%d records kept on a disk without room, want %d", kept, each)
	}
	low = false
	needs.has("b", w.records)
	if kept := w.trailing(); !w.full() || kept != each {
		t.Errorf("full %v, %d records kept, when the replica has all", w.full(), kept)
	}
}

// After a start the log's size is known as before. Otherwise it would be truncated only
// by a process that itself writes as much as the bound.
func TestLogIsCountedAtStart(t *testing.T) {
	const bound = 100
	c := newTestCluster(t, "a")
	c.tune = smallLogs(bound)
	c.startAll()
	c.fill(30, 10)
	before := c.leader().shard.Status().LogRecords
	c.stop("a")
	c.start("a")
	if got := c.leader().shard.Status().LogRecords; before < 30 || got < before {
		t.Errorf("%d records counted after the start, %d before", got, before)
	}
	for range 4 {
		c.fill(30, 10)
		c.stop("a")
		c.start("a")
	}
	c.truncated("a", 1)
	if got := c.leader().shard.Status().LogRecords; got > bound {
		t.Errorf("%d records counted", got)
	}
	c.fill(5, 10)
}

// deletedTo is a log that notes the end of the last deletion.
type deletedTo struct {
	LogStore
	hi uint64
}

func (d *deletedTo) DeleteRange(_, hi uint64) error { d.hi = hi; return nil }

// The records needed at the moment of the deletion count, not those that were needed when
// Raft was told how much to keep. The record at a replica's index is needed, too.
func TestCutIsLookedAtAgain(t *testing.T) {
	l := Limits{LogRecords: 8, TrailingRecords: 2}.withDefaults()
	needs, below := newRetention(newStopwatch(), time.Hour), &deletedTo{}
	w := &watchedLog{LogStore: below, limits: &l, needs: needs, scarce: func() bool { return false }}
	for i := range uint64(100) {
		w.account([]*raft.Log{{Index: i + 1, Data: make([]byte, segmentBytes)}}) // a segment each
	}
	unpin := needs.pin(40)
	for _, tc := range []struct{ hi, want uint64 }{{90, 39}, {30, 30}} {
		if err := w.DeleteRange(1, tc.hi); err != nil || below.hi != tc.want {
			t.Errorf("told to delete up to %d: up to %d, want %d: %v", tc.hi, below.hi, tc.want, err)
		}
	}
	below.hi = 0
	if err := w.DeleteRange(40, 90); err != nil || below.hi != 0 {
		t.Errorf("deleted up to %d of what is needed: %v", below.hi, err)
	}
	if err := w.DeleteRange(95, 100); err != nil || below.hi != 100 {
		t.Errorf("a suffix that is another one: deleted up to %d: %v", below.hi, err)
	}
	unpin()
	if err := w.DeleteRange(40, 90); err != nil || below.hi != 90 {
		t.Errorf("nobody needs anything: deleted up to %d: %v", below.hi, err)
	}
}

// A snapshot that travels for longer than it takes to fill the log is the last one,
// because the records written meanwhile are still there.
func TestOneSnapshotIsEnough(t *testing.T) {
	const records = 60
	c := newTestCluster(t, "a", "b", "c")
	c.tune = smallLogs(records)
	c.startAll()
	away := c.others(c.leader().id)[0]
	rest := c.others(away)
	c.net.isolate(away, c.ids, true, true)
	c.fill(200, 50, rest...)
	c.truncated(c.leader(rest...).id, c.nodes[away].shard.Probe().LastIndex)

	sent := make(chan struct{}, 8)
	arrive := make(chan struct{})
	c.net.mu.Lock()
	c.net.onInstall = func(_ string, _ *raft.InstallSnapshotRequest, data io.Reader) (io.Reader, error) {
		sent <- struct{}{}
		<-arrive
		return data, nil
	}
	c.net.mu.Unlock()
	c.net.isolate(away, c.ids, false, true)
	<-sent
	c.fill(20*records, 50, rest...)
	close(arrive)
	c.converge()
	if n := len(sent); n > 0 || c.nodes[away].shard.Status().SnapshotsStaged != 1 {
		t.Errorf("%d snapshots more were sent, %d received", n, c.nodes[away].shard.Status().SnapshotsStaged)
	}
	l := c.leader()
	c.eventually("the log is truncated again", func() bool {
		return l.shard.Status().LogRecords < 2*segmentRecords
	})
}

package shard

import (
	"errors"
	"io"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

// farTransport is a transport to nodes that cannot be reached until up is closed.
type farTransport struct {
	testEndpoint
	up       chan struct{}
	absent   atomic.Int64 // messages still to be answered that there is no replica
	asked    atomic.Int64 // calls of Reach that have returned
	appended atomic.Int64
	term     uint64 // that it answers with
	got      *raft.InstallSnapshotRequest
	bytes    int64 // of the snapshot
}

func (f *farTransport) Reach(raft.ServerID, time.Duration) bool {
	defer f.asked.Add(1)
	select {
	case <-f.up:
		return true
	case <-time.After(time.Millisecond):
		return false
	}
}

func (f *farTransport) AppendEntries(_ raft.ServerID, _ raft.ServerAddress, _ *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) error {
	f.appended.Add(1)
	resp.Term = f.term
	if f.absent.Add(-1) >= 0 {
		return errAbsent
	}
	return nil
}

func (f *farTransport) InstallSnapshot(_ raft.ServerID, _ raft.ServerAddress, args *raft.InstallSnapshotRequest, resp *raft.InstallSnapshotResponse, data io.Reader) error {
	f.got = args
	var err error
	f.bytes, err = io.Copy(io.Discard, data)
	resp.Success = true
	return err
}

var errAbsent = errors.New("no replica here")

func (f *farTransport) Absent(err error) bool { return errors.Is(err, errAbsent) }

// Records wait for a node that cannot be reached, as long as they are still to go there.
// Heartbeats do not wait.
func TestRecordsWaitForNode(t *testing.T) {
	records := &raft.AppendEntriesRequest{Term: 3, PrevLogEntry: 7}
	open := func() (*farTransport, *endpoint, *atomic.Bool) {
		far, leads := &farTransport{up: make(chan struct{})}, new(atomic.Bool)
		leads.Store(true)
		e, err := newEndpoint(far, newRetention(newStopwatch(), time.Second), nil, func(node string, term uint64) bool { return leads.Load() && node == "b" && term == 3 })
		if err != nil {
			t.Fatal(err)
		}
		return far, e, leads
	}
	for _, tc := range []struct {
		name string
		end  func(*farTransport, *endpoint, *atomic.Bool)
		sent int64
		err  error
	}{
		{"reached", func(f *farTransport, _ *endpoint, _ *atomic.Bool) { close(f.up) }, 1, nil},
		{"not leading any more", func(_ *farTransport, _ *endpoint, l *atomic.Bool) { l.Store(false) }, 1, nil},
		{"closed", func(_ *farTransport, e *endpoint, _ *atomic.Bool) { e.closed.Store(true) }, 0, errEnded},
	} {
		far, e, leads := open()
		done := make(chan error, 1)
		go func() { done <- e.AppendEntries("b", "b", records, new(raft.AppendEntriesResponse)) }()
		waitFor(t, "it waits", func() bool { return far.asked.Load() > 2 })
		if n := far.appended.Load(); n != 0 {
			t.Fatalf("%s: %d messages to a node that cannot be reached", tc.name, n)
		}
		tc.end(far, e, leads)
		if err := <-done; err != tc.err || far.appended.Load() != tc.sent {
			t.Errorf("%s: %v, %d messages", tc.name, err, far.appended.Load())
		}
	}
	far, e, _ := open()
	if err := e.AppendEntries("b", "b", &raft.AppendEntriesRequest{Term: 3}, new(raft.AppendEntriesResponse)); err != nil || far.appended.Load() != 1 {
		t.Errorf("a heartbeat: %v, %d messages", err, far.appended.Load())
	}
	if err := e.AppendEntries("c", "c", records, new(raft.AppendEntriesResponse)); err != nil || far.appended.Load() != 2 {
		t.Errorf("records for a node without a replica: %v, %d messages", err, far.appended.Load())
	}

	// A node that has not opened its replica yet gets the records again.
	far, e, _ = open()
	close(far.up)
	far.absent.Store(3)
	if err := e.AppendEntries("b", "b", records, new(raft.AppendEntriesResponse)); err != nil || far.appended.Load() != 4 {
		t.Errorf("records for a replica that opens: %v, %d messages", err, far.appended.Load())
	}
	far.absent.Store(1)
	if err := e.AppendEntries("b", "b", &raft.AppendEntriesRequest{Term: 3}, new(raft.AppendEntriesResponse)); err != errAbsent {
		t.Errorf("a heartbeat for a replica that opens: %v", err)
	}
	far.absent.Store(1)
	if err := e.AppendEntries("c", "c", records, new(raft.AppendEntriesResponse)); err != errAbsent {
		t.Errorf("records for a node without a replica that says so: %v", err)
	}
}

// A snapshot is made only when its receiver is there, and its description is filled in
// then.
func TestSnapshotWaitsForNode(t *testing.T) {
	c := newTestCluster(t, "a")
	c.startAll()
	c.fill(30, 10)
	n := c.nodes["a"]
	open := func() (*farTransport, *endpoint, *raft.SnapshotMeta, *offer) {
		far, needs := &farTransport{up: make(chan struct{})}, newRetention(newStopwatch(), time.Second)
		e, err := newEndpoint(far, needs, nil, func(node string, term uint64) bool { return node == "b" && term == 3 })
		if err != nil {
			t.Fatal(err)
		}
		store := &snapshotStore{snapshots: n.shard.snapshots, needs: needs, stop: make(chan struct{})}
		meta, rc, err := store.Open("marker:1-1")
		if err != nil {
			t.Fatal(err)
		}
		return far, e, meta, rc.(*offer)
	}
	slots := func() int { return len(n.shard.cfg.SnapshotSlots) }

	far, e, meta, o := open()
	var resp raft.InstallSnapshotResponse
	done := make(chan error, 1)
	go func() { done <- e.InstallSnapshot("b", "b", &raft.InstallSnapshotRequest{Term: 3}, &resp, o) }()
	waitFor(t, "it waits", func() bool { return far.asked.Load() > 2 })
	if n := slots(); n != 0 {
		t.Errorf("%d slots are taken for a node that cannot be reached", n)
	}
	far.absent.Store(2)
	close(far.up)
	if err := <-done; err != nil || !resp.Success || far.appended.Load() != 3 {
		t.Fatalf("%v, %+v, after %d questions", err, resp, far.appended.Load())
	}
	at := n.shard.Applied()
	if far.got.LastLogIndex != at || meta.Index != at || far.got.LastLogTerm != meta.Term || far.got.Size != far.bytes || far.bytes == 0 || slots() != 1 {
		t.Errorf("sent %+v, %d bytes; Raft sees %+v; applied %d", far.got, far.bytes, meta, at)
	}
	if conf := raft.DecodeConfiguration(far.got.Configuration); len(conf.Servers) != 1 || far.got.ConfigurationIndex != 1 {
		t.Errorf("configuration %+v of index %d", conf, far.got.ConfigurationIndex)
	}
	if err := o.Close(); err != nil || slots() != 0 {
		t.Errorf("closed: %v, %d slots", err, slots())
	}

	far, e, _, o = open()
	close(far.up)
	far.term = 4
	resp = raft.InstallSnapshotResponse{}
	if err := e.InstallSnapshot("b", "b", &raft.InstallSnapshotRequest{Term: 3}, &resp, o); err != nil || resp.Term != 4 || resp.Success || far.got != nil {
		t.Errorf("a receiver of a newer term: %v, %+v, sent %+v", err, resp, far.got)
	}
	if _, err := o.Read(make([]byte, 1)); err == nil {
		t.Error("a snapshot that was not made was read")
	}
	if err := o.Close(); err != nil {
		t.Error(err)
	}
}

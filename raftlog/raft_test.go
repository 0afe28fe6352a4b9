package raftlog

import (
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft"
)

type countFSM struct{ applied []string }

func (f *countFSM) Apply(l *raft.Log) any {
	f.applied = append(f.applied, string(l.Data))
	return len(f.applied)
}
func (f *countFSM) Snapshot() (raft.FSMSnapshot, error) { return noSnapshot{}, nil }
func (f *countFSM) Restore(rc io.ReadCloser) error      { return rc.Close() }

type noSnapshot struct{}

func (noSnapshot) Persist(sink raft.SnapshotSink) error { return sink.Close() }
func (noSnapshot) Release()                             {}

// TestUnderRaft runs hashicorp/raft on a store three times over. Each time, Raft is
// elected, appends and trims; then the power is cut, and term, vote and log survive.
func TestUnderRaft(t *testing.T) {
	fs := vfs.NewCrashableMem()
	snaps := raft.NewInmemSnapshotStore()
	var applied int
	for round := range 3 {
		db := mustOpen(t, fs, Options{})
		s := db.Store(1)
		fsm := &countFSM{}
		r := startRaft(t, s, fsm, snaps, round > 0)
		waitLeader(t, r)
		for range 100 {
			applied++
			if err := r.Apply(fmt.Append(nil, applied), time.Minute).Error(); err != nil {
				t.Fatal(err)
			}
		}
		if got := len(fsm.applied); got < 100 || fsm.applied[got-1] != fmt.Sprint(applied) {
			t.Fatalf("round %d: applied %d", round, got)
		}
		term := r.CurrentTerm()
		if err := r.Snapshot().Error(); err != nil {
			t.Fatal(err)
		}
		if first, last := s.bounds(); last-first != 9 {
			t.Fatalf("round %d: log is [%d, %d] after a snapshot", round, first, last)
		}
		last := r.LastIndex()
		if err := r.Shutdown().Error(); err != nil {
			t.Fatal(err)
		}
		closeDB(t, db)

		fs = fs.CrashClone(vfs.CrashCloneCfg{})
		db = mustOpen(t, fs, Options{})
		if got, err := db.Store(1).GetUint64([]byte("CurrentTerm")); err != nil || got != term {
			t.Fatalf("round %d: term %d, %v, want %d", round, got, err, term)
		}
		wantVote(t, db.Store(1), term, "a")
		if _, l := db.Store(1).bounds(); l != last {
			t.Fatalf("round %d: log ends at %d, want %d", round, l, last)
		}
		closeDB(t, db)
	}
}

// startRaft starts Raft as the only server of its group, and bootstraps it unless s has
// existing state.
func startRaft(t *testing.T, s *Store, fsm raft.FSM, snaps raft.SnapshotStore, existing bool) *raft.Raft {
	t.Helper()
	conf := raft.DefaultConfig()
	conf.LocalID = "a"
	conf.LogLevel = "OFF"
	conf.HeartbeatTimeout, conf.ElectionTimeout, conf.LeaderLeaseTimeout = 50*time.Millisecond, 50*time.Millisecond, 50*time.Millisecond
	conf.TrailingLogs = 10
	conf.NoSnapshotRestoreOnStart = true
	_, tr := raft.NewInmemTransport("a")
	has, err := raft.HasExistingState(s, s, snaps)
	if err != nil || has != existing {
		t.Fatalf("HasExistingState = %v, %v, want %v", has, err, existing)
	}
	if !existing {
		if err := raft.BootstrapCluster(conf, s, s, snaps, tr, raft.Configuration{Servers: []raft.Server{{ID: "a", Address: "a"}}}); err != nil {
			t.Fatal(err)
		}
	}
	r, err := raft.NewRaft(conf, fsm, s, s, snaps, tr)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func waitLeader(t *testing.T, r *raft.Raft) {
	t.Helper()
	select {
	case is := <-r.LeaderCh():
		if !is {
			t.Fatal("leadership was lost before it began")
		}
	case <-time.After(20 * time.Second):
		t.Fatal("no leader")
	}
}

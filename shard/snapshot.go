package shard

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
	"github.com/hashicorp/raft"

	"millrace/internal/mutant"
	"millrace/raftlog"
)

// stagedPrefix begins the ID of a snapshot that was received, to tell it from our own.
const stagedPrefix = "staged:"

// errMarker refuses a snapshot of our own, because a newer one is there or on its way in.
var errMarker = errors.New("shard: a newer snapshot is there")

// snapshots keeps the shard's snapshots. Taking one of our own copies nothing, because the
// data is in Pebble already: it syncs the state, and writes a marker with index, term and
// configuration into the log's database. Only when another replica needs the snapshot is the
// state exported to files. A received snapshot lies in a staging directory, and the marker
// holds its name until it is installed.
type snapshots struct {
	*shared
	applier *applier
	dir     string // the shard's own below StagingDir; all of it is temporary, except the files that the marker names
	serial  atomic.Uint64

	mu sync.Mutex // held while the marker is changed

	installs atomic.Uint64 // snapshots received
	sending  atomic.Int64
}

func newSnapshots(sh *shared, a *applier) *snapshots {
	dir := sh.cfg.FS.PathJoin(sh.cfg.StagingDir, strconv.FormatUint(uint64(sh.cfg.ID), 10))
	return &snapshots{shared: sh, applier: a, dir: dir}
}

// snapshotStore serves snapshots to one Raft instance. It implements raft.SnapshotStore.
type snapshotStore struct {
	*snapshots
	needs *retention
	stop  <-chan struct{} // closed when the instance ends
}

// Snapshot implements raft.FSM: it notes the state's position.
func (a *applier) Snapshot() (raft.FSMSnapshot, error) {
	if a.halted.Load() {
		return nil, errHalted
	}
	return fsmSnapshot{applied: a.now.index}, nil
}

// fsmSnapshot is a snapshot of our own being taken.
type fsmSnapshot struct{ applied uint64 }

// Persist implements raft.FSMSnapshot. Once it returns, Raft truncates the log.
func (s fsmSnapshot) Persist(rs raft.SnapshotSink) error {
	sink, ok := rs.(*sink)
	if !ok {
		return fmt.Errorf("shard: snapshot sink is a %T", rs)
	}
	return sink.store.mark(raftlog.Marker{
		Index: sink.index, Term: sink.term, Applied: s.applied,
		Configuration: sink.configuration, ConfigurationIndex: sink.configurationIndex,
		Version: sink.version,
	})
}

// Release implements raft.FSMSnapshot.
func (fsmSnapshot) Release() {}

// mark makes the state durable and then puts the marker. The order matters, because the
// log may be truncated up to the marker's index as soon as the marker is there.
func (s *snapshots) mark(m raftlog.Marker) error {
	// One synced write to the state's WAL makes everything durable that was written
	// before it.
	durable := pebble.Sync
	if mutant.TruncateBeforeSync {
		durable = pebble.NoSync
	}
	if err := s.cfg.State.LogData(nil, durable); err != nil {
		return fmt.Errorf("shard %d: sync the state: %w", s.cfg.ID, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	old, ok, err := s.cfg.Log.Marker()
	if err != nil {
		return err
	}
	if ok && (old.Staged != "" || old.Index > m.Index) {
		return fmt.Errorf("%w: at %d, ours at %d", errMarker, old.Index, m.Index)
	}
	if err := s.cfg.Log.PutMarker(m); err != nil {
		return err
	}
	s.configs.forgetBefore(m.Applied)
	return nil
}

func markerID(m raftlog.Marker) string { return fmt.Sprintf("marker:%d-%d", m.Term, m.Index) }

// List implements raft.SnapshotStore.
func (s *snapshots) List() ([]*raft.SnapshotMeta, error) {
	m, ok, err := s.cfg.Log.Marker()
	if err != nil || !ok {
		return nil, err
	}
	return []*raft.SnapshotMeta{{
		Version: raft.SnapshotVersion(m.Version), ID: markerID(m), Index: m.Index, Term: m.Term,
		Configuration: m.Configuration, ConfigurationIndex: m.ConfigurationIndex,
	}}, nil
}

// Create implements raft.SnapshotStore, for our own snapshots and for received ones. The
// first write tells which it is.
func (s *snapshotStore) Create(version raft.SnapshotVersion, index, term uint64, configuration raft.Configuration,
	configurationIndex uint64, _ raft.Transport) (raft.SnapshotSink, error) {
	return &sink{
		store: s, version: int(version), index: index, term: term,
		configuration: configuration.Clone(), configurationIndex: configurationIndex,
		name: fmt.Sprintf("recv-%d-%d-%d", term, index, s.serial.Add(1)),
	}, nil
}

// Open implements raft.SnapshotStore. Raft opens a snapshot that it has just received, to
// restore it, or our newest one, to send it to a replica that is too far behind.
func (s *snapshotStore) Open(id string) (*raft.SnapshotMeta, io.ReadCloser, error) {
	if name, ok := strings.CutPrefix(id, stagedPrefix); ok {
		list, err := s.List()
		if err != nil || len(list) == 0 {
			return nil, nil, errors.Join(fmt.Errorf("shard %d: no marker for %s", s.cfg.ID, id), err)
		}
		// fsm.Restore reads the name, and finds the files by it.
		return list[0], io.NopCloser(strings.NewReader(name)), nil
	}
	o := &offer{store: s, meta: &raft.SnapshotMeta{Version: 1, ID: id}}
	return o.meta, o, nil
}

// offer is a snapshot that Raft means to send. The files and the description are made at
// the last moment. When the receiver has the snapshot, Raft reads its index again.
type offer struct {
	store   *snapshotStore
	meta    *raft.SnapshotMeta
	*export // nil until it is made
}

// make exports the state and describes it in args. It waits until a slot for sending is
// free. The snapshot is sent as of the state's applied index, although the marker's index
// is lower: then the receiver's log begins exactly after the last record that its state
// has applied.
func (o *offer) make(args *raft.InstallSnapshotRequest) error {
	s := o.store
	select {
	case s.cfg.SnapshotSlots <- struct{}{}:
	case <-s.stop:
		return raft.ErrRaftShutdown
	}
	// The receiver needs the records after this one when it has the snapshot.
	unpin := s.needs.pin(s.gate.index.Load())
	release := func() { unpin(); <-s.cfg.SnapshotSlots }
	dir := s.cfg.FS.PathJoin(s.dir, fmt.Sprintf("send-%d", s.serial.Add(1)))
	e, err := newExport(s.shared, dir, s.stop)
	if err != nil {
		release()
		return fmt.Errorf("shard %d: %w", s.cfg.ID, err)
	}
	s.sending.Add(1)
	e.release = func() { s.sending.Add(-1); release() }
	o.export = e
	at := e.header.applied
	conf, ok := s.configs.at(at.index)
	if !ok {
		return fmt.Errorf("shard %d: the configuration at index %d is unknown", s.cfg.ID, at.index)
	}
	o.meta.Index, o.meta.Term, o.meta.Size = at.index, at.term, e.size()
	o.meta.Configuration, o.meta.ConfigurationIndex = conf.Configuration, conf.index
	args.LastLogIndex, args.LastLogTerm, args.Size = at.index, at.term, e.size()
	args.Configuration, args.ConfigurationIndex = raft.EncodeConfiguration(conf.Configuration), conf.index
	s.cfg.Logger.Info("sending a snapshot", "shard", s.cfg.ID, "index", at.index, "bytes", e.size())
	return nil
}

// Read implements io.Reader.
func (o *offer) Read(b []byte) (int, error) {
	if o.export == nil {
		return 0, errNothing
	}
	return o.export.Read(b)
}

// Close implements io.Closer.
func (o *offer) Close() error {
	if o.export == nil {
		return nil
	}
	return o.export.Close()
}

// sink takes a snapshot. For one of our own nothing is written, because Persist puts the
// marker. For a received one it takes the files.
type sink struct {
	store              *snapshotStore
	version            int
	index, term        uint64
	configuration      raft.Configuration
	configurationIndex uint64
	name               string
	recv               *receiver // nil until the first write
}

// ErrStaleSnapshot refuses a received snapshot that is not ahead of our own state.
var ErrStaleSnapshot = errors.New("shard: the snapshot is older than the state")

// ID implements raft.SnapshotSink.
func (s *sink) ID() string {
	if s.recv != nil {
		return stagedPrefix + s.name
	}
	return fmt.Sprintf("marker:%d-%d", s.term, s.index)
}

// Write implements raft.SnapshotSink. Raft calls it for received snapshots only, on its
// main goroutine.
func (s *sink) Write(p []byte) (int, error) {
	if s.recv == nil {
		// Raft would set its applied index, and its configuration, back to the
		// snapshot's.
		if at := s.store.gate.index.Load(); s.index <= at && !mutant.StaleSnapshots {
			return 0, fmt.Errorf("%w: snapshot at %d, applied %d", ErrStaleSnapshot, s.index, at)
		}
		recv, err := newReceiver(s.store.cfg, s.store.cfg.FS.PathJoin(s.store.dir, s.name))
		if err != nil {
			return 0, err
		}
		s.recv = recv
	}
	return s.recv.Write(p)
}

// Cancel implements raft.SnapshotSink. It removes all that was received.
func (s *sink) Cancel() error {
	if s.recv == nil {
		return nil
	}
	return s.recv.discard()
}

// Close implements raft.SnapshotSink. When it returns nil, a received snapshot is
// complete, checked and certain to be installed: by Raft in a moment, or at the next
// start.
func (s *sink) Close() error {
	if s.recv == nil {
		return nil
	}
	h, err := s.recv.finish()
	if err == nil && h.applied.index != s.index {
		err = fmt.Errorf("%w: sent as of index %d, its state is of %d", ErrSnapshot, s.index, h.applied.index)
	}
	if err == nil {
		err = s.store.stage(raftlog.Marker{
			Index: s.index, Term: s.term, Applied: h.applied.index,
			Configuration: s.configuration, ConfigurationIndex: s.configurationIndex,
			Staged: s.name, StagedBytes: h.contentBytes(), Version: s.version,
		})
	}
	if err != nil {
		return errors.Join(fmt.Errorf("shard %d: snapshot at %d: %w", s.store.cfg.ID, s.index, err), s.recv.discard())
	}
	s.store.installs.Add(1)
	return nil
}

// stage puts the marker of a received snapshot. Files of an earlier one that was not
// installed go.
func (s *snapshots) stage(m raftlog.Marker) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	old, _, err := s.cfg.Log.Marker()
	if err != nil {
		return err
	}
	if err := s.cfg.Log.PutMarker(m); err != nil {
		return err
	}
	if old.Staged != "" {
		return s.cfg.FS.RemoveAll(s.cfg.FS.PathJoin(s.dir, old.Staged))
	}
	return nil
}

package node

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"millrace/kv"
	"millrace/kv/pebblekv"
	"millrace/placement"
	"millrace/raftlog"
	"millrace/raftlog/disk"
	"millrace/shard"
	"millrace/stream"
)

// offline is the data directory of a node that is not running.
type offline struct {
	dir   string
	id    identity
	lock  io.Closer
	log   *raftlog.DB
	state *disk.DB
}

// openOffline locks dir and reads its identity. openLog and openState open the databases.
func openOffline(dir string) (*offline, error) {
	id, err := readIdentity(dir)
	if err != nil {
		return nil, diskFailure(err)
	}
	lock, err := lockDir(dir)
	if err != nil {
		return nil, err
	}
	return &offline{dir: dir, id: id, lock: lock}, nil
}

// openLog opens the Raft logs. fatal is called if a later read or write fails, and must not
// return.
func (o *offline) openLog(readOnly bool, logger *slog.Logger, fatal func(disk.Class, error)) (err error) {
	open := raftlog.Open
	if readOnly {
		open = raftlog.OpenReadOnly
	}
	o.log, err = open(filepath.Join(o.dir, raftlogDir), raftlog.Options{Logger: logger, Fatal: fatal, CacheBytes: -1})
	return diskFailure(err)
}

// openState opens the state in the same way as openLog.
func (o *offline) openState(readOnly bool, logger *slog.Logger, fatal func(disk.Class, error)) (err error) {
	o.state, err = disk.Open(filepath.Join(o.dir, stateDir), disk.Options{Name: "state", ReadOnly: readOnly, Logger: logger, Fatal: fatal})
	return diskFailure(err)
}

// readMap returns the cluster map at the end of the meta group's log, or nil if there is no
// map. After a crash the state may be behind the log. So readMap copies the state of the
// meta group to memory and replays the log on the copy; the directory stays unchanged.
func (o *offline) readMap() (_ *placement.Map, err error) {
	scratch, err := disk.Open("scratch", disk.Options{Name: "scratch", FS: vfs.NewMem()})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, scratch.Close()) }()
	if err := o.copyMeta(scratch); err != nil {
		return nil, err
	}
	cfg, err := o.replica(nil, placement.MetaShard, nil)
	if err != nil {
		return nil, err
	}
	source := pebblekv.Reader{R: scratch.DB}
	cfg.State = scratch.DB
	cfg.Machine = placement.NewMachine(func(read func(kv.Reader) error) error { return read(source) })
	if err := shard.Replay(cfg); err != nil {
		return nil, err
	}
	m, err := placement.ReadMap(source)
	if err != nil {
		return nil, &diskError{disk.Corrupt, err}
	}
	return m, nil
}

// copyMeta copies the state of the meta group to another database.
func (o *offline) copyMeta(to *disk.DB) error {
	lo, hi := kv.SlotBounds(placement.MetaSlot, placement.MetaSlot)
	it, err := o.state.NewIter(&pebble.IterOptions{LowerBound: lo, UpperBound: hi})
	if err != nil {
		return err
	}
	for ok := it.First(); ok && err == nil; ok = it.Next() {
		err = to.Set(it.Key(), it.Value(), pebble.NoSync)
	}
	return errors.Join(err, it.Error(), it.Close())
}

// replica returns the configuration of a replica, for functions of package shard that work
// on a stopped one. m may be nil for the meta group.
func (o *offline) replica(m *placement.Map, id uint32, logger *slog.Logger) (shard.Config, error) {
	cfg := shard.Config{
		ID: id, NodeID: o.id.NodeID, Log: o.log.Store(id), State: o.state.DB,
		StagingDir: filepath.Join(o.dir, stagingDir), FS: vfs.Default, Logger: logger,
	}
	if id == placement.MetaShard {
		cfg.FirstSlot, cfg.LastSlot = placement.MetaSlot, placement.MetaSlot
		cfg.Machine = placement.NewMachine(func(read func(kv.Reader) error) error { return read(pebblekv.Reader{R: o.state.DB}) })
		return cfg, nil
	}
	if m == nil || m.Shard(id) == nil {
		return cfg, fmt.Errorf("shard %d is not in this node's copy of the cluster map", id)
	}
	s := m.Shard(id)
	cfg.FirstSlot, cfg.LastSlot = s.First, s.Last
	cfg.Machine = stream.NewState(s.First, s.Last)
	return cfg, nil
}

// close closes the databases that are open, and unlocks the directory.
func (o *offline) close() error {
	var errs []error
	if o.state != nil {
		errs = append(errs, o.state.Close())
	}
	if o.log != nil {
		errs = append(errs, o.log.Close())
	}
	return errors.Join(append(errs, o.lock.Close())...)
}

// marks returns the names of the files in dir that mark an interrupted removal of a replica
// or an interrupted recovery.
func marks(dir string) ([]string, error) {
	files, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, f := range files {
		if ok, _ := filepath.Match(retirePrefix+"*", f.Name()); ok || f.Name() == recoveryFile {
			out = append(out, f.Name())
		}
	}
	return out, nil
}

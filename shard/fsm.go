package shard

import (
	"bytes"
	"fmt"
	"io"
)

// fsm is the state machine as one Raft instance sees it: the applier, and the way by
// which a received snapshot replaces the state.
type fsm struct {
	*applier
	supervisor *supervisor
	log        *watchedLog // of the instance
}

// Restore implements raft.FSM: it installs the snapshot that Raft has just received. The
// reader yields the name under which the sink has staged it.
func (f *fsm) Restore(rc io.ReadCloser) error {
	var name bytes.Buffer
	if _, err := io.Copy(&name, io.LimitReader(rc, 1<<10)); err != nil {
		return err
	}
	return f.supervisor.restore(name.String(), f.log)
}

// restore replaces the state by the snapshot staged under a name.
func (s *supervisor) restore(name string, log *watchedLog) error {
	m, ok, err := s.cfg.Log.Marker()
	if err != nil {
		return err
	}
	if !ok || m.Staged != name {
		return fmt.Errorf("%w: the marker does not name %q: %v", ErrStaged, name, m)
	}
	conflict, err := s.snapshots.install(log, m, false)
	if err != nil {
		s.cfg.Logger.Error("a snapshot was not installed", "shard", s.cfg.ID, "error", err)
		return err
	}
	s.loop.Add(1)
	if conflict {
		s.orders.replaceSoon(causeConflict)
	}
	return nil
}

package shard

import (
	"context"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft"

	"millrace/internal/mutant"
	"millrace/raftlog"
	"millrace/raftlog/disk"
)

// A replica refuses to start with any of these. All are corruption: a disk has lost data
// that it had confirmed, or somebody has mixed directories. The replica's data must be
// removed and come anew from its peers. Nothing is deleted on a guess.
var (
	// ErrStateBehind says that records between the state and the log's beginning are
	// missing.
	ErrStateBehind = fmt.Errorf("shard: the state is behind its snapshot marker: %w", disk.ErrCorrupt)
	// ErrLogBehind says that the state has applied records that the log does not have.
	ErrLogBehind = fmt.Errorf("shard: the log ends before the last record that the state has applied: %w", disk.ErrCorrupt)
	// ErrLogGap says that the log begins after the marker's end.
	ErrLogGap = fmt.Errorf("shard: records are missing at the head of the log: %w", disk.ErrCorrupt)
	// ErrStaged says that the marker names a received snapshot that is damaged or gone.
	ErrStaged = fmt.Errorf("shard: the received snapshot cannot be installed: %w", disk.ErrCorrupt)
)

// recover brings state, marker, staged files and log into line before a Raft instance
// starts on them. A crash may have struck at any step of install.
func (s *snapshots) recover(log LogStore) error {
	if err := s.makeDir(); err != nil {
		return fmt.Errorf("shard %d: %w", s.cfg.ID, err)
	}
	m, ok, err := log.Marker()
	if err != nil {
		return fmt.Errorf("shard %d: read the marker: %w", s.cfg.ID, err)
	}
	if err := s.applier.load(); err != nil {
		return err
	}
	if ok {
		if m.Staged != "" {
			if _, err := s.install(log, m, true); err != nil {
				return err
			}
		} else if at := s.applier.now.index; at < m.Applied {
			return fmt.Errorf("shard %d: %w: applied %d, %v", s.cfg.ID, ErrStateBehind, at, m)
		}
		if _, err := s.reconcile(log, m); err != nil {
			return err
		}
		s.configs.set(m.ConfigurationIndex, m.Configuration)
	}
	if err := s.clean(); err != nil {
		return err
	}
	return s.checkLog(log, m)
}

// makeDir makes the staging directory and syncs its name, because a marker may name files
// in it and a crash must not lose it.
func (s *snapshots) makeDir() error {
	fs := s.cfg.FS
	if err := fs.MkdirAll(s.dir, 0o700); err != nil {
		return err
	}
	above := fs.PathDir(s.dir)
	return errors.Join(syncDir(fs, above), syncDir(fs, fs.PathDir(above)))
}

// clean removes everything from the staging directory. Nothing in it is needed, because a
// snapshot that the marker named is installed by now.
func (s *snapshots) clean() error {
	names, err := s.cfg.FS.List(s.dir)
	for _, name := range names {
		err = errors.Join(err, s.cfg.FS.RemoveAll(s.cfg.FS.PathJoin(s.dir, name)))
	}
	if err != nil {
		return fmt.Errorf("shard %d: clean the staging directory: %w", s.cfg.ID, err)
	}
	return nil
}

// checkLog makes sure that the log has every record that neither the state nor the marker
// covers.
func (s *snapshots) checkLog(log LogStore, m raftlog.Marker) error {
	first, err := log.FirstIndex()
	if err != nil {
		return err
	}
	last, err := log.LastIndex()
	if err != nil {
		return err
	}
	if err := checkEnds(first, last, s.applier.now.index, m); err != nil {
		return fmt.Errorf("shard %d: %w", s.cfg.ID, err)
	}
	return nil
}

// checkEnds compares the ends of a log, which are both 0 when it is empty, with the
// applied index and the marker.
func checkEnds(first, last, applied uint64, m raftlog.Marker) error {
	if first > m.Index+1 {
		return fmt.Errorf("%w: it begins at %d, %v", ErrLogGap, first, m)
	}
	if applied > max(last, m.Index) {
		return fmt.Errorf("%w: it ends at %d, applied %d, %v", ErrLogBehind, last, applied, m)
	}
	return nil
}

// reconcile compares the log with the marker, because Raft's InstallSnapshot leaves the
// log as it is. Say a snapshot arrives at index 150:
//
//   - The log ends before 150. Its records would stay, and be served to others, although
//     nobody ever compared them.
//   - The log's record at 150 has another term. It would make the replica refuse
//     everything that follows.
//
// In both cases every record of the log is either covered by the snapshot or proven not
// to be committed, so the whole log goes. reconcile reports whether there was a conflict,
// the second case. Then Raft has to be started anew, because it keeps in memory where the
// log ended.
func (s *snapshots) reconcile(log LogStore, m raftlog.Marker) (conflict bool, err error) {
	last, err := log.LastIndex()
	if err != nil || last == 0 {
		return false, err
	}
	if last >= m.Index {
		var l raft.Log
		err := log.GetLog(m.Index, &l)
		if errors.Is(err, raft.ErrLogNotFound) || err == nil && l.Term == m.Term {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		conflict = true
		s.cfg.Logger.Warn("the log conflicts with the snapshot", "shard", s.cfg.ID,
			"index", m.Index, "term", m.Term, "ours", l.Term)
	}
	return conflict, log.ResetLog()
}

// install replaces the state with the staged snapshot that m names, unless the state has
// it already. In the end the marker does not name the staged files any more, and they go.
// The goroutine that applies calls it, or the supervisor between Raft instances.
func (s *snapshots) install(log LogStore, m raftlog.Marker, atStart bool) (conflict bool, err error) {
	dir := s.cfg.FS.PathJoin(s.dir, m.Staged)
	if s.applier.now.index < m.Applied || mutant.StaleSnapshots {
		h, err := checkStaged(s.cfg, dir, atStart)
		if err == nil && h.applied.index != m.Applied {
			err = fmt.Errorf("%w: %v", ErrSnapshot, &h)
		}
		if err != nil {
			return false, fmt.Errorf("shard %d: %w: %w (%v)", s.cfg.ID, ErrStaged, err, m)
		}
		if err := s.applier.replace(dir, len(h.files)); err != nil {
			return false, fmt.Errorf("shard %d: install the snapshot at %d: %w", s.cfg.ID, m.Index, err)
		}
		s.cfg.Logger.Info("installed a snapshot", "shard", s.cfg.ID, "index", m.Index, "bytes", h.contentBytes())
	}
	// The state must be durable before the marker stops naming the files, also if the
	// state was reached in another way.
	if err := s.cfg.State.LogData(nil, pebble.Sync); err != nil {
		return false, fmt.Errorf("shard %d: sync the state: %w", s.cfg.ID, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if conflict, err = s.reconcile(log, m); err != nil {
		return false, err
	}
	m.Staged, m.StagedBytes = "", 0
	if err := log.PutMarker(m); err != nil {
		return false, err
	}
	s.configs.set(m.ConfigurationIndex, m.Configuration)
	return conflict, s.cfg.FS.RemoveAll(dir)
}

// replace replaces all keys of the shard, the applied index among them, by the files in
// dir, in one atomic step. Pebble removes the names that it is given, so it gets names of
// their own: the staged files stay until the marker does not name them.
func (a *applier) replace(dir string, files int) error {
	fs := a.cfg.FS
	var paths []string
	for i := range files {
		path := fs.PathJoin(dir, "ingest-"+tableName(i))
		if err := fs.RemoveAll(path); err != nil {
			return err
		}
		if err := vfs.LinkOrCopy(fs, fs.PathJoin(dir, tableName(i)), path); err != nil {
			return err
		}
		paths = append(paths, path)
	}
	a.fence.Lock()
	defer a.fence.Unlock()
	if _, err := a.cfg.State.IngestAndExcise(context.Background(), paths, nil, nil, pebble.KeyRange{Start: a.lo, End: a.hi}); err != nil {
		return err
	}
	return a.load()
}

package node

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"millrace/kv/pebblekv"
	"millrace/placement"
	"millrace/raftlog"
	"millrace/raftlog/disk"
	"millrace/shard"
)

// ApplyRecovery changes a survivor's data directory as the plan says. If it fails, it can be
// repeated until it succeeds; until then, a node does not start on the directory. It takes
// these steps:
//
//  1. Write the plan to recoveryFile, as a mark.
//  2. Change the replicas.
//  3. Save the new cluster's ID as the node's identity.
//  4. Remove the mark.
func ApplyRecovery(dir string, plan RecoveryPlan, logger *slog.Logger) (err error) {
	if err := plan.check(); err != nil {
		return err
	}
	o, err := openOffline(dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, o.close()) }()
	switch {
	case o.id.ClusterID == plan.NewCluster:
		logger.Info("the plan was applied to this directory before")
		return removeMark(dir)
	case o.id.ClusterID != plan.OldCluster:
		return fmt.Errorf("%w: the directory is of cluster %.8s, but the plan is for %.8s", ErrPlan, o.id.ClusterID, plan.OldCluster)
	case !slices.Contains(plan.Survivors, o.id.NodeID):
		return fmt.Errorf("%w: node %.8s was not surveyed", ErrPlan, o.id.NodeID)
	}
	mark, err := json.MarshalIndent(plan, "", "  ")
	if err != nil {
		return err
	}
	again, err := begun(dir, mark)
	if err != nil {
		return err
	}
	parts, err := o.openForRecovery(logger)
	if err != nil {
		return err
	}
	if !again {
		if err := plan.fits(o.id.NodeID, parts); err != nil {
			return err
		}
		if err := writeFileSync(filepath.Join(dir, recoveryFile), mark); err != nil {
			return err
		}
	}
	if err := o.apply(&plan, parts, again, logger); err != nil {
		return err
	}
	id := o.id
	id.ClusterID = plan.NewCluster
	if err := id.save(dir); err != nil {
		return err
	}
	return removeMark(dir)
}

// begun reports whether the plan in mark was begun in dir before. It returns an error if
// another plan was begun: applied to different survivors, two plans would split the cluster.
func begun(dir string, mark []byte) (bool, error) {
	b, err := os.ReadFile(filepath.Join(dir, recoveryFile))
	switch {
	case errors.Is(err, os.ErrNotExist):
		return false, nil
	case err != nil:
		return false, err
	case !bytes.Equal(b, mark):
		return false, fmt.Errorf("%w: another plan was begun in this directory", ErrPlan)
	}
	return true, nil
}

// openForRecovery opens both databases for writing, and returns the shards in the logs. A
// disk failure ends the process, as in a running node.
func (o *offline) openForRecovery(logger *slog.Logger) ([]raftlog.Part, error) {
	fatal := func(class disk.Class, err error) {
		logger.Error("the recovery ends: "+class.String(), "error", err)
		os.Exit(class.ExitCode())
	}
	if err := o.openLog(false, logger, fatal); err != nil {
		return nil, err
	}
	if err := o.openState(false, logger, fatal); err != nil {
		return nil, err
	}
	return o.log.Check(func(uint32, string) {}, nil)
}

// removeMark removes recoveryFile, if it exists.
func removeMark(dir string) error {
	err := removeFileSync(filepath.Join(dir, recoveryFile))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// fits returns an error if a kept replica has changed since the survey. Its node may have
// run since then, and have acknowledged records or voted.
func (p *RecoveryPlan) fits(node string, parts []raftlog.Part) error {
	for _, k := range p.Keep {
		if k.Node != node {
			continue
		}
		i := slices.IndexFunc(parts, func(part raftlog.Part) bool { return part.Shard == k.Shard })
		if i < 0 {
			return fmt.Errorf("%w: shard %d is not in this directory; survey again", ErrPlan, k.Shard)
		}
		if term, index := parts[i].End(); term != k.LastTerm || index != k.LastIndex {
			return fmt.Errorf("%w: shard %d ends at term %d, index %d, but was surveyed at term %d, index %d; survey again",
				ErrPlan, k.Shard, term, index, k.LastTerm, k.LastIndex)
		}
	}
	return nil
}

// apply makes each kept replica the only voter of its shard, and removes the others. The
// meta group comes last: its map gives the slots of the other shards.
func (o *offline) apply(plan *RecoveryPlan, parts []raftlog.Part, again bool, logger *slog.Logger) error {
	m, err := o.readMap()
	if err != nil {
		return err
	}
	if m == nil && !again {
		return fmt.Errorf("%w: the directory has no copy of the cluster map; start an empty node in its place", ErrPlan)
	}
	for i := range parts {
		id := parts[i].Shard
		if id == placement.MetaShard || m == nil {
			continue // without a map, an earlier run has already done everything but the meta group
		}
		cfg, err := o.replica(m, id, logger)
		if err != nil {
			return err
		}
		switch plan.keeper(id) {
		case "":
			logger.Warn("a shard begins again, empty", "shard", id)
			err = shard.Destroy(cfg)
		case o.id.NodeID:
			logger.Info("a shard goes on from this replica", "shard", id)
			err = shard.Force(cfg, nil)
		default:
			logger.Info("a replica is removed: another survivor has as much of the shard, or more", "shard", id, "kept", plan.keeper(id))
			err = shard.Forget(cfg)
		}
		if err != nil {
			return err
		}
	}
	return o.applyMeta(plan, logger)
}

// applyMeta does the same with the replica of the meta group. Where it is kept, it also gets
// the map of the new cluster.
func (o *offline) applyMeta(plan *RecoveryPlan, logger *slog.Logger) error {
	cfg, err := o.replica(nil, placement.MetaShard, logger)
	if err != nil {
		return err
	}
	if plan.keeper(placement.MetaShard) != o.id.NodeID {
		return shard.Forget(cfg)
	}
	logger.Info("the cluster goes on from this node's map", "cluster", plan.NewCluster)
	return shard.Force(cfg, func(b *pebble.Batch) error {
		m, err := placement.ReadMap(pebblekv.Reader{R: o.state.DB}) // Force has applied all of the log
		if err != nil {
			return err
		}
		if m == nil {
			return errors.New("there is no map")
		}
		if m, err = plan.rewrite(m); err != nil {
			return err
		}
		return b.Set(placement.MapKey(), m.Append(nil), nil)
	})
}

// rewrite returns the map of the new cluster. It marks the nodes that did not survive as
// removed, and gives each shard one replica, where it is kept. Later the controller adds
// further replicas. rewrite returns m itself if it is already of the new cluster.
func (p *RecoveryPlan) rewrite(m *placement.Map) (*placement.Map, error) {
	if m.ClusterID == p.NewCluster {
		return m, nil
	}
	m = m.Clone()
	m.Version++
	m.ClusterID = p.NewCluster
	for i := range m.Nodes {
		n := &m.Nodes[i]
		if slices.Contains(p.Survivors, n.ID) {
			n.State = placement.Active
		} else {
			n.State = placement.Removed
		}
	}
	for i := range m.Shards {
		s := &m.Shards[i]
		s.Version = m.Version
		if keeper := p.keeper(s.ID); keeper != "" {
			s.Founded, s.Replicas, s.Preferred = true, []string{keeper}, keeper
			continue
		}
		j := slices.IndexFunc(p.Lost, func(l LostShard) bool { return l.Shard == s.ID })
		if j < 0 {
			return nil, fmt.Errorf("%w: the plan leaves shard %d out", ErrPlan, s.ID)
		}
		node := p.Lost[j].Node
		s.Founded, s.Founders, s.Replicas, s.Preferred = false, []string{node}, []string{node}, node
	}
	if err := m.Check(); err != nil {
		return nil, fmt.Errorf("%w: the new map: %w", ErrPlan, err)
	}
	return m, nil
}

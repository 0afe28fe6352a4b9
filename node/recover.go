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
	"github.com/hashicorp/raft"

	"millrace/kv/pebblekv"
	"millrace/placement"
	"millrace/raftlog"
	"millrace/raftlog/disk"
	"millrace/shard"
)

// recoveryFile marks a directory to which a recovery plan is being applied. A node does
// not start on it: half of it would belong to the old cluster, half to the new.
const recoveryFile = "recovery.json"

// recoveryFormat is the version of surveys and plans.
const recoveryFormat = 1

// The refusals of a recovery.
var (
	// ErrRecovering: a recovery was cut short in the directory.
	ErrRecovering = errors.New("a recovery was cut short in this directory: run millrace recover apply again")
	// ErrNoNeed: every shard has a majority of its voters among those surveyed.
	ErrNoNeed = errors.New("every shard has a majority: start the nodes, there is nothing to recover")
	// ErrPlan: surveys or plans that do not fit together, or not the directory.
	ErrPlan = errors.New("recovery")
)

// Survey is what a surviving node has. It is read from a directory, and changes nothing.
type Survey struct {
	Format    int              `json:"format"`
	NodeID    string           `json:"node_id"`
	ClusterID string           `json:"cluster_id"`
	Shards    int              `json:"shards"` // data shards, by the node's copy of the map
	Replicas  []SurveyedShard  `json:"replicas"`
	Nodes     []SurveyedMember `json:"nodes"` // by the node's copy of the map
}

// SurveyedShard is a replica of a survivor.
type SurveyedShard struct {
	Shard     uint32   `json:"shard"`
	LastTerm  uint64   `json:"last_term"`
	LastIndex uint64   `json:"last_index"`
	Applied   uint64   `json:"applied"`
	Voters    []string `json:"voters"`
	// Problem: why the replica cannot be used; empty when it can.
	Problem string `json:"problem,omitempty"`
}

// SurveyedMember is a node of the map.
type SurveyedMember struct {
	ID    string `json:"id"`
	State string `json:"state"`
	Addr  string `json:"peer_addr"`
}

// RecoveryPlan says what each survivor has to do. It is made once, from the surveys of
// all survivors, and applied to each of them.
type RecoveryPlan struct {
	Format     int    `json:"format"`
	OldCluster string `json:"old_cluster"`
	// NewCluster is the cluster that the survivors go on as. Whoever belongs to the old
	// one, with whatever data, is a stranger to it.
	NewCluster string   `json:"new_cluster"`
	Survivors  []string `json:"survivors"` // node IDs
	// Keep says which survivor's replica each shard goes on from; the meta group is 0.
	Keep []KeptReplica `json:"keep"`
	// Lost are the shards of which no survivor has a usable replica. They begin again,
	// empty.
	Lost []LostShard `json:"lost,omitempty"`
}

// KeptReplica is the replica that a shard goes on from.
type KeptReplica struct {
	Shard     uint32 `json:"shard"`
	Node      string `json:"node"`
	LastTerm  uint64 `json:"last_term"`
	LastIndex uint64 `json:"last_index"`
}

// LostShard is a shard that begins again on a node.
type LostShard struct {
	Shard uint32 `json:"shard"`
	Node  string `json:"node"`
}

// keeper returns the node that keeps its replica of a shard, or "".
func (p *RecoveryPlan) keeper(id uint32) string {
	for _, k := range p.Keep {
		if k.Shard == id {
			return k.Node
		}
	}
	return ""
}

// check returns what is wrong with a plan that was read.
func (p *RecoveryPlan) check() error {
	switch {
	case p.Format != recoveryFormat:
		return fmt.Errorf("%w: a plan of format %d, this version knows %d", ErrPlan, p.Format, recoveryFormat)
	case !placement.ValidID(p.OldCluster) || !placement.ValidID(p.NewCluster) || p.OldCluster == p.NewCluster:
		return fmt.Errorf("%w: the plan names no old and new cluster", ErrPlan)
	case !slices.Contains(p.Survivors, p.keeper(placement.MetaShard)):
		return fmt.Errorf("%w: the plan keeps no replica of the cluster map", ErrPlan)
	}
	return nil
}

// MakeSurvey looks at the directory of a node that does not run.
func MakeSurvey(dir string) (s Survey, err error) {
	up, err := Diagnose(dir, nil)
	if err != nil {
		return s, err
	}
	var bad []string
	for _, c := range up.Checks {
		bad = append(bad, c.Problems...)
	}
	if up.ClusterID == "" {
		return s, fmt.Errorf("%w: %s is of a node that was in no cluster", ErrPlan, dir)
	}
	s = Survey{Format: recoveryFormat, NodeID: up.NodeID, ClusterID: up.ClusterID, Replicas: []SurveyedShard{}}
	if len(bad) > 0 {
		// Which replica is hit is not always known: none is offered.
		return s, &diskError{disk.Corrupt, fmt.Errorf("%s: %s: see millrace doctor", dir, bad[0])}
	}
	o, err := openOffline(dir)
	if err != nil {
		return s, err
	}
	defer func() { err = errors.Join(err, o.close()) }()
	if err := o.openState(true, nil, nil); err != nil {
		return s, err
	}
	if err := o.openLog(true, nil, nil); err != nil {
		return s, err
	}
	m, err := o.readMap()
	if err != nil {
		return s, err
	}
	if m != nil {
		s.Shards = len(m.Shards)
		for i := range m.Nodes {
			n := &m.Nodes[i]
			s.Nodes = append(s.Nodes, SurveyedMember{ID: n.ID, State: n.State.String(), Addr: n.PeerAddr})
		}
	}
	parts, err := o.log.Check(func(uint32, string) {}, nil)
	for i := range parts {
		r, e := o.survey(m, &parts[i])
		s.Replicas, err = append(s.Replicas, r), errors.Join(err, e)
	}
	return s, err
}

func (o *offline) survey(m *placement.Map, p *raftlog.Part) (r SurveyedShard, err error) {
	r = SurveyedShard{Shard: p.Shard, Voters: []string{}}
	r.LastTerm, r.LastIndex = p.End()
	for _, s := range p.Configuration.Servers {
		if s.Suffrage == raft.Voter {
			r.Voters = append(r.Voters, string(s.ID))
		}
	}
	cfg, err := o.replica(m, p.Shard, nil)
	if err != nil {
		r.Problem = err.Error()
		return r, nil
	}
	if r.LastIndex == 0 {
		r.Problem = "it is empty"
	}
	r.Applied, err = shard.AppliedOf(o.state.DB, cfg.FirstSlot)
	return r, err
}

// PlanRecovery decides which replica each shard goes on from: the one with the greatest
// last term, and of those the greatest last index. That one has everything that any
// survivor has of what was acknowledged. With acceptLoss shards of which there is no
// replica begin again empty; otherwise they are an error.
func PlanRecovery(surveys []Survey, acceptLoss bool) (RecoveryPlan, error) {
	bad := func(format string, args ...any) (RecoveryPlan, error) {
		return RecoveryPlan{}, fmt.Errorf("%w: %s", ErrPlan, fmt.Sprintf(format, args...))
	}
	if len(surveys) == 0 {
		return bad("no surveys")
	}
	p := RecoveryPlan{Format: recoveryFormat, OldCluster: surveys[0].ClusterID, NewCluster: randomID()}
	shards := 0
	for _, s := range surveys {
		switch {
		case s.Format != recoveryFormat:
			return bad("a survey of format %d, this version knows %d", s.Format, recoveryFormat)
		case s.ClusterID != p.OldCluster:
			return bad("nodes of two clusters, %.8s and %.8s", p.OldCluster, s.ClusterID)
		case slices.Contains(p.Survivors, s.NodeID):
			return bad("node %.8s twice", s.NodeID)
		}
		p.Survivors = append(p.Survivors, s.NodeID)
		shards = max(shards, s.Shards)
	}
	slices.Sort(p.Survivors)
	needed := false
	load := make(map[string]int) // shards that each survivor keeps
	for id := range uint32(shards + 1) {
		var best *SurveyedShard
		node := ""
		for i := range surveys {
			for j := range surveys[i].Replicas {
				r := &surveys[i].Replicas[j]
				if r.Shard != id || r.Problem != "" {
					continue
				}
				if best == nil || r.LastTerm > best.LastTerm || r.LastTerm == best.LastTerm &&
					(r.LastIndex > best.LastIndex || r.LastIndex == best.LastIndex && load[surveys[i].NodeID] < load[node]) {
					best, node = r, surveys[i].NodeID
				}
			}
		}
		if best == nil {
			if id == placement.MetaShard || !acceptLoss {
				return bad("no survivor has a replica of shard %d; look for more survivors, or accept the loss of its data", id)
			}
			p.Lost = append(p.Lost, LostShard{Shard: id, Node: p.Survivors[int(id)%len(p.Survivors)]})
			needed = true
			continue
		}
		load[node]++
		p.Keep = append(p.Keep, KeptReplica{Shard: id, Node: node, LastTerm: best.LastTerm, LastIndex: best.LastIndex})
		alive := 0
		for _, v := range best.Voters {
			if slices.Contains(p.Survivors, v) {
				alive++
			}
		}
		needed = needed || alive <= len(best.Voters)/2
	}
	if !needed {
		return RecoveryPlan{}, ErrNoNeed
	}
	return p, nil
}

// ApplyRecovery does to a survivor's directory what the plan says. It can be repeated
// until it succeeds; a node does not start on the directory before that.
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
		logger.Info("the plan has been applied to this directory before")
		return removeMark(dir)
	case o.id.ClusterID != plan.OldCluster:
		return fmt.Errorf("%w: the directory is of cluster %.8s, the plan of %.8s", ErrPlan, o.id.ClusterID, plan.OldCluster)
	case !slices.Contains(plan.Survivors, o.id.NodeID):
		return fmt.Errorf("%w: node %.8s was not surveyed", ErrPlan, o.id.NodeID)
	}
	// The mark holds the plan: two plans in one cluster would split it.
	b, err := json.MarshalIndent(plan, "", "  ")
	if err != nil {
		return err
	}
	path := filepath.Join(dir, recoveryFile)
	begun, err := os.ReadFile(path)
	again := err == nil
	switch {
	case err != nil && !errors.Is(err, os.ErrNotExist):
		return err
	case again && !bytes.Equal(begun, b):
		return fmt.Errorf("%w: another plan has been begun in this directory", ErrPlan)
	}
	// A disk that fails here ends the process, as in a server.
	fatal := func(class disk.Class, err error) {
		logger.Error("the recovery ends: "+class.String(), "error", err)
		os.Exit(class.ExitCode())
	}
	if err := o.openLog(false, logger, fatal); err != nil {
		return err
	}
	if err := o.openState(false, logger, fatal); err != nil {
		return err
	}
	parts, err := o.log.Check(func(uint32, string) {}, nil)
	if err != nil {
		return err
	}
	if !again {
		if err := plan.fits(o.id.NodeID, parts); err != nil {
			return err
		}
		if err := writeFileSync(path, b); err != nil {
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

func removeMark(dir string) error {
	err := removeFileSync(filepath.Join(dir, recoveryFile))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// fits makes sure that the directory still is what was surveyed: a node that ran after
// that may have acknowledged more than the plan knows, or voted.
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
			return fmt.Errorf("%w: shard %d ends at term %d, index %d, and was surveyed at %d, %d; survey again",
				ErrPlan, k.Shard, term, index, k.LastTerm, k.LastIndex)
		}
	}
	return nil
}

// apply forces the replicas that are kept and gives up the others. The map comes last on
// the node that keeps it, and its slots are needed first.
func (o *offline) apply(plan *RecoveryPlan, parts []raftlog.Part, again bool, logger *slog.Logger) error {
	m, err := o.readMap()
	if err != nil {
		return err
	}
	if m == nil && !again {
		return fmt.Errorf("%w: the directory has no copy of the cluster map; start an empty one in its place", ErrPlan)
	}
	for i := range parts {
		id := parts[i].Shard
		if id == placement.MetaShard || m == nil {
			continue // without a map: the meta group is forgotten already, which comes last
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
			logger.Info("a replica is given up: another has more, or as much", "shard", id, "kept", plan.keeper(id))
			err = shard.Forget(cfg)
		}
		if err != nil {
			return err
		}
	}
	cfg, err := o.replica(nil, placement.MetaShard, logger)
	if err != nil {
		return err
	}
	if plan.keeper(placement.MetaShard) != o.id.NodeID {
		return shard.Forget(cfg)
	}
	logger.Info("the cluster goes on from this node's map", "cluster", plan.NewCluster)
	return shard.Force(cfg, func(b *pebble.Batch) error {
		m, err := placement.ReadMap(pebblekv.Reader{R: o.state.DB}) // all of the log is in it now
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

// rewrite returns the map of the new cluster: nodes that did not survive are removed,
// and each shard belongs where its replica is kept. The controller gives it more.
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
			return nil, fmt.Errorf("%w: the plan does not say what becomes of shard %d", ErrPlan, s.ID)
		}
		node := p.Lost[j].Node
		s.Founded, s.Founders, s.Replicas, s.Preferred = false, []string{node}, []string{node}, node
	}
	if err := m.Check(); err != nil {
		return nil, fmt.Errorf("%w: the new map: %w", ErrPlan, err)
	}
	return m, nil
}

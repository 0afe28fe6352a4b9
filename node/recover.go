package node

import (
	"errors"
	"fmt"
	"slices"

	"millrace/placement"
)

// recoveryFile marks a directory to which a recovery plan is being applied. A node does not
// start on such a directory, because one part of it may belong to the old cluster and
// another part to the new one.
const recoveryFile = "recovery.json"

// recoveryFormat is the version of surveys and plans.
const recoveryFormat = 1

// Errors of a recovery.
var (
	// ErrRecovering means that a recovery of the directory was begun and not finished.
	ErrRecovering = errors.New("a recovery was cut short in this directory: run millrace recover apply again")
	// ErrNoNeed means that for every shard a majority of its voters was surveyed.
	ErrNoNeed = errors.New("every shard has a majority: start the nodes, there is nothing to recover")
	// ErrPlan means that surveys contradict each other, or a plan does not fit a directory.
	ErrPlan = errors.New("recovery")
)

// RecoveryPlan turns the survivors of a cluster into a new cluster. It is made once, from
// the surveys of all survivors, and applied to each of them.
type RecoveryPlan struct {
	Format     int    `json:"format"`
	OldCluster string `json:"old_cluster"`
	// NewCluster is the ID of the new cluster. Any other node of the old cluster that comes
	// back is refused by the new one.
	NewCluster string   `json:"new_cluster"`
	Survivors  []string `json:"survivors"` // node IDs
	// Keep has one replica for each shard that is not lost, the meta group included. The
	// shard goes on from this replica; its other replicas are removed.
	Keep []KeptReplica `json:"keep"`
	// Lost are the shards of which no survivor has a usable replica. They begin again empty.
	Lost []LostShard `json:"lost,omitempty"`
}

// KeptReplica is the replica from which a shard goes on, and the end of its log.
type KeptReplica struct {
	Shard     uint32 `json:"shard"`
	Node      string `json:"node"`
	LastTerm  uint64 `json:"last_term"`
	LastIndex uint64 `json:"last_index"`
}

// LostShard is a shard that begins again, empty, on Node.
type LostShard struct {
	Shard uint32 `json:"shard"`
	Node  string `json:"node"`
}

// keeper returns the node that keeps its replica of a shard, or "" if the shard is lost.
func (p *RecoveryPlan) keeper(id uint32) string {
	for _, k := range p.Keep {
		if k.Shard == id {
			return k.Node
		}
	}
	return ""
}

// check returns an error if a plan that was read from a file is not valid.
func (p *RecoveryPlan) check() error {
	switch {
	case p.Format != recoveryFormat:
		return fmt.Errorf("%w: the plan has format %d, but this version knows only format %d", ErrPlan, p.Format, recoveryFormat)
	case !placement.ValidID(p.OldCluster) || !placement.ValidID(p.NewCluster) || p.OldCluster == p.NewCluster:
		return fmt.Errorf("%w: the plan does not name an old and a new cluster", ErrPlan)
	case !slices.Contains(p.Survivors, p.keeper(placement.MetaShard)):
		return fmt.Errorf("%w: the plan keeps no replica of the cluster map", ErrPlan)
	}
	return nil
}

// PlanRecovery chooses the replica from which each shard goes on: the one with the greatest
// last term and, among those, the greatest last index. It has every acknowledged record that
// any survivor has. For example, a log that ends at term 3, index 5 wins over one that ends
// at term 2, index 99. If no survivor has a replica of a shard, PlanRecovery returns an
// error unless acceptLoss is set; the shard then begins again empty.
func PlanRecovery(surveys []Survey, acceptLoss bool) (RecoveryPlan, error) {
	p, shards, err := newPlan(surveys)
	if err != nil {
		return RecoveryPlan{}, err
	}
	needed := false
	kept := make(map[string]int) // number of shards that each survivor keeps
	for id := range uint32(shards + 1) {
		best, node := bestReplica(surveys, id, kept)
		if best == nil {
			if id == placement.MetaShard || !acceptLoss {
				return RecoveryPlan{}, fmt.Errorf("%w: no survivor has a replica of shard %d; look for more survivors, or accept the loss of its data", ErrPlan, id)
			}
			p.Lost = append(p.Lost, LostShard{Shard: id, Node: p.Survivors[int(id)%len(p.Survivors)]})
			needed = true
			continue
		}
		kept[node]++
		p.Keep = append(p.Keep, KeptReplica{Shard: id, Node: node, LastTerm: best.LastTerm, LastIndex: best.LastIndex})
		needed = needed || !p.hasMajority(best.Voters)
	}
	if !needed {
		return RecoveryPlan{}, ErrNoNeed
	}
	return p, nil
}

// newPlan returns a plan with clusters and survivors, and the number of data shards. It
// returns an error if the surveys contradict each other.
func newPlan(surveys []Survey) (p RecoveryPlan, shards int, err error) {
	if len(surveys) == 0 {
		return p, 0, fmt.Errorf("%w: no surveys", ErrPlan)
	}
	p = RecoveryPlan{Format: recoveryFormat, OldCluster: surveys[0].ClusterID, NewCluster: randomID()}
	for _, s := range surveys {
		switch {
		case s.Format != recoveryFormat:
			return p, 0, fmt.Errorf("%w: a survey has format %d, but this version knows only format %d", ErrPlan, s.Format, recoveryFormat)
		case s.ClusterID != p.OldCluster:
			return p, 0, fmt.Errorf("%w: the surveys are of two clusters, %.8s and %.8s", ErrPlan, p.OldCluster, s.ClusterID)
		case slices.Contains(p.Survivors, s.NodeID):
			return p, 0, fmt.Errorf("%w: two surveys are of node %.8s", ErrPlan, s.NodeID)
		}
		p.Survivors = append(p.Survivors, s.NodeID)
		shards = max(shards, s.Shards)
	}
	slices.Sort(p.Survivors)
	return p, shards, nil
}

// bestReplica returns the usable replica of a shard with the longest log, and its node. Among
// equal logs it prefers the node that keeps the fewest shards so far, by kept. It returns nil
// if no survivor has a usable replica.
func bestReplica(surveys []Survey, id uint32, kept map[string]int) (best *SurveyedReplica, node string) {
	for i := range surveys {
		for j := range surveys[i].Replicas {
			r := &surveys[i].Replicas[j]
			if r.Shard != id || r.Problem != "" {
				continue
			}
			if best == nil || r.LastTerm > best.LastTerm || r.LastTerm == best.LastTerm &&
				(r.LastIndex > best.LastIndex || r.LastIndex == best.LastIndex && kept[surveys[i].NodeID] < kept[node]) {
				best, node = r, surveys[i].NodeID
			}
		}
	}
	return best, node
}

// hasMajority reports whether more than half of the voters are survivors.
func (p *RecoveryPlan) hasMajority(voters []string) bool {
	alive := 0
	for _, v := range voters {
		if slices.Contains(p.Survivors, v) {
			alive++
		}
	}
	return alive > len(voters)/2
}

package node

import (
	"errors"
	"fmt"

	"github.com/hashicorp/raft"

	"millrace/placement"
	"millrace/raftlog"
	"millrace/raftlog/disk"
	"millrace/shard"
)

// Survey lists the replicas that a surviving node has on disk, for PlanRecovery.
type Survey struct {
	Format    int               `json:"format"`
	NodeID    string            `json:"node_id"`
	ClusterID string            `json:"cluster_id"`
	Shards    int               `json:"shards"` // number of data shards in the node's copy of the map
	Replicas  []SurveyedReplica `json:"replicas"`
	Nodes     []SurveyedNode    `json:"nodes"` // the nodes in the node's copy of the map
}

// SurveyedReplica is a replica of a survivor.
type SurveyedReplica struct {
	Shard     uint32   `json:"shard"`
	LastTerm  uint64   `json:"last_term"`
	LastIndex uint64   `json:"last_index"`
	Applied   uint64   `json:"applied"`
	Voters    []string `json:"voters"`
	// Problem is the reason why the replica cannot be used; empty if it can.
	Problem string `json:"problem,omitempty"`
}

// SurveyedNode is a node in a survivor's copy of the map.
type SurveyedNode struct {
	ID    string `json:"id"`
	State string `json:"state"`
	Addr  string `json:"peer_addr"`
}

// MakeSurvey checks the data directory of a node that is not running, and surveys it. It
// changes nothing. It returns an error if the directory is damaged.
func MakeSurvey(dir string) (s Survey, err error) {
	up, err := Diagnose(dir, nil)
	if err != nil {
		return s, err
	}
	if up.ClusterID == "" {
		return s, fmt.Errorf("%w: %s belongs to a node that was in no cluster", ErrPlan, dir)
	}
	for _, c := range up.Checks {
		if len(c.Problems) > 0 {
			// It is not always known which replica is damaged, so no replica is offered.
			return s, &diskError{disk.Corrupt, fmt.Errorf("%s: %s: see millrace doctor", dir, c.Problems[0])}
		}
	}
	o, err := openOffline(dir)
	if err != nil {
		return s, err
	}
	defer func() { err = errors.Join(err, o.close()) }()
	return o.survey()
}

// survey reads the map and all replicas.
func (o *offline) survey() (Survey, error) {
	s := Survey{Format: recoveryFormat, NodeID: o.id.NodeID, ClusterID: o.id.ClusterID, Replicas: []SurveyedReplica{}}
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
			s.Nodes = append(s.Nodes, SurveyedNode{ID: n.ID, State: n.State.String(), Addr: n.PeerAddr})
		}
	}
	parts, err := o.log.Check(func(uint32, string) {}, nil)
	for i := range parts {
		r, e := o.surveyReplica(m, &parts[i])
		s.Replicas, err = append(s.Replicas, r), errors.Join(err, e)
	}
	return s, err
}

// surveyReplica surveys the replica that has p in the Raft logs.
func (o *offline) surveyReplica(m *placement.Map, p *raftlog.Part) (r SurveyedReplica, err error) {
	r = SurveyedReplica{Shard: p.Shard, Voters: []string{}}
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
		r.Problem = "its log is empty"
	}
	r.Applied, err = shard.AppliedOf(o.state.DB, cfg.FirstSlot)
	return r, err
}

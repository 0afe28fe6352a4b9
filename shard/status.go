package shard

import (
	"time"

	"github.com/hashicorp/raft"

	"millrace/call"
)

// Status is a replica's view of itself and its shard at one moment.
type Status struct {
	Shard uint32 `json:"shard"`
	Node  string `json:"node"`
	// State is "leader", "follower", "candidate", "restarting" or "halted".
	State string `json:"state"`
	// Halted is the reason why the replica does nothing any more.
	Halted string `json:"halted,omitempty"`
	// Ready is true for a leader whose reads and writes go ahead.
	Ready     bool   `json:"ready"`
	Leader    string `json:"leader"`
	Term      uint64 `json:"term"`
	LastIndex uint64 `json:"last_index"`
	Commit    uint64 `json:"commit"`
	Applied   uint64 `json:"applied"`
	ClockMS   int64  `json:"clock_ms"`

	// ConfigurationIndex, Voters and Nonvoters are the newest committed membership that
	// was applied here. The record at that index has set it.
	ConfigurationIndex uint64   `json:"configuration_index"`
	Voters             []string `json:"voters"`
	Nonvoters          []string `json:"nonvoters"`
	// Stored is, on the leader, how far each follower has the leader's log on disk. It
	// lacks followers that have acknowledged nothing in this term.
	Stored map[string]uint64 `json:"stored,omitempty"`

	LogRecords      uint64 `json:"log_records"` // as far as the log was seen, like LogBytes
	LogBytes        int64  `json:"log_bytes"`
	LogWriteMS      int64  `json:"log_write_ms"` // age of the write to the log that is under way
	SnapshotIndex   uint64 `json:"snapshot_index"`
	SnapshotsSent   int64  `json:"snapshots_sending"` // under way
	SnapshotsStaged uint64 `json:"snapshots_received"`
	SnapshotLoops   uint64 `json:"snapshot_loops"`
	SnapshotsTaken  uint64 `json:"snapshots_taken"`

	QueueCalls  int     `json:"queue_calls"`
	QueueBytes  int     `json:"queue_bytes"`
	QueueReads  int64   `json:"queue_reads"`
	InFlight    int     `json:"in_flight"`
	Waiters     int64   `json:"waiters"`
	Proposals   uint64  `json:"proposals"`
	Calls       uint64  `json:"calls"`
	Reads       uint64  `json:"reads"`
	Polls       uint64  `json:"polls"`
	Overloaded  uint64  `json:"overloaded"`
	Restarts    uint64  `json:"restarts"`
	ProposedMiB float64 `json:"proposed_mib"`
}

// Blocked returns the number of blocked calls that the replica keeps.
func (s *Shard) Blocked() int64 { return s.waits.count.Load() }

// reporter gathers a replica's status from its parts.
type reporter struct {
	*shared
	parts     *leaderParts
	snapshots *snapshots
}

func newReporter(sh *shared, p *leaderParts, s *snapshots) *reporter {
	return &reporter{shared: sh, parts: p, snapshots: s}
}

// Status returns the replica's status now.
func (s *Shard) Status() Status { return s.report.status() }

func (r *reporter) status() Status {
	st := Status{
		Shard: r.cfg.ID, Node: r.cfg.NodeID, State: "restarting",
		Applied: r.gate.index.Load(), ClockMS: r.clock.last.Load(),
		SnapshotsSent: r.snapshots.sending.Load(), SnapshotsStaged: r.snapshots.installs.Load(),
		SnapshotLoops: r.counters.snapshotLoops.Load(), SnapshotsTaken: r.counters.snapshots.Load(),
		QueueReads: r.parts.reads.waiting.Load(), InFlight: r.inflight.len(), Waiters: r.parts.waits.count.Load(),
		Proposals: r.counters.proposals.Load(), Calls: r.counters.calls.Load(), Reads: r.counters.reads.Load(),
		Polls: r.counters.polls.Load(), Overloaded: r.counters.overloaded.Load(), Restarts: r.counters.restarts.Load(),
		ProposedMiB: float64(r.counters.proposedBytes.Load()) / (1 << 20),
	}
	st.QueueCalls, st.QueueBytes = r.parts.writes.lengths()
	if m, ok, err := r.cfg.Log.Marker(); ok && err == nil {
		st.SnapshotIndex = m.Index
	}
	conf := r.configs.last()
	st.ConfigurationIndex = conf.index
	for _, srv := range conf.Servers {
		if srv.Suffrage == raft.Voter {
			st.Voters = append(st.Voters, string(srv.ID))
		} else {
			st.Nonvoters = append(st.Nonvoters, string(srv.ID))
		}
	}
	if inst := r.current.Load(); inst != nil {
		now := readRole(inst.raft)
		st.Term, st.Leader = now.term, now.leader
		st.LastIndex, st.Commit = inst.raft.LastIndex(), inst.raft.CommitIndex()
		st.LogRecords, st.LogBytes = inst.log.size()
		st.LogWriteMS = inst.log.stalled().Milliseconds()
		switch inst.raft.State() {
		case raft.Leader:
			st.State = "leader"
		case raft.Candidate:
			st.State = "candidate"
		case raft.Follower:
			st.State = "follower"
		}
		st.Ready = now.leads && r.parts.writes.isReady(now.term)
		if now.leads {
			st.Stored = r.parts.news.positions(now.term)
		}
	}
	if err := r.haltErr.Load(); err != nil {
		st.State, st.Halted = "halted", (*err).Error()
	}
	return st
}

// Probe returns the replica's position now. Term is 0 while no Raft runs, or before Raft
// has heard of a term. Then the replica can promise nothing.
func (s *Shard) Probe() call.Probe {
	p := call.Probe{Hosted: true, Applied: s.gate.index.Load()}
	if inst := s.current.Load(); inst != nil {
		now := readRole(inst.raft)
		p.Leader, p.LastIndex = now.leader, inst.raft.LastIndex()
		// The term is read last, because the answer is worth the more the later that
		// happens.
		p.Term = inst.raft.CurrentTerm()
	}
	return p
}

// Applied returns the index of the last record that the state has applied. A snapshot at
// or below it must not reach Raft.
func (s *Shard) Applied() uint64 { return s.gate.index.Load() }

// LogStalled returns for how long a write of this shard to the Raft log has been under
// way, or 0 when there is none.
func (s *Shard) LogStalled() time.Duration {
	if inst := s.current.Load(); inst != nil {
		return inst.log.stalled()
	}
	return 0
}

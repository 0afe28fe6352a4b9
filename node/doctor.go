package node

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"slices"

	"github.com/hashicorp/raft"

	"millrace/placement"
	"millrace/raftlog"
	"millrace/raftlog/disk"
	"millrace/shard"
	"millrace/stream"
)

// maxFindings bounds the problems that a check tells of; more are counted.
const maxFindings = 20

// Checkup is what Diagnose found.
type Checkup struct {
	Dir       string         `json:"dir"`
	NodeID    string         `json:"node_id"`
	ClusterID string         `json:"cluster_id"`
	Checks    []CheckResult  `json:"checks"`
	Replicas  []ReplicaCheck `json:"replicas"`
	// Healthy: no check found a problem.
	Healthy bool `json:"healthy"`
}

// CheckResult is one check of a Checkup.
type CheckResult struct {
	Name     string   `json:"name"`
	Detail   string   `json:"detail"` // what was looked at
	Problems []string `json:"problems,omitempty"`
	// More is how many problems were found beyond those.
	More int `json:"more_problems,omitempty"`
}

func (c *CheckResult) problem(format string, args ...any) {
	if len(c.Problems) >= maxFindings {
		c.More++
		return
	}
	c.Problems = append(c.Problems, fmt.Sprintf(format, args...))
}

// ReplicaCheck is a replica as its disk has it.
type ReplicaCheck struct {
	Shard     uint32   `json:"shard"`
	FirstSlot uint16   `json:"first_slot"`
	LastSlot  uint16   `json:"last_slot"`
	First     uint64   `json:"first_index"` // of the log; 0: it is empty
	Last      uint64   `json:"last_index"`
	LastTerm  uint64   `json:"last_term"`
	Records   uint64   `json:"records"`
	Bytes     int64    `json:"bytes"`
	Applied   uint64   `json:"applied"`
	Snapshot  uint64   `json:"snapshot_index"` // 0: none
	Voters    []string `json:"voters"`
}

// doctor is one Diagnose.
type doctor struct {
	o      *offline
	out    Checkup
	failed chan error // what ended a database
	broken bool       // a goroutine hangs in a database: it cannot be closed
	tell   func(what string, keys int)

	parts  []raftlog.Part
	m      *placement.Map
	noLogs bool // could not be read
}

// Diagnose checks the data directory of a node that does not run, and changes nothing
// but the lock files: formats, checksums, gaps in logs, states against markers and logs, and
// all of it against the cluster map. progress, if not nil, hears how far it is. What is
// wrong with the data is in the Checkup; an error means that it could not be looked at.
func Diagnose(dir string, progress func(what string, keys int)) (Checkup, error) {
	if progress == nil {
		progress = func(string, int) {}
	}
	d := &doctor{out: Checkup{Dir: dir}, failed: make(chan error, 1), tell: progress}
	o, err := openOffline(dir)
	var failure *diskError
	switch {
	case errors.As(err, &failure):
		d.check("identity", func(c *CheckResult) error { return err })
		return d.out, nil
	case err != nil:
		return d.out, err
	}
	d.o = o
	d.out.NodeID, d.out.ClusterID = o.id.NodeID, o.id.ClusterID
	d.check("identity", d.identity)
	if err := d.open("raft logs", o.openLog, d.logs); err != nil {
		return d.out, errors.Join(err, o.lock.Close())
	}
	if err := d.open("state", o.openState, d.state); err != nil {
		return d.out, errors.Join(err, o.lock.Close())
	}
	if d.o.log != nil && d.o.state != nil && !d.broken {
		d.check("replicas", d.replicas)
		d.check("placement", d.placement)
	}
	d.out.Healthy = !slices.ContainsFunc(d.out.Checks, func(c CheckResult) bool { return len(c.Problems) > 0 })
	if d.broken {
		return d.out, o.lock.Close()
	}
	return d.out, o.close()
}

// check runs one check. A database that meets damage below everything does not come
// back from it: the check is left behind, then, where it hangs.
func (d *doctor) check(name string, f func(*CheckResult) error) {
	c := CheckResult{Name: name}
	done := make(chan error, 1)
	go func() { done <- f(&c) }() // ends at once, or hangs with the database
	var err error
	select {
	case err = <-done:
	case err = <-d.failed:
		d.broken = true
		c = CheckResult{Name: name} // the other goroutine may still write to the first
	}
	if err != nil {
		c.problem("%v", err)
	}
	d.out.Checks = append(d.out.Checks, c)
}

// open opens a database and checks it. A directory that is refused is an error.
func (d *doctor) open(name string, open func(bool, *slog.Logger, func(disk.Class, error)) error, f func(*CheckResult) error) error {
	fatal := func(_ disk.Class, err error) {
		select {
		case d.failed <- err:
		default:
		}
		select {} // what Fatal must do: not come back
	}
	var refused error
	d.check(name, func(c *CheckResult) error {
		err := open(true, nil, fatal)
		if errors.Is(err, disk.ErrLocked) || errors.Is(err, disk.ErrNewerFormat) {
			refused = err
			return nil
		}
		if errors.Is(err, disk.ErrMissing) && d.out.ClusterID == "" {
			c.Detail = "none yet: the node has never been in a cluster"
			return nil
		}
		if err != nil {
			return err
		}
		return f(c)
	})
	return refused
}

func (d *doctor) identity(c *CheckResult) error {
	c.Detail = fmt.Sprintf("node %.8s of cluster %.8s", d.out.NodeID, d.out.ClusterID)
	cut, err := marks(d.o.dir)
	for _, name := range cut {
		if name == recoveryFile {
			c.problem("a recovery was cut short: run millrace recover apply again")
			continue
		}
		c.Detail += fmt.Sprintf("; %s: the removal of a replica will be finished at the next start", name)
	}
	return err
}

func (d *doctor) logs(c *CheckResult) error {
	if err := d.o.log.Verify(); err != nil {
		c.problem("%v", err) // the rest may be readable
	}
	parts, err := d.o.log.Check(func(id uint32, text string) { c.problem("shard %d: %s", id, text) },
		func(n int) { d.tell("raft logs", n) })
	var records uint64
	for i := range parts {
		records += parts[i].Records
	}
	c.Detail = fmt.Sprintf("%d shards, %d records", len(parts), records)
	d.parts, d.noLogs = parts, err != nil
	return err
}

// state reads all keys. Which slots they may be in is told by the map among them.
func (d *doctor) state(c *CheckResult) error {
	var m *placement.Map
	if d.o.log != nil && !d.noLogs {
		var err error
		if m, err = d.o.readMap(); err != nil {
			c.problem("the cluster map: %v", err)
		}
		d.m = m
	}
	known := make(map[uint16]bool)
	for i := range d.parts {
		switch id := d.parts[i].Shard; {
		case id == placement.MetaShard:
			known[placement.MetaSlot] = true
		case m != nil && m.Shard(id) != nil:
			for slot := int(m.Shard(id).First); slot <= int(m.Shard(id).Last); slot++ {
				known[uint16(slot)] = true
			}
		}
	}
	if err := d.o.state.VerifyTables(); err != nil {
		c.problem("%v", err) // the rest may be readable
	}
	if err := d.o.state.CheckLevels(nil); err != nil {
		return fmt.Errorf("the tables are out of order: %w", err)
	}
	it, err := d.o.state.NewIter(nil)
	if err != nil {
		return err
	}
	defer it.Close()
	keys := 0
	for ok := it.First(); ok; ok = it.Next() {
		if keys++; keys%progressEvery == 0 {
			d.tell("state", keys)
		}
		v, err := it.ValueAndErr()
		if err != nil {
			return err
		}
		if err := checkPair(it.Key(), v, known, d.noLogs || m == nil); err != nil {
			c.problem("%v", err)
		}
	}
	c.Detail = fmt.Sprintf("%d keys", keys)
	return it.Error()
}

// checkPair returns what is wrong with a key of the state and its value.
func checkPair(key, value []byte, known map[uint16]bool, anywhere bool) error {
	if len(key) < 2 {
		return fmt.Errorf("a key of %d bytes", len(key))
	}
	if slot := uint16(key[0])<<8 | uint16(key[1]); !anywhere && !known[slot] {
		return fmt.Errorf("a key of slot %d, of which this node has no replica: %s", slot, stream.PrintKey(key))
	}
	if bytes.Equal(key, placement.MapKey()) {
		_, err := placement.DecodeMap(value)
		return err
	}
	if err, ok := shard.CheckSystem(key, value); ok {
		return err
	}
	if err := stream.CheckRecord(key, value); err != nil {
		return fmt.Errorf("%s: %w", stream.PrintKey(key), err)
	}
	return nil
}

// replicas compares the log, the marker and the state of each.
func (d *doctor) replicas(c *CheckResult) error {
	for i := range d.parts {
		p := &d.parts[i]
		cfg, err := d.o.replica(d.m, p.Shard, nil)
		if err != nil {
			c.problem("%v", err)
			continue
		}
		if err := shard.Inspect(cfg, p); err != nil {
			c.problem("shard %d: %v", p.Shard, err)
		}
		r := ReplicaCheck{
			Shard: p.Shard, FirstSlot: cfg.FirstSlot, LastSlot: cfg.LastSlot,
			First: p.First, Last: p.Last, LastTerm: p.LastTerm, Records: p.Records, Bytes: p.Bytes, Voters: []string{},
		}
		if p.Marker != nil {
			r.Snapshot = p.Marker.Index
		}
		if r.Applied, err = shard.AppliedOf(d.o.state.DB, cfg.FirstSlot); err != nil {
			c.problem("shard %d: %v", p.Shard, err)
		}
		for _, s := range p.Configuration.Servers {
			if s.Suffrage == raft.Voter {
				r.Voters = append(r.Voters, string(s.ID))
			}
		}
		d.out.Replicas = append(d.out.Replicas, r)
	}
	c.Detail = fmt.Sprintf("%d of them: log, marker and state", len(d.parts))
	return nil
}

// placement compares the directory with the cluster map, as far as this node knows it.
func (d *doctor) placement(c *CheckResult) error {
	switch {
	case d.out.ClusterID == "":
		c.Detail = "the node has never been in a cluster"
		return nil
	case !slices.ContainsFunc(d.parts, func(p raftlog.Part) bool { return p.Shard == placement.MetaShard }):
		return errors.New("the node was in a cluster, and has no part of its map")
	case d.m == nil:
		c.Detail = "no map yet: the node was about to receive it"
		return nil
	case d.m.ClusterID != d.out.ClusterID:
		return fmt.Errorf("node.json says cluster %.8s, the map %.8s", d.out.ClusterID, d.m.ClusterID)
	case d.m.Node(d.out.NodeID) == nil:
		return fmt.Errorf("node %.8s is not in the map", d.out.NodeID)
	}
	c.Detail = fmt.Sprintf("map version %d: %d nodes, %d shards", d.m.Version, len(d.m.Nodes), len(d.m.Shards))
	for i := range d.parts {
		if id := d.parts[i].Shard; id != placement.MetaShard && d.m.Shard(id) == nil {
			c.problem("shard %d is not in the map", id)
		}
	}
	return nil
}

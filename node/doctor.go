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

// maxProblems is the most problems that one check lists. Further problems are counted.
const maxProblems = 20

// Checkup is the result of Diagnose.
type Checkup struct {
	Dir       string         `json:"dir"`
	NodeID    string         `json:"node_id"`
	ClusterID string         `json:"cluster_id"`
	Checks    []CheckResult  `json:"checks"`
	Replicas  []ReplicaCheck `json:"replicas"`
	// Healthy is true if no check has found a problem.
	Healthy bool `json:"healthy"`
}

// CheckResult is the result of one check of a Checkup.
type CheckResult struct {
	Name     string   `json:"name"`
	Detail   string   `json:"detail"` // the checked data, such as "2 shards, 61 records"
	Problems []string `json:"problems,omitempty"`
	// More is the number of further problems, which are not in Problems.
	More int `json:"more_problems,omitempty"`
}

// problem adds a problem, or counts it if there are many.
func (c *CheckResult) problem(format string, args ...any) {
	if len(c.Problems) >= maxProblems {
		c.More++
		return
	}
	c.Problems = append(c.Problems, fmt.Sprintf(format, args...))
}

// ReplicaCheck is the state of a replica on disk.
type ReplicaCheck struct {
	Shard     uint32   `json:"shard"`
	FirstSlot uint16   `json:"first_slot"`
	LastSlot  uint16   `json:"last_slot"`
	First     uint64   `json:"first_index"` // of the log; 0 if it is empty
	Last      uint64   `json:"last_index"`
	LastTerm  uint64   `json:"last_term"`
	Records   uint64   `json:"records"`
	Bytes     int64    `json:"bytes"`
	Applied   uint64   `json:"applied"`
	Snapshot  uint64   `json:"snapshot_index"` // of the snapshot marker; 0 if there is none
	Voters    []string `json:"voters"`
}

// doctor is the state of one run of Diagnose.
type doctor struct {
	o      *offline
	out    Checkup
	failed chan error // the failure of a database; room for one
	broken bool       // a goroutine hangs in a database, which can therefore not be closed
	report func(check string, keys int)

	parts  []raftlog.Part
	m      *placement.Map // nil if there is none, or it cannot be read
	noLogs bool           // the logs cannot be read
}

// Diagnose checks the data directory of a node that is not running: formats, checksums, gaps
// in logs, states against markers and logs, and all of these against the cluster map. It
// changes nothing but lock files. progress, if not nil, is called now and then with the name
// of the check and the number of items read so far. Problems of the data are in the Checkup; an
// error means that the data could not be checked.
func Diagnose(dir string, progress func(check string, keys int)) (Checkup, error) {
	if progress == nil {
		progress = func(string, int) {}
	}
	d := &doctor{out: Checkup{Dir: dir}, failed: make(chan error, 1), report: progress}
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

// check runs one check and adds its result. If a database fails during the check, the check
// hangs, because fatal does not return. check then leaves its goroutine behind.
func (d *doctor) check(name string, f func(*CheckResult) error) {
	c := CheckResult{Name: name}
	done := make(chan error, 1)
	go func() { done <- f(&c) }() // ends after f, or hangs for ever if a database fails
	var err error
	select {
	case err = <-done:
	case err = <-d.failed:
		d.broken = true
		c = CheckResult{Name: name} // a new one, because f may still write to the old one
	}
	if err != nil {
		c.problem("%v", err)
	}
	d.out.Checks = append(d.out.Checks, c)
}

// open opens a database and checks it with f. It returns an error if the database is in
// use or of a newer format; any other failure is a problem of the check.
func (d *doctor) open(name string, open func(bool, *slog.Logger, func(disk.Class, error)) error, f func(*CheckResult) error) error {
	fatal := func(_ disk.Class, err error) {
		select {
		case d.failed <- err:
		default:
		}
		select {} // fatal must not return
	}
	var refused error
	d.check(name, func(c *CheckResult) error {
		err := open(true, nil, fatal)
		if errors.Is(err, disk.ErrLocked) || errors.Is(err, disk.ErrNewerFormat) {
			refused = err
			return nil
		}
		if errors.Is(err, disk.ErrMissing) && d.out.ClusterID == "" {
			c.Detail = "none, because the node has never been in a cluster"
			return nil
		}
		if err != nil {
			return err
		}
		return f(c)
	})
	return refused
}

// identity checks for marks of interrupted work. openOffline has checked the identity.
func (d *doctor) identity(c *CheckResult) error {
	c.Detail = fmt.Sprintf("node %.8s of cluster %.8s", d.out.NodeID, d.out.ClusterID)
	names, err := marks(d.o.dir)
	for _, name := range names {
		if name == recoveryFile {
			c.problem("a recovery was cut short: run millrace recover apply again")
			continue
		}
		c.Detail += fmt.Sprintf("; %s: the next start will finish the removal of a replica", name)
	}
	return err
}

// logs checks the Raft logs, and keeps what it has read of each shard in d.parts.
func (d *doctor) logs(c *CheckResult) error {
	if err := d.o.log.Verify(); err != nil {
		c.problem("%v", err) // go on, because the rest may be readable
	}
	parts, err := d.o.log.Check(func(id uint32, text string) { c.problem("shard %d: %s", id, text) },
		func(n int) { d.report("raft logs", n) })
	var records uint64
	for i := range parts {
		records += parts[i].Records
	}
	c.Detail = fmt.Sprintf("%d shards, %d records", len(parts), records)
	d.parts, d.noLogs = parts, err != nil
	return err
}

// state reads the cluster map, and then checks all keys of the state.
func (d *doctor) state(c *CheckResult) error {
	if d.o.log != nil && !d.noLogs {
		var err error
		if d.m, err = d.o.readMap(); err != nil {
			c.problem("the cluster map: %v", err)
		}
	}
	slots := d.hostedSlots()
	if err := d.o.state.VerifyTables(); err != nil {
		c.problem("%v", err) // go on, because the rest may be readable
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
			d.report("state", keys)
		}
		v, err := it.ValueAndErr()
		if err != nil {
			return err
		}
		if err := checkPair(it.Key(), v, slots); err != nil {
			c.problem("%v", err)
		}
	}
	c.Detail = fmt.Sprintf("%d keys", keys)
	return it.Error()
}

// hostedSlots returns the slots of the shards in the logs. It returns nil if they are not
// known, because the logs or the map cannot be read.
func (d *doctor) hostedSlots() map[uint16]bool {
	if d.noLogs || d.m == nil {
		return nil
	}
	slots := make(map[uint16]bool)
	for i := range d.parts {
		switch id := d.parts[i].Shard; {
		case id == placement.MetaShard:
			slots[placement.MetaSlot] = true
		case d.m.Shard(id) != nil:
			for slot := int(d.m.Shard(id).First); slot <= int(d.m.Shard(id).Last); slot++ {
				slots[uint16(slot)] = true
			}
		}
	}
	return slots
}

// checkPair returns an error if a key of the state or its value is wrong. The key must be
// of one of the slots, unless slots is nil.
func checkPair(key, value []byte, slots map[uint16]bool) error {
	if len(key) < 2 {
		return fmt.Errorf("a key has %d bytes, too few for a slot", len(key))
	}
	if slot := uint16(key[0])<<8 | uint16(key[1]); slots != nil && !slots[slot] {
		return fmt.Errorf("a key is of slot %d, of which this node has no replica: %s", slot, stream.PrintKey(key))
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

// replicas compares the log, the marker and the state of each replica.
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
	c.Detail = fmt.Sprintf("%d replicas: log, marker and state", len(d.parts))
	return nil
}

// placement compares the directory with this node's copy of the cluster map.
func (d *doctor) placement(c *CheckResult) error {
	switch {
	case d.out.ClusterID == "":
		c.Detail = "the node has never been in a cluster"
		return nil
	case !slices.ContainsFunc(d.parts, func(p raftlog.Part) bool { return p.Shard == placement.MetaShard }):
		return errors.New("the node was in a cluster, but has no replica of its map")
	case d.m == nil:
		c.Detail = "no map yet: the node stopped before it received the map"
		return nil
	case d.m.ClusterID != d.out.ClusterID:
		return fmt.Errorf("%s says cluster %.8s, but the map says %.8s", identityFile, d.out.ClusterID, d.m.ClusterID)
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

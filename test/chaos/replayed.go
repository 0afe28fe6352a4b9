package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"millrace/test/chaos/fault"
	"millrace/test/chaos/replay"
)

// What is different in the era whose replies are compared with the shards' logs.
const (
	// wholeLog is more records than a shard's log gets in it: it is kept whole.
	wholeLog = 1 << 30
	// replayClients is how many clients have every reply compared.
	replayClients = 6
	// replayShare is what the other clients do, of what they do in other eras: their
	// commands stand in the logs as well.
	replayShare = 0.25
)

// replayEra restarts the nodes so that they keep their logs whole, runs an era with
// faults, stops the nodes, and compares what clients were answered with what the nodes
// have committed (S7).
func (c *chaos) replayEra(ctx context.Context) error {
	kinds := c.replayKinds()
	if len(kinds) == 0 {
		c.logf("no fault that was chosen can be done while logs are kept whole: none is replayed")
		return nil
	}
	c.cluster.AddArgs("--log-records", fmt.Sprint(wholeLog))
	for i, n := range c.cluster.Nodes {
		if code := c.cluster.Terminate(n); code != 0 {
			c.problems.Add("L0", "node %d was asked to stop and ended with %d\n%s", i+1, code, c.cluster.LogTail(n, 12))
		}
		if err := c.cluster.Launch(n); err != nil {
			return err
		}
		if err := c.cluster.AwaitHealthy(startWithin); err != nil {
			return err
		}
	}
	var err error
	c.events = c.nemesis.Events()
	if c.nemesis, err = fault.New(c.world, c.seed+1, kinds); err != nil {
		return err
	}
	load := c.load
	load.Rate, load.Recorded = load.Rate*replayShare, replayClients
	e, err := c.runEra(ctx, c.replay, load)
	if err != nil {
		return fmt.Errorf("the era that is replayed: %w", err)
	}
	hosts := map[uint32][]int{}
	recorded, err := e.EndRecorded(func(shard uint32) []int {
		hosts[shard] = c.replicas(shard)
		return hosts[shard]
	})
	if err != nil {
		return err
	}
	if ctx.Err() != nil {
		return errors.New("interrupted")
	}
	for _, n := range c.cluster.Nodes {
		c.cluster.Kill(n)
	}
	began := time.Now()
	c.replayed, err = recorded.Compare(func(shard uint32, keep func([]string) bool) ([]replay.Log, error) {
		return c.readLogs(shard, hosts[shard], keep)
	}, func(format string, args ...any) { c.problems.Add("S7", format, args...) })
	c.logf("%+v in the replayed log, in %v", c.replayed, time.Since(began).Round(time.Millisecond))
	if err == nil && c.replayed.Replies == 0 {
		err = errors.New("no reply was compared with the log")
	}
	return err
}

// unreplayed are the kinds of faults that take logs away, wait for snapshots, or would
// fill the disks with logs.
var unreplayed = []string{"replace", "wiped", "rotten file", "divergent snapshot", "late snapshot", "overload"}

// replayKinds returns the kinds of faults that are dealt while logs are kept whole.
func (c *chaos) replayKinds() []string {
	return slices.DeleteFunc(fault.Names(), func(name string) bool {
		return slices.Contains(unreplayed, name) || len(c.only) > 0 && !slices.Contains(c.only, name)
	})
}

// readLogs reads a shard's log from the disks of its nodes, which have stopped.
func (c *chaos) readLogs(shard uint32, nodes []int, keep func([]string) bool) ([]replay.Log, error) {
	var logs []replay.Log
	for _, i := range nodes {
		l, err := replay.ReadLog(fmt.Sprintf("node %d", i+1), c.cluster.Nodes[i].Dir, shard, keep)
		if err != nil {
			return nil, err
		}
		logs = append(logs, l)
	}
	return logs, nil
}

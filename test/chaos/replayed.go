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

// Settings of the era whose replies are compared with the shards' logs.
const (
	// wholeLog is the log length that nodes are told to keep. A shard never gets so many
	// records, so that its log stays whole.
	wholeLog = 1 << 30
	// replayClients is the number of clients whose every reply is compared.
	replayClients = 6
	// replayShare is the rate of the other clients relative to other eras. It is small
	// because their commands stand in the logs as well.
	replayShare = 0.25
)

// replayEra checks S7. It restarts the nodes so that they keep their logs whole, runs an
// era with faults, kills all nodes, and compares the replies of the recorded clients with
// the commands that the nodes committed.
func (c *chaos) replayEra(ctx context.Context) error {
	kinds := c.replayKinds()
	if len(kinds) == 0 {
		c.logf("no log is replayed: none of the chosen faults can be injected while logs are kept whole")
		return nil
	}
	err := c.keepWhole()
	if err != nil {
		return err
	}
	c.events = c.nemesis.Events()
	if c.nemesis, err = fault.New(c.world, c.seed+1, kinds); err != nil {
		return err
	}
	load := c.load
	load.Rate, load.Recorded = load.Rate*replayShare, replayClients
	e, err := c.runEra(ctx, c.replay, load)
	if err != nil {
		return fmt.Errorf("the replayed era: %w", err)
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
	c.logf("compared with the replayed log: %+v, in %v", c.replayed, time.Since(began).Round(time.Millisecond))
	if err == nil && c.replayed.Replies == 0 {
		err = errors.New("no reply was compared with the log")
	}
	return err
}

// keepWhole restarts one node after another, so that from now on it keeps its logs whole.
func (c *chaos) keepWhole() error {
	c.cluster.AddArgs("--log-records", fmt.Sprint(wholeLog))
	for i, n := range c.cluster.Nodes {
		if code := c.cluster.Terminate(n); code != 0 {
			c.problems.Add("L0", "node %d was asked to stop and exited with code %d\n%s", i+1, code, c.cluster.LogTail(n, 12))
		}
		if err := c.cluster.Launch(n); err != nil {
			return err
		}
		if err := c.cluster.AwaitHealthy(startWithin); err != nil {
			return err
		}
	}
	return nil
}

// unreplayed lists the faults that are left out of the replayed era, because they remove
// logs, wait for snapshots, or would fill the disks with logs.
var unreplayed = []string{"replace", "wiped", "rotten file", "divergent snapshot", "late snapshot", "overload"}

// replayKinds returns the kinds of faults that are dealt in the replayed era.
func (c *chaos) replayKinds() []string {
	return slices.DeleteFunc(fault.Names(), func(name string) bool {
		return slices.Contains(unreplayed, name) || len(c.only) > 0 && !slices.Contains(c.only, name)
	})
}

// readLogs reads a shard's log from the disk of each of its nodes. The nodes do not run.
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

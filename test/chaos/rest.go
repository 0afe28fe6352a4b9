package main

import (
	"errors"
	"fmt"
	"time"

	"millrace/test/cluster"
)

// atRest checks L3: within a minute after the last fault is healed, every shard has a
// leader, all replicas are level with it, and no node uses more resources than before the
// first fault, apart from a tolerance.
func (c *chaos) atRest() error {
	deadline := time.Now().Add(levelWithin)
	for {
		wrong := c.notLevel()
		if wrong == "" {
			return nil
		}
		if time.Now().After(deadline) {
			c.problems.Add("L3", "%v after healing and without load: %s", levelWithin, wrong)
			return nil
		}
		time.Sleep(200 * time.Millisecond)
	}
}

// notLevel describes the first thing that is not at rest. It returns "" when all is.
func (c *chaos) notLevel() string {
	for i, n := range c.cluster.Nodes {
		st, err := c.cluster.Status(n)
		if err != nil {
			return fmt.Sprintf("node %d: %v", i+1, err)
		}
		for _, s := range st.Shards {
			if s.Leader == "" {
				return fmt.Sprintf("node %d: shard %d has no leader", i+1, s.ID)
			}
			for _, r := range s.Replicas {
				if !r.Reached || r.Lag > 0 {
					return fmt.Sprintf("node %d: shard %d: a replica is not level: %+v", i+1, s.ID, r)
				}
			}
		}
		u, err := uses(n)
		if err != nil {
			return fmt.Sprintf("node %d: %v", i+1, err)
		}
		if u.above(c.base[i]) {
			return fmt.Sprintf("node %d uses %v; before the first fault it used %v", i+1, u, c.base[i])
		}
	}
	return ""
}

// replicas returns the indexes of the nodes that have a replica of a shard.
func (c *chaos) replicas(shard uint32) []int {
	st, err := c.cluster.Status(c.cluster.Nodes[0])
	if err != nil && !errors.Is(err, cluster.ErrUnhealthy) { // unhealthy is fine: a leadership may still be moving to its preferred node
		c.problems.Add("L3", "the status of node 1: %v", err)
		return nil
	}
	var out []int
	for _, s := range st.Shards {
		if s.ID != shard {
			continue
		}
		for _, r := range s.Replicas {
			for i, n := range c.cluster.Nodes {
				if n.ID() == r.Node {
					out = append(out, i)
				}
			}
		}
	}
	if len(out) == 0 {
		c.problems.Add("L3", "shard %d has no replica", shard)
	}
	return out
}

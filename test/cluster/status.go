package cluster

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"millrace/node"
)

// ErrUnhealthy is wrapped by the error of Status if the cluster answers but is not healthy.
var ErrUnhealthy = errors.New("the cluster is not healthy")

// Status asks one node for the status of the cluster.
func (c *Cluster) Status(n *Node) (node.Status, error) {
	var st node.Status
	r, err := (&http.Client{Timeout: 5 * time.Second}).Get("http://" + n.Addr.HTTP + "/status")
	if err != nil {
		return st, err
	}
	defer r.Body.Close()
	if err := json.NewDecoder(r.Body).Decode(&st); err != nil {
		return st, err
	}
	if !st.Healthy {
		return st, fmt.Errorf("%w: %s", ErrUnhealthy, strings.Join(st.Problems, "; "))
	}
	return st, nil
}

// WaitHealthy waits until every running node reports a healthy cluster.
func (c *Cluster) WaitHealthy() {
	c.tb.Helper()
	if err := c.AwaitHealthy(HealthyTimeout); err != nil {
		c.tb.Fatal(err)
	}
}

// AwaitHealthy waits until every running node reports a healthy cluster, at most for
// within.
func (c *Cluster) AwaitHealthy(within time.Duration) error {
	deadline := time.Now().Add(within)
	for _, n := range c.Nodes {
		for n.Running() {
			_, err := c.Status(n)
			if err == nil {
				break
			}
			if time.Now().After(deadline) {
				return fmt.Errorf("node %d: not healthy after %v: %w\n%s", n.Index+1, within, err, c.LogTail(n, 30))
			}
			time.Sleep(5 * poll)
		}
	}
	return nil
}

// Leader returns the node that leads shard in the view of node n, or nil.
func (c *Cluster) Leader(n *Node, shard uint32) *Node {
	st, _ := c.Status(n)
	for _, s := range st.Shards {
		if s.ID != shard {
			continue
		}
		for _, m := range c.Nodes {
			if m.Addr.NodeID == s.Leader {
				return m
			}
		}
	}
	return nil
}

// Addrs returns the client addresses of all nodes.
func (c *Cluster) Addrs() []string {
	var out []string
	for _, n := range c.Nodes {
		out = append(out, n.Addr.Client)
	}
	return out
}

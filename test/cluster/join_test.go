package cluster

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestRefusesOtherCluster tells a node of one cluster to join another. The node ends and
// changes neither its directory nor the other cluster. Without --join it starts as before.
func TestRefusesOtherCluster(t *testing.T) {
	skipIfShort(t)
	t.Parallel()
	one := Start(t, Options{Nodes: 1, Shards: 1})
	two := Start(t, Options{Nodes: 1, Shards: 1})
	n := two.Nodes[0]
	if code := two.Terminate(n); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	before := readFile(t, filepath.Join(n.Dir, "node.json"))
	began := time.Now()
	refused(t, 1, freshArgs(n.Dir, "--join", one.Nodes[0].Addr.Gossip), "another cluster", one.Nodes[0].Addr.Gossip, n.Dir)
	t.Logf("it ended after %v", time.Since(began).Round(time.Millisecond))
	if after := readFile(t, filepath.Join(n.Dir, "node.json")); after != before {
		t.Errorf("node.json was changed from %s to %s", before, after)
	}
	two.Restart(n)
	two.WaitHealthy()
	for _, c := range []*Cluster{one, two} {
		st, err := c.Status(c.Nodes[0])
		if err != nil || len(st.Nodes) != 1 || st.Nodes[0].ID != c.Nodes[0].Addr.NodeID {
			t.Errorf("nodes %+v: %v", st.Nodes, err)
		}
	}
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

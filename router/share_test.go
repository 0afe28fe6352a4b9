package router

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"millrace/resp"
)

// newNodes returns routers on the three nodes of a cluster. Shard i is led by node leaders[i].
func newNodes(t *testing.T, leaders ...int) []*rig {
	t.Helper()
	cl := newCluster(t, len(leaders))
	for i, node := range leaders {
		cl.move(i, node)
	}
	var out []*rig
	for i := range 3 {
		out = append(out, startRig(t, cl, i, func(cfg *Config) { cfg.EnableFlush = true }))
	}
	return out
}

// scan returns all names of a scan.
func (c *client) scan() (names []string) {
	c.t.Helper()
	for cursor, steps := "0", 0; steps == 0 || cursor != "0"; steps++ {
		c.send("SCAN " + cursor + " COUNT 3")
		v, err := c.read()
		if err != nil || len(v.Elems) != 2 {
			c.t.Fatalf("SCAN %s: %s, %v", cursor, show(v), err)
		}
		cursor = string(v.Elems[0].Str)
		for _, e := range v.Elems[1].Elems {
			names = append(names, string(e.Str))
		}
	}
	return names
}

// size returns the answer of DBSIZE.
func (c *client) size() (n int) {
	c.t.Helper()
	got := c.do("DBSIZE")
	if _, err := fmt.Sscanf(got, ":%d", &n); err != nil {
		c.t.Fatalf("DBSIZE answers %s", got)
	}
	return n
}

// TestShares visits every node as a cluster-aware client does. It meets each key once.
func TestShares(t *testing.T) {
	g := newNodes(t, 0, 1, 0, 2, 1)
	want := g[0].dial().fill(60)
	for _, ask := range []string{"CLUSTER SLOTS", "CLUSTER SHARDS", "CLUSTER NODES", "READONLY", "ASKING"} {
		t.Run(ask, func(t *testing.T) {
			var scanned, listed []string
			sum := 0
			for _, node := range g {
				c := node.dial()
				if got := c.size(); got != 60 {
					t.Errorf("before %s, DBSIZE answers %d", ask, got)
				}
				c.do(ask)
				share := c.texts("KEYS *")
				listed = append(listed, share...)
				scanned = append(scanned, c.scan()...)
				sum += c.size()
				for range 20 {
					if got := strings.Trim(c.do("RANDOMKEY"), `"`); !slices.Contains(share, got) {
						t.Errorf("RANDOMKEY answers %s, which is not among %q", got, share)
					}
				}
				c.want("RESET", "+RESET")
				if got := len(c.scan()); got != 60 {
					t.Errorf("after RESET, a scan finds %d keys", got)
				}
			}
			slices.Sort(scanned)
			slices.Sort(listed)
			if sum != 60 || !slices.Equal(scanned, want) || !slices.Equal(listed, want) {
				t.Errorf("DBSIZE sums up to %d, SCAN finds %q, KEYS %q", sum, scanned, listed)
			}
		})
	}
}

// TestShareOfNothing asks a node that leads no shard. The whole cluster is still flushed there.
func TestShareOfNothing(t *testing.T) {
	g := newNodes(t, 0, 1)
	g[0].dial().fill(5)
	c := g[2].dial()
	c.want("ROLE", `["master", :0, []]`)
	c.do("CLUSTER NODES")
	c.want("DBSIZE", ":0")
	c.want("KEYS *", "[]")
	c.want("SCAN 0", `["0", []]`)
	c.want("SCAN 00", `["0", []]`)
	c.want("SCAN x", "-ERR invalid cursor")
	c.want("RANDOMKEY", "nil")
	c.want("ROLE", `["slave", "127.0.0.1", :7000, "connected", :0]`)
	if got := c.do("INFO replication"); !strings.Contains(got, `role:slave\r\nmaster_host:127.0.0.1\r\nmaster_port:7000\r\n`) {
		t.Errorf("INFO replication of a replica: %s", got)
	}
	m := g[0].dial()
	m.do("CLUSTER NODES")
	m.want("ROLE", `["master", :0, [["127.0.0.1", "7002", "0"]]]`)
	if got := m.do("INFO replication"); !strings.Contains(got, `connected_slaves:1\r\nslave0:ip=127.0.0.1,port=7002,state=online,offset=0,lag=0\r\n`) {
		t.Errorf("INFO replication of a master: %s", got)
	}
	c.want("FLUSHALL", "+OK")
	g[0].dial().want("DBSIZE", ":0")
}

// TestShareWithoutLeader asks while a shard has no leader. No node counts its keys, so each
// refuses.
func TestShareWithoutLeader(t *testing.T) {
	g := newNodes(t, 0, -1)
	c := g[0].dial()
	c.do("ASKING")
	for _, line := range []string{"DBSIZE", "SCAN 0", "KEYS *", "RANDOMKEY"} {
		c.want(line, "-"+textNoLeader)
	}
}

// TestShareScanAcrossMove moves a shard away in the middle of its scan, which goes on in it.
func TestShareScanAcrossMove(t *testing.T) {
	g := newNodes(t, 0, 1)
	c := g[0].dial()
	var want []string
	for i := range 9 {
		want = append(want, fmt.Sprintf("{%s}%d", g[0].cl.key(0, 0), i))
		c.want("SET "+want[i]+" v", "+OK")
	}
	c.do("ASKING")
	c.send("SCAN 0 COUNT 4")
	v, err := c.read()
	if err != nil || len(v.Elems) != 2 || len(v.Elems[1].Elems) != 4 {
		t.Fatalf("SCAN 0: %s, %v", show(v), err)
	}
	g[0].cl.move(0, 2)
	c.do("SET " + want[0] + " v") // the router learns the new leader
	c.do("CLUSTER NODES")
	c.send("SCAN " + string(v.Elems[0].Str) + " COUNT 100")
	rest, err := c.read()
	if err != nil || len(rest.Elems) != 2 || string(rest.Elems[0].Str) != "0" {
		t.Fatalf("the second SCAN: %s, %v", show(rest), err)
	}
	var got []string
	for _, e := range append(v.Elems[1].Elems, rest.Elems[1].Elems...) {
		got = append(got, string(e.Str))
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("the scan finds %q", got)
	}
}

// TestRolesAgree asks every node for the roles in every way. Each node has one role.
func TestRolesAgree(t *testing.T) {
	for _, leaders := range [][]int{{0, 0, 0}, {0, 1, 0}, {1, 1, 2}, {0, 1, 2, 0}} {
		t.Run(fmt.Sprint(leaders), func(t *testing.T) {
			for at, g := range newNodes(t, leaders...) {
				c := g.dial()
				want := make(map[string]bool) // by node: whether it is a master
				masters := 0
				for i := range 3 {
					want[nodeID(i)] = slices.Contains(leaders, i)
					if want[nodeID(i)] {
						masters++
					}
				}
				c.want("CLUSTER MYID", `"`+nodeID(at)+`"`)
				for from, got := range map[string]map[string]bool{
					"SLOTS": c.rolesInSlots(), "SHARDS": c.rolesInShards(), "NODES": c.rolesInNodes(),
				} {
					if fmt.Sprint(got) != fmt.Sprint(want) {
						t.Errorf("node %d, CLUSTER %s: masters %v, want %v", at, from, got, want)
					}
				}
				if got := strings.HasPrefix(c.do("ROLE"), `["master"`); got != want[nodeID(at)] {
					t.Errorf("node %d: ROLE says master: %v", at, got)
				}
				if got := strings.Contains(c.do("INFO replication"), "role:master"); got != want[nodeID(at)] {
					t.Errorf("node %d: INFO says master: %v", at, got)
				}
				if got := c.do("CLUSTER INFO"); !strings.Contains(got, fmt.Sprintf(`cluster_size:%d\r\n`, masters)) {
					t.Errorf("node %d: CLUSTER INFO: %s, want %d masters", at, got, masters)
				}
			}
		})
	}
}

// put notes a role, and fails if a node has two.
func (c *client) put(roles map[string]bool, id string, master bool) {
	if was, ok := roles[id]; ok && was != master {
		c.t.Errorf("node %s has two roles", id)
	}
	roles[id] = master
}

func (c *client) value(line string) resp.Value {
	c.t.Helper()
	c.send(line)
	v, err := c.read()
	if err != nil || v.IsErr() {
		c.t.Fatalf("%s: %s, %v", line, show(v), err)
	}
	return v
}

func (c *client) rolesInSlots() map[string]bool {
	out := make(map[string]bool)
	for _, row := range c.value("CLUSTER SLOTS").Elems {
		for i, n := range row.Elems[2:] {
			c.put(out, string(n.Elems[2].Str), i == 0)
		}
	}
	return out
}

func (c *client) rolesInShards() map[string]bool {
	out := make(map[string]bool)
	for _, shard := range c.value("CLUSTER SHARDS").Elems {
		for _, n := range shard.Elems[3].Elems {
			id, role := "", ""
			for i := 0; i < len(n.Elems); i += 2 {
				switch string(n.Elems[i].Str) {
				case "id":
					id = string(n.Elems[i+1].Str)
				case "role":
					role = string(n.Elems[i+1].Str)
				}
			}
			c.put(out, id, role == "master")
		}
	}
	return out
}

func (c *client) rolesInNodes() map[string]bool {
	out := make(map[string]bool)
	for line := range strings.Lines(string(c.value("CLUSTER NODES").Str)) {
		words := strings.Fields(line)
		c.put(out, words[0], strings.Contains(words[2], "master"))
	}
	return out
}

package placement

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// commandScript is a sequence of commands and replies. Each command sees the map that the
// commands before it left.
var commandScript = []struct {
	line string
	want string // reply: a version, or the beginning of an error
}{
	{"NODE.JOIN " + clusterID + " " + nodeArgs("a"), "ERR the cluster has not been created yet"},
	{"SHARDS.CREATE 0", "ERR the cluster has not been created yet"},
	{"FOUND " + clusterID + " 3 3 2", "ERR wrong number of words: FOUND cluster shards"},
	{"FOUND x 3 3 2 " + nodeArgs("b"), `ERR "x" is not a cluster ID`},
	{"FOUND " + clusterID + " 0 3 2 " + nodeArgs("b"), "ERR 0 shards is not between 1 and 256"},
	{"FOUND " + clusterID + " 3 3 x " + nodeArgs("b"), `ERR expect: "x" is not a number`},
	{"FOUND " + clusterID + " 3 3 2 B b:1 b:2 b:3 b:4", `ERR "B" is not a node ID`},
	{"FOUND " + clusterID + " 3 3 2 " + nodeArgs("b"), "1"},
	{"FOUND " + clusterID + " 3 3 2 " + nodeArgs("b"), "1"},
	{"FOUND " + strings.Repeat("d", 40) + " 3 3 2 " + nodeArgs("b"), "ERR the cluster already exists as c1c1"},
	{"SHARDS.CREATE 1", "ERR 1 active nodes, but 2 are expected"},
	{"NODE.JOIN " + strings.Repeat("d", 40) + " " + nodeArgs("a"), "ERR this is cluster c1c1"},
	{"NODE.JOIN " + clusterID + " " + id("a") + " a:1 a:0 a:3 a:4", `ERR client address: "a:0" has no port`},
	{"NODE.JOIN " + clusterID + " " + nodeArgs("a"), "2"},
	{"NODE.JOIN " + clusterID + " " + nodeArgs("a"), "2"},
	{"NODE.JOIN " + clusterID + " " + id("a") + " a:1 a:2 a:3 a:4", "3"},
	{"SHARDS.CREATE 2", "STALE the map is at version 3, not 2"},
	{"SHARDS.CREATE x", `ERR "x" is not a version`},
	{"SHARDS.CREATE 3", "4"},
	{"SHARDS.CREATE 3", "4"},
	{"NODE.JOIN " + clusterID + " " + nodeArgs("c"), "5"},
	{"SHARD.REPLICAS 1 4 " + strings.Join(ids("a", "b", "c"), " "), "ERR shard 1 has not had a leader yet"},
	{"SHARD.FOUNDED 1", "6"},
	{"SHARD.FOUNDED 1", "6"},
	{"SHARD.FOUNDED 4", `ERR no shard "4"`},
	{"SHARD.FOUNDED 0", `ERR no shard "0"`},
	{"SHARD.FOUNDED -1", `ERR no shard "-1"`},
	{"SHARD.REPLICAS 1 4 " + strings.Join(ids("a", "b", "c"), " "), "STALE shard 1 is at version 6, not 4"},
	{"SHARD.REPLICAS 1 6 " + strings.Join(ids("a", "b", "a"), " "), "ERR node " + id("a") + " is listed twice"},
	{"SHARD.REPLICAS 1 6 " + strings.Join(ids("a", "z"), " "), "ERR no node"},
	{"SHARD.REPLICAS 1 6", "ERR wrong number of words: SHARD.REPLICAS"},
	{"SHARD.REPLICAS 1 6 " + strings.Join(ids("b", "a", "c"), " "), "7"},
	{"SHARD.REPLICAS 1 6 " + strings.Join(ids("b", "a", "c"), " "), "7"},
	{"SHARD.PREFER 1 6 " + id("c"), "STALE shard 1 is at version 7, not 6"},
	{"SHARD.PREFER 2 4 " + id("c"), "ERR shard 2 has no replica"},
	{"SHARD.PREFER 1 7 " + id("c"), "8"},
	{"SHARD.PREFER 1 7 " + id("c"), "8"},
	{"NODE.STATE " + id("c") + " gone", `ERR "gone" is not a node state`},
	{"NODE.STATE " + id("z") + " removed", "ERR no node"},
	{"NODE.STATE " + id("c") + " removed", "ERR node " + id("c") + " has a replica of shard 1"},
	{"NODE.STATE " + id("c") + " draining", "9"},
	{"NODE.STATE " + id("c") + " draining", "9"},
	{"NODE.JOIN " + clusterID + " " + id("c") + " c:1 c:2 c:3 c:4", "10"},
	{"SHARD.REPLICAS 1 8 " + strings.Join(ids("a", "b"), " "), "11"},
	{"SHARD.REPLICAS 1 11 " + strings.Join(ids("a", "b", "c"), " "), "ERR node " + id("c") + " is draining"},
	{"NODE.STATE " + id("c") + " removed", "12"},
	{"NODE.STATE " + id("c") + " active", "ERR node " + id("c") + " has been removed"},
	{"NODE.JOIN " + clusterID + " " + nodeArgs("c"), "ERR node " + id("c") + " has been removed"},
	{"NODE.STATE " + id("a") + " draining", "13"},
	{"NODE.STATE " + id("b") + " draining", "ERR node " + id("b") + " is the only active node"},
	{"NODE.STATE " + id("a") + " active", "14"},
	{"node.state " + id("a") + " active", "14"},
}

func nodeArgs(n string) string { return id(n) + " " + strings.Join(addrs(n), " ") }

func TestCommands(t *testing.T) {
	m := newMeta()
	for _, c := range commandScript {
		before := m.Map()
		v, err := m.apply(strings.Fields(c.line)...)
		if err != nil {
			t.Fatalf("%s: %v", c.line, err)
		}
		got := string(v.Str)
		if !v.IsErr() {
			got = fmt.Sprint(v.Int)
		}
		if !strings.HasPrefix(got, c.want) || !v.IsErr() && got != c.want {
			t.Fatalf("%s\n got %s\nwant %s\n%s", c.line, got, c.want, m.Map())
		}
		if v.IsErr() && m.Map() != before {
			t.Fatalf("%s: refused, but the map changed", c.line)
		}
		if m.Map() != nil {
			if err := m.Map().Check(); err != nil {
				t.Fatalf("%s leaves an invalid map: %v", c.line, err)
			}
		}
	}
	s := m.Map().Shard(1)
	if names(s.Replicas) != "a b" || name(s.Preferred) != "a" {
		t.Errorf("shard 1 is at %q, preferred %q: want the replica preferred by the fewest shards",
			names(s.Replicas), name(s.Preferred))
	}
}

func TestShardsCreateSpreads(t *testing.T) {
	for _, c := range []struct{ nodes, shards, replicas int }{
		{1, 6, 3}, {2, 6, 3}, {3, 6, 3}, {3, 16, 3}, {5, 16, 3}, {7, 256, 5}, {3, 1, 1}, {4, 100, 2},
	} {
		var nodes []string
		for i := range c.nodes {
			nodes = append(nodes, string(rune('z'-i))) // names fall in the order of joining
		}
		m := newCluster(t, c.shards, c.replicas, nodes...).Map()
		what := fmt.Sprintf("%d shards x %d on %d nodes", c.shards, c.replicas, c.nodes)
		if len(m.Shards) != c.shards {
			t.Fatalf("%s: %d shards", what, len(m.Shards))
		}
		replicas, leaders := map[string]int{}, map[string]int{}
		for _, s := range m.Shards {
			if n := int(s.Last) - int(s.First) + 1; n != Slots/c.shards && n != Slots/c.shards+1 {
				t.Errorf("%s: shard %d has %d slots", what, s.ID, n)
			}
			if len(s.Replicas) != min(c.replicas, c.nodes) || !slices.Equal(s.Replicas, s.Founders) {
				t.Errorf("%s: shard %d at %v, founded by %v", what, s.ID, s.Replicas, s.Founders)
			}
			for _, r := range s.Replicas {
				replicas[r]++
			}
			leaders[s.Preferred]++
		}
		if d := spread(replicas, m.Active()); d > min(c.replicas, c.nodes) {
			t.Errorf("%s: replicas differ by %d: %v", what, d, replicas)
		}
		if d := spread(leaders, m.Active()); d > 1 {
			t.Errorf("%s: leaders differ by %d: %v", what, d, leaders)
		}
	}
}

// TestFullMapForgetsRemoved shows that a full map forgets the removed node that joined first
// to make room for a new one, but keeps the founders of shards.
func TestFullMapForgetsRemoved(t *testing.T) {
	m := newCluster(t, 2, 1, "a", "b")
	for _, n := range []string{"c", "d"} {
		m.join(t, n)
	}
	for i := 4; i < MaxNodes; i++ {
		m.join(t, fmt.Sprint("n", i))
	}
	next := func(n string) (refusal string) {
		v, err := m.apply(slices.Concat([]string{"NODE.JOIN", clusterID, id(n)}, addrs(n))...)
		if err != nil {
			t.Fatal(err)
		}
		if v.IsErr() {
			return string(v.Str)
		}
		return ""
	}
	const full = "ERR the cluster already has 1024 nodes, which is the limit"
	if got := next("x"); got != full {
		t.Errorf("one node too many: %q", got)
	}
	m.must(t, "SHARD.FOUNDED", "1")
	m.must(t, "SHARD.REPLICAS", "1", fmt.Sprint(m.Map().Shards[0].Version), id("c"))
	for _, n := range []string{"a", "d", "n9"} {
		m.must(t, "NODE.STATE", id(n), "removed")
	}
	for _, forgotten := range []string{"d", "n9"} {
		if got := next("after" + forgotten); got != "" || len(m.Map().Nodes) != MaxNodes {
			t.Fatalf("a node after %s: %q, %d nodes", forgotten, got, len(m.Map().Nodes))
		}
		if m.Map().Node(id(forgotten)) != nil {
			t.Errorf("%s is still there", forgotten)
		}
	}
	if got := next("y"); got != full {
		t.Errorf("one node too many, while only a founder is removed: %q", got)
	}
}

// spread returns the difference between the greatest and the least count of the nodes.
func spread(counts map[string]int, nodes []string) int {
	lo, hi := counts[nodes[0]], counts[nodes[0]]
	for _, n := range nodes {
		lo, hi = min(lo, counts[n]), max(hi, counts[n])
	}
	return hi - lo
}

func TestUnknownCommandHalts(t *testing.T) {
	m := newCluster(t, 1, 1, "a")
	before := m.Map()
	for _, cmds := range [][][][]byte{
		{words("SHARD.SPLIT 1")},
		{{}},
		{words("NODE.STATE " + id("a") + " draining"), words("SHARD.SPLIT 1")},
	} {
		if _, _, err := m.Apply(m.state, 1, cmds); !errors.Is(err, ErrUnknownCommand) {
			t.Errorf("%s: %v, want ErrUnknownCommand", cmds, err)
		}
		if err := m.Flush(m.state); err != nil {
			t.Fatal(err)
		}
		m.Committed()
		if m.Map() != before {
			t.Errorf("%s: changed the map", cmds)
		}
		if v, ok := Check(cmds[len(cmds)-1]); ok || !strings.HasPrefix(string(v.Str), `ERR unknown command "`) {
			t.Errorf("Check: %v %s", ok, v.Str)
		}
	}
	if v, ok := Check(words("SHARDS.CREATE")); ok || !strings.HasPrefix(string(v.Str), "ERR wrong number") {
		t.Errorf("Check: %v %s", ok, v.Str)
	}
	if v, ok := Check(words("shards.create 1")); !ok {
		t.Errorf("Check: %s", v.Str)
	}
	if v, _ := Check([][]byte{[]byte("a\r\nb\xff")}); string(v.Str) != `ERR unknown command "a\r\nb\xff" of the meta group` {
		t.Errorf("Check: %q", v.Str)
	}
}

func TestUnknownFormatHalts(t *testing.T) {
	m := newMeta()
	m.state.m[mapKey] = "\x02from the future"
	if err := m.Load(); !errors.Is(err, ErrFormat) {
		t.Errorf("Load: %v, want ErrFormat", err)
	}
	if _, _, err := m.Apply(m.state, 1, [][][]byte{words("MAP")}); !errors.Is(err, ErrFormat) {
		t.Errorf("Apply: %v, want ErrFormat", err)
	}
	if _, _, err := m.Read(m.state, 1, [][][]byte{words("MAP")}); !errors.Is(err, ErrFormat) {
		t.Errorf("Read: %v, want ErrFormat", err)
	}
	m.state.fail = errors.New("disk")
	if _, _, err := m.Apply(m.state, 1, [][][]byte{words("MAP")}); !errors.Is(err, m.state.fail) {
		t.Errorf("Apply: %v, want the disk's error", err)
	}
}

func TestRead(t *testing.T) {
	m := newMeta()
	if v, _, err := m.Read(m.state, 1, [][][]byte{words("MAP")}); err != nil || !v[0].IsNull() {
		t.Errorf("before the cluster is created: %v, %v", v, err)
	}
	m = newCluster(t, 2, 1, "a")
	replies, _, err := m.Read(m.state, 1, [][][]byte{words("map")})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := DecodeMap(replies[0].Str); err != nil || !reflect.DeepEqual(got, m.Map()) {
		t.Errorf("MAP: %v, %v", got, err)
	}
	for _, line := range []string{"SHARDS.CREATE 1", "MAP 1", "NOPE"} {
		if v, _, err := m.Read(m.state, 1, [][][]byte{words(line)}); err != nil || !v[0].IsErr() {
			t.Errorf("%s: %v, %v, want a refusal", line, v, err)
		}
	}
	if v, err := m.apply("MAP"); err != nil || !bytes.Equal(v.Str, m.Map().Append(nil)) {
		t.Errorf("MAP as a write: %v, %v", v, err)
	}
}

func TestPublishing(t *testing.T) {
	m := newMeta()
	var told []uint64
	m.OnChange(func(cur *Map) { told = append(told, cur.Version) })
	m.must(t, slices.Concat([]string{"FOUND", clusterID, "1", "1", "1", id("a")}, addrs("a"))...)
	m.must(t, slices.Concat([]string{"FOUND", clusterID, "1", "1", "1", id("a")}, addrs("a"))...) // no change

	// A batch is published once, when it is committed.
	join := func(n string) [][]byte {
		return words("NODE.JOIN " + clusterID + " " + id(n) + " " + strings.Join(addrs(n), " "))
	}
	for _, n := range []string{"b", "c"} {
		if _, _, err := m.Apply(m.state, 1, [][][]byte{join(n)}); err != nil {
			t.Fatal(err)
		}
	}
	m.Committed() // of an earlier batch: the changes since its Flush are not published
	if m.Map().Version != 1 {
		t.Errorf("version %d is visible before its batch is committed", m.Map().Version)
	}
	if err := m.Flush(m.state); err != nil {
		t.Fatal(err)
	}
	m.Committed()
	m.Committed()
	if want := []uint64{1, 3}; !slices.Equal(told, want) {
		t.Errorf("told of versions %v, want %v", told, want)
	}
	old := m.Map()
	bytesBefore := old.Append(nil)

	// When another state replaces this one, its map is known at once, and commands change it.
	other := newCluster(t, 2, 1, "a", "b", "c", "d")
	m.state.m = other.state.m
	m.Reset()
	if m.Map().Version != other.Map().Version {
		t.Errorf("after Reset: version %d, want %d", m.Map().Version, other.Map().Version)
	}
	m.join(t, "e")
	if got := m.Map(); got.Version != other.Map().Version+1 || got.Node(id("d")) == nil || len(got.Shards) != 2 {
		t.Errorf("after Reset and a join:\n%s", got)
	}
	if !bytes.Equal(old.Append(nil), bytesBefore) {
		t.Error("a published map was changed")
	}

	// A node that opens its disk knows the map before it applies a command.
	again := NewMachine(m.state.source)
	if err := again.Load(); err != nil {
		t.Fatal(err)
	}
	var late *Map
	again.OnChange(func(cur *Map) { late = cur })
	if !reflect.DeepEqual(late, m.Map()) {
		t.Errorf("loaded:\n%s", late)
	}
	if keys, all := again.Touched(); keys != nil || all {
		t.Error("Touched returned a key")
	}
}

// genCommand draws a command that is likely to have an effect on m.
func genCommand(t *rapid.T, m *Map) []string {
	nodes := rapid.SampledFrom(strings.Split("abcdef", ""))
	node := func() string { return id(nodes.Draw(t, "node")) }
	version := func(v uint64) string {
		return fmt.Sprint(v - uint64(rapid.SampledFrom([]int{0, 0, 0, 1}).Draw(t, "behind")))
	}
	shard := Shard{ID: 1, Version: 1}
	if m != nil && len(m.Shards) > 0 {
		shard = rapid.SampledFrom(m.Shards).Draw(t, "shard")
	}
	mapVersion := uint64(1)
	if m != nil {
		mapVersion = m.Version
	}
	sh := fmt.Sprint(shard.ID)
	switch rapid.IntRange(0, 7).Draw(t, "command") {
	case 0:
		n := nodes.Draw(t, "founder")
		return slices.Concat([]string{"FOUND", clusterID, "5", "3", "1", id(n)}, addrs(n))
	case 1, 2:
		n := nodes.Draw(t, "joining")
		return slices.Concat([]string{"NODE.JOIN", clusterID, id(n)}, addrs(n)[:3], []string{rapid.SampledFrom([]string{n + ":1", n + ":2"}).Draw(t, "http")})
	case 3:
		return []string{"NODE.STATE", node(), rapid.SampledFrom([]string{"active", "active", "draining", "removed"}).Draw(t, "state")}
	case 4:
		return []string{"SHARDS.CREATE", version(mapVersion)}
	case 5:
		return []string{"SHARD.FOUNDED", sh}
	case 6:
		all := ids("a", "b", "c", "d", "e", "f")
		n := rapid.IntRange(1, 4).Draw(t, "n")
		return append([]string{"SHARD.REPLICAS", sh, version(shard.Version)}, rapid.Permutation(all).Draw(t, "replicas")[:n]...)
	}
	return []string{"SHARD.PREFER", sh, version(shard.Version), node()}
}

// TestDeterminism gives the same commands to two replicas, in batches of different size, and
// restarts one of them. Both must give the same replies and end with the same bytes.
func TestDeterminism(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		one, many := newMeta(), newMeta()
		for range rapid.IntRange(1, 20).Draw(t, "batches") {
			var cmds [][][]byte
			var replies []string
			for range rapid.IntRange(1, 6).Draw(t, "commands") {
				argv := genCommand(t, one.Map())
				v, err := one.apply(argv...)
				if err != nil {
					t.Fatalf("%v: %v", argv, err)
				}
				replies = append(replies, fmt.Sprint(v))
				cmds = append(cmds, words(strings.Join(argv, " ")))
				if one.Map() != nil {
					if err := one.Map().Check(); err != nil {
						t.Fatalf("%v leaves an invalid map: %v\n%s", argv, err, one.Map())
					}
				}
				// A repeated command changes nothing.
				before := fmt.Sprint(one.state.m)
				if !v.IsErr() {
					if _, err := one.apply(argv...); err != nil || fmt.Sprint(one.state.m) != before {
						t.Fatalf("%v again: %v, or it changed the map:\n%s", argv, err, one.Map())
					}
				}
			}
			got, _, err := many.Apply(many.state, 99, cmds)
			if err != nil {
				t.Fatal(err)
			}
			for i, v := range got {
				if fmt.Sprint(v) != replies[i] {
					t.Fatalf("%s: %v on one replica, %v on another", cmds[i], replies[i], v)
				}
			}
			if err := many.Flush(many.state); err != nil {
				t.Fatal(err)
			}
			many.Committed()
			if rapid.Bool().Draw(t, "restart") {
				many.Machine = NewMachine(many.state.source)
			}
			if fmt.Sprint(one.state.m) != fmt.Sprint(many.state.m) {
				t.Fatalf("states differ:\n%s\n%s", one.Map(), many.Map())
			}
		}
	})
}

// FuzzApply shows that no words make Apply panic, and that two replicas never differ.
func FuzzApply(f *testing.F) {
	for _, line := range []string{"FOUND", "NODE.JOIN " + clusterID, "NODE.STATE " + id("a") + " draining", "SHARDS.CREATE 1",
		"SHARD.REPLICAS 1 3 " + id("b"), "SHARD.PREFER 1 3 " + id("b"), "SHARD.FOUNDED 4294967297", "MAP"} {
		f.Add([]byte(line))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		argv := bytes.Split(line, []byte(" "))
		var states [2]string
		for i := range states {
			m := newCluster(t, 2, 2, "a", "b")
			m.must(t, "SHARD.FOUNDED", "1")
			_, known := Check(argv)
			_, _, err := m.Apply(m.state, int64(i), [][][]byte{argv})
			if known && err != nil {
				t.Fatalf("%q passes Check, but halts the shard: %v", line, err)
			}
			if err := m.Flush(m.state); err != nil {
				t.Fatal(err)
			}
			m.Committed()
			if err := m.Map().Check(); err != nil {
				t.Fatalf("%q leaves an invalid map: %v", line, err)
			}
			states[i] = fmt.Sprint(m.state.m)
		}
		if states[0] != states[1] {
			t.Fatalf("%q: states differ", line)
		}
	})
}

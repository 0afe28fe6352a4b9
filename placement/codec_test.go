package placement

import (
	"bytes"
	"encoding/hex"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

var rewrite = flag.Bool("rewrite", false, "rewrite the golden files")

// goldenMap returns a map with every field set and a node in each state.
func goldenMap(t fataler) *Map {
	m := newCluster(t, 3, 3, "a", "b", "c", "d", "e")
	m.must(t, "SHARD.FOUNDED", "2")
	m.must(t, "NODE.STATE", id("d"), "draining")
	m.must(t, append([]string{"SHARD.REPLICAS", "2", "7"}, ids("b", "c", "e")...)...)
	m.must(t, "SHARD.FOUNDED", "3")
	m.must(t, append([]string{"SHARD.REPLICAS", "3", "10"}, ids("c", "e")...)...)
	m.must(t, "NODE.STATE", id("d"), "removed")
	m.must(t, "NODE.STATE", id("a"), "draining")
	return m.Map()
}

func TestGoldenMap(t *testing.T) {
	m := goldenMap(t)
	for _, f := range []struct{ name, got string }{
		{"map.hex", hexLines(m.Append(nil))},
		{"map.txt", m.String()},
	} {
		path := filepath.Join("testdata", f.name)
		if *rewrite {
			if err := os.WriteFile(path, []byte(f.got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if f.got != string(want) {
			t.Errorf("%s differs: a change of the bytes needs a new format number.\ngot:\n%s\nwant:\n%s", path, f.got, want)
		}
	}

	// Bytes on disk must stay readable, even if Append writes other bytes one day.
	golden, err := os.ReadFile(filepath.Join("testdata", "map.hex"))
	if err != nil {
		t.Fatal(err)
	}
	b, err := hex.DecodeString(strings.Join(strings.Fields(string(golden)), ""))
	if err != nil {
		t.Fatal(err)
	}
	got, err := DecodeMap(b)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, m) {
		t.Errorf("decoded:\n%s\nwant:\n%s", got, m)
	}
}

func hexLines(b []byte) string {
	var out strings.Builder
	for len(b) > 0 {
		n := min(32, len(b))
		out.WriteString(hex.EncodeToString(b[:n]) + "\n")
		b = b[n:]
	}
	return out.String()
}

func TestMapKey(t *testing.T) {
	if got, want := MapKey(), []byte{0x40, 0, 0, 3, 'm', 'a', 'p', 'm'}; !bytes.Equal(got, want) {
		t.Errorf("key %x, want %x", got, want)
	}
}

// genMap draws any map that passes Check.
func genMap(t *rapid.T) *Map {
	m := &Map{
		Version:   rapid.Uint64Range(1, 1<<63).Draw(t, "version"),
		ClusterID: clusterID,
		Settings: Settings{
			Shards:   rapid.IntRange(1, MaxShards).Draw(t, "shards"),
			Replicas: rapid.IntRange(1, MaxReplicas).Draw(t, "replicas"),
			Expect:   rapid.IntRange(1, MaxNodes).Draw(t, "expect"),
		},
	}
	var all []string
	for i := range rapid.IntRange(1, 26).Draw(t, "nodes") {
		n := string(rune('a' + i))
		m.Nodes = append(m.Nodes, Node{
			ID: id(n), PeerAddr: n + ":1", ClientAddr: "[::1]:2", Joined: uint64(i)*3 + 1,
			GossipAddr: rapid.SampledFrom([]string{"", n + ":3"}).Draw(t, "gossip"),
			State:      NodeState(rapid.IntRange(1, 3).Draw(t, "state")),
		})
		all = append(all, id(n))
	}
	pick := func(what string) []string {
		n := rapid.IntRange(1, min(MaxReplicas, len(all))).Draw(t, what)
		return rapid.Permutation(all).Draw(t, what)[:n]
	}
	next := 0
	for i := range rapid.IntRange(0, 20).Draw(t, "created") {
		s := Shard{
			ID: uint32(i + 1), First: uint16(next), Last: uint16(next + rapid.IntRange(0, 500).Draw(t, "run")),
			Version: rapid.Uint64Range(1, m.Version).Draw(t, "version"), Founded: rapid.Bool().Draw(t, "founded"),
			Founders: pick("founders"), Replicas: pick("replicas"),
		}
		if rapid.Bool().Draw(t, "preferred") {
			s.Preferred = rapid.SampledFrom(s.Replicas).Draw(t, "leader")
		}
		next = int(s.Last) + 1
		m.Shards = append(m.Shards, s)
	}
	if len(m.Shards) > 0 {
		m.Shards[len(m.Shards)-1].Last = Slots - 1
	}
	return m
}

func TestMapRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := genMap(t)
		if err := m.Check(); err != nil {
			t.Fatalf("the generated map fails Check: %v", err)
		}
		b := m.Append(nil)
		got, err := DecodeMap(b)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, m) {
			t.Fatalf("decoded:\n%s\nwant:\n%s", got, m)
		}
		if c := m.Clone(); !reflect.DeepEqual(c, m) {
			t.Fatalf("clone:\n%s\nwant:\n%s", c, m)
		}
		// Every proper prefix is refused, and so is an additional byte.
		cut := rapid.IntRange(0, len(b)-1).Draw(t, "cut")
		for _, bad := range [][]byte{b[:cut], append(bytes.Clone(b), 0)} {
			if _, err := DecodeMap(bad); !errors.Is(err, ErrFormat) {
				t.Fatalf("%d of %d bytes: %v, want ErrFormat", len(bad), len(b), err)
			}
		}
	})
}

func FuzzDecodeMap(f *testing.F) {
	m := goldenMap(f)
	f.Add(m.Append(nil))
	f.Add([]byte{})
	f.Add([]byte{formatMap + 1})
	f.Add(bytes.Repeat([]byte{formatMap}, 100))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := DecodeMap(b)
		if err != nil {
			if !errors.Is(err, ErrFormat) {
				t.Fatalf("error %v is not ErrFormat", err)
			}
			return
		}
		if err := m.Check(); err != nil {
			t.Fatalf("DecodeMap returned a map that fails Check: %v", err)
		}
		if again := m.Append(nil); !bytes.Equal(again, b) {
			t.Fatalf("two encodings of a map:\n%x\n%x", b, again)
		}
		NewTable(m)
		_ = m.String()
	})
}

func TestCheckRefuses(t *testing.T) {
	for _, c := range []struct {
		what  string
		spoil func(*Map)
	}{
		{"version 0", func(m *Map) { m.Version = 0 }},
		{"an invalid cluster ID", func(m *Map) { m.ClusterID = "x" }},
		{"no shards wanted", func(m *Map) { m.Settings.Shards = 0 }},
		{"too many replicas wanted", func(m *Map) { m.Settings.Replicas = MaxReplicas + 1 }},
		{"no nodes", func(m *Map) { m.Nodes = nil }},
		{"nodes out of order", func(m *Map) { m.Nodes[0], m.Nodes[1] = m.Nodes[1], m.Nodes[0] }},
		{"a node twice", func(m *Map) { m.Nodes[1] = m.Nodes[0] }},
		{"two nodes with one place in the order of joining", func(m *Map) { m.Nodes[1].Joined = m.Nodes[0].Joined }},
		{"a node without client address", func(m *Map) { m.Nodes[0].ClientAddr = "" }},
		{"a node without state", func(m *Map) { m.Nodes[0].State = 0 }},
		{"a gap between shards", func(m *Map) { m.Shards[1].First++ }},
		{"shards that overlap", func(m *Map) { m.Shards[0].Last++ }},
		{"slots left over", func(m *Map) { m.Shards[2].Last-- }},
		{"a shard without replicas", func(m *Map) { m.Shards[0].Replicas = nil }},
		{"a replica on an unknown node", func(m *Map) { m.Shards[0].Replicas[0] = id("z") }},
		{"a replica twice", func(m *Map) { m.Shards[0].Replicas[1] = m.Shards[0].Replicas[0] }},
		{"a shard newer than the map", func(m *Map) { m.Shards[0].Version = m.Version + 1 }},
		{"a preferred leader without a replica", func(m *Map) { m.Shards[0].Preferred = id("e") }},
		{"a missing shard number", func(m *Map) { m.Shards[1].ID = 3 }},
	} {
		m := goldenMap(t).Clone()
		if err := m.Check(); err != nil {
			t.Fatalf("before: %v", err)
		}
		c.spoil(m)
		if m.Check() == nil {
			t.Errorf("%s: passes Check", c.what)
		}
	}
}

func TestSplitAddr(t *testing.T) {
	for _, c := range []struct {
		addr, host string
		port       int
	}{
		{"127.0.0.1:6379", "127.0.0.1", 6379},
		{"node-1.example:1", "node-1.example", 1},
		{"[::1]:65535", "::1", 65535},
		{"", "", 0}, {"host", "", 0}, {":6379", "", 0}, {"host:", "", 0}, {"host:0", "", 0}, {"host:65536", "", 0},
		{"host:+1", "", 0}, {"::1:6379", "", 0}, {"[]:1", "", 0}, {"[::1:1", "", 0}, {"a b:1", "", 0}, {"a\nb:1", "", 0},
		{strings.Repeat("h", maxAddrBytes) + ":1", "", 0},
	} {
		host, port, err := SplitAddr(c.addr)
		if host != c.host || port != c.port || (err == nil) != (c.port > 0) {
			t.Errorf("%q: %q, %d, %v", c.addr, host, port, err)
		}
	}
}

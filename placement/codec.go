package placement

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
)

// The encoding of a map, which is the value of the map's key. Numbers are unsigned
// varints. Text is its length as a varint, then its bytes. A node reference is the
// node's position in the list of nodes, from 0.
//
//	 0
//	+---------+---------+---------+--------+----------+--------+-----------------+-------------------+
//	| format  | version | cluster | shards | replicas | expect | n | n nodes     | k | k shards      |
//	| u8 = 1  |         | text    |        |          |        |   |             |   |               |
//	+---------+---------+---------+--------+----------+--------+-----------------+-------------------+
//
//	node:  | id text | peer text | client text | gossip text | http text | joined | state |
//	shard: | id | first | last | version | founded 0/1 | f | f × node | r | r × node | preferred: node + 1, or 0 |
//
// A map has exactly one encoding: lists are sorted, numbers have their shortest form, and
// no bytes follow the end. References keep it small: a map of 64 shards on 5 nodes takes
// less than 2 KiB.
const formatMap = 1

// ErrFormat is wrapped by the errors of DecodeMap: the bytes are not a map in a format
// that this build knows.
var ErrFormat = errors.New("placement: not a map of a known format")

// Append appends the encoding of m to dst. m must pass Check.
func (m *Map) Append(dst []byte) []byte {
	dst = append(dst, formatMap)
	dst = binary.AppendUvarint(dst, m.Version)
	dst = appendText(dst, m.ClusterID)
	for _, n := range []int{m.Settings.Shards, m.Settings.Replicas, m.Settings.Expect, len(m.Nodes)} {
		dst = binary.AppendUvarint(dst, uint64(n))
	}
	for i := range m.Nodes {
		n := &m.Nodes[i]
		for _, s := range []string{n.ID, n.PeerAddr, n.ClientAddr, n.GossipAddr, n.HTTPAddr} {
			dst = appendText(dst, s)
		}
		dst = binary.AppendUvarint(dst, n.Joined)
		dst = binary.AppendUvarint(dst, uint64(n.State))
	}
	dst = binary.AppendUvarint(dst, uint64(len(m.Shards)))
	for i := range m.Shards {
		s := &m.Shards[i]
		founded := uint64(0)
		if s.Founded {
			founded = 1
		}
		for _, n := range []uint64{uint64(s.ID), uint64(s.First), uint64(s.Last), s.Version, founded} {
			dst = binary.AppendUvarint(dst, n)
		}
		dst = m.appendRefs(dst, s.Founders)
		dst = m.appendRefs(dst, s.Replicas)
		preferred := 0
		if s.Preferred != "" {
			i, _ := m.nodeIndex(s.Preferred)
			preferred = i + 1
		}
		dst = binary.AppendUvarint(dst, uint64(preferred))
	}
	return dst
}

func appendText(dst []byte, s string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

func (m *Map) appendRefs(dst []byte, ids []string) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(ids)))
	for _, id := range ids {
		i, _ := m.nodeIndex(id)
		dst = binary.AppendUvarint(dst, uint64(i))
	}
	return dst
}

// DecodeMap decodes the bytes that Append wrote. Its errors wrap ErrFormat.
func DecodeMap(b []byte) (*Map, error) {
	d := decoder{rest: b}
	m := d.readMap()
	if d.err == nil && len(d.rest) > 0 {
		d.fail("%d bytes follow the end of the map", len(d.rest))
	}
	if d.err == nil {
		if err := m.Check(); err != nil {
			d.fail("%v", err)
		}
	}
	if d.err != nil {
		return nil, d.err
	}
	return m, nil
}

// decoder reads from rest. After the first error it keeps err and returns zero values.
type decoder struct {
	rest []byte
	err  error
}

func (d *decoder) fail(format string, args ...any) {
	if d.err == nil {
		d.err = fmt.Errorf("%w: %s", ErrFormat, fmt.Sprintf(format, args...))
	}
}

// number reads a varint up to limit. It accepts only the shortest form, because a map has
// exactly one encoding.
func (d *decoder) number(what string, limit uint64) uint64 {
	if d.err != nil {
		return 0
	}
	n, size := binary.Uvarint(d.rest)
	if size <= 0 || size > 1 && d.rest[size-1] == 0 {
		d.fail("%s: not a varint in its shortest form", what)
		return 0
	}
	if n > limit {
		d.fail("%s: %d is above %d", what, n, limit)
		return 0
	}
	d.rest = d.rest[size:]
	return n
}

func (d *decoder) text(what string) string {
	n := d.number(what, maxAddrBytes)
	if d.err == nil && n > uint64(len(d.rest)) {
		d.fail("%s: only %d of %d bytes are there", what, len(d.rest), n)
	}
	if d.err != nil {
		return ""
	}
	s := string(d.rest[:n])
	d.rest = d.rest[n:]
	return s
}

func (d *decoder) readMap() *Map {
	if len(d.rest) == 0 {
		d.fail("no bytes")
		return nil
	}
	if d.rest[0] != formatMap {
		d.fail("format %d; this build knows format %d", d.rest[0], formatMap)
		return nil
	}
	d.rest = d.rest[1:]
	const anyNumber = 1<<64 - 1
	m := &Map{Version: d.number("version", anyNumber), ClusterID: d.text("cluster")}
	m.Settings.Shards = int(d.number("shards", MaxShards))
	m.Settings.Replicas = int(d.number("replicas", MaxReplicas))
	m.Settings.Expect = int(d.number("expect", MaxNodes))
	nodes := d.number("nodes", MaxNodes)
	for range nodes {
		if d.err != nil { // the bytes ended before the announced number of nodes
			return m
		}
		m.Nodes = append(m.Nodes, Node{
			ID: d.text("node ID"), PeerAddr: d.text("peer address"), ClientAddr: d.text("client address"),
			GossipAddr: d.text("gossip address"), HTTPAddr: d.text("http address"),
			Joined: d.number("joined", anyNumber), State: NodeState(d.number("state", uint64(Removed))),
		})
	}
	shards := d.number("shard count", MaxShards)
	for range shards {
		if d.err != nil {
			return m
		}
		s := Shard{
			ID: uint32(d.number("shard ID", MaxShards)), First: uint16(d.number("first slot", Slots-1)),
			Last: uint16(d.number("last slot", Slots-1)), Version: d.number("shard version", anyNumber),
			Founded: d.number("founded", 1) == 1, Founders: d.refs(m, "founders"), Replicas: d.refs(m, "replicas"),
		}
		if p := d.number("preferred", uint64(len(m.Nodes))); p > 0 {
			s.Preferred = m.Nodes[p-1].ID
		}
		m.Shards = append(m.Shards, s)
	}
	return m
}

func (d *decoder) refs(m *Map, what string) []string {
	n := d.number(what, MaxReplicas)
	var ids []string
	for range n {
		i := d.number(what, MaxNodes)
		if d.err == nil && i >= uint64(len(m.Nodes)) {
			d.fail("%s: node %d of a list of %d", what, i, len(m.Nodes))
		}
		if d.err != nil {
			return nil
		}
		ids = append(ids, m.Nodes[i].ID)
	}
	return ids
}

// mapKey is the key of the map in the state. The length leads the name, as in every key
// of the state. A length of 0xFFFF marks the keys of package shard.
//
//	 0       2      4       7
//	+-------+------+-------+------+
//	| 16384 | 3    | "map" | 'm'  |
//	| u16   | u16  | 3 B   | u8   |
//	+-------+------+-------+------+
const mapKey = "\x40\x00\x00\x03mapm"

// MapKey returns the key of the map in the meta group's state.
func MapKey() []byte { return []byte(mapKey) }

// String returns m as text, one node or shard a line, for the dump tool and for tests.
func (m *Map) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "map version %d of cluster %s: %d shards, %d replicas, %d nodes expected\n",
		m.Version, m.ClusterID, m.Settings.Shards, m.Settings.Replicas, m.Settings.Expect)
	for i := range m.Nodes {
		n := &m.Nodes[i]
		fmt.Fprintf(&b, "node %s joined %d %s peer=%s client=%s gossip=%s http=%s\n",
			n.ID, n.Joined, n.State, n.PeerAddr, n.ClientAddr, n.GossipAddr, n.HTTPAddr)
	}
	for i := range m.Shards {
		s := &m.Shards[i]
		fmt.Fprintf(&b, "shard %d slots %d-%d version %d founded=%t founders=%s replicas=%s preferred=%s\n",
			s.ID, s.First, s.Last, s.Version, s.Founded, shortIDs(s.Founders), shortIDs(s.Replicas), shortID(s.Preferred))
	}
	return b.String()
}

// shortID returns the beginning of an ID, enough to tell nodes apart in logs.
func shortID(id string) string {
	if id == "" {
		return "-"
	}
	return id[:min(8, len(id))]
}

func shortIDs(ids []string) string {
	short := make([]string, len(ids))
	for i, id := range ids {
		short[i] = shortID(id)
	}
	return strings.Join(short, ",")
}

package placement

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"millrace/kv"
	"millrace/resp"
)

// id returns the ID of test node n: IDs of a to z sort as the letters do.
func id(n string) string { return fmt.Sprintf("%x", n) + strings.Repeat("0", idBytes-2*len(n)) }

func ids(names ...string) []string {
	out := make([]string, len(names))
	for i, n := range names {
		out[i] = id(n)
	}
	return out
}

// name is id's inverse.
func name(id string) string {
	b, _ := hex.DecodeString(id)
	return string(bytes.TrimRight(b, "\x00"))
}

func names(ids []string) string {
	out := make([]string, len(ids))
	for i, id := range ids {
		out[i] = name(id)
	}
	return strings.Join(out, " ")
}

// fataler is a test of testing or of rapid.
type fataler interface {
	Helper()
	Fatalf(format string, args ...any)
}

const clusterID = "c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1"

// memKV is a state in memory: the kv.Batch that commands are applied to.
type memKV struct {
	m    map[string]string
	fail error // returned by Get when set
}

func newKV() *memKV { return &memKV{m: make(map[string]string)} }

func (k *memKV) Get(key []byte) ([]byte, bool, error) {
	v, ok := k.m[string(key)]
	return []byte(v), ok, k.fail
}

func (k *memKV) Set(key, value []byte) error { k.m[string(key)] = string(value); return nil }

func (k *memKV) Delete(key []byte) error { delete(k.m, string(key)); return nil }

func (k *memKV) Iter(_, _ []byte) (kv.Iterator, error) {
	return nil, errors.New("the map needs no iterator")
}

func (k *memKV) DeleteRange(lo, hi []byte) error {
	maps.DeleteFunc(k.m, func(key, _ string) bool { return key >= string(lo) && key < string(hi) })
	return nil
}

func (k *memKV) source(read func(kv.Reader) error) error { return read(k) }

func words(line string) [][]byte { return bytes.Fields([]byte(line)) }

// meta is a machine over a state, driven as package shard does.
type meta struct {
	*Machine
	kv *memKV
}

func newMeta() *meta {
	mem := newKV()
	return &meta{NewMachine(mem.source), mem}
}

// apply runs one command in a batch of its own.
func (m *meta) apply(argv ...string) (resp.Value, error) {
	cmd := make([][]byte, len(argv))
	for i, w := range argv {
		cmd[i] = []byte(w)
	}
	replies, err := m.Apply(m.kv, 1, [][][]byte{cmd})
	if err != nil {
		return resp.Value{}, err
	}
	if err := m.Flush(m.kv); err != nil {
		return resp.Value{}, err
	}
	m.Committed()
	return replies[0], nil
}

// must applies a command that is to succeed.
func (m *meta) must(t fataler, argv ...string) {
	t.Helper()
	if v, err := m.apply(argv...); err != nil || v.IsErr() {
		t.Fatalf("%v: %s, %v", argv, v.Str, err)
	}
}

// addrs are the four addresses of the node called n.
func addrs(n string) []string {
	return []string{n + ":7947", n + ":6379", n + ":7946", n + ":9646"}
}

// foundedBy founds a cluster of the named nodes and creates its shards.
func foundedBy(t fataler, shards, replicas int, nodes ...string) *meta {
	t.Helper()
	m := newMeta()
	m.must(t, slices.Concat([]string{"FOUND", clusterID, fmt.Sprint(shards), fmt.Sprint(replicas), "1", id(nodes[0])}, addrs(nodes[0]))...)
	for _, n := range nodes[1:] {
		m.join(t, n)
	}
	m.must(t, "SHARDS.CREATE", fmt.Sprint(m.Map().Version))
	return m
}

func (m *meta) join(t fataler, n string) {
	t.Helper()
	m.must(t, slices.Concat([]string{"NODE.JOIN", clusterID, id(n)}, addrs(n))...)
}

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

// id returns the ID of the test node named n. IDs sort like the names.
func id(n string) string { return fmt.Sprintf("%x", n) + strings.Repeat("0", idBytes-2*len(n)) }

func ids(names ...string) []string {
	out := make([]string, len(names))
	for i, n := range names {
		out[i] = id(n)
	}
	return out
}

// name is the inverse of id.
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

// fataler is a test of package testing or of rapid.
type fataler interface {
	Helper()
	Fatalf(format string, args ...any)
}

const clusterID = "c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1"

// memState is a state in memory. Commands are applied to it as to a batch.
type memState struct {
	m    map[string]string
	fail error // returned by Get when set
}

func newMemState() *memState { return &memState{m: make(map[string]string)} }

func (k *memState) Get(key []byte) ([]byte, bool, error) {
	v, ok := k.m[string(key)]
	return []byte(v), ok, k.fail
}

func (k *memState) Set(key, value []byte) error { k.m[string(key)] = string(value); return nil }

func (k *memState) Delete(key []byte) error { delete(k.m, string(key)); return nil }

func (k *memState) Iter(_, _ []byte) (kv.Iterator, error) {
	return nil, errors.New("the map needs no iterator")
}

func (k *memState) DeleteRange(lo, hi []byte) error {
	maps.DeleteFunc(k.m, func(key, _ string) bool { return key >= string(lo) && key < string(hi) })
	return nil
}

func (k *memState) source(read func(kv.Reader) error) error { return read(k) }

func words(line string) [][]byte { return bytes.Fields([]byte(line)) }

// meta is a machine and its state. Its methods drive it as package shard does.
type meta struct {
	*Machine
	state *memState
}

func newMeta() *meta {
	state := newMemState()
	return &meta{NewMachine(state.source), state}
}

// apply runs one command in its own batch.
func (m *meta) apply(argv ...string) (resp.Value, error) {
	cmd := make([][]byte, len(argv))
	for i, w := range argv {
		cmd[i] = []byte(w)
	}
	replies, _, err := m.Apply(m.state, 1, [][][]byte{cmd})
	if err != nil {
		return resp.Value{}, err
	}
	if err := m.Flush(m.state); err != nil {
		return resp.Value{}, err
	}
	m.Committed()
	return replies[0], nil
}

// must applies a command that has to succeed.
func (m *meta) must(t fataler, argv ...string) {
	t.Helper()
	if v, err := m.apply(argv...); err != nil || v.IsErr() {
		t.Fatalf("%v: %s, %v", argv, v.Str, err)
	}
}

// addrs returns the four addresses of the node named n.
func addrs(n string) []string {
	return []string{n + ":7947", n + ":6379", n + ":7946", n + ":9646"}
}

// newCluster creates a cluster of the named nodes and its shards.
func newCluster(t fataler, shards, replicas int, nodes ...string) *meta {
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

// Mark and Undo are not used: no call of this machine is undone.
func (m *memState) Mark() kv.Mark      { return kv.Mark{} }
func (m *memState) Undo(kv.Mark) error { return errors.New("undo is not expected") }

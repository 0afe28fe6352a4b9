package placement

import (
	"bytes"
	"fmt"
	"sync"
	"sync/atomic"

	"millrace/kv"
	"millrace/resp"
)

// Source lends a view of the state that a Machine's commands change, as it is now. The
// view is not used after read has returned.
type Source func(read func(kv.Reader) error) error

// Machine is the state machine of the meta group: package shard drives it like the one
// of a data shard. Apply, Flush, Reset and Committed are called from one goroutine at
// a time; Read and Map from any.
//
// All of a map is one value, so a change costs one encoding of it: a few KiB, a few
// times an hour.
type Machine struct {
	source Source

	// Owned by the goroutine that applies.
	loaded bool
	cur    *Map // as of the last command applied; nil before the founding
	dirty  bool // cur is not yet in the batch

	// published is what has been committed; listeners have been told of it.
	published atomic.Pointer[Map]

	mu        sync.Mutex // guards listeners; held while they are told, so each sees maps in order
	listeners []func(*Map)
}

// NewMachine returns a machine over the state that source shows. It starts with the
// map that is there: see Load.
func NewMachine(source Source) *Machine { return &Machine{source: source} }

// OnChange has f called with each new map once it is committed, and with the present
// one, if any, before OnChange returns. f is called from the goroutine that applies,
// one call at a time: it must not block, nor call OnChange. Maps are never changed.
func (m *Machine) OnChange(f func(*Map)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.listeners = append(m.listeners, f)
	if cur := m.published.Load(); cur != nil {
		f(cur)
	}
}

// Map returns the newest committed map, or nil before the founding.
func (m *Machine) Map() *Map { return m.published.Load() }

// Load publishes the map in the state, so that a node that has just opened its disk
// knows the cluster before it hears from anybody. Call it before the first Apply.
func (m *Machine) Load() error {
	if err := m.source(m.load); err != nil {
		return fmt.Errorf("placement: load the map: %w", err)
	}
	m.publish()
	return nil
}

func (m *Machine) load(r kv.Reader) error {
	cur, err := ReadMap(r)
	if err != nil {
		return err
	}
	m.cur, m.loaded, m.dirty = cur, true, false
	return nil
}

// ReadMap returns the map in the state that r shows, or nil if there is none.
func ReadMap(r kv.Reader) (*Map, error) {
	b, ok, err := r.Get(MapKey())
	if err != nil {
		return nil, fmt.Errorf("placement: read the map: %w", err)
	}
	if !ok {
		return nil, nil
	}
	return DecodeMap(b)
}

// Apply runs one call's commands in order, and returns a reply for each. A refusal is
// a reply, alike on every replica, and changes nothing. A command that this build does
// not know is an error, ErrUnknownCommand, and halts the shard here: a replica that
// went on without an effect that others had would act on a map that is not theirs.
func (m *Machine) Apply(b kv.Batch, _ int64, cmds [][][]byte) ([]resp.Value, error) {
	if !m.loaded {
		if err := m.load(b); err != nil {
			return nil, err
		}
	}
	// Looked at before the first runs: a call has all of its effects or none.
	for _, argv := range cmds {
		if _, err := lookup(argv); err != nil {
			return nil, err
		}
	}
	replies := make([]resp.Value, len(cmds))
	for i, argv := range cmds {
		replies[i] = m.run(argv)
	}
	return replies, nil
}

func (m *Machine) run(argv [][]byte) resp.Value {
	c, _ := lookup(argv)
	if v, bad := c.badArity(argv); bad {
		return v
	}
	if c.change == nil {
		return mapReply(m.cur)
	}
	words := make([]string, len(argv)-1)
	for i, w := range argv[1:] {
		words[i] = string(w)
	}
	next, err := c.change(m.cur, words)
	if err != nil {
		return resp.Err(err.Error())
	}
	if next != m.cur {
		if err := next.Check(); err != nil {
			return resp.Err("ERR that would not be a map: " + err.Error())
		}
		m.cur, m.dirty = next, true
	}
	return resp.Int(int64(m.cur.Version))
}

// Flush writes the map into b if it has changed.
func (m *Machine) Flush(b kv.Batch) error {
	if !m.dirty {
		return nil
	}
	if err := b.Set(MapKey(), m.cur.Append(nil)); err != nil {
		return fmt.Errorf("placement: write the map: %w", err)
	}
	m.dirty = false
	return nil
}

// Read runs MAP on a view: the map's bytes, null before the founding.
func (m *Machine) Read(v kv.Reader, _ int64, argv [][]byte) (resp.Value, error) {
	c, err := lookup(argv)
	if err != nil {
		return resp.Err(fmt.Sprintf("ERR unknown command %.40q of the meta group", bytes.Join(argv[:min(1, len(argv))], nil))), nil
	}
	if bad, is := c.badArity(argv); is {
		return bad, nil
	}
	if c.change != nil {
		return resp.Err("ERR " + c.name + " is not a read"), nil
	}
	cur, err := ReadMap(v)
	if err != nil {
		return resp.Value{}, err
	}
	return mapReply(cur), nil
}

func mapReply(m *Map) resp.Value {
	if m == nil {
		return resp.Null()
	}
	return resp.Bulk(m.Append(nil))
}

// Reset forgets the map: the state below has been replaced. The new one is read and
// published at once, since a follower may not see a command for a long time. A state
// that cannot be read is reported by the next Apply, which reads it again.
func (m *Machine) Reset() {
	m.cur, m.loaded, m.dirty = nil, false, false
	if m.source(m.load) == nil {
		m.publish()
	}
}

// Touched returns nothing: nobody blocks on the map.
func (m *Machine) Touched() (keys [][]byte, all bool) { return nil, false }

// Committed publishes the map if the batch that was committed changed it.
func (m *Machine) Committed() { m.publish() }

func (m *Machine) publish() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.cur == nil || m.dirty {
		return
	}
	if old := m.published.Load(); old != nil && old.Version >= m.cur.Version && old.ClusterID == m.cur.ClusterID {
		return
	}
	m.published.Store(m.cur)
	for _, f := range m.listeners {
		f(m.cur)
	}
}

// Check reports whether this build can apply the command and its number of words is
// right, as the reply to give otherwise. Whoever proposes to the meta group asks it
// first: what Apply does not know halts every replica.
func Check(argv [][]byte) (refusal resp.Value, ok bool) {
	c, err := lookup(argv)
	if err != nil {
		return resp.Err(fmt.Sprintf("ERR unknown command %.40q of the meta group", bytes.Join(argv[:min(1, len(argv))], nil))), false
	}
	if bad, is := c.badArity(argv); is {
		return bad, false
	}
	return resp.Value{}, true
}

package placement

import (
	"bytes"
	"fmt"
	"sync"
	"sync/atomic"

	"millrace/kv"
	"millrace/resp"
)

// Source calls read with a view of the state that the commands of a Machine change. The
// view must not be used after read has returned.
type Source func(read func(kv.Reader) error) error

// Machine is the state machine of the meta group. Package shard drives it in the same
// way as the machine of a data shard. Apply, Flush, Reset and Committed are called from
// one goroutine at a time; Read and Map may be called from any.
//
// The whole map is one value, so that each change writes all of it. That is a few KiB a
// few times an hour.
type Machine struct {
	source Source

	// Owned by the applying goroutine.
	loaded bool
	cur    *Map // after the last applied command; nil until the cluster is created
	dirty  bool // cur has not been written to the batch yet

	// published is the newest committed map; every listener has been called with it.
	published atomic.Pointer[Map]

	mu        sync.Mutex // guards listeners; held during their calls, so that each sees maps in order
	listeners []func(*Map)
}

// NewMachine returns a machine for the state that source shows. It reads the stored map
// at the first Apply or, if called, by Load.
func NewMachine(source Source) *Machine { return &Machine{source: source} }

// OnChange registers f to be called with each new map after its commit. If a map is
// already known, f is called with it before OnChange returns. Calls come one at a time,
// from the applying goroutine. f must not block, call OnChange, or change the map.
func (m *Machine) OnChange(f func(*Map)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.listeners = append(m.listeners, f)
	if cur := m.published.Load(); cur != nil {
		f(cur)
	}
}

// Map returns the newest committed map, or nil until the cluster is created.
func (m *Machine) Map() *Map { return m.published.Load() }

// Load publishes the stored map, so that a node that has just opened its disk knows the
// cluster before it hears from any other node. Call it before the first Apply.
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

// ReadMap returns the map stored in the state that r shows, or nil if there is none.
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

// Apply runs the commands of one call in order and returns one reply for each. A refused
// command changes nothing; the refusal is a reply, and the same on every replica. A
// command that this build does not know gives ErrUnknownCommand, which halts the shard
// on this node: if the replica skipped a command that others had applied, it would go on
// with a map that differs from theirs.
func (m *Machine) Apply(b kv.Batch, _ int64, cmds [][][]byte) (replies []resp.Value, refusal *resp.Value, err error) {
	if !m.loaded {
		if err := m.load(b); err != nil {
			return nil, nil, err
		}
	}
	// All commands are looked up before the first one runs, so that a call with an unknown
	// command has no effect at all.
	for _, argv := range cmds {
		if _, err := lookup(argv); err != nil {
			return nil, nil, err
		}
	}
	replies = make([]resp.Value, len(cmds))
	for i, argv := range cmds {
		replies[i] = m.run(argv)
	}
	return replies, nil, nil
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
			return resp.Err("ERR the command would make the map invalid: " + err.Error())
		}
		m.cur, m.dirty = next, true
	}
	return resp.Int(int64(m.cur.Version))
}

// Flush writes the map to b if it has changed since the last Flush.
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

// Read runs MAP on a view. The reply holds the bytes of the map, or is null until the
// cluster is created. A call as a whole is never refused.
func (m *Machine) Read(v kv.Reader, _ int64, cmds [][][]byte) (replies []resp.Value, refusal *resp.Value, err error) {
	replies = make([]resp.Value, len(cmds))
	for i, argv := range cmds {
		if replies[i], err = m.read(v, argv); err != nil {
			return nil, nil, err
		}
	}
	return replies, nil, nil
}

func (m *Machine) read(v kv.Reader, argv [][]byte) (resp.Value, error) {
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

// Reset discards the map, because the stored state has been replaced by a snapshot. It
// reads and publishes the new map at once: a follower may not apply another command for
// a long time. If reading fails, the next Apply reads again and returns the error.
func (m *Machine) Reset() {
	m.cur, m.loaded, m.dirty = nil, false, false
	if m.source(m.load) == nil {
		m.publish()
	}
}

// Touched returns nothing, because no call blocks on the map.
func (m *Machine) Touched() (keys [][]byte, all bool) { return nil, false }

// Committed publishes the map if the committed batch has changed it.
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

// Check reports whether this build knows the command and its number of words is right.
// If not, refusal is the reply to send. Every proposer must call Check first, because an
// unknown command in the log halts every replica of the meta group.
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

package stream

import (
	"encoding/binary"
	"fmt"

	"millrace/kv"
	"millrace/resp"
)

// Tx gives a command access to the state. A read has a view. A write has a batch, which it
// also reads through. It also has the State, with the heads that earlier commands of the
// batch changed and that Flush has not written yet.
type Tx struct {
	// NowMS is the shard's time, in milliseconds since the Unix epoch. It never goes back.
	NowMS int64

	firstSlot, lastSlot uint16 // of the shard

	kv    kv.Reader
	batch kv.Batch // nil in a read
	state *State   // nil in a read

	seen map[string]*Head // the heads that a read has decoded; nil before the first

	lookups  *Lookups       // of names in a read; nil: not counted
	ahead    lookahead      // of the command that runs; see lookAhead
	walked   int            // elements walked over; see walk
	budget   int            // units that the call may spend; see budget.go
	spent    int            // units that it has spent
	removals map[string]int // how often the call has removed each name; nil without a budget
	waited   bool           // whether the command has waited; see Blocked.Read

	keyBuf, valueBuf []byte     // for the key and the value being built; reused
	unsettled        []*Head    // heads to settle when the command ends; see Tx.unsettle
	loosened         []loosened // bounds to make exact when the command ends; see Tx.tightenPending
}

// end makes all bounds exact that a command has left loose.
func (tx *Tx) end() error {
	for _, h := range tx.unsettled {
		if err := tx.settle(h); err != nil {
			return err
		}
	}
	tx.unsettled = tx.unsettled[:0]
	return tx.tightenPending()
}

// idKey returns the key of h's record of kind at id. It is valid until the next key is
// built.
func (tx *Tx) idKey(h *Head, kind byte, id ID) []byte {
	tx.keyBuf = id.appendBytes(append(append(tx.keyBuf[:0], h.prefix...), kind))
	return tx.keyBuf
}

// bounds returns the range [lo, hi) of the keys of h's records of kind from from to to, both
// included. It is valid until the next key is built.
func (tx *Tx) bounds(h *Head, kind byte, from, to ID) (lo, hi []byte) {
	b := from.appendBytes(append(append(tx.keyBuf[:0], h.prefix...), kind))
	n := len(b)
	b = to.appendBytes(append(append(b, h.prefix...), kind))
	b = append(b, 0) // right after to
	tx.keyBuf = b
	return b[:n:n], b[n:]
}

// wrongType is the refusal of a command on a name that holds another type.
var wrongType = resp.Err("WRONGTYPE Operation against a key holding the wrong kind of value")

// head returns the head at name, or nil when there is none or its deadline has passed. A
// write also removes an expired name. All commands of a batch share the result, so a caller
// that changes it also calls tx.dirty.
func (tx *Tx) head(name []byte) (*Head, error) {
	h, err := tx.loadHead(name)
	if err != nil {
		return nil, err
	}
	live := h != nil && !h.expired(tx.NowMS)
	tx.lookups.add(live)
	if live || h == nil {
		return h, nil
	}
	if tx.batch == nil {
		return nil, nil
	}
	return nil, tx.remove(h)
}

// loadHead is head, but ignores the deadline.
func (tx *Tx) loadHead(name []byte) (*Head, error) {
	heads := tx.seen
	if tx.state != nil {
		heads = tx.state.cached
	}
	h, ok := heads[string(name)]
	if !ok {
		v, found, err := tx.kv.Get(headKey(name))
		if err != nil {
			return nil, fmt.Errorf("read head of %q: %w", name, err)
		}
		if found {
			if h, err = decodeHead(name, v); err != nil {
				return nil, err
			}
			if tx.state == nil && tx.seen == nil {
				tx.seen = make(map[string]*Head, 1)
				heads = tx.seen
			}
			heads[string(name)] = h
		}
	}
	return h, nil
}

// stream returns the stream at name, or nil when there is none. It returns a refusal when
// the name holds another type.
func (tx *Tx) stream(name []byte) (*Head, *resp.Value, error) {
	h, err := tx.head(name)
	if err != nil || h == nil {
		return nil, nil, err
	}
	if h.Type != TypeStream {
		return nil, &wrongType, nil
	}
	return h, nil, nil
}

// createStream creates an empty stream at name, which must be missing.
func (tx *Tx) createStream(name []byte) (*Head, error) {
	h := newStreamHead(append([]byte(nil), name...), tx.settings())
	return h, tx.register(h)
}

// register adds the new name of h. Every name is added by register and removed by remove.
func (tx *Tx) register(h *Head) error {
	tx.state.cached[string(h.Name)] = h
	tx.state.sys.keys++
	tx.modified(h)
	if err := tx.batch.Set(indexKey(h.Name), nil); err != nil {
		return fmt.Errorf("index %q: %w", h.Name, err)
	}
	return nil
}

// modified gives h the next modification number of the shard, so that an EXEC after a WATCH
// of the name fails. As in Redis, changes of groups and pending entries are not
// modifications. The numbers of all names of a shard come from one counter, so that a name
// that is removed and created again has another number.
func (tx *Tx) modified(h *Head) {
	sys := tx.state.sys
	sys.modified++
	sys.dirty = true
	h.Modified = sys.modified
	tx.dirty(h)
}

// dirty marks h as changed, so that Flush writes it.
func (tx *Tx) dirty(h *Head) {
	if !h.dirty {
		h.dirty = true
		tx.state.dirty = append(tx.state.dirty, h)
	}
}

// touch records that calls blocked on name may be ready once this batch is committed.
func (tx *Tx) touch(name []byte) {
	t := &tx.state.touched
	if n := len(*t); n > 0 && string((*t)[n-1]) == string(name) {
		return
	}
	*t = append(*t, append([]byte(nil), name...))
}

// touchHead is touch for h. It is cheap to call for each of many entries.
func (tx *Tx) touchHead(h *Head) {
	if h.touched != tx.state.round {
		h.touched = tx.state.round
		tx.state.touched = append(tx.state.touched, h.Name)
	}
}

// remove deletes h and everything under its name.
func (tx *Tx) remove(h *Head) error {
	tx.spendRemoval(h)
	if err := tx.dropDeadline(h); err != nil {
		return err
	}
	h.gone = true
	h.dirty = true // so that a later change does not queue it for Flush again
	delete(tx.state.cached, string(h.Name))
	tx.state.sys.keys--
	tx.state.sys.dirty = true
	tx.touch(h.Name)
	if err := tx.batch.Delete(indexKey(h.Name)); err != nil {
		return fmt.Errorf("index without %q: %w", h.Name, err)
	}
	if h.hasElements() && h.Length == 0 { // a scan would meet the tombstones of all there ever was
		return tx.batch.Delete(headKey(h.Name))
	}
	if h.Type == TypeString { // a scan would cross the old versions of a lock that comes and goes
		return firstError(tx.batch.Delete(tx.valueKey(h)), tx.batch.Delete(headKey(h.Name)))
	}
	lo, hi := nameBounds(h.Name)
	if h.small() {
		return tx.deleteEach(lo, hi)
	}
	return tx.batch.DeleteRange(lo, hi)
}

// deleteEach deletes the keys in [lo, hi) one by one. For few keys this is better than a
// range tombstone, because every later iterator pays for each range tombstone.
func (tx *Tx) deleteEach(lo, hi []byte) error {
	return tx.scan(lo, hi, func(key, _ []byte) (bool, error) { return true, tx.batch.Delete(key) })
}

// scan calls f on the records in [lo, hi) in order until f returns false or an error. key
// and value are valid only during the call.
func (tx *Tx) scan(lo, hi []byte, f func(key, value []byte) (bool, error)) (err error) {
	it, err := tx.kv.Iter(lo, hi)
	if err != nil {
		return err
	}
	defer func() {
		if e := it.Close(); err == nil {
			err = e
		}
	}()
	for ok := it.First(); ok; ok = it.Next() {
		more, err := f(it.Key(), it.Value())
		if err != nil || !more {
			return err
		}
	}
	return it.Error()
}

// keyCount returns the number of names of this shard.
func (tx *Tx) keyCount() (uint64, error) {
	sys, err := tx.system()
	if err != nil {
		return 0, err
	}
	return sys.keys, nil
}

// recordReader reads the fields of a stored record. After a field that cannot be read, bad
// is true. Callers read all fields and then call err once.
type recordReader struct {
	b   []byte // the fields not yet read
	bad bool
}

func (r *recordReader) u8() byte {
	if len(r.b) < 1 {
		r.bad = true
		return 0
	}
	v := r.b[0]
	r.b = r.b[1:]
	return v
}

func (r *recordReader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.bad = true
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *recordReader) varint() int64 {
	v, n := binary.Varint(r.b)
	if n <= 0 {
		r.bad = true
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *recordReader) u64() uint64 {
	if len(r.b) < 8 {
		r.bad = true
		return 0
	}
	v := binary.BigEndian.Uint64(r.b)
	r.b = r.b[8:]
	return v
}

func (r *recordReader) id() ID {
	if len(r.b) < idBytes {
		r.bad = true
		return ID{}
	}
	id := idFromBytes(r.b)
	r.b = r.b[idBytes:]
	return id
}

// bytes returns length-prefixed bytes. They share memory with the record.
func (r *recordReader) bytes() []byte {
	n := r.uvarint()
	if n > uint64(len(r.b)) {
		r.bad = true
		return nil
	}
	v := r.b[:n:n]
	r.b = r.b[n:]
	return v
}

// err returns an error when a field could not be read or bytes are left over. The error
// names the sort of the record and the name that it belongs to.
func (r *recordReader) err(what string, name []byte) error {
	if r.bad || len(r.b) != 0 {
		return fmt.Errorf("stream: %s of %q cannot be decoded", what, name)
	}
	return nil
}

// appendBytes appends b with its length before it.
func appendBytes(dst, b []byte) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(b))), b...)
}

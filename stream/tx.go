package stream

import (
	"encoding/binary"
	"fmt"

	"millrace/kv"
	"millrace/resp"
)

// Tx is what a command sees of the state. A read has a view; a write has a batch
// that it also reads through, and the heads that earlier commands of the batch
// changed and that are not in the batch yet.
type Tx struct {
	// NowMS is the shard's time, in milliseconds since the Unix epoch. It never goes back.
	NowMS int64

	firstSlot, lastSlot uint16 // of the shard

	kv    kv.Reader
	batch kv.Batch // nil in a read
	state *State   // nil in a read

	seen map[string]*Head // a read's own heads; nil until one is read

	lookups *Lookups // of names in a read; nil: not counted
	waited  bool     // the command has waited: see State.ReadWaited

	keyBuf, valueBuf []byte  // of the key and the value being built, reused
	unsettled        []*Head // changed by this command; see settle
}

// idKey returns the key of h's record of kind at id. It is good until the next key is built.
func (tx *Tx) idKey(h *Head, kind byte, id ID) []byte {
	tx.keyBuf = id.appendBytes(append(append(tx.keyBuf[:0], h.prefix...), kind))
	return tx.keyBuf
}

// bounds returns the range [lo, hi) of h's records of kind from from to to, both
// included. They are good until the next key is built.
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

// head returns the head at name, or nil where there is none or it has expired. The
// result is shared by all commands of a batch: whoever changes it calls tx.dirty.
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

// loadHead is head, and passes no judgement on the deadline.
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

// stream returns the stream at name: nil where there is none, and a refusal where
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

// createStream makes an empty stream at name, where there is nothing.
func (tx *Tx) createStream(name []byte) (*Head, error) {
	h := newStreamHead(append([]byte(nil), name...), tx.settings())
	return h, tx.register(h)
}

// register puts h where there is nothing: the one way in which a name comes to be.
// remove is its reverse.
func (tx *Tx) register(h *Head) error {
	tx.state.cached[string(h.Name)] = h
	tx.state.sys.keys++
	tx.modified(h)
	if err := tx.batch.Set(indexKey(h.Name), nil); err != nil {
		return fmt.Errorf("index %q: %w", h.Name, err)
	}
	return nil
}

// modified says that a command did to h what WATCH watches for. Which commands do is
// Redis's choice: changes of groups and pending entries are none. The numbers rise over
// all names of the shard and for ever, so a name that goes and comes back has another.
func (tx *Tx) modified(h *Head) {
	sys := tx.state.sys
	sys.modified++
	sys.dirty = true
	h.Modified = sys.modified
	tx.dirty(h)
}

// dirty says that h was changed: Flush will write it.
func (tx *Tx) dirty(h *Head) {
	if !h.dirty {
		h.dirty = true
		tx.state.dirty = append(tx.state.dirty, h)
	}
}

// touch says that calls blocked on name are worth a look once this batch is committed.
func (tx *Tx) touch(name []byte) {
	t := &tx.state.touched
	if n := len(*t); n > 0 && string((*t)[n-1]) == string(name) {
		return
	}
	*t = append(*t, append([]byte(nil), name...))
}

// touchHead is touch for h, and cheap where it is called for each of many entries.
func (tx *Tx) touchHead(h *Head) {
	if h.touched != tx.state.round {
		h.touched = tx.state.round
		tx.state.touched = append(tx.state.touched, h.Name)
	}
}

// remove deletes h and everything under its name.
func (tx *Tx) remove(h *Head) error {
	if err := tx.dropDeadline(h); err != nil {
		return err
	}
	h.gone = true
	h.dirty = true // so that a write after this one does not queue it again
	delete(tx.state.cached, string(h.Name))
	tx.state.sys.keys--
	tx.state.sys.dirty = true
	tx.touch(h.Name)
	if err := tx.batch.Delete(indexKey(h.Name)); err != nil {
		return fmt.Errorf("index without %q: %w", h.Name, err)
	}
	lo, hi := nameBounds(h.Name)
	if h.small() {
		return tx.deleteEach(lo, hi)
	}
	return tx.batch.DeleteRange(lo, hi)
}

// deleteEach deletes the keys in [lo, hi) one by one. Many small range tombstones
// cost every later iterator more than point deletes do.
func (tx *Tx) deleteEach(lo, hi []byte) error {
	return tx.scan(lo, hi, func(key, _ []byte) (bool, error) { return true, tx.batch.Delete(key) })
}

// scan calls f on the keys in [lo, hi) in order until it returns false or an error.
// key and value are valid during the call only.
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

// keyCount returns how many names of this shard have a head.
func (tx *Tx) keyCount() (uint64, error) {
	sys, err := tx.system()
	if err != nil {
		return 0, err
	}
	return sys.keys, nil
}

// Stored records begin with a byte of version and are built from these.
type recordReader struct {
	b   []byte
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

// bytes returns a length-prefixed run that shares memory with the record.
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

func (r *recordReader) err(what string, name []byte) error {
	if r.bad || len(r.b) != 0 {
		return fmt.Errorf("stream: %s of %q cannot be decoded", what, name)
	}
	return nil
}

func appendBytes(dst, b []byte) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(b))), b...)
}

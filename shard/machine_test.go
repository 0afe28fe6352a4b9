package shard

import (
	"bytes"
	"encoding/binary"
	"errors"
	"strconv"

	"millrace/kv"
	"millrace/resp"
)

// listMachine is a small state machine: lists of values, whose lengths it keeps in
// memory until Flush, as package stream keeps heads.
//
//	APPEND key value   the new length          INCR key        a counter
//	LEN key            the length              RANGE key       all values
//	TAKE key           takes the first value, null without one; blocking, writes
//	AFTER key n        values after the n-th, null without; blocking, reads
//	NOW                the time it runs at     FAIL, PANIC     what they say
type listMachine struct {
	slot    uint16
	heads   map[string]*listHead
	dirty   map[string]bool
	touched [][]byte
	spent   int
}

// Spent implements Metered: a DEAR costs as much as half a record may.
func (m *listMachine) Spent() int { return m.spent }

type listHead struct{ first, next uint64 } // values [first, next)

func newListMachine(slot uint16) *listMachine {
	return &listMachine{slot: slot, heads: map[string]*listHead{}, dirty: map[string]bool{}}
}

func (m *listMachine) prefix(key []byte, kind byte) []byte {
	b := binary.BigEndian.AppendUint16(nil, m.slot)
	b = binary.BigEndian.AppendUint16(b, uint16(len(key)))
	return append(append(b, key...), kind)
}

func (m *listMachine) valueKey(key []byte, i uint64) []byte {
	return binary.BigEndian.AppendUint64(m.prefix(key, 'v'), i)
}

func (m *listMachine) readHead(v kv.Reader, key []byte) (*listHead, error) {
	b, ok, err := v.Get(m.prefix(key, 'h'))
	if err != nil {
		return nil, err
	}
	h := new(listHead)
	if ok {
		if len(b) != 16 {
			return nil, errors.New("bad head")
		}
		h.first, h.next = binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[8:])
	}
	return h, nil
}

func (m *listMachine) head(v kv.Reader, key []byte) (*listHead, error) {
	if h := m.heads[string(key)]; h != nil {
		return h, nil
	}
	h, err := m.readHead(v, key)
	if err == nil {
		m.heads[string(key)] = h
	}
	return h, err
}

func (m *listMachine) Apply(b kv.Batch, nowMS int64, cmds [][][]byte) ([]resp.Value, *resp.Value, error) {
	m.spent = 0
	out := make([]resp.Value, 0, len(cmds))
	for _, argv := range cmds {
		v, err := m.apply(b, nowMS, argv)
		if err != nil {
			return nil, nil, err
		}
		out = append(out, v)
	}
	return out, nil, nil
}

func (m *listMachine) apply(b kv.Batch, nowMS int64, argv [][]byte) (resp.Value, error) {
	switch string(argv[0]) {
	case "FAIL":
		return resp.Value{}, errors.New("unknown command")
	case "PANIC":
		panic("poison")
	case "NOW":
		return resp.Int(nowMS), nil
	case "DEAR":
		m.spent += maxRecordCost / 2
		return m.append(b, argv[1], []byte("x"))
	case "GROW": // a large effect of a small command
		n, _ := strconv.Atoi(string(argv[2]))
		return m.append(b, argv[1], make([]byte, n))
	}
	h, err := m.head(b, argv[1])
	if err != nil {
		return resp.Value{}, err
	}
	switch string(argv[0]) {
	case "APPEND":
		return m.append(b, argv[1], argv[2])
	case "JOIN":
		return resp.NullArray(), nil
	case "INCR":
		m.dirty[string(argv[1])] = true
		h.next++
		h.first++
		return resp.Int(int64(h.next)), nil
	case "TAKE":
		if h.first == h.next {
			return resp.NullArray(), nil
		}
		k := m.valueKey(argv[1], h.first)
		v, ok, err := b.Get(k)
		if err != nil || !ok {
			return resp.Value{}, errors.Join(err, errors.New("a value is missing"))
		}
		m.dirty[string(argv[1])] = true
		h.first++
		return resp.Array(resp.Bulk(v)), b.Delete(k)
	}
	return m.query(b, h, argv)
}

func (m *listMachine) append(b kv.Batch, key, value []byte) (resp.Value, error) {
	h, err := m.head(b, key)
	if err != nil {
		return resp.Value{}, err
	}
	if err := b.Set(m.valueKey(key, h.next), value); err != nil {
		return resp.Value{}, err
	}
	h.next++
	m.dirty[string(key)] = true
	m.touched = append(m.touched, key)
	return resp.Int(int64(h.next)), nil
}

func (m *listMachine) query(v kv.Reader, h *listHead, argv [][]byte) (resp.Value, error) {
	switch string(argv[0]) {
	case "LEN":
		return resp.Int(int64(h.next - h.first)), nil
	case "COUNT":
		return resp.Int(int64(h.next)), nil
	case "RANGE", "AFTER":
		from := h.first
		if string(argv[0]) == "AFTER" {
			n, err := strconv.ParseUint(string(argv[2]), 10, 64)
			if err != nil {
				return resp.Err("ERR not an integer"), nil
			}
			from = max(from, n)
		}
		it, err := v.Iter(m.valueKey(argv[1], from), m.valueKey(argv[1], 1<<63))
		if err != nil {
			return resp.Value{}, err
		}
		var list []resp.Value
		for ok := it.First(); ok; ok = it.Next() {
			list = append(list, resp.Bulk(bytes.Clone(it.Value())))
		}
		if err := errors.Join(it.Error(), it.Close()); err != nil {
			return resp.Value{}, err
		}
		if len(list) == 0 && string(argv[0]) == "AFTER" {
			return resp.NullArray(), nil
		}
		return resp.Array(list...), nil
	}
	return resp.Err("ERR unknown command"), nil
}

func (m *listMachine) Flush(b kv.Batch) error {
	for key := range m.dirty {
		h := m.heads[key]
		v := binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, h.first), h.next)
		if err := b.Set(m.prefix([]byte(key), 'h'), v); err != nil {
			return err
		}
	}
	clear(m.dirty)
	return nil
}

func (m *listMachine) Committed() {}

func (m *listMachine) Reset() {
	clear(m.heads)
	clear(m.dirty)
	m.touched = nil
}

func (m *listMachine) Touched() ([][]byte, bool) {
	t := m.touched
	m.touched = nil
	return t, false
}

func (m *listMachine) Read(v kv.Reader, nowMS int64, cmds [][][]byte) (replies []resp.Value, refusal *resp.Value, err error) {
	for _, argv := range cmds {
		reply, err := m.read(v, nowMS, argv)
		if err != nil {
			return nil, nil, err
		}
		replies = append(replies, reply)
	}
	return replies, nil, nil
}

func (m *listMachine) read(v kv.Reader, nowMS int64, argv [][]byte) (resp.Value, error) {
	switch string(argv[0]) {
	case "NOW":
		return resp.Int(nowMS), nil
	case "PANIC":
		panic("poison")
	case "FAIL":
		return resp.Value{}, errors.New("disk")
	}
	h, err := m.readHead(v, argv[1])
	if err != nil {
		return resp.Value{}, err
	}
	return m.query(v, h, argv)
}

// listBlocked is a blocking command of a list machine.
type listBlocked struct {
	m    *listMachine
	argv [][]byte
}

func (m *listMachine) Block(argv [][]byte) Blocked { return listBlocked{m, argv} }

func (b listBlocked) Keys() [][]byte { return b.argv[1:2] }

// Ages is false for every command: the values in a list do not grow old.
func (b listBlocked) Ages() bool { return false }

func (b listBlocked) Ready(v kv.Reader, _ int64) (bool, error) {
	m, argv := b.m, b.argv
	h, err := m.readHead(v, argv[1])
	if err != nil {
		return false, err
	}
	if string(argv[0]) == "TAKE" { // a "TAKE k never" is like a consumer of another group: no value is for it
		return h.first < h.next && string(argv[len(argv)-1]) != "never", nil
	}
	val, err := m.query(v, h, argv)
	return !val.IsNull(), err
}

// Arrival returns a command for a TAKE with a third word.
func (b listBlocked) Arrival(kv.Reader, int64) ([][]byte, error) {
	argv := b.argv
	if len(argv) < 3 || string(argv[0]) != "TAKE" {
		return nil, nil
	}
	return [][]byte{[]byte("JOIN"), argv[1]}, nil
}

func (b listBlocked) Read(v kv.Reader, nowMS int64) (resp.Value, error) {
	return b.m.read(v, nowMS, b.argv)
}

func (b listBlocked) Writes() bool { return string(b.argv[0]) == "TAKE" }

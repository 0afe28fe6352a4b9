package stream

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math"
	"math/bits"
)

// A producer repeats an XADD when it saw no answer. So that the stream does not add the
// entry twice, the XADD carries the producer's name and an idempotent ID, and the stream
// remembers the entry that each idempotent ID became. A remembered ID has three records and
// is counted in a fourth:
//
//	kind 'd'  n u16, producer, idempotent ID → entry 16, number uvarint, recordedMS varint
//	kind 'f'  n u16, producer, number u64    → idempotent ID
//	kind 'w'  number u64                     → recordedMS varint, length-prefixed producer, idempotent ID
//	kind 'u'  producer                       → count uvarint, oldest number uvarint
//
// 'd' is for look-ups. 'f' orders the IDs of one producer, of which the newest MaxSize are
// kept. 'w' orders all IDs of the stream, of which those older than Seconds are forgotten.
// Each new ID gets the next higher number.

// The bounds of the settings for idempotent producers.
const (
	minIDMPSeconds, maxIDMPSeconds = 1, 86400
	minIDMPSize, maxIDMPSize       = 1, 10000
)

// sweepMax is the largest number of expired idempotent IDs that one command forgets. It is
// larger than the number of IDs that one command adds, so that expired ones do not pile up.
const sweepMax = 16

// graceMS is the shortest time for which an idempotent ID is remembered. Redis has the same
// minimum in effect, because it removes expired IDs once in this time.
const graceMS = 1000

// idmpHead is the part of a head about idempotent producers.
type idmpHead struct {
	Seconds    uint64 // how long an idempotent ID is remembered
	MaxSize    uint64 // how many of them are remembered for one producer
	PIDs       uint64 // producers with a remembered idempotent ID
	IIDs       uint64 // remembered idempotent IDs
	Added      uint64 // idempotent IDs ever added
	Duplicates uint64 // XADDs that added no entry because their idempotent ID was known
	NextSeq    uint64 // the number of the next idempotent ID
	OldestSeq  uint64 // lower bound of the numbers of remembered IDs
}

func (m *idmpHead) fields() [8]*uint64 {
	return [...]*uint64{&m.Seconds, &m.MaxSize, &m.PIDs, &m.IIDs, &m.Added, &m.Duplicates, &m.NextSeq, &m.OldestSeq}
}

func (m *idmpHead) append(dst []byte) []byte {
	for _, v := range m.fields() {
		dst = binary.AppendUvarint(dst, *v)
	}
	return dst
}

func readIDMP(r *recordReader) (m idmpHead) {
	for _, v := range m.fields() {
		*v = r.uvarint()
	}
	return m
}

// producer is the record of one producer.
type producer struct {
	count  uint64 // its remembered idempotent IDs
	oldest uint64 // lower bound of their numbers
}

// iidRecord is the record of one idempotent ID.
type iidRecord struct {
	id         ID     // the entry that it became
	seq        uint64 // its number
	recordedMS int64  // when it counts as added; see idmpHead.recordedMS
}

func (rec iidRecord) encode() []byte {
	return binary.AppendVarint(binary.AppendUvarint(rec.id.appendBytes(nil), rec.seq), rec.recordedMS)
}

func decodeIID(h *Head, b []byte) (iidRecord, error) {
	r := recordReader{b: b}
	rec := iidRecord{id: r.id(), seq: r.uvarint(), recordedMS: r.varint()}
	return rec, r.err("idempotent ID", h.Name)
}

func (p producer) encode() []byte {
	return binary.AppendUvarint(binary.AppendUvarint(nil, p.count), p.oldest)
}

func decodeProducer(h *Head, b []byte) (producer, error) {
	r := recordReader{b: b}
	p := producer{count: r.uvarint(), oldest: r.uvarint()}
	return p, r.err("producer", h.Name)
}

func (h *Head) iidKey(pid, iid []byte) []byte {
	k := append(append(make([]byte, 0, len(h.prefix)+3+len(pid)+len(iid)), h.prefix...), kindIID)
	k = append(binary.BigEndian.AppendUint16(k, uint16(len(pid))), pid...)
	return append(k, iid...)
}

func (h *Head) iidOrderKey(pid []byte, seq uint64) []byte {
	k := append(append(make([]byte, 0, len(h.prefix)+11+len(pid)), h.prefix...), kindIIDOrder)
	k = append(binary.BigEndian.AppendUint16(k, uint16(len(pid))), pid...)
	return binary.BigEndian.AppendUint64(k, seq)
}

func (h *Head) iidAgeKey(seq uint64) []byte {
	k := append(append(make([]byte, 0, len(h.prefix)+9), h.prefix...), kindIIDAge)
	return binary.BigEndian.AppendUint64(k, seq)
}

func (h *Head) producerKey(pid []byte) []byte {
	k := append(append(make([]byte, 0, len(h.prefix)+1+len(pid)), h.prefix...), kindProducer)
	return append(k, pid...)
}

// expired reports whether an idempotent ID recorded at recordedMS is to be forgotten.
func (m *idmpHead) expired(recordedMS, nowMS int64) bool {
	return recordedMS <= nowMS-int64(m.Seconds)*1000
}

// recordedMS returns the time from which the age of a new idempotent ID counts, when it
// becomes the entry id. As in Redis this is the time in the entry's ID; it may be old when
// XIDMPRECORD gives the ID. It is at least so late that the ID is remembered for graceMS,
// and at most nowMS, because an ID recorded in the future would keep older ones from being
// swept.
func (m *idmpHead) recordedMS(id ID, nowMS int64) int64 {
	oldest := nowMS - int64(m.Seconds)*1000 + graceMS
	return min(max(int64(min(id.MS, math.MaxInt64)), oldest), nowMS)
}

// findIID returns the record of an idempotent ID, and whether it is known. It forgets an
// expired one.
func (tx *Tx) findIID(h *Head, pid, iid []byte) (rec iidRecord, ok bool, err error) {
	if h.IDMP.IIDs == 0 {
		return rec, false, nil
	}
	v, found, err := tx.kv.Get(h.iidKey(pid, iid))
	if err != nil || !found {
		return rec, false, err
	}
	rec, err = decodeIID(h, v)
	if err != nil {
		return rec, false, err
	}
	if h.IDMP.expired(rec.recordedMS, tx.NowMS) {
		return rec, false, tx.forgetIID(h, pid, iid, rec.seq)
	}
	return rec, true, nil
}

// producer returns the record of pid. Its count is zero when there is none.
func (tx *Tx) producer(h *Head, pid []byte) (producer, error) {
	v, ok, err := tx.kv.Get(h.producerKey(pid))
	if err != nil || !ok {
		return producer{}, err
	}
	return decodeProducer(h, v)
}

func (tx *Tx) putProducer(h *Head, pid []byte, p producer) error {
	if p.count == 0 {
		h.IDMP.PIDs--
		return tx.batch.Delete(h.producerKey(pid))
	}
	return tx.batch.Set(h.producerKey(pid), p.encode())
}

// rememberIID records that an idempotent ID, which is not known, became the entry id. It
// also forgets expired IDs, and the oldest IDs of a producer that now has too many.
func (tx *Tx) rememberIID(h *Head, pid, iid []byte, id ID) error {
	m := &h.IDMP
	tx.dirty(h)
	if err := tx.sweepIIDs(h); err != nil {
		return err
	}
	count, err := tx.addIID(h, pid, iid, id, m.recordedMS(id, tx.NowMS))
	if err != nil || count <= m.MaxSize {
		return err
	}
	return tx.evictIIDs(h, pid, count-m.MaxSize)
}

// addIID records that an idempotent ID, which is not known, became the entry id, and
// returns the number of IDs now known of its producer. IDs are swept in the order in which
// they were added. So when an ID that was added earlier has a later recordedMS, both stay
// until both are expired.
func (tx *Tx) addIID(h *Head, pid, iid []byte, id ID, recordedMS int64) (count uint64, err error) {
	m := &h.IDMP
	p, err := tx.producer(h, pid)
	if err != nil {
		return 0, err
	}
	seq := m.NextSeq
	m.NextSeq++
	m.Added++
	m.IIDs++
	if p.count == 0 {
		m.PIDs++
		p.oldest = seq
	}
	p.count++
	age := appendBytes(appendBytes(binary.AppendVarint(nil, recordedMS), pid), iid)
	rec := iidRecord{id: id, seq: seq, recordedMS: recordedMS}
	return p.count, firstError(
		tx.batch.Set(h.iidKey(pid, iid), rec.encode()),
		tx.batch.Set(h.iidOrderKey(pid, seq), iid),
		tx.batch.Set(h.iidAgeKey(seq), age),
		tx.putProducer(h, pid, p))
}

// evictIIDs forgets the n oldest idempotent IDs of a producer.
func (tx *Tx) evictIIDs(h *Head, pid []byte, n uint64) error {
	p, err := tx.producer(h, pid)
	if err != nil {
		return err
	}
	type old struct {
		seq uint64
		iid []byte
	}
	var gone []old
	lo, hi := h.iidOrderKey(pid, p.oldest), after(h.iidOrderKey(pid, 0)[:len(h.prefix)+3+len(pid)])
	err = tx.scan(lo, hi, func(key, iid []byte) (bool, error) {
		gone = append(gone, old{binary.BigEndian.Uint64(key[len(key)-8:]), append([]byte(nil), iid...)})
		return uint64(len(gone)) < n, nil
	})
	for _, o := range gone {
		err = firstError(err, tx.forgetIID(h, pid, o.iid, o.seq))
	}
	return err
}

// forgetIID forgets one idempotent ID.
func (tx *Tx) forgetIID(h *Head, pid, iid []byte, seq uint64) error {
	p, err := tx.producer(h, pid)
	if err != nil {
		return err
	}
	tx.dirty(h)
	h.IDMP.IIDs--
	p.count--
	if p.oldest == seq {
		p.oldest++
	}
	return firstError(
		tx.batch.Delete(h.iidKey(pid, iid)),
		tx.batch.Delete(h.iidOrderKey(pid, seq)),
		tx.batch.Delete(h.iidAgeKey(seq)),
		tx.putProducer(h, pid, p))
}

// sweepIIDs forgets up to sweepMax expired idempotent IDs.
func (tx *Tx) sweepIIDs(h *Head) error {
	m := &h.IDMP
	if m.IIDs == 0 {
		return nil
	}
	type old struct {
		seq      uint64
		pid, iid []byte
	}
	var gone []old
	oldest := m.NextSeq
	err := tx.scan(h.iidAgeKey(m.OldestSeq), h.iidAgeKey(m.NextSeq), func(key, value []byte) (bool, error) {
		seq := binary.BigEndian.Uint64(key[len(key)-8:])
		r := recordReader{b: value}
		recordedMS, pid, iid := r.varint(), r.bytes(), r.bytes()
		if err := r.err("age of an idempotent ID", h.Name); err != nil {
			return false, err
		}
		if !m.expired(recordedMS, tx.NowMS) || len(gone) == sweepMax {
			oldest = seq
			return false, nil
		}
		gone = append(gone, old{seq, append([]byte(nil), pid...), append([]byte(nil), iid...)})
		return true, nil
	})
	if err != nil {
		return err
	}
	if m.OldestSeq != oldest {
		m.OldestSeq = oldest
		tx.dirty(h)
	}
	for _, o := range gone {
		if err := tx.forgetIID(h, o.pid, o.iid, o.seq); err != nil {
			return err
		}
	}
	return nil
}

// forgetAllIIDs forgets every idempotent ID of h.
func (tx *Tx) forgetAllIIDs(h *Head) error {
	m := &h.IDMP
	clearKind := tx.batch.DeleteRange
	if m.IIDs <= pointDeleteMax {
		clearKind = tx.deleteEach
	}
	for _, kind := range [...]byte{kindIID, kindIIDOrder, kindIIDAge, kindProducer} {
		lo := append(append([]byte(nil), h.prefix...), kind)
		if err := clearKind(lo, after(lo)); err != nil {
			return fmt.Errorf("clear idempotent IDs of %q: %w", h.Name, err)
		}
	}
	m.PIDs, m.IIDs, m.OldestSeq = 0, 0, m.NextSeq
	tx.dirty(h)
	return nil
}

// autoIID returns the idempotent ID that IDMPAUTO gives an entry: a hash of its fields and
// values that does not depend on the order of the fields.
func autoIID(words [][]byte) []byte {
	var hi, lo uint64 // the sum of the pairs' hashes modulo 2^128
	var buf []byte
	for i := 0; i+1 < len(words); i += 2 {
		buf = append(appendBytes(buf[:0], words[i]), words[i+1]...)
		sum := sha256.Sum256(buf)
		var carry uint64
		lo, carry = bits.Add64(lo, binary.BigEndian.Uint64(sum[8:]), 0)
		hi, _ = bits.Add64(hi, binary.BigEndian.Uint64(sum[:]), carry)
	}
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, hi), lo)
}

// printIDMPKey describes a key about idempotent IDs. It returns the kind, such as "iid", and
// the rest, such as `"producer" "id"`. ok is false when it cannot read the key.
func printIDMPKey(kind byte, rest []byte) (what, which string, ok bool) {
	pid, tail := []byte(nil), rest
	if kind == kindIID || kind == kindIIDOrder {
		if len(rest) < 2 || len(rest) < 2+int(binary.BigEndian.Uint16(rest)) {
			return "", "", false
		}
		n := 2 + int(binary.BigEndian.Uint16(rest))
		pid, tail = rest[2:n], rest[n:]
	}
	switch {
	case kind == kindIID:
		return "iid", fmt.Sprintf("%q %q", pid, tail), true
	case kind == kindIIDOrder && len(tail) == 8:
		return "iid-order", fmt.Sprintf("%q %d", pid, binary.BigEndian.Uint64(tail)), true
	case kind == kindIIDAge && len(tail) == 8:
		return "iid-age", fmt.Sprint(binary.BigEndian.Uint64(tail)), true
	case kind == kindProducer:
		return "producer", fmt.Sprintf("%q", rest), true
	}
	return "", "", false
}

// printIDMPRecord describes the value of a record about idempotent IDs.
func printIDMPRecord(h *Head, kind byte, value []byte) (string, error) {
	r := recordReader{b: value}
	switch kind {
	case kindIID:
		rec, err := decodeIID(h, value)
		return fmt.Sprintf("entry=%v number=%d recordedMS=%d", rec.id, rec.seq, rec.recordedMS), err
	case kindIIDOrder:
		return fmt.Sprintf("iid=%q", value), nil
	case kindIIDAge:
		recordedMS, pid, iid := r.varint(), r.bytes(), r.bytes()
		return fmt.Sprintf("recordedMS=%d producer=%q iid=%q", recordedMS, pid, iid), r.err("age of an idempotent ID", h.Name)
	}
	p, err := decodeProducer(h, value)
	return fmt.Sprintf("count=%d oldest=%d", p.count, p.oldest), err
}

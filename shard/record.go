package shard

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"millrace/call"
)

// A record is the data of one item of the Raft log: calls, and one clock for all of them.
// Fixed integers are big-endian. Counts and lengths are uvarints.
//
//	 0        1        9       17      25      33       37
//	+--------+--------+-------+-------+-------+--------+---------+
//	| format | origin | seq   | term  | nowMS | ncalls | calls … |
//	| u8 = 1 | u64    | u64   | u64   | i64   | u32    |         |
//	+--------+--------+-------+-------+-------+--------+---------+
//
//	a call:     flags u8 (1: multi) | number of commands | commands
//	a command:  number of words | words, each its length and its bytes
//
// origin and seq find the calls that wait for the replies, on the replica that proposed
// the record; apply does not look at them. term is the term in which the author led: all
// replicas skip a record that Raft stored under another term. A new leader's first record
// has no calls.
const (
	recordFormat    = 1
	recordHeaderLen = 37

	flagMulti = 1 << 0
)

// ErrRecord is returned for bytes that are not a record this version knows.
var ErrRecord = errors.New("shard: bad record")

type recordHeader struct {
	origin, seq, term uint64
	nowMS             int64
	calls             int
}

type record struct {
	recordHeader
	list []recordCall
}

type recordCall struct {
	multi bool
	cmds  [][][]byte
}

func appendRecordHeader(dst []byte, h recordHeader) []byte {
	dst = append(dst, recordFormat)
	dst = binary.BigEndian.AppendUint64(dst, h.origin)
	dst = binary.BigEndian.AppendUint64(dst, h.seq)
	dst = binary.BigEndian.AppendUint64(dst, h.term)
	dst = binary.BigEndian.AppendUint64(dst, uint64(h.nowMS))
	return binary.BigEndian.AppendUint32(dst, uint32(h.calls))
}

func appendCall(dst []byte, multi bool, cmds [][][]byte) []byte {
	var flags byte
	if multi {
		flags |= flagMulti
	}
	dst = append(dst, flags)
	dst = binary.AppendUvarint(dst, uint64(len(cmds)))
	for _, argv := range cmds {
		dst = binary.AppendUvarint(dst, uint64(len(argv)))
		for _, w := range argv {
			dst = binary.AppendUvarint(dst, uint64(len(w)))
			dst = append(dst, w...)
		}
	}
	return dst
}

// callSize returns what appendCall adds for c, or -1 for a call that holds no command
// or an empty one.
func callSize(c *call.Call) int {
	if len(c.Cmds) == 0 {
		return -1
	}
	n := 1 + uvarintLen(len(c.Cmds))
	for _, argv := range c.Cmds {
		if len(argv) == 0 {
			return -1
		}
		n += uvarintLen(len(argv))
		for _, w := range argv {
			n += uvarintLen(len(w)) + len(w)
		}
	}
	return n
}

func uvarintLen(v int) int {
	n := 1
	for ; v >= 0x80; v >>= 7 {
		n++
	}
	return n
}

// recordOrigin reads origin and seq without decoding the rest.
func recordOrigin(data []byte) (origin, seq uint64, ok bool) {
	if len(data) < recordHeaderLen || data[0] != recordFormat {
		return 0, 0, false
	}
	return binary.BigEndian.Uint64(data[1:]), binary.BigEndian.Uint64(data[9:]), true
}

// decodeRecord reads data. The words of the result are parts of data. The memory that it
// allocates is in proportion to data, even if the counts in data claim more.
func decodeRecord(data []byte) (record, error) {
	if len(data) == 0 {
		return record{}, fmt.Errorf("%w: empty", ErrRecord)
	}
	if data[0] != recordFormat {
		return record{}, fmt.Errorf("%w: format %d, this version knows %d", ErrRecord, data[0], recordFormat)
	}
	if len(data) < recordHeaderLen {
		return record{}, fmt.Errorf("%w: %d bytes, header needs %d", ErrRecord, len(data), recordHeaderLen)
	}
	r := record{recordHeader: recordHeader{
		origin: binary.BigEndian.Uint64(data[1:]),
		seq:    binary.BigEndian.Uint64(data[9:]),
		term:   binary.BigEndian.Uint64(data[17:]),
		nowMS:  int64(binary.BigEndian.Uint64(data[25:])),
	}}
	ncalls := binary.BigEndian.Uint32(data[33:])
	// One walk checks and counts, a second one fills: three allocations for any record.
	d := recordReader{rest: data[recordHeaderLen:]}
	if err := d.scan(uint64(ncalls)); err != nil {
		return record{}, err
	}
	r.calls = d.calls
	r.list = make([]recordCall, 0, d.calls)
	cmds := make([][][]byte, 0, d.cmds)
	words := make([][]byte, 0, d.words)
	d.rest = data[recordHeaderLen:]
	for range d.calls {
		c := recordCall{multi: d.rest[0]&flagMulti != 0}
		d.rest = d.rest[1:]
		first := len(cmds)
		for range d.count() {
			start := len(words)
			for range d.count() {
				n := d.count()
				words = append(words, d.rest[:n:n])
				d.rest = d.rest[n:]
			}
			cmds = append(cmds, words[start:len(words):len(words)])
		}
		c.cmds = cmds[first:len(cmds):len(cmds)]
		r.list = append(r.list, c)
	}
	return r, nil
}

type recordReader struct {
	rest               []byte
	calls, cmds, words int
}

// count reads a number that scan has checked.
func (d *recordReader) count() int {
	v, n := binary.Uvarint(d.rest)
	d.rest = d.rest[n:]
	return int(v)
}

func (d *recordReader) number(what string) (uint64, error) {
	v, n := binary.Uvarint(d.rest)
	if n <= 0 || v > math.MaxInt32 {
		return 0, fmt.Errorf("%w: %s", ErrRecord, what)
	}
	d.rest = d.rest[n:]
	return v, nil
}

// scan walks over ncalls calls and counts their parts. Each part takes at least one byte,
// so the counts are bounded by the length of the data.
func (d *recordReader) scan(ncalls uint64) error {
	for range ncalls {
		if len(d.rest) == 0 {
			return fmt.Errorf("%w: cut short at call %d of %d", ErrRecord, d.calls, ncalls)
		}
		if f := d.rest[0]; f&^flagMulti != 0 {
			return fmt.Errorf("%w: flags %#x of call %d", ErrRecord, f, d.calls)
		}
		d.rest = d.rest[1:]
		ncmds, err := d.number("number of commands")
		if err != nil {
			return err
		}
		if ncmds == 0 {
			return fmt.Errorf("%w: call %d has no commands", ErrRecord, d.calls)
		}
		for range ncmds {
			nwords, err := d.number("number of words")
			if err != nil {
				return err
			}
			if nwords == 0 {
				return fmt.Errorf("%w: call %d has an empty command", ErrRecord, d.calls)
			}
			for range nwords {
				n, err := d.number("length of a word")
				if err != nil {
					return err
				}
				if n > uint64(len(d.rest)) {
					return fmt.Errorf("%w: word of %d bytes, %d present", ErrRecord, n, len(d.rest))
				}
				d.rest = d.rest[n:]
				d.words++
			}
			d.cmds++
		}
		d.calls++
	}
	if len(d.rest) > 0 {
		return fmt.Errorf("%w: %d bytes after its end", ErrRecord, len(d.rest))
	}
	return nil
}

// Record is a decoded record, for readers of a log. A replica skips the record if Raft
// has stored it under another term.
type Record struct {
	Term  uint64
	NowMS int64 // the author's clock; the shard's clock is the greatest so far
	Calls []RecordCall
}

// RecordCall is one call of a Record. Its words are parts of the data that was read.
type RecordCall struct {
	Multi    bool // its commands take effect together, as one transaction
	Commands [][][]byte
}

// ReadRecord decodes the data of a log item that is a command. The error is ErrRecord.
func ReadRecord(data []byte) (Record, error) {
	r, err := decodeRecord(data)
	if err != nil {
		return Record{}, err
	}
	out := Record{Term: r.term, NowMS: r.nowMS, Calls: make([]RecordCall, len(r.list))}
	for i, c := range r.list {
		out.Calls[i] = RecordCall{Multi: c.multi, Commands: c.cmds}
	}
	return out, nil
}

// PrintRecord describes a record on one line, for the dump tool and for errors. Long
// words are cut, but it must not be used where payloads must not be seen.
func PrintRecord(data []byte) string {
	r, err := decodeRecord(data)
	if err != nil {
		return fmt.Sprintf("? %d bytes: %v", len(data), err)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "origin=%016x seq=%d term=%d now=%d", r.origin, r.seq, r.term, r.nowMS)
	if len(r.list) == 0 {
		b.WriteString(" (new term)")
	}
	const maxWord, maxWords = 40, 24
	for _, c := range r.list {
		if c.multi {
			b.WriteString(" multi")
		}
		for _, argv := range c.cmds {
			b.WriteString(" [")
			for i, w := range argv {
				if i > 0 {
					b.WriteByte(' ')
				}
				if i == maxWords {
					fmt.Fprintf(&b, "… %d more", len(argv)-i)
					break
				}
				cut := w
				if len(cut) > maxWord {
					cut = cut[:maxWord]
				}
				b.WriteString(strconv.Quote(string(cut)))
				if len(cut) < len(w) {
					fmt.Fprintf(&b, "…%d", len(w))
				}
			}
			b.WriteByte(']')
		}
	}
	return b.String()
}

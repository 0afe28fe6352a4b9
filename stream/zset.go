package stream

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strconv"

	"millrace/command"
	"millrace/resp"
)

// A member of a sorted set has two keys. The one that names it (element.go) holds its score;
// the other one has no value, and stands in the order of scores. After the kind it has
//
//	 0       8       8+n
//	+-------+--------+
//	| score | member |
//	| u64   | n B    |
//	+-------+--------+
//
// score is the bits of the double, changed so that their order is that of numbers: for
// example, -1 is 400fffffffffffff, 0 is 8000000000000000 and 1 is bff0000000000000. So the
// keys are in Redis's order: by score, then by the bytes of the member. The first key's
// record is
//
//	+---------+-------+
//	| version | score |
//	| u8 = 1  | u64   |
//	+---------+-------+
//
// with the same score. Only putMember and dropMember write these keys, so that they agree.
const (
	memberVersion = 1
	scoreBytes    = 8

	// boundBytes is how much of a member stands in Least and Greatest of elementsHead: the
	// head would be too large otherwise.
	boundBytes = 64
)

// sortable returns the number of score in the order of scores.
func sortable(score float64) uint64 {
	b := math.Float64bits(score)
	if b>>63 == 1 {
		return ^b
	}
	return b | 1<<63
}

// scoreOf is the reverse of sortable.
func scoreOf(n uint64) float64 {
	if n>>63 == 1 {
		return math.Float64frombits(n &^ (1 << 63))
	}
	return math.Float64frombits(^n)
}

func appendScored(dst []byte, score float64, member []byte) []byte {
	return append(binary.BigEndian.AppendUint64(dst, sortable(score)), member...)
}

// appendScore appends the record of a member.
func appendScore(dst []byte, score float64) []byte {
	return binary.BigEndian.AppendUint64(append(dst, memberVersion), sortable(score))
}

func decodeScore(record []byte) (float64, error) {
	r := recordReader{b: record}
	version, n := r.u8(), r.u64()
	score := scoreOf(n)
	if r.bad || len(r.b) != 0 || version != memberVersion || math.IsNaN(score) {
		return 0, fmt.Errorf("stream: the record of a member cannot be decoded: %x", record)
	}
	return score, nil
}

// sortMembers puts the members of a sorted set in order.
func sortMembers(all []element) error {
	var err error
	slices.SortFunc(all, func(a, b element) int {
		x, e := decodeScore(a.record)
		y, f := decodeScore(b.record)
		err = firstError(err, e, f)
		if x != y {
			return cmp.Compare(x, y)
		}
		return bytes.Compare(a.name, b.name)
	})
	return err
}

// scanScore returns a score as ZSCAN answers it. Redis prints it with another function when
// the sorted set is no listpack: with 17 digits, needed or not.
func scanScore(h *Head, score float64) []byte {
	if !h.Elements.Large || math.IsInf(score, 0) {
		return resp.AppendDouble(nil, score)
	}
	return appendG17(nil, score)
}

// appendG17 appends score as C's %.17g does: up to 17 digits, without zeros at their end.
func appendG17(dst []byte, score float64) []byte {
	if score == 0 {
		return append(dst, '0')
	}
	text := strconv.FormatFloat(score, 'e', 16, 64)
	mantissa, exponent, _ := bytes.Cut([]byte(text), []byte("e"))
	exp, _ := strconv.Atoi(string(exponent))
	if exp < -4 || exp >= 17 {
		mantissa = bytes.TrimRight(bytes.TrimRight(mantissa, "0"), ".")
		return append(append(append(dst, mantissa...), 'e'), exponent...)
	}
	plain := strconv.AppendFloat(nil, score, 'f', 16-exp, 64)
	if bytes.IndexByte(plain, '.') >= 0 {
		plain = bytes.TrimRight(bytes.TrimRight(plain, "0"), ".")
	}
	return append(dst, plain...)
}

// score returns the score of a member of h, and whether it is there. h may be nil.
func (tx *Tx) score(h *Head, member []byte) (score float64, ok bool, err error) {
	if h == nil || h.Length == 0 || len(member) > maxElementBytes {
		return 0, false, nil
	}
	record, ok, err := tx.elementRecord(h, member)
	if err == nil && ok {
		score, err = decodeScore(record)
	}
	if err != nil {
		return 0, false, fmt.Errorf("read the member %q of %q: %w", member, h.Name, err)
	}
	return score, ok, nil
}

// scoreKey returns the key of a member of h in the order of scores. It is valid until the
// next key is built.
func (tx *Tx) scoreKey(h *Head, score float64, member []byte) []byte {
	tx.keyBuf = appendScored(append(append(tx.keyBuf[:0], h.prefix...), kindScore), score, member)
	return tx.keyBuf
}

// putMember gives a member of h a score. was is its score so far if it is there.
func (tx *Tx) putMember(h *Head, member []byte, score float64, was float64, there bool) error {
	if there {
		if err := tx.batch.Delete(tx.scoreKey(h, was, member)); err != nil {
			return fmt.Errorf("delete the score of %q of %q: %w", member, h.Name, err)
		}
		h.Elements.Loose++
	} else {
		h.Added++
		h.Length++
	}
	h.grew(len(member))
	h.widen(score, member)
	tx.dirty(h)
	tx.valueBuf = appendScore(tx.valueBuf[:0], score)
	if err := tx.putElement(h, member, tx.valueBuf); err != nil {
		return fmt.Errorf("put the member %q of %q: %w", member, h.Name, err)
	}
	if err := tx.batch.Set(tx.scoreKey(h, score, member), nil); err != nil {
		return fmt.Errorf("put the score of %q of %q: %w", member, h.Name, err)
	}
	return nil
}

// dropMember removes a member of h.
func (tx *Tx) dropMember(h *Head, member []byte, score float64) error {
	h.Length--
	h.Elements.Loose++
	tx.dirty(h)
	if err := firstError(tx.deleteElement(h, member), tx.batch.Delete(tx.scoreKey(h, score, member))); err != nil {
		return fmt.Errorf("delete the member %q of %q: %w", member, h.Name, err)
	}
	return nil
}

// widen makes the bounds of h include a member that was just added.
func (h *Head) widen(score float64, member []byte) {
	e := &h.Elements
	bound := appendScored(nil, score, member[:min(len(member), boundBytes)])
	if h.Length == 1 {
		e.Least, e.Greatest, e.Loose = bound, bound, 0
		return
	}
	if bytes.Compare(bound, e.Least) < 0 {
		e.Least = bound
	}
	if bytes.Compare(bound, e.Greatest) > 0 {
		e.Greatest = bound
	}
}

// removed ends a command that has removed members of h: it counts the modification, removes
// h if nothing is left, and makes its bounds exact after so many removals that a walk would
// have to skip many tombstones.
func (tx *Tx) removed(h *Head) error {
	tx.modified(h)
	if h.Length == 0 {
		return tx.remove(h)
	}
	return tx.tighten(h)
}

func (tx *Tx) tighten(h *Head) error {
	if h.Elements.Loose < maxLoose {
		return nil
	}
	lo, hi := h.scoreBounds(nil, nil)
	it, err := tx.kv.Iter(lo, hi)
	if err != nil {
		return err
	}
	n := len(h.prefix) + 1
	bound := func(ok bool) []byte {
		if !ok {
			return nil
		}
		rest := it.Key()[n:]
		return bytes.Clone(rest[:min(len(rest), scoreBytes+boundBytes)])
	}
	least := bound(it.First())
	greatest := bound(it.Last())
	if err := firstError(it.Error(), it.Close()); err != nil {
		return fmt.Errorf("bounds of %q: %w", h.Name, err)
	}
	if least == nil || greatest == nil {
		return fmt.Errorf("stream: %q counts %d members, and there are none", h.Name, h.Length)
	}
	h.Elements.Least, h.Elements.Greatest, h.Elements.Loose = least, greatest, 0
	return nil
}

// scoreBounds returns the keys in the order of scores from lo to hi, hi excluded, as far as
// there can be members. nil is the least and the greatest.
func (h *Head) scoreBounds(lo, hi []byte) (from, to []byte) {
	e := &h.Elements
	prefix := append(slices.Clip(h.prefix), kindScore)
	n := len(prefix)
	if bytes.Compare(lo, e.Least) < 0 {
		lo = e.Least
	}
	from = append(prefix[:n:n], lo...)
	to = after(append(prefix[:n:n], e.Greatest...))
	if hi != nil {
		if h := append(prefix[:n:n], hi...); bytes.Compare(h, to) < 0 {
			to = h
		}
	}
	return from, to
}

// scoreRange is a range of members by the rest of their keys in the order of scores: from lo
// to hi, hi excluded. nil is the least and the greatest.
type scoreRange struct{ lo, hi []byte }

// all reports whether the range is known to hold all members of h.
func (r *scoreRange) all(h *Head) bool {
	return bytes.Compare(r.lo, h.Elements.Least) <= 0 && bytes.Compare(r.hi, h.Elements.Greatest) > 0
}

// parseScoreRange reads the two ends of a range of scores. "(" excludes the score.
func parseScoreRange(minWord, maxWord []byte) (r scoreRange, refusal *resp.Value) {
	least, excluded, ok := scoreEnd(minWord)
	if !ok {
		return r, &errMinMaxFloat
	}
	from := sortable(least)
	if excluded {
		from++
	}
	greatest, excluded, ok := scoreEnd(maxWord)
	if !ok {
		return r, &errMinMaxFloat
	}
	to := sortable(greatest)
	if !excluded {
		to++
	}
	return scoreRange{binary.BigEndian.AppendUint64(nil, from), binary.BigEndian.AppendUint64(nil, to)}, nil
}

func scoreEnd(word []byte) (score float64, excluded, ok bool) {
	if len(word) > 0 && word[0] == '(' {
		word, excluded = word[1:], true
	}
	score, ok = parseScoreBound(word)
	return score, excluded, ok
}

var (
	errMinMaxFloat = resp.Err("ERR min or max is not a float")
	errMinMaxLex   = resp.Err("ERR min or max not valid string range item")
)

// eachMember calls f for the members of h in a range, in order or in reverse, until f
// returns false or an error. member is valid during the call only. There is a refusal if a
// record would walk over too many.
func (tx *Tx) eachMember(h *Head, r scoreRange, reverse bool, f func(score float64, member []byte) (bool, error)) (refusal *resp.Value, err error) {
	lo, hi := h.scoreBounds(r.lo, r.hi)
	if bytes.Compare(lo, hi) >= 0 {
		return nil, nil
	}
	it, err := tx.kv.Iter(lo, hi)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err = firstError(err, it.Error(), it.Close()); err != nil {
			err = fmt.Errorf("members of %q: %w", h.Name, err)
		}
	}()
	first, next := it.First, it.Next
	if reverse {
		first, next = it.Last, it.Prev
	}
	n := len(h.prefix) + 1
	for ok := first(); ok; ok = next() {
		if !tx.walk() {
			return &errWalkInRecord, nil
		}
		rest := it.Key()[n:]
		if len(rest) < scoreBytes {
			return nil, fmt.Errorf("stream: %s is no key of a score", PrintKey(it.Key()))
		}
		more, err := f(scoreOf(binary.BigEndian.Uint64(rest)), rest[scoreBytes:])
		if err != nil || !more {
			return nil, err
		}
	}
	return nil, nil
}

// rankRange turns the ranks of ZRANGE and ZREMRANGEBYRANK, of which negative ones count from
// the end, into a range of a sorted set of length members. ok is false if it is empty.
func rankRange(start, stop int64, length uint64) (from, to int64, ok bool) {
	n := int64(length)
	if start < 0 {
		start = max(start+n, 0)
	}
	if stop < 0 {
		stop += n
	}
	stop = min(stop, n-1)
	return start, stop, start <= stop
}

// parseRanks reads two ranks.
func parseRanks(startWord, stopWord []byte) (start, stop int64, refusal *resp.Value) {
	start, ok := command.ParseInt(startWord)
	stop, ok2 := command.ParseInt(stopWord)
	if !ok || !ok2 {
		return 0, 0, &command.ErrNotInteger
	}
	return start, stop, nil
}

// eachRank calls f for the members of h from one rank to another, both included. It walks
// from the nearer end, so f may be called in reverse: backward says so.
func (tx *Tx) eachRank(h *Head, from, to int64, f func(score float64, member []byte) (bool, error)) (backward bool, refusal *resp.Value, err error) {
	skip := from
	if behind := int64(h.Length) - 1 - to; behind < from {
		skip, backward = behind, true
	}
	left := to - from + 1
	refusal, err = tx.eachMember(h, scoreRange{}, backward, func(score float64, member []byte) (bool, error) {
		if skip > 0 {
			skip--
			return true, nil
		}
		left--
		more, err := f(score, member)
		return more && left > 0, err
	})
	return backward, refusal, err
}

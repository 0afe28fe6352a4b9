package stream

import (
	"fmt"
	"math"
	"slices"

	"millrace/command"
	"millrace/resp"
)

// trimBy is a trimming strategy.
type trimBy uint8

const (
	trimNone   trimBy = iota
	trimMaxLen        // keep the newest maxLen entries
	trimMinID         // keep the entries from minID on
)

// trimArgs holds the trimming options of XADD and XTRIM.
type trimArgs struct {
	by         trimBy
	approx     bool // "~"
	limitGiven bool
	refs       refPolicy
	refsGiven  bool
	maxLen     uint64
	minID      ID
	limit      uint64 // entries that one call may delete; zero: any number
}

// The default LIMIT of a trim with "~" is this many full chunks, or defaultTrimLimit
// entries when chunks have no greatest number of entries; at most maxTrimLimit.
const (
	defaultTrimChunks = 100
	defaultTrimLimit  = 10000
	maxTrimLimit      = 1000000
)

// Refusals of trimming options.
var (
	errTrimTwice      = resp.Err("ERR syntax error, MAXLEN and MINID options at the same time are not compatible")
	errMaxLenNegative = resp.Err("ERR The MAXLEN argument must be >= 0.")
	errLimitNegative  = resp.Err("ERR The LIMIT argument must be >= 0.")
	errLimitAlone     = resp.Err("ERR syntax error, LIMIT cannot be used without specifying a trimming strategy")
	errLimitExact     = resp.Err("ERR syntax error, LIMIT cannot be used without the special ~ option")
)

// option reads a trimming option at argv[i] and returns the index of its last word, or i-1
// when there is no trimming option.
func (t *trimArgs) option(argv [][]byte, i int) (int, *resp.Value) {
	more := len(argv) - 1 - i
	word := argv[i]
	switch {
	case more > 0 && (command.IsWord(word, "MAXLEN") || command.IsWord(word, "MINID")):
		if t.by != trimNone {
			return i, &errTrimTwice
		}
		t.by = trimMaxLen
		if command.IsWord(word, "MINID") {
			t.by = trimMinID
		}
		i++
		if more >= 2 && len(argv[i]) == 1 && (argv[i][0] == '~' || argv[i][0] == '=') {
			t.approx = argv[i][0] == '~'
			i++
		}
		return i, t.threshold(argv[i])
	case more > 0 && command.IsWord(word, "LIMIT"):
		n, ok := command.ParseInt(argv[i+1])
		switch {
		case !ok:
			return i, &command.ErrNotInteger
		case n < 0:
			return i, &errLimitNegative
		}
		t.limit, t.limitGiven = uint64(n), true
		return i + 1, nil
	case !t.refsGiven:
		if t.refs, t.refsGiven = parseRefPolicy(word); t.refsGiven {
			return i, nil
		}
	}
	return i - 1, nil
}

func (t *trimArgs) threshold(word []byte) *resp.Value {
	if t.by == trimMinID {
		id, ok := parseID(word, 0)
		if !ok {
			return &errInvalidID
		}
		t.minID = id
		return nil
	}
	n, ok := command.ParseInt(word)
	switch {
	case !ok:
		return &command.ErrNotInteger
	case n < 0:
		return &errMaxLenNegative
	}
	t.maxLen = uint64(n)
	return nil
}

// check refuses contradictory options. It is called after the last option.
func (t *trimArgs) check() *resp.Value {
	switch {
	case t.limit > 0 && t.by == trimNone:
		return &errLimitAlone
	case t.limitGiven && !t.approx:
		return &errLimitExact
	}
	return nil
}

// effectiveLimit returns the largest number of entries that one call may delete. Exact
// trims have no limit, because they delete long runs with one tombstone.
func (t *trimArgs) effectiveLimit(chunkMaxEntries uint64) uint64 {
	switch {
	case !t.approx:
		return math.MaxUint64
	case t.limitGiven && t.limit == 0:
		return math.MaxUint64
	case t.limitGiven:
		return t.limit
	case chunkMaxEntries == 0:
		return defaultTrimLimit
	}
	return min(defaultTrimChunks*min(chunkMaxEntries, maxTrimLimit), maxTrimLimit)
}

// chunksOnly reports whether only whole chunks may be deleted. In Redis "~" means that only
// with KEEPREF; with DELREF and ACKED it only sets a limit.
func (t *trimArgs) chunksOnly() bool { return t.approx && t.refs == keepRef }

// whole reports whether the trim may delete all of c, the first chunk of a stream with
// length entries.
func (t *trimArgs) whole(c *chunk, length uint64) bool {
	if t.by == trimMaxLen {
		return length >= c.Live && length-c.Live >= t.maxLen
	}
	return c.Last.Less(t.minID)
}

// idle reports whether the trim deletes nothing from h.
func (t *trimArgs) idle(h *Head) bool {
	switch {
	case t.by == trimNone || h.Length == 0:
		return true
	case t.by == trimMaxLen:
		return h.Length <= t.maxLen
	}
	return !h.First.Less(t.minID)
}

// trim deletes entries from the start of h and returns their number. The rule is that of
// Redis's streamTrim. It works in two steps: first it deletes whole chunks, and then
// entries at the start of the next chunk, unless only whole chunks may go.
func (tx *Tx) trim(h *Head, t *trimArgs) (uint64, error) {
	if h.deadTail() && t.by == trimMinID && t.whole(&h.Tail, 0) {
		tx.dirty(h)
		return 0, tx.dropTail(h)
	}
	if t.idle(h) {
		return 0, nil
	}
	if t.refs != keepRef && h.GroupCount > 0 {
		return tx.trimRefs(h, t)
	}
	front, err := tx.frontChunk(h)
	if err != nil {
		return 0, err
	}
	limit := t.effectiveLimit(tx.settings().chunkMaxEntries)
	if front.Live > limit {
		return 0, nil
	}
	if !t.whole(&front, h.Length) {
		if t.chunksOnly() {
			return 0, nil
		}
		return tx.trimWithin(h, front, t)
	}
	cut, deleted, err := tx.dropChunks(h, front, t, limit)
	if err != nil || h.Length == 0 || t.chunksOnly() || deleted+cut.Live > limit {
		return deleted, err
	}
	more, err := tx.trimWithin(h, cut, t)
	return deleted + more, err
}

// dropChunks deletes the first chunks of h that may go as a whole, with their entries.
// front is the first chunk, which may go. It returns the first chunk that stays and the
// number of deleted entries.
func (tx *Tx) dropChunks(h *Head, front chunk, t *trimArgs, limit uint64) (cut chunk, deleted uint64, err error) {
	chunks := uint64(0)
	c, length := front, h.Length
	visit := func() bool {
		if t.by == trimMaxLen && length <= t.maxLen || c.Live > limit-deleted || !t.whole(&c, length) {
			return false
		}
		length -= c.Live
		deleted += c.Live
		chunks++
		return true
	}
	visit() // for front, which goes
	if h.Chunks > 2 {
		lo, hi := tx.bounds(h, kindChunk, front.First, h.Tail.First)
		err = tx.scan(lo, hi, func(key, value []byte) (bool, error) {
			first := idOfKey(key)
			if !front.First.Less(first) {
				return true, nil
			}
			if c, err = decodeChunk(first, value); err != nil {
				return false, err
			}
			return visit(), nil
		})
		if err != nil {
			return chunk{}, 0, fmt.Errorf("trim chunks of %q: %w", h.Name, err)
		}
	}
	if chunks == h.Chunks-1 {
		c = h.Tail
		visit()
	}
	if chunks == h.Chunks {
		return chunk{}, deleted, tx.dropAll(h)
	}
	if err = tx.deleteSpan(h, kindChunk, front.First, c.First, chunks); err != nil {
		return chunk{}, 0, fmt.Errorf("trim chunks of %q: %w", h.Name, err)
	}
	h.Chunks -= chunks
	h.front, h.frontDirty = chunk{}, false
	if h.Chunks > 1 {
		h.front = c
	}
	return c, deleted, tx.dropEntries(h, deleted, c.First, false)
}

// trimWithin deletes entries from the start of c, the first chunk of h, which does not go
// as a whole, and returns their number. With MINID it may still delete all live entries
// of c, when the last ID of c was deleted before and is not below the minimal ID.
func (tx *Tx) trimWithin(h *Head, c chunk, t *trimArgs) (uint64, error) {
	// After dropChunks, First may be a deleted entry of c.
	if err := tx.settle(h); err != nil {
		return 0, err
	}
	count, upTo, err := tx.countWithin(h, t)
	if err != nil || count == 0 {
		return 0, err
	}
	if count == h.Length {
		c.drop(count)
		err := tx.dropAll(h)
		h.keepDead(c)
		return count, err
	}
	if err := tx.dropEntries(h, count, upTo, true); err != nil {
		return 0, err
	}
	c.drop(count)
	return count, tx.updateChunk(h, &c)
}

// countWithin returns the number of entries of the first chunk of h that go, and the first
// entry of h that stays.
func (tx *Tx) countWithin(h *Head, t *trimArgs) (count uint64, upTo ID, err error) {
	if t.by == trimMaxLen {
		if h.Length <= t.maxLen {
			return 0, ID{}, nil
		}
		count = h.Length - t.maxLen
		upTo, err = tx.entryAfter(h, count)
		return count, upTo, err
	}
	err = tx.eachEntry(h, h.First, MaxID, false, func(id ID, _ []byte) (bool, error) {
		if id.Less(t.minID) {
			count++
			return true, nil
		}
		upTo = id
		return false, nil
	})
	return count, upTo, err
}

// aheadMax is the number of IDs that entryAfter reads ahead. A stream that XADD keeps at
// one length loses one entry for each new one. Thanks to the IDs read ahead, only one of
// aheadMax such trims needs an iterator.
const aheadMax = 64

// entryAfter returns the ID of the entry n places after the first of h. n must be above
// zero and below Length. It costs n units, whether or not the IDs were read ahead.
func (tx *Tx) entryAfter(h *Head, n uint64) (at ID, err error) {
	if err := tx.step(int(n)); err != nil {
		return ID{}, err
	}
	if n <= uint64(len(h.ahead)) {
		return h.ahead[n-1], nil
	}
	if h.ahead == nil {
		h.ahead = make([]ID, 0, aheadMax)
	}
	h.ahead = h.ahead[:0]
	i := uint64(0)
	err = tx.walkEntries(h, h.First, MaxID, false, func(id ID, _ []byte) (bool, error) {
		if i > 0 && len(h.ahead) < aheadMax {
			h.ahead = append(h.ahead, id)
		}
		if i == n {
			at = id
		}
		i++
		return i <= max(n, aheadMax), nil
	})
	if err == nil && i <= n {
		err = fmt.Errorf("stream: %q counts %d entries and has %d", h.Name, h.Length, i)
	}
	return at, err
}

// dropEntries deletes the first count entries of h, which are those before upTo. The caller
// updates their chunks. exact says whether upTo is the ID of a live entry.
func (tx *Tx) dropEntries(h *Head, count uint64, upTo ID, exact bool) error {
	var err error
	switch {
	case count <= uint64(len(h.ahead)):
		err = tx.batch.Delete(tx.idKey(h, kindEntry, h.First))
		for _, id := range h.ahead[:count-1] {
			err = firstError(err, tx.batch.Delete(tx.idKey(h, kindEntry, id)))
		}
		h.ahead = slices.Delete(h.ahead, 0, int(count))
	default:
		h.ahead = h.ahead[:0]
		err = tx.deleteSpan(h, kindEntry, h.First, upTo, count)
	}
	if err != nil {
		return fmt.Errorf("trim entries of %q: %w", h.Name, err)
	}
	h.Length -= count
	h.First = upTo
	tx.modified(h)
	if !exact {
		tx.unsettle(h)
		h.ahead = h.ahead[:0]
	}
	return nil
}

// dropAll deletes all entries and chunks of h.
func (tx *Tx) dropAll(h *Head) error {
	err := firstError(
		tx.deleteSpan(h, kindEntry, h.First, MaxID, h.Length),
		tx.deleteSpan(h, kindChunk, ID{}, h.Tail.First, h.Chunks))
	if err != nil {
		return fmt.Errorf("trim all of %q: %w", h.Name, err)
	}
	h.Length, h.Chunks = 0, 0
	h.First, h.LastEntry = ID{}, ID{}
	h.Tail, h.front, h.frontDirty = chunk{}, chunk{}, false
	h.ahead = h.ahead[:0]
	tx.modified(h)
	return nil
}

// deleteSpan deletes h's records of kind with IDs in [from, end), of which there are about
// count.
func (tx *Tx) deleteSpan(h *Head, kind byte, from, end ID, count uint64) error {
	// Not in tx.keyBuf, because the scan below builds other keys there.
	lo := from.appendBytes(append(append([]byte(nil), h.prefix...), kind))
	hi := end.appendBytes(append(append([]byte(nil), h.prefix...), kind))
	if count >= rangeDeleteMin {
		return tx.batch.DeleteRange(lo, hi)
	}
	return tx.deleteEach(lo, hi)
}

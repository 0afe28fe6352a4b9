package stream

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"

	"millrace/command"
	"millrace/resp"
)

// Hashes and sorted sets consist of elements: fields with values, or members with scores.
// An element has a key that names it; a member has a second one in the order of scores
// (zset.go). The rest of the first key is
//
//	 0      5      5+n
//	+------+------+
//	| hash | name |
//	| u40  | n B  |
//	+------+------+
//
// The hash comes first so that HSCAN and ZSCAN can walk in its order: a cursor is a hash,
// which stays valid while elements come and go. The head counts the elements. It also
// knows whether Redis would keep the collection as a listpack, because a client can see
// the difference: OBJECT ENCODING, the order of HGETALL, a HSCAN that answers all at once.

const (
	// maxElementBytes bounds a field and a member, in bytes: they are parts of keys.
	maxElementBytes = 1<<16 - 1

	// maxElements bounds the elements that one command names, and those that all commands
	// of a record walk over beyond that: both hold up the shard while they are applied. A
	// read on a view has no such bound, but one of the bytes that it answers.
	maxElements = 10_000
	// maxStepBytes bounds the keys that one command writes or deletes, because a name may
	// have 64 KiB.
	maxStepBytes = 16 << 20

	elementHashLen = 5

	// Redis keeps a collection as a listpack up to so many elements, each of so many bytes.
	// The bounds are Redis's defaults.
	compactFields  = 512
	compactMembers = 128
	compactBytes   = 64
)

var (
	errElementTooLong = resp.Err(fmt.Sprintf("ERR a field of a hash or a member of a sorted set has at most %d bytes", maxElementBytes))
	errManyElements   = resp.Err(fmt.Sprintf("ERR the command names more than %d elements, or more than %d MiB of keys; send it in parts", maxElements, maxStepBytes>>20))
	errWalkInRecord   = resp.Err(fmt.Sprintf("ERR the step would go over more than %d elements of hashes and sorted sets, or %d MiB of their keys; take fewer at a time, and read large ones without MULTI", maxElements, maxStepBytes>>20))
	errReplyTooLarge  = resp.Err("ERR the reply would take more than 128 MiB of memory; ask for fewer elements")
)

// elementsHead is the part of a head that hashes and sorted sets have beside Length, the
// number of elements, and Added, the number of those ever added.
//
//	+----------+--------------------------------------------------------+
//	| large u8 | of a sorted set: loose uvarint, least and greatest,    |
//	|          | each a length uvarint and its bytes                    |
//	+----------+--------------------------------------------------------+
type elementsHead struct {
	// Large says that Redis would not keep the collection as a listpack. Like there, it
	// remains so when the collection shrinks.
	Large bool
	// Least and Greatest bound the keys in the order of scores: no member comes before
	// Least, nor after all keys that start with Greatest. Both are starts of such keys
	// (zset.go). Walks begin there, and so skip the tombstones of popped members.
	Least, Greatest []byte
	// Loose counts removals since both were exact; see maxLoose.
	Loose uint64
}

func (e *elementsHead) append(b []byte, t Type) []byte {
	large := byte(0)
	if e.Large {
		large = 1
	}
	b = append(b, large)
	if t == TypeZSet {
		b = appendBytes(appendBytes(binary.AppendUvarint(b, e.Loose), e.Least), e.Greatest)
	}
	return b
}

func readElements(r *recordReader, t Type) elementsHead {
	e := elementsHead{Large: r.u8() == 1}
	if t == TypeZSet {
		e.Loose, e.Least, e.Greatest = r.uvarint(), bytes.Clone(r.bytes()), bytes.Clone(r.bytes())
	}
	return e
}

// newElementsHead returns the head of a new hash or sorted set.
func newElementsHead(name []byte, t Type) *Head {
	name = bytes.Clone(name)
	return &Head{Name: name, Type: t, prefix: appendName(nil, name)}
}

// hasElements reports whether h is the head of a hash or a sorted set.
func (h *Head) hasElements() bool { return h.Type == TypeHash || h.Type == TypeZSet }

// elementKind returns the kind of the keys that name the elements of h.
func (h *Head) elementKind() byte {
	if h.Type == TypeZSet {
		return kindMember
	}
	return kindField
}

// grew notes that an element of size bytes was added to h or set in it.
func (h *Head) grew(size int) {
	most := uint64(compactFields)
	if h.Type == TypeZSet {
		most = compactMembers
	}
	if size > compactBytes || h.Length > most {
		h.Elements.Large = true
	}
}

// elementHash returns the hash of an element's name. Elements that share one are answered
// by one step of a scan, so nobody must be able to construct many of those.
func elementHash(name []byte) uint64 {
	sum := sha256.Sum256(name)
	return binary.BigEndian.Uint64(sum[:]) >> (64 - hashBits)
}

func appendElementHash(dst []byte, hash uint64) []byte {
	return binary.BigEndian.AppendUint32(append(dst, byte(hash>>32)), uint32(hash))
}

// elementKey returns the key that names an element of h. It is valid until the next key is
// built.
func (tx *Tx) elementKey(h *Head, name []byte) []byte {
	b := append(append(tx.keyBuf[:0], h.prefix...), h.elementKind())
	tx.keyBuf = append(appendElementHash(b, elementHash(name)), name...)
	return tx.keyBuf
}

// parseElementKey returns the hash and the name in the rest of a key that names an element.
func parseElementKey(rest []byte) (hash uint64, name []byte, ok bool) {
	if len(rest) < elementHashLen {
		return 0, nil, false
	}
	return uint64(rest[0])<<32 | uint64(binary.BigEndian.Uint32(rest[1:])), rest[elementHashLen:], true
}

// collection returns the head of the hash or sorted set at name: nil if there is none, and
// a refusal if the name holds another type.
func (tx *Tx) collection(name []byte, t Type) (*Head, *resp.Value, error) {
	h, err := tx.head(name)
	if err != nil || h == nil {
		return nil, nil, err
	}
	if h.Type != t {
		return nil, &wrongType, nil
	}
	return h, nil, nil
}

// walk counts an element that a command walks over beyond those that its words name, and
// reports whether it may go on. Only a record has a bound.
func (tx *Tx) walk() bool {
	tx.walked++
	tx.spend(1)
	return tx.state == nil || tx.walked <= maxElements
}

// eachElement calls f for the elements of h from a hash on, in the order of their hashes,
// until f returns false or an error. name and record are valid during the call only. It
// does not count its elements as walked over.
func (tx *Tx) eachElement(h *Head, from uint64, f func(hash uint64, name, record []byte) (bool, error)) error {
	if h.Length == 0 || from > hashMask {
		return nil
	}
	prefix := append(slices.Clip(h.prefix), h.elementKind())
	n := len(prefix)
	return tx.scan(appendElementHash(prefix[:n:n], from), after(prefix), func(key, value []byte) (bool, error) {
		hash, name, ok := parseElementKey(key[n:])
		if !ok {
			return false, fmt.Errorf("stream: %s is no key of an element", PrintKey(key))
		}
		return f(hash, name, value)
	})
}

// checkNames is checkElements for a command whose words after the key are all names.
func checkNames(argv [][]byte) *resp.Value { return checkElements(argv[1], argv[2:], 0, 1) }

// checkElements refuses words that name too many elements, or too long ones. words are
// those of a command behind its options; every step-th of them, from first on, is a field
// or a member.
func checkElements(name []byte, words [][]byte, first, step int) *resp.Value {
	// Each of their keys starts with the name of the collection.
	if n := len(words) / step; n > maxElements || n*len(name) > maxStepBytes {
		return &errManyElements
	}
	for i := first; i < len(words); i += step {
		if len(words[i]) > maxElementBytes {
			return &errElementTooLong
		}
	}
	return nil
}

// elementReply collects the elements that a command answers.
type elementReply struct {
	out  []resp.Value
	size int // bytes of memory
	most int // bound of size
}

// add appends values, and reports whether the reply may grow further.
func (r *elementReply) add(values ...resp.Value) bool {
	for _, v := range values {
		r.out = append(r.out, v)
		r.size += valueBytes + len(v.Str)
	}
	return r.fits()
}

// fits reports whether the reply is within its bound.
func (r *elementReply) fits() bool { return r.size <= r.most }

// elementReply returns an empty reply.
func (tx *Tx) elementReply() elementReply {
	return elementReply{out: []resp.Value{}, most: tx.room(maxRangeBytes)}
}

// element is an element as it is stored: its name, and the record under its first key.
type element struct{ name, record []byte }

// inOrder calls f for all elements of h until f returns false or an error: in the order in
// which Redis keeps a listpack, or in that of their hashes if Redis would keep none. That
// order is of no significance in Redis either.
func (tx *Tx) inOrder(h *Head, f func(name, record []byte) (bool, error)) (refusal *resp.Value, err error) {
	if h.Elements.Large {
		err = tx.eachElement(h, 0, func(_ uint64, name, record []byte) (bool, error) {
			if !tx.walk() {
				refusal = &errWalkInRecord
				return false, nil
			}
			return f(name, record)
		})
		return refusal, err
	}
	var all []element
	err = tx.eachElement(h, 0, func(_ uint64, name, record []byte) (bool, error) {
		if !tx.walk() {
			refusal = &errWalkInRecord
			return false, nil
		}
		all = append(all, element{bytes.Clone(name), bytes.Clone(record)})
		return true, nil
	})
	if err != nil || refusal != nil {
		return refusal, err
	}
	if h.Type == TypeZSet {
		err = sortMembers(all)
	} else {
		err = sortFields(all)
	}
	for _, e := range all {
		more := false
		if err == nil {
			more, err = f(e.name, e.record)
		}
		if err != nil || !more {
			break
		}
	}
	return nil, err
}

// scanElements runs HSCAN and ZSCAN. Redis answers a listpack as a whole; otherwise the
// scan is one in the order of hashes.
func (tx *Tx) scanElements(argv [][]byte, t Type) (resp.Value, error) {
	if refusal := checkCursor(argv); refusal != nil {
		return *refusal, nil
	}
	h, refusal, err := tx.collection(argv[1], t)
	if err != nil || refusal != nil {
		return refused(refusal, err)
	}
	if h == nil {
		return resp.Array(resp.BulkString("0"), resp.Array()), nil
	}
	a, refusal := parseElementScan(argv, t)
	if refusal != nil {
		return *refusal, nil
	}
	r := tx.elementReply()
	next := uint64(0)
	if h.Elements.Large {
		next, refusal, err = tx.scanStep(h, &a, &r)
	} else {
		refusal, err = tx.inOrder(h, func(name, record []byte) (bool, error) { return true, r.scanned(&a, h, name, record) })
	}
	if err != nil || refusal != nil {
		return refused(refusal, err)
	}
	return resp.Array(resp.BulkString(strconv.FormatUint(next, 10)), resp.Array(r.out...)), nil
}

// scanStep answers the elements of one step of a scan, and returns the cursor of the next
// step, 0 at the end.
func (tx *Tx) scanStep(h *Head, a *elementScan, r *elementReply) (next uint64, refusal *resp.Value, err error) {
	looked, last := int64(0), uint64(0)
	err = tx.eachElement(h, uint64(a.from), func(hash uint64, name, record []byte) (bool, error) {
		// The elements of one hash are answered together: a cursor cannot tell them apart.
		if (looked >= a.count || r.size >= maxScanWork) && hash != last {
			next = hash
			return false, nil
		}
		if !tx.walk() {
			refusal = &errWalkInRecord
			return false, nil
		}
		looked, last = looked+1, hash
		return true, r.scanned(a, h, name, record)
	})
	return next, refusal, err
}

// scanned adds an element to the reply of a scan, if it matches.
func (r *elementReply) scanned(a *elementScan, h *Head, name, record []byte) error {
	if a.pattern != nil {
		ok, cost := match(a.pattern, name)
		r.size += cost
		if !ok {
			return nil
		}
	}
	field := resp.Bulk(bytes.Clone(name))
	if h.Type == TypeHash {
		_, value, err := decodeField(record)
		if a.noValues {
			r.add(field)
		} else {
			r.add(field, resp.Bulk(bytes.Clone(value)))
		}
		return err
	}
	score, err := decodeScore(record)
	r.add(field, resp.Bulk(scanScore(h, score)))
	return err
}

// elementScan holds the arguments of HSCAN or ZSCAN.
type elementScan struct {
	scanArgs
	noValues bool
}

// parseElementScan reads the words of HSCAN and ZSCAN.
func parseElementScan(argv [][]byte, t Type) (a elementScan, refusal *resp.Value) {
	words := [][]byte{argv[0], argv[2]}
	// The first fault counts, and words has the options before the one at hand.
	fault := func(here *resp.Value) (elementScan, *resp.Value) {
		if _, earlier := parseScan(words); earlier != nil {
			return a, earlier
		}
		return a, here
	}
	for i := 3; i < len(argv); i++ {
		switch {
		case command.IsWord(argv[i], "NOVALUES") && t == TypeHash:
			a.noValues = true
		case command.IsWord(argv[i], "NOVALUES"):
			return fault(&errNoValues)
		case command.IsWord(argv[i], "TYPE") || i+1 == len(argv):
			return fault(&command.ErrSyntax)
		default:
			words = append(words, argv[i], argv[i+1])
			i++
		}
	}
	a.scanArgs, refusal = parseScan(words)
	return a, refusal
}

var errNoValues = resp.Err("ERR NOVALUES option can only be used in HSCAN")

// checkCursor refuses the cursor of HSCAN and ZSCAN if it is none; Redis looks at the
// options only once the key was found to hold the right type.
func checkCursor(argv [][]byte) *resp.Value {
	_, refusal := parseScan([][]byte{argv[0], argv[2]})
	return refusal
}

package stream

import (
	"encoding/binary"
	"fmt"
	"slices"
)

// printElementKey shows the rest of a key of an element; at is the start of the text. ok is
// false if the key is none.
func printElementKey(kind byte, at string, rest []byte) (text string, ok bool) {
	switch kind {
	case kindField, kindMember:
		hash, name, ok := parseElementKey(rest)
		if !ok {
			return "", false
		}
		return fmt.Sprintf("%s %s hash=%010x %q", map[byte]string{kindField: "field", kindMember: "member"}[kind], at, hash, name), true
	case kindScore:
		if len(rest) < scoreBytes {
			return "", false
		}
		return fmt.Sprintf("score %s %v %q", at, scoreOf(binary.BigEndian.Uint64(rest)), rest[scoreBytes:]), true
	}
	return "", false
}

// printElement shows the record of an element.
func printElement(kind byte, value []byte) (string, error) {
	switch kind {
	case kindField:
		seq, v, err := decodeField(value)
		return fmt.Sprintf("seq=%d %q", seq, v), err
	case kindMember:
		score, err := decodeScore(value)
		return fmt.Sprint(score), err
	}
	if len(value) != 0 {
		return "", fmt.Errorf("stream: the key of a score has a value")
	}
	return "-", nil
}

// print shows the part of a head that t has.
func (e *elementsHead) print(t Type) string {
	if t == TypeHash {
		return fmt.Sprintf("large=%v", e.Large)
	}
	return fmt.Sprintf("large=%v loose=%d least=%s greatest=%s", e.Large, e.Loose, printBound(e.Least), printBound(e.Greatest))
}

func printBound(b []byte) string {
	if len(b) < scoreBytes {
		return fmt.Sprintf("?%x", b)
	}
	return fmt.Sprintf("%v/%q", scoreOf(binary.BigEndian.Uint64(b)), b[scoreBytes:])
}

// elementEncoding returns the answer of OBJECT ENCODING.
func (h *Head) elementEncoding() string {
	switch {
	case !h.Elements.Large:
		return "listpack"
	case h.Type == TypeZSet:
		return "skiplist"
	}
	return "hashtable"
}

// elementRecords calls span for the keys of all elements of h.
func (h *Head) elementRecords(span func(lo, hi []byte) error) error {
	lo := append(slices.Clip(h.prefix), h.elementKind())
	if err := span(lo, after(lo)); err != nil || h.Type == TypeHash {
		return err
	}
	return span(h.scoreBounds(nil, nil))
}

// sampleElements estimates the size of all records of h except the head, from n of each
// kind.
func (tx *Tx) sampleElements(h *Head, n int64) (size uint64, err error) {
	err = h.elementRecords(func(lo, hi []byte) error {
		part, err := tx.sample(lo, hi, h.Length, n)
		size += part
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("sample %q: %w", h.Name, err)
	}
	return size, nil
}

// elementCheck collects the elements of one name for Check.
type elementCheck struct {
	seqs    map[uint64]bool    // of fields
	members map[string]float64 // scores by the members' records
	scored  map[string]float64 // scores by the keys in the order of scores
	err     disagreement
}

// add takes one key of an element: its kind and the rest, and its value.
func (c *elementCheck) add(h *Head, kind byte, rest, value []byte) error {
	if kind == kindScore {
		if len(rest) < scoreBytes || len(value) != 0 {
			return fmt.Errorf("stream: the key of a score has %d bytes and a value of %d", len(rest), len(value))
		}
		if c.scored == nil {
			c.scored = make(map[string]float64)
		}
		member := string(rest[scoreBytes:])
		_, twice := c.scored[member]
		c.err.that(!twice, "%q has two places in the order of scores", member)
		c.scored[member] = scoreOf(binary.BigEndian.Uint64(rest))
		lo, hi := h.scoreBounds(nil, nil)
		key := append(append(slices.Clip(h.prefix), kind), rest...)
		c.err.that(string(lo) <= string(key) && string(key) < string(hi), "%q is outside of the bounds", member)
		return nil
	}
	hash, name, ok := parseElementKey(rest)
	if !ok || hash != elementHash(name) {
		return fmt.Errorf("stream: the key of an element has another hash than its name")
	}
	if kind == kindMember {
		score, err := decodeScore(value)
		if c.members == nil {
			c.members = make(map[string]float64)
		}
		c.members[string(name)] = score
		return err
	}
	seq, v, err := decodeField(value)
	if c.seqs == nil {
		c.seqs = make(map[uint64]bool)
	}
	c.err.that(!c.seqs[seq] && seq > 0 && seq <= h.Added, "field %q has the number %d of %d, or another one has it", name, seq, h.Added)
	c.err.that(h.Elements.Large || len(name) <= compactBytes && len(v) <= compactBytes, "field %q is too large for a listpack", name)
	c.seqs[seq] = true
	return err
}

// empty reports whether nothing was read.
func (c *elementCheck) empty() bool { return len(c.seqs)+len(c.members)+len(c.scored) == 0 }

// finish verifies the collected elements of the hash or sorted set h.
func (c *elementCheck) finish(h *Head) error {
	err := c.err
	err.that(h.Length > 0, "there are no elements")
	err.that(h.Added >= h.Length, "%d elements were added, and there are %d", h.Added, h.Length)
	if h.Type == TypeHash {
		err.count("fields", h.Length, uint64(len(c.seqs)))
		err.that(len(c.members)+len(c.scored) == 0, "a hash has members")
	} else {
		err.count("members", h.Length, uint64(len(c.members)))
		err.count("members in the order of scores", h.Length, uint64(len(c.scored)))
		err.that(len(c.seqs) == 0, "a sorted set has fields")
		err.that(h.Elements.Loose < maxLoose, "%d removals since the bounds were exact", h.Elements.Loose)
	}
	most := compactFields
	if h.Type == TypeZSet {
		most = compactMembers
	}
	err.that(h.Elements.Large || h.Length <= uint64(most), "%d elements are too many for a listpack", h.Length)
	for member, score := range c.members {
		other, ok := c.scored[member]
		err.that(ok && other == score, "%q has the score %v, and the place of %v (%v)", member, score, other, ok)
		err.that(h.Elements.Large || len(member) <= compactBytes, "member %q is too large for a listpack", member)
	}
	if err.first != nil {
		return fmt.Errorf("%v %q: %w", h.Type, h.Name, err.first)
	}
	return nil
}

package stream

import (
	"bytes"

	"millrace/resp"
)

// A range of names is of use if all members have one score: then they are in the order of
// their names. With other scores Redis answers something, which depends on how it keeps the
// sorted set; here it is as in a listpack.

// lexRange is a range of names.
type lexRange struct{ min, max lexEnd }

// lexEnd is an end of a range of names.
type lexEnd struct {
	name             []byte
	excluded         bool
	lowest, greatest bool // "-" and "+": before and after all names
}

// parseLexRange reads the two ends of a range of names: "[a", "(a", "-" or "+".
func parseLexRange(minWord, maxWord []byte) (r lexRange, refusal *resp.Value) {
	var ok, ok2 bool
	r.min, ok = parseLexEnd(minWord)
	r.max, ok2 = parseLexEnd(maxWord)
	if !ok || !ok2 {
		return r, &errMinMaxLex
	}
	return r, nil
}

func parseLexEnd(word []byte) (e lexEnd, ok bool) {
	switch {
	case string(word) == "-":
		return lexEnd{lowest: true}, true
	case string(word) == "+":
		return lexEnd{greatest: true}, true
	case len(word) > 0 && (word[0] == '[' || word[0] == '('):
		return lexEnd{name: word[1:], excluded: word[0] == '('}, true
	}
	return e, false
}

// from reports whether a name is not before the least one of the range.
func (r *lexRange) from(name []byte) bool {
	switch e := &r.min; {
	case e.lowest || e.greatest:
		return e.lowest
	default:
		c := bytes.Compare(name, e.name)
		return c > 0 || c == 0 && !e.excluded
	}
}

// upTo reports whether a name is not after the greatest one of the range.
func (r *lexRange) upTo(name []byte) bool {
	switch e := &r.max; {
	case e.lowest || e.greatest:
		return e.greatest
	default:
		c := bytes.Compare(name, e.name)
		return c < 0 || c == 0 && !e.excluded
	}
}

// rangeByLex answers the members in a range of names, as far as LIMIT says.
func (tx *Tx) rangeByLex(h *Head, a *zrangeArgs, r *memberReply) (*resp.Value, error) {
	first, refusal, err := tx.endMember(h, false)
	if err != nil || refusal != nil {
		return refusal, err
	}
	last, refusal, err := tx.endMember(h, true)
	if err != nil || refusal != nil {
		return refusal, err
	}
	lex := &a.lex
	if lex.min.greatest || lex.max.lowest || a.offset < 0 || a.limit == 0 || !lex.from(last.name) || !lex.upTo(first.name) {
		return nil, nil
	}
	in := scoreRange{}
	if first.score == last.score { // the names are in order
		if !lex.min.lowest {
			in.lo = appendScored(nil, first.score, lex.min.name)
		}
		if !lex.max.greatest {
			in.hi = append(appendScored(nil, first.score, lex.max.name), 0)
		}
	}
	skip, left, begun := a.offset, a.limit, false
	outside := lex.from
	inside := lex.upTo
	if a.rev {
		outside, inside = lex.upTo, lex.from
	}
	return tx.eachMember(h, in, a.rev, func(score float64, member []byte) (bool, error) {
		if !begun && !outside(member) {
			return true, nil
		}
		begun = true
		if !inside(member) {
			return false, nil
		}
		if skip > 0 {
			skip--
			return true, nil
		}
		left--
		return r.member(score, member) && left != 0, nil
	})
}

// endMember returns the first member of h, or its last.
func (tx *Tx) endMember(h *Head, last bool) (m takenMember, refusal *resp.Value, err error) {
	refusal, err = tx.eachMember(h, scoreRange{}, last, func(score float64, member []byte) (bool, error) {
		m = takenMember{bytes.Clone(member), score}
		return false, nil
	})
	return m, refusal, err
}

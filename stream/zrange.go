package stream

import (
	"bytes"
	"slices"

	"millrace/command"
	"millrace/resp"
)

// ZRANGE key start stop [BYSCORE | BYLEX] [REV] [LIMIT offset count] [WITHSCORES]: members of the sorted
// set at key, by their ranks, their scores, or their names if all scores are the same.
var zrange = Command{
	Command: command.Command{
		Name: "zrange", Arity: -4, Flags: command.ReadOnly,
		Usage:      "key start stop sortby:[BYSCORE|BYLEX] [REV] [LIMIT offset_count:(offset:int count:int)] [WITHSCORES]",
		History:    []string{"6.2.0 The options `BYSCORE`, `BYLEX`, `REV` and `LIMIT` came."},
		Keys:       command.Keys{First: 1, Last: 1, Step: 1, Access: "RO access"},
		Categories: []string{"read", "sortedset", "slow"},
		Since:      "1.2.0", Group: "sorted-set",
		Summary:    "Answers a range of members of a sorted set.",
		Complexity: "O(S + M) for M members that are answered, after S that are skipped.",
		Check: func(argv [][]byte) *resp.Value {
			_, refusal := parseZRange(argv, zrangeForm{})
			return refusal
		},
	},
	Run: func(tx *Tx, argv [][]byte) (resp.Value, error) { return tx.zrange(argv, zrangeForm{}) },
}

// ZREVRANGE key start stop [WITHSCORES]: ZRANGE with REV.
var zrevrange = Command{
	Command: command.Command{
		Name: "zrevrange", Arity: -4, Flags: command.ReadOnly,
		Usage:      "key start:int stop:int [WITHSCORES]",
		Deprecated: "6.2.0 `ZRANGE` with the `REV` argument",
		Keys:       command.Keys{First: 1, Last: 1, Step: 1, Access: "RO access"},
		Categories: []string{"read", "sortedset", "slow"},
		Since:      "1.2.0", Group: "sorted-set",
		Summary:    "Answers a range of members of a sorted set, the greatest score first.",
		Complexity: "O(S + M) for M members that are answered, after S that are skipped.",
		Check: func(argv [][]byte) *resp.Value {
			_, refusal := parseZRange(argv, zrangeForm{by: byRank, rev: true})
			return refusal
		},
	},
	Run: func(tx *Tx, argv [][]byte) (resp.Value, error) {
		return tx.zrange(argv, zrangeForm{by: byRank, rev: true})
	},
}

// ZRANGEBYSCORE key min max [WITHSCORES] [LIMIT offset count]: ZRANGE with BYSCORE.
var zrangebyscore = Command{
	Command: command.Command{
		Name: "zrangebyscore", Arity: -4, Flags: command.ReadOnly,
		Usage:      "key min:double max:double [WITHSCORES] [LIMIT offset_count:(offset:int count:int)]",
		History:    []string{"2.0.0 `WITHSCORES` came."},
		Deprecated: "6.2.0 `ZRANGE` with the `BYSCORE` argument",
		Keys:       command.Keys{First: 1, Last: 1, Step: 1, Access: "RO access"},
		Categories: []string{"read", "sortedset", "slow"},
		Since:      "1.0.5", Group: "sorted-set",
		Summary:    "Answers the members of a sorted set in a range of scores.",
		Complexity: "O(S + M) for M members that are answered, after S that are skipped.",
		Check: func(argv [][]byte) *resp.Value {
			_, refusal := parseZRange(argv, zrangeForm{by: byScore, forward: true})
			return refusal
		},
	},
	Run: func(tx *Tx, argv [][]byte) (resp.Value, error) {
		return tx.zrange(argv, zrangeForm{by: byScore, forward: true})
	},
}

// ZREVRANGEBYSCORE key max min [WITHSCORES] [LIMIT offset count]: ZRANGE with BYSCORE and REV.
var zrevrangebyscore = Command{
	Command: command.Command{
		Name: "zrevrangebyscore", Arity: -4, Flags: command.ReadOnly,
		Usage:      "key max:double min:double [WITHSCORES] [LIMIT offset_count:(offset:int count:int)]",
		History:    []string{"2.1.6 A `(` before an end leaves that score out."},
		Deprecated: "6.2.0 `ZRANGE` with the `REV` and `BYSCORE` arguments",
		Keys:       command.Keys{First: 1, Last: 1, Step: 1, Access: "RO access"},
		Categories: []string{"read", "sortedset", "slow"},
		Since:      "2.2.0", Group: "sorted-set",
		Summary:    "Answers the members of a sorted set in a range of scores, the greatest first.",
		Complexity: "O(S + M) for M members that are answered, after S that are skipped.",
		Check: func(argv [][]byte) *resp.Value {
			_, refusal := parseZRange(argv, zrangeForm{by: byScore, rev: true})
			return refusal
		},
	},
	Run: func(tx *Tx, argv [][]byte) (resp.Value, error) {
		return tx.zrange(argv, zrangeForm{by: byScore, rev: true})
	},
}

// ZRANGEBYLEX key min max [LIMIT offset count]: ZRANGE with BYLEX.
var zrangebylex = Command{
	Command: command.Command{
		Name: "zrangebylex", Arity: -4, Flags: command.ReadOnly,
		Usage:      "key min max [LIMIT offset_count:(offset:int count:int)]",
		Deprecated: "6.2.0 `ZRANGE` with the `BYLEX` argument",
		Keys:       command.Keys{First: 1, Last: 1, Step: 1, Access: "RO access"},
		Categories: []string{"read", "sortedset", "slow"},
		Since:      "2.8.9", Group: "sorted-set",
		Summary:    "Answers the members of a sorted set in a range of names, if all scores are the same.",
		Complexity: "O(S + M) for M members that are answered, after S that are skipped.",
		Check: func(argv [][]byte) *resp.Value {
			_, refusal := parseZRange(argv, zrangeForm{by: byLex, forward: true})
			return refusal
		},
	},
	Run: func(tx *Tx, argv [][]byte) (resp.Value, error) {
		return tx.zrange(argv, zrangeForm{by: byLex, forward: true})
	},
}

// ZREVRANGEBYLEX key max min [LIMIT offset count]: ZRANGE with BYLEX and REV.
var zrevrangebylex = Command{
	Command: command.Command{
		Name: "zrevrangebylex", Arity: -4, Flags: command.ReadOnly,
		Usage:      "key max min [LIMIT offset_count:(offset:int count:int)]",
		Deprecated: "6.2.0 `ZRANGE` with the `REV` and `BYLEX` arguments",
		Keys:       command.Keys{First: 1, Last: 1, Step: 1, Access: "RO access"},
		Categories: []string{"read", "sortedset", "slow"},
		Since:      "2.8.9", Group: "sorted-set",
		Summary:    "Answers the members of a sorted set in a range of names, the greatest first, if all scores are the same.",
		Complexity: "O(S + M) for M members that are answered, after S that are skipped.",
		Check: func(argv [][]byte) *resp.Value {
			_, refusal := parseZRange(argv, zrangeForm{by: byLex, rev: true})
			return refusal
		},
	},
	Run: func(tx *Tx, argv [][]byte) (resp.Value, error) {
		return tx.zrange(argv, zrangeForm{by: byLex, rev: true})
	},
}

var (
	errLimitRank = resp.Err("ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX")
	errScoresLex = resp.Err("ERR syntax error, WITHSCORES not supported in combination with BYLEX")
)

// zrangeBy is the order in which a range is given.
type zrangeBy uint8

const (
	byAny zrangeBy = iota // an option may say it; otherwise by rank
	byRank
	byScore
	byLex
)

// zrangeForm holds the options that the name of a command implies.
type zrangeForm struct {
	by           zrangeBy
	rev, forward bool // the order; with neither, REV may say it
}

// zrangeArgs are the words of a command of the family.
type zrangeArgs struct {
	by            zrangeBy
	rev           bool
	scores        bool
	offset, limit int64 // limit below zero: none

	start, stop int64      // by rank
	r           scoreRange // by score
	lex         lexRange   // by name
}

// parseZRange reads a command of the family. It refuses in the order of zrangeGenericCommand
// in redis src/t_zset.c.
func parseZRange(argv [][]byte, form zrangeForm) (a zrangeArgs, refusal *resp.Value) {
	a.by, a.rev, a.limit = form.by, form.rev, -1
	if refusal := a.options(argv[4:], form); refusal != nil {
		return a, refusal
	}
	first, last := argv[2], argv[3]
	switch a.by {
	case byScore, byLex:
		if a.rev {
			first, last = last, first
		}
		if a.by == byScore {
			a.r, refusal = parseScoreRange(first, last)
			return a, refusal
		}
		if a.scores {
			return a, &errScoresLex
		}
		a.lex, refusal = parseLexRange(first, last)
		return a, refusal
	}
	if a.limit != -1 {
		return a, &errLimitRank
	}
	a.start, a.stop, refusal = parseRanks(first, last)
	return a, refusal
}

// options reads the words after the range.
func (a *zrangeArgs) options(words [][]byte, form zrangeForm) *resp.Value {
	for i := 0; i < len(words); i++ {
		w := words[i]
		switch {
		case command.IsWord(w, "WITHSCORES"):
			a.scores = true
		case command.IsWord(w, "LIMIT") && i+2 < len(words):
			offset, ok := command.ParseInt(words[i+1])
			limit, ok2 := command.ParseInt(words[i+2])
			if !ok || !ok2 {
				return &command.ErrNotInteger
			}
			a.offset, a.limit = offset, limit
			i += 2
		case command.IsWord(w, "REV") && !a.rev && !form.forward && !form.rev:
			a.rev = true
		case command.IsWord(w, "BYSCORE") && a.by == byAny:
			a.by = byScore
		case command.IsWord(w, "BYLEX") && a.by == byAny:
			a.by = byLex
		default:
			return &command.ErrSyntax
		}
	}
	return nil
}

func (tx *Tx) zrange(argv [][]byte, form zrangeForm) (resp.Value, error) {
	a, refusal := parseZRange(argv, form)
	if refusal != nil {
		return *refusal, nil
	}
	h, refusal, err := tx.collection(argv[1], TypeZSet)
	switch {
	case err != nil || refusal != nil:
		return refused(refusal, err)
	case h == nil:
		return resp.Array(), nil
	}
	r := memberReply{scores: a.scores, elementReply: tx.elementReply()}
	switch a.by {
	case byScore:
		refusal, err = tx.rangeByScore(h, a.r, &a, &r)
	case byLex:
		refusal, err = tx.rangeByLex(h, &a, &r)
	default:
		refusal, err = tx.rangeByRank(h, &a, &r)
	}
	switch {
	case err != nil || refusal != nil:
		return refused(refusal, err)
	case !r.fits():
		return refused(tx.tooLarge(&errReplyTooLarge))
	}
	return r.value(), nil
}

// memberReply is a reply of members, with or without their scores.
type memberReply struct {
	elementReply
	scores bool
}

func (r *memberReply) member(score float64, member []byte) bool {
	if r.scores {
		return r.add(resp.Bulk(bytes.Clone(member)), resp.Double(score))
	}
	return r.add(resp.Bulk(bytes.Clone(member)))
}

// reverse turns the members around.
func (r *memberReply) reverse() {
	slices.Reverse(r.out)
	if r.scores {
		for i := 0; i < len(r.out); i += 2 {
			r.out[i], r.out[i+1] = r.out[i+1], r.out[i]
		}
	}
}

func (r *memberReply) value() resp.Value {
	if r.scores {
		return resp.Tuples(r.out...)
	}
	return resp.Array(r.out...)
}

func (tx *Tx) rangeByRank(h *Head, a *zrangeArgs, r *memberReply) (*resp.Value, error) {
	from, to, ok := rankRange(a.start, a.stop, h.Length)
	if !ok {
		return nil, nil
	}
	if a.rev {
		n := int64(h.Length)
		from, to = n-1-to, n-1-from
	}
	backward, refusal, err := tx.eachRank(h, from, to, func(score float64, member []byte) (bool, error) {
		return r.member(score, member), nil
	})
	if backward != a.rev {
		r.reverse()
	}
	return refusal, err
}

// rangeByScore answers the members in a range of keys, as far as LIMIT says.
func (tx *Tx) rangeByScore(h *Head, in scoreRange, a *zrangeArgs, r *memberReply) (*resp.Value, error) {
	if a.offset < 0 || a.offset >= int64(h.Length) || a.limit == 0 {
		return nil, nil
	}
	skip, left := a.offset, a.limit
	return tx.eachMember(h, in, a.rev, func(score float64, member []byte) (bool, error) {
		if skip > 0 {
			skip--
			return true, nil
		}
		left--
		return r.member(score, member) && left != 0, nil
	})
}

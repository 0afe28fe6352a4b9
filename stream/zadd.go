package stream

import (
	"math"

	"millrace/command"
	"millrace/resp"
)

// ZADD key [NX | XX] [GT | LT] [CH] [INCR] score member [score member …]: gives members of the
// sorted set at key scores; the set is made if there is none. It answers how many members are new,
// with CH how many were added or changed, and with INCR the new score of the one member.
var zadd = Command{
	Command: command.Command{
		Name: "zadd", Arity: -4, Flags: command.Write | command.DenyOOM | command.Fast,
		Usage: "key condition:[NX|XX] comparison:[GT|LT] [change=CH] [increment=INCR] score_member:(score:double member)...",
		History: []string{
			"2.4.0 Takes any number of elements.",
			"3.0.2 The options `NX`, `XX`, `CH` and `INCR` came.",
			"6.2.0 The options `GT` and `LT` came.",
		},
		Keys:       command.Keys{First: 1, Last: 1, Step: 1, Access: "RW update"},
		Categories: []string{"write", "sortedset", "fast"},
		Since:      "1.2.0", Group: "sorted-set",
		Summary:    "Adds members with scores, or gives members that are there a new score.",
		Complexity: "O(log N) for each member, with N members in the set.",
		Check: func(argv [][]byte) *resp.Value {
			_, refusal := parseZAdd(argv, false)
			return refusal
		},
	},
	Run: func(tx *Tx, argv [][]byte) (resp.Value, error) {
		a, refusal := parseZAdd(argv, false)
		if refusal != nil {
			return *refusal, nil
		}
		return tx.zadd(argv[1], &a)
	},
}

// ZINCRBY key increment member: adds to the score of a member of the sorted set at key, which is 0
// if there is none, and answers the sum.
var zincrby = Command{
	Command: command.Command{
		Name: "zincrby", Arity: 4, Flags: command.Write | command.DenyOOM | command.Fast,
		Usage:      "key increment:int member",
		Keys:       command.Keys{First: 1, Last: 1, Step: 1, Access: "RW access update"},
		Categories: []string{"write", "sortedset", "fast"},
		Since:      "1.2.0", Group: "sorted-set",
		Summary:    "Adds a number to one member's score, and answers the sum.",
		Complexity: "O(log N) with N members in the set.",
		Check: func(argv [][]byte) *resp.Value {
			_, refusal := parseZAdd(argv, true)
			return refusal
		},
	},
	Run: func(tx *Tx, argv [][]byte) (resp.Value, error) {
		a, refusal := parseZAdd(argv, true)
		if refusal != nil {
			return *refusal, nil
		}
		return tx.zadd(argv[1], &a)
	},
}

// Refusals of ZADD.
var (
	errZAddXXNX = resp.Err("ERR XX and NX options at the same time are not compatible")
	errZAddGTLT = resp.Err("ERR GT, LT, and/or NX options at the same time are not compatible")
	errZAddIncr = resp.Err("ERR INCR option supports a single increment-element pair")
	errScoreNaN = resp.Err("ERR resulting score is not a number (NaN)")
)

// zaddArgs are the words of ZADD and ZINCRBY.
type zaddArgs struct {
	nx, xx, gt, lt, ch, incr bool
	scores                   []float64
	members                  [][]byte
}

// option notes the option that a word is, and reports whether it is one.
func (a *zaddArgs) option(word []byte) bool {
	switch {
	case command.IsWord(word, "NX"):
		a.nx = true
	case command.IsWord(word, "XX"):
		a.xx = true
	case command.IsWord(word, "GT"):
		a.gt = true
	case command.IsWord(word, "LT"):
		a.lt = true
	case command.IsWord(word, "CH"):
		a.ch = true
	case command.IsWord(word, "INCR"):
		a.incr = true
	default:
		return false
	}
	return true
}

// parseZAdd reads ZADD, or ZINCRBY, which Redis takes for a ZADD with INCR. It refuses in the
// order of zaddGenericCommand in redis src/t_zset.c.
func parseZAdd(argv [][]byte, incr bool) (a zaddArgs, refusal *resp.Value) {
	a.incr = incr
	words := argv[2:]
	for len(words) > 0 && a.option(words[0]) {
		words = words[1:]
	}
	switch {
	case len(words) == 0 || len(words)%2 != 0:
		return a, &command.ErrSyntax
	case a.nx && a.xx:
		return a, &errZAddXXNX
	case a.gt && a.nx || a.lt && a.nx || a.gt && a.lt:
		return a, &errZAddGTLT
	case a.incr && len(words) > 2:
		return a, &errZAddIncr
	}
	for i := 0; i < len(words); i += 2 {
		score, ok := parseDouble(words[i])
		if !ok {
			return a, &errNotFloat
		}
		a.scores = append(a.scores, score)
		a.members = append(a.members, words[i+1])
	}
	return a, checkElements(argv[1], words, 1, 2)
}

func (tx *Tx) zadd(name []byte, a *zaddArgs) (resp.Value, error) {
	h, refusal, err := tx.collection(name, TypeZSet)
	if err != nil || refusal != nil {
		return refused(refusal, err)
	}
	if refusal, err := tx.lookAhead(h, a.members, 1); err != nil || refusal != nil {
		return refused(refusal, err)
	}
	defer tx.endLookahead()
	r := zaddRun{tx: tx, a: a, h: h, name: name}
	for i, member := range a.members {
		if refusal, err = r.one(member, a.scores[i]); err != nil || refusal != nil {
			return refused(refusal, err)
		}
	}
	if r.added+r.changed > 0 {
		if err := tx.tighten(r.h); err != nil {
			return resp.Value{}, err
		}
	}
	switch {
	case a.incr && !r.done:
		return resp.Null(), nil
	case a.incr:
		return resp.Double(r.score), nil
	case a.ch:
		return resp.Int(r.added + r.changed), nil
	}
	return resp.Int(r.added), nil
}

// zaddRun is a ZADD on its way.
type zaddRun struct {
	tx   *Tx
	a    *zaddArgs
	h    *Head // nil: there is no sorted set yet
	name []byte

	added, changed int64
	done           bool    // the options have let the last member pass
	score          float64 // of the last one
}

// one gives a member a score.
func (r *zaddRun) one(member []byte, score float64) (refusal *resp.Value, err error) {
	was, there, err := r.tx.score(r.h, member)
	if err != nil {
		return nil, err
	}
	r.done = false
	if there && r.a.nx || !there && r.a.xx {
		return nil, nil
	}
	if there && r.a.incr {
		score += was
		if math.IsNaN(score) {
			return &errScoreNaN, nil
		}
	}
	if there && (r.a.gt && score <= was || r.a.lt && score >= was) {
		return nil, nil
	}
	r.done, r.score = true, score
	if there && score == was {
		return nil, nil
	}
	if there {
		r.changed++
	} else {
		r.added++
	}
	if err := r.change(); err != nil {
		return nil, err
	}
	return nil, r.tx.putMember(r.h, member, score, was, there)
}

// change counts a modification, once, and makes the sorted set if there is none.
func (r *zaddRun) change() error {
	if r.h == nil {
		r.h = newElementsHead(r.name, TypeZSet)
		r.h.Elements.Large = len(r.a.members) > compactMembers // so Redis decides, without a look at them
		return r.tx.register(r.h)
	}
	if r.added+r.changed == 1 {
		r.tx.modified(r.h)
	}
	return nil
}

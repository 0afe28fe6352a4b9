package router

import (
	"errors"
	"fmt"

	"millrace/call"
	"millrace/resp"
)

// subcall is the part of a command that one shard gets.
type subcall struct {
	shard uint32
	argv  [][]byte
}

// runSum runs a command over keys whose answer is a number: DEL, UNLINK, EXISTS,
// TOUCH. Each shard counts its own; the sum is the reply. Atomicity is per key, so
// when a shard fails the others' part is done: the reply then is the error, for the
// first such shard in the order of the keys.
func runSum(c *conn, q *request, argv [][]byte) {
	calls, _, refusal := c.r.split(argv, 1)
	switch {
	case refusal != "":
		c.refuse(q, refusal)
	case len(calls) == 1:
		c.single(q, calls[0].shard, kindOf(q.cmd), argv)
	case len(argv) > c.r.lim.FanOut:
		c.refuse(q, textWide)
	default:
		c.spread(q, kindOf(q.cmd), calls, buildSum)
	}
}

// runMGet runs a command over keys whose answer is an array with an element for each:
// MGET. The elements are put in the order of the keys. Atomicity is per key, as above.
func runMGet(c *conn, q *request, argv [][]byte) {
	calls, of, refusal := c.r.split(argv, 1)
	switch {
	case refusal != "":
		c.refuse(q, refusal)
	case len(calls) == 1:
		c.single(q, calls[0].shard, kindOf(q.cmd), argv)
	case len(argv) > c.r.lim.FanOut:
		c.refuse(q, textWide)
	default:
		c.spread(q, kindOf(q.cmd), calls, func(q *request) []byte { return buildInOrder(q, of) })
	}
}

// split gives every shard its keys of argv, which stand from word first on, in the
// order of the keys. of says for each key which call has it.
func (r *Router) split(argv [][]byte, first int) (calls []subcall, of []int, refusal string) {
	at := make(map[uint32]int)
	of = make([]int, 0, len(argv)-first)
	for _, key := range argv[first:] {
		shard, refusal := r.locate(key)
		if refusal != "" {
			return nil, nil, refusal
		}
		i, ok := at[shard]
		if !ok {
			i = len(calls)
			at[shard] = i
			calls = append(calls, subcall{shard, append([][]byte(nil), argv[:first]...)})
		}
		calls[i].argv = append(calls[i].argv, key)
		of = append(of, i)
	}
	return calls, of, ""
}

// DBSIZE is the sum of what all shards hold.
func runDBSize(c *conn, q *request, _ [][]byte) {
	calls, refusal := c.r.everyShard("_DBSIZE")
	if refusal != "" {
		c.refuse(q, refusal)
		return
	}
	c.spread(q, call.Read, calls, buildSum)
}

// spread sends parts of q to shards; build makes the reply of their answers.
func (c *conn) spread(q *request, kind call.Kind, calls []subcall, build func(*request) []byte) {
	q.build = build
	q.parts = make([]part, len(calls))
	q.spread = make([]job, len(calls))
	q.waiting = len(calls)
	for i, sub := range calls {
		j := &q.spread[i]
		*j = job{part: i, shard: sub.shard, kind: kind, one: [1][][]byte{sub.argv}}
		j.cmds = j.one[:]
	}
	c.launch(q)
}

// buildSum answers the sum of the parts' numbers.
func buildSum(q *request) []byte {
	sum, reply := sumOf(q)
	if reply != nil {
		return reply
	}
	return encode(resp.Int(sum), q.proto)
}

// sumOf adds up the numbers of the parts; reply is the error where there is one.
func sumOf(q *request) (sum int64, reply []byte) {
	kind := kindOf(q.cmd)
	for _, p := range q.parts {
		if reply := failure(kind, p); reply != nil {
			return 0, reply
		}
		v, _, err := resp.ParseValue(p.reply)
		if err != nil || v.Kind != resp.KindInt {
			return 0, errorReply(textInternal)
		}
		sum += v.Int
	}
	return sum, nil
}

// buildInOrder makes an array of the elements of the parts' arrays; of says for each
// element which part has it.
func buildInOrder(q *request, of []int) []byte {
	size := 0
	left := make([][][]byte, len(q.parts))
	for i, p := range q.parts {
		if reply := failure(kindOf(q.cmd), p); reply != nil {
			return reply
		}
		var err error
		if left[i], _, err = elements(p.reply); err != nil {
			return errorReply(textInternal)
		}
		size += len(p.reply)
	}
	out := resp.AppendArrayLen(make([]byte, 0, size), len(of))
	for _, i := range of {
		if len(left[i]) == 0 {
			return errorReply(textInternal)
		}
		out = append(out, left[i][0]...)
		left[i] = left[i][1:]
	}
	return out
}

// failure returns the error reply of a part, or nil where it has a proper answer.
func failure(kind call.Kind, p part) []byte {
	switch {
	case p.err != nil:
		return errorReply(errorText(kind, p.err))
	case len(p.reply) == 0:
		return errorReply(textInternal)
	case p.reply[0] == '-':
		return p.reply
	}
	return nil
}

// errShape says that a shard answered something else than its command answers.
var errShape = errors.New("router: reply of another shape")

// elements returns the encoded elements of an encoded array, or the pairs of an
// encoded map, each pair as one; nil for a null. With them come their keys: the first
// value of a pair, be it in a map or in an array of arrays of two.
func elements(b []byte) (raw [][]byte, keys [][]byte, err error) {
	v, n, err := resp.ParseValue(b)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", errShape, err)
	}
	if n != len(b) {
		return nil, nil, fmt.Errorf("%w: %d bytes follow it", errShape, len(b)-n)
	}
	step := 1
	switch v.Kind {
	case resp.KindNull, resp.KindNullArray:
		return nil, nil, nil
	case resp.KindMap:
		step = 2
	case resp.KindArray:
	default:
		return nil, nil, errShape
	}
	rest := b[headLen(b):]
	for i := 0; i < len(v.Elems); i += step {
		size := 0
		for range step {
			_, n, err := resp.ParseValue(rest[size:])
			if err != nil {
				return nil, nil, fmt.Errorf("%w: %w", errShape, err)
			}
			size += n
		}
		raw = append(raw, rest[:size])
		rest = rest[size:]
		key := v.Elems[i]
		if step == 1 && key.Kind == resp.KindArray && len(key.Elems) > 0 {
			key = key.Elems[0]
		}
		keys = append(keys, key.Str)
	}
	return raw, keys, nil
}

// headLen returns the length of the first line of b with its end.
func headLen(b []byte) int {
	for i, x := range b {
		if x == '\n' {
			return i + 1
		}
	}
	return len(b)
}

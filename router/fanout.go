package router

import (
	"errors"
	"fmt"

	"millrace/call"
	"millrace/resp"
)

// subcall is the part of a command for one shard.
type subcall struct {
	shard uint32
	argv  [][]byte
}

// runSum runs DEL, UNLINK, EXISTS or TOUCH. Each shard counts its own keys, and the sum is
// the reply. Only one key is atomic. If a shard fails, the other shards have done their
// parts, and the reply is the error of the first failed shard in the order of the keys.
func runSum(c *conn, q *request, argv [][]byte) {
	calls, _, refusal := c.r.split(argv, 1)
	switch {
	case refusal != "":
		c.refuse(q, refusal)
	case len(calls) == 1:
		c.single(q, calls[0].shard, kindOf(q.cmd), argv)
	case len(argv)-1 > c.r.lim.FanOut:
		c.refuse(q, textWide(c.r.lim.FanOut))
	default:
		c.spread(q, kindOf(q.cmd), calls, buildSum)
	}
}

// runMGet runs MGET, whose reply is an array with an element for each key, in the order of
// the keys. Only one key is atomic.
func runMGet(c *conn, q *request, argv [][]byte) {
	calls, of, refusal := c.r.split(argv, 1)
	switch {
	case refusal != "":
		c.refuse(q, refusal)
	case len(calls) == 1:
		c.single(q, calls[0].shard, kindOf(q.cmd), argv)
	case len(argv)-1 > c.r.lim.FanOut:
		c.refuse(q, textWide(c.r.lim.FanOut))
	default:
		c.spread(q, kindOf(q.cmd), calls, func(q *request) []byte { return buildInOrder(q, of) })
	}
}

// split makes one call for each shard, with its keys of argv. The keys are the words from
// first on. Element i of the result of is the index of the call with key i. For example,
// with a and c on one shard, MGET a b c becomes the calls MGET a c and MGET b, and of is
// 0, 1, 0.
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

// DBSIZE is the sum over all shards that the connection sees.
func runDBSize(c *conn, q *request, _ [][]byte) {
	calls, refusal := c.seenShards("_DBSIZE")
	if refusal != "" {
		c.refuse(q, refusal)
		return
	}
	c.spread(q, call.Read, calls, buildSum)
}

// spread sends parts of q to shards. build makes the reply from their answers. Without any
// call, build gets no parts and makes the reply at once.
func (c *conn) spread(q *request, kind call.Kind, calls []subcall, build func(*request) []byte) {
	if len(calls) == 0 {
		c.answerBytes(q, build(q))
		return
	}
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

// sumOf adds up the numbers of the parts. reply is the first error, nil if there is none.
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

// buildInOrder makes one array from the elements of the parts' arrays. Element i comes
// from part of[i].
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

// failure returns the error reply of a part, nil if the part has a proper answer.
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

// errShape is the error for an answer that has not the shape of its command's replies.
var errShape = errors.New("router: reply of another shape")

// elements returns the encoded elements of an encoded array, or the encoded pairs of an
// encoded map; nil for a null. keys holds the first value of each pair, in a map as well
// as in an array of pairs. For example, the reply to an XREAD has the streams as pairs of
// a name and entries, so keys are the names.
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

// headLen returns the length of the first line of b, its end included.
func headLen(b []byte) int {
	for i, x := range b {
		if x == '\n' {
			return i + 1
		}
	}
	return len(b)
}

package router

import (
	"bytes"
	"slices"
	"strconv"

	"millrace/call"
	"millrace/resp"
	"millrace/stream"
)

// xread is an XREAD or XREADGROUP whose words have passed Check.
type xread struct {
	cmd     *stream.Command
	argv    [][]byte
	streams int      // the index of the word STREAMS
	keys    [][]byte // in the order of the arguments
	ids     [][]byte // one for each key
	group   []byte   // of XREADGROUP
	claims  bool     // CLAIM was given
	blocks  bool     // BLOCK was given
	blockMS uint64   // its time; zero is for ever
	parts   []xpart  // what each shard gets

	count    int64 // of COUNT; not above zero: no limit
	maxCount int64 // of MAXCOUNT; zero: no limit
	maxSize  int64 // of MAXSIZE; zero: no limit
}

// capped reports whether a limit on the whole reply was given.
func (x *xread) capped() bool { return x.maxCount > 0 || x.maxSize > 0 }

// xpart is what one shard gets of an xread: the keys at some positions. The same key
// is never twice in a part, so that an answer tells which position it is for; a key
// that is named again starts another part for the same shard. So does, in a call that
// is capped, a key of another shard: its parts come in the order of the arguments.
type xpart struct {
	shard   uint32
	at      []int
	noClaim bool // CLAIM is left out
}

// runXRead runs XREAD and XREADGROUP over any keys.
func runXRead(c *conn, q *request, argv [][]byte) {
	cmd := q.cmd
	if cmd.Check != nil {
		if e := cmd.Check(argv); e != nil && e.IsErr() {
			c.answer(q, *e)
			return
		}
	}
	x, refusal := c.r.parseXRead(cmd, argv)
	if refusal != "" {
		c.refuse(q, refusal)
		return
	}
	bad, noID := x.badID()
	switch {
	case noID != nil && len(x.parts) > 1:
		c.serially(q, func() []byte { return c.refuseID(q, x, bad, noID) })
	case x.blocks:
		c.serially(q, func() []byte { return c.runBlocked(q, x) })
	case len(x.parts) == 1:
		c.single(q, x.parts[0].shard, kindOf(cmd), argv)
	case cmd.Is(stream.Write), x.capped():
		// All shards have to agree that key and group are there before any of them
		// delivers; what comes behind waits, or it could come between. And what a shard
		// may answer of a capped reply depends on the ones before it.
		c.serially(q, func() []byte { return c.readAll(q, x, forever, false) })
	default:
		calls := make([]subcall, len(x.parts))
		for i := range x.parts {
			calls[i] = subcall{x.parts[i].shard, x.sub(i, false)}
		}
		c.spread(q, call.Read, calls, func(q *request) []byte { return x.merge(q.proto, q.parts) })
	}
}

// parseXRead takes the words apart.
func (r *Router) parseXRead(cmd *stream.Command, argv [][]byte) (*xread, string) {
	idx := cmd.KeyIndexes(argv)
	if len(idx) == 0 {
		return nil, "ERR syntax error"
	}
	n := len(idx)
	x := &xread{cmd: cmd, argv: argv, streams: idx[0] - 1, keys: argv[idx[0] : idx[0]+n], ids: argv[idx[0]+n:]}
	if len(x.ids) != n {
		return nil, "ERR syntax error"
	}
	for i := 1; i < x.streams; i++ {
		switch w := argv[i]; {
		case is(w, "block"):
			ms, err := strconv.ParseUint(string(argv[i+1]), 10, 63)
			if err != nil {
				return nil, "ERR timeout is not an integer or out of range"
			}
			x.blocks, x.blockMS = true, min(ms, maxBlockMS)
			i++
		case is(w, "group"):
			x.group = argv[i+1]
			i += 2
		case is(w, "noack"):
		case is(w, "claim"):
			x.claims = true
			i++
		default:
			limit := x.limit(w)
			if limit == nil {
				return nil, "ERR syntax error"
			}
			n, err := strconv.ParseInt(string(argv[i+1]), 10, 64)
			if err != nil {
				return nil, "ERR value is not an integer or out of range"
			}
			*limit = n
			i++
		}
	}
	if refusal := x.place(r); refusal != "" {
		return nil, refusal
	}
	return x, ""
}

// limit returns the limit that an option sets; nil where it sets none.
func (x *xread) limit(option []byte) *int64 {
	switch {
	case is(option, "count"):
		return &x.count
	case is(option, "maxcount"):
		return &x.maxCount
	case is(option, "maxsize"):
		return &x.maxSize
	}
	return nil
}

// after returns x with what is left of its caps when its reply holds a number of
// entries already, which count size bytes; nil when nothing may follow them.
func (x *xread) after(entries, size int64) *xread {
	if x.maxCount > 0 && entries >= x.maxCount || x.maxSize > 0 && entries > 0 && size >= x.maxSize {
		return nil
	}
	rest := *x
	if x.maxCount > 0 {
		rest.maxCount -= entries
		rest.count = min(x.count, rest.maxCount) // a COUNT above MAXCOUNT is refused
	}
	if x.maxSize > 0 {
		rest.maxSize -= size
	}
	rest.argv = slices.Clone(x.argv)
	for i := 1; i < x.streams; i++ {
		switch w := x.argv[i]; {
		case is(w, "group"):
			i += 2
		case is(w, "noack"):
		default:
			i++
			if limit := rest.limit(w); limit != nil {
				rest.argv[i] = strconv.AppendInt(nil, *limit, 10)
			}
		}
	}
	return &rest
}

// badID returns the position and the refusal of the first word of an XREAD that is no
// ID; nil where there is none. XREADGROUP's are looked at with its groups.
func (x *xread) badID() (at int, refusal *resp.Value) {
	if x.cmd.Is(stream.Write) {
		return 0, nil
	}
	for i, id := range x.ids {
		if refusal := stream.ReadIDRefusal(id, false); refusal != nil {
			return i, refusal
		}
	}
	return 0, nil
}

// place decides which shard gets which keys.
func (x *xread) place(r *Router) (refusal string) {
	part := make(map[uint32]int, 1) // the last part of a shard
	seen := make(map[string]int)    // the part a key was put in last, and one
	noClaim := false
	for i, key := range x.keys {
		shard, refusal := r.locate(key)
		if refusal != "" {
			return refusal
		}
		p, ok := part[shard]
		if !ok || seen[string(key)] == p+1 || x.parts[p].noClaim != noClaim || x.capped() && p != len(x.parts)-1 {
			p = len(x.parts)
			part[shard] = p
			x.parts = append(x.parts, xpart{shard: shard, noClaim: noClaim})
		}
		seen[string(key)] = p + 1
		x.parts[p].at = append(x.parts[p].at, i)
		// In Redis an explicit ID switches CLAIM off for the streams that follow, on
		// whatever shard they are.
		noClaim = noClaim || x.claims && !stream.ReadsNew(x.ids[i])
	}
	if len(part) == 1 {
		// One shard does it all in one call, repeated keys included.
		x.parts = x.parts[:1]
		x.parts[0].at = x.parts[0].at[:0]
		for i := range x.keys {
			x.parts[0].at = append(x.parts[0].at, i)
		}
	}
	if len(x.parts) > 1 && len(x.keys) > r.lim.FanOut {
		return textWide
	}
	return ""
}

// sub returns the words for part p: the options, and its keys and IDs. BLOCK is left
// out unless it is asked for.
func (x *xread) sub(p int, block bool) [][]byte {
	at := x.parts[p].at
	out := make([][]byte, 0, x.streams+1+2*len(at))
	for i := 0; i <= x.streams; i++ {
		w := x.argv[i]
		switch {
		case i == 0 || i == x.streams:
		case is(w, "block"):
			if !block {
				i++
				continue
			}
			out = append(out, w)
			i++
			w = x.argv[i]
		case is(w, "group"):
			out = append(out, w, x.argv[i+1])
			i += 2
			w = x.argv[i]
		case is(w, "noack"):
		case is(w, "claim") && x.parts[p].noClaim:
			i++
			continue
		default:
			out = append(out, w)
			i++
			w = x.argv[i]
		}
		out = append(out, w)
	}
	for _, i := range at {
		out = append(out, x.keys[i])
	}
	for _, i := range at {
		out = append(out, x.ids[i])
	}
	return out
}

// merge makes the reply of the parts' answers, or of those of the first parts when no
// more were asked: what each key has, in the order of the arguments; the null array when
// no key has anything.
func (x *xread) merge(proto uint8, parts []part) []byte {
	kind := kindOf(x.cmd)
	found := make([][]byte, len(x.keys))
	n, size := 0, 0
	for p, answer := range parts {
		if reply := failure(kind, answer); reply != nil {
			return reply
		}
		raw, keys, err := elements(answer.reply)
		if err != nil {
			return errorReply(textInternal)
		}
		at := x.parts[p].at
		for i, key := range keys {
			for len(at) > 0 && !bytes.Equal(x.keys[at[0]], key) {
				at = at[1:]
			}
			if len(at) == 0 {
				return errorReply(textInternal)
			}
			found[at[0]] = raw[i]
			at = at[1:]
			n++
			size += len(raw[i])
		}
	}
	if n == 0 {
		return encode(resp.NullArray(), proto)
	}
	head := byte('*')
	if proto == 3 {
		head = '%'
	}
	out := make([]byte, 0, size+16)
	out = append(out, head)
	out = strconv.AppendInt(out, int64(n), 10)
	out = append(out, '\r', '\n')
	for _, raw := range found {
		out = append(out, raw...)
	}
	return out
}

package router

import (
	"bytes"
	"strconv"

	"millrace/call"
	"millrace/command"
	"millrace/resp"
	"millrace/stream"
)

// xread is one XREAD or XREADGROUP of a client, split over shards.
type xread struct {
	command.Read
	cmd   *command.Command
	name  string  // the name under which the shards run it
	parts []xpart // one for each call to a shard
}

// xpart is the part of an xread for one shard: the keys at the positions at. A key is in
// a part only once, so that an answer belongs to one position; a key that is named again
// starts another part for the same shard. The parts of a capped call keep the order of
// the arguments, so there a part ends at a key of another shard. For example, with a and
// c on one shard, STREAMS a b c makes the parts a, c and b, or a, b and c if it is
// capped.
type xpart struct {
	shard   uint32
	at      []int
	noClaim bool // CLAIM is left out
}

// runXRead runs XREAD and XREADGROUP over any keys.
func runXRead(c *conn, q *request, argv [][]byte) {
	cmd := q.cmd
	x, e := c.r.parseXRead(cmd, argv)
	if e != nil {
		c.answer(q, *e)
		return
	}
	bad, noID := x.badID()
	switch {
	case noID != nil && len(x.parts) > 1:
		c.serially(q, func() []byte { return c.refuseID(q, x, bad, noID) })
	case x.Blocks:
		c.serially(q, func() []byte { return c.runBlocked(q, x) })
	case len(x.parts) == 1:
		c.single(q, x.parts[0].shard, kindOf(cmd), argv)
	case cmd.Is(command.Write), x.Capped():
		// Every shard has to find key and group before any of them delivers, and no later
		// command of this connection may run in between. In a capped call, a part depends
		// on the size of the parts before it.
		c.serially(q, func() []byte { return c.readAll(q, x, forever, false) })
	default:
		calls := make([]subcall, len(x.parts))
		for i := range x.parts {
			calls[i] = subcall{x.parts[i].shard, x.sub(i, false)}
		}
		c.spread(q, call.Read, calls, func(q *request) []byte { return x.merge(q.proto, q.parts) })
	}
}

// parseXRead reads the words of a call and splits its keys over shards. This is the only
// place where the router reads these words.
func (r *Router) parseXRead(cmd *command.Command, argv [][]byte) (*xread, *resp.Value) {
	args, e := command.ParseRead(argv, cmd.Is(command.Write))
	if e != nil {
		return nil, e
	}
	x := &xread{Read: args, cmd: cmd, name: cmd.Name}
	if refusal := x.place(r); refusal != "" {
		e := resp.Err(refusal)
		return nil, &e
	}
	return x, nil
}

// badID returns the position and the refusal of the first ID of an XREAD that is no ID;
// nil if there is none. checkGroups checks the IDs of an XREADGROUP.
func (x *xread) badID() (at int, refusal *resp.Value) {
	if x.cmd.Is(command.Write) {
		return 0, nil
	}
	for i, id := range x.IDs {
		if refusal := stream.ReadIDRefusal(id, false); refusal != nil {
			return i, refusal
		}
	}
	return 0, nil
}

// place splits the keys over shards.
func (x *xread) place(r *Router) (refusal string) {
	part := make(map[uint32]int, 1) // the last part of a shard
	seen := make(map[string]int)    // the part a key was put in last, and one
	noClaim := false
	for i, key := range x.Keys {
		shard, refusal := r.locate(key)
		if refusal != "" {
			return refusal
		}
		p, ok := part[shard]
		if !ok || seen[string(key)] == p+1 || x.parts[p].noClaim != noClaim || x.Capped() && p != len(x.parts)-1 {
			p = len(x.parts)
			part[shard] = p
			x.parts = append(x.parts, xpart{shard: shard, noClaim: noClaim})
		}
		seen[string(key)] = p + 1
		x.parts[p].at = append(x.parts[p].at, i)
		// In Redis an explicit ID switches CLAIM off for the streams that follow. They may be
		// on any shard.
		noClaim = noClaim || x.Claims && !stream.ReadsNew(x.IDs[i])
	}
	if len(part) == 1 {
		// One shard runs the whole call, with repeated keys.
		x.parts = x.parts[:1]
		x.parts[0].at = x.parts[0].at[:0]
		for i := range x.Keys {
			x.parts[0].at = append(x.parts[0].at, i)
		}
	}
	if len(x.parts) > 1 && len(x.Keys) > r.lim.FanOut {
		return textWide(r.lim.FanOut)
	}
	return ""
}

// sub returns the words of the call for part p: the options, then the part's keys and
// IDs. Without block, the option BLOCK is left out.
func (x *xread) sub(p int, block bool) [][]byte {
	r := x.Read
	r.Blocks = r.Blocks && block
	r.Claims = r.Claims && !x.parts[p].noClaim
	return r.Words(x.name, x.parts[p].at)
}

// merge makes the reply from the answers of the first len(parts) parts: the entries of
// each key, in the order of the arguments, or the null array if there are none.
func (x *xread) merge(proto uint8, parts []part) []byte {
	kind := kindOf(x.cmd)
	found := make([][]byte, len(x.Keys))
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
			for len(at) > 0 && !bytes.Equal(x.Keys[at[0]], key) {
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

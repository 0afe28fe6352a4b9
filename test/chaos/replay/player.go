package replay

import (
	"math/rand/v2"
	"strconv"
	"time"

	"millrace/resp"
	"millrace/test/chaos/check"
	"millrace/test/chaos/client"
)

// The groups of every stream.
const (
	groupA = "g"
	groupB = "h"
)

// Setup returns the commands that create a stream for a Player.
func Setup(stream string) [][]string {
	return [][]string{
		{"XGROUP", "CREATE", stream, groupA, "0", "MKSTREAM"},
		{"XGROUP", "CREATE", stream, groupB, "0", "MKSTREAM"},
		{"XCFGSET", stream, "IDMP-DURATION", "86400", "IDMP-MAXSIZE", "10000"},
	}
}

// manyEntries is more than the number of entries that a stream ever holds.
const manyEntries = 1000

// Player draws random operations for one client. One goroutine uses it.
type Player struct {
	History *History
	Streams []string
	Rand    *rand.Rand
	Block   time.Duration // BLOCK time of the blocking calls

	session uint64          // 0: the next operation begins a new session
	n       int             // operations so far
	seen    map[string][]ID // by stream: the last IDs in replies
	insist  *insistence     // the XADD to repeat, because its outcome is not a reply; nil: none
}

// insistence is an XADD with an idempotency token.
type insistence struct{ stream, producer, id string }

// maxSeen bounds the remembered IDs of each stream.
const maxSeen = 40

// Next returns the next operation. The caller performs it and passes it to Ended.
func (p *Player) Next() Op {
	if p.session == 0 {
		p.session = p.History.Session()
		if p.seen == nil {
			p.seen = map[string][]ID{}
		}
	}
	p.n++
	st := p.Streams[p.Rand.IntN(len(p.Streams))]
	if p.insist != nil {
		st = p.insist.stream
	}
	op := Op{Session: p.session, Stream: st}
	one := func(words ...string) { op.Commands = [][]string{words} }
	g, me := groupA, consumerName(p.session)
	if p.Rand.IntN(4) == 0 {
		g = groupB
	}
	switch k := p.Rand.IntN(100); {
	case k < 26 || p.insist != nil:
		one(p.add(st)...)
	case k < 32:
		op.Commands = p.transaction(st, g)
	case k < 50:
		words, blocks := p.read(st, g)
		op.Blocks = blocks
		one(words...)
	case k < 58:
		one(append([]string{"XACK", st, g}, p.tagged(st)...)...)
	case k < 62:
		ids := p.tagged(st)
		one(append([]string{"XNACK", st, g, p.pick("SILENT", "FAIL"), "IDS", strconv.Itoa(len(ids))}, ids...)...)
	case k < 67:
		words := append([]string{"XCLAIM", st, g, me, p.pick("0", "30", "300")}, p.ids(st)...)
		if p.Rand.IntN(3) == 0 {
			words = append(words, "RETRYCOUNT", strconv.Itoa(p.Rand.IntN(9)))
		}
		one(p.maybe(words, "JUSTID")...)
	case k < 71:
		words := []string{"XAUTOCLAIM", st, g, me, p.pick("0", "30", "300"), p.pick("0", p.id(st)), "COUNT", p.count()}
		one(p.maybe(words, "JUSTID")...)
	case k < 73:
		one(append([]string{"XDEL", st}, p.tagged(st)...)...)
	case k < 75:
		ids := p.tagged(st)
		one(append([]string{"XDELEX", st, p.pick("KEEPREF", "DELREF", "ACKED"), "IDS", strconv.Itoa(len(ids))}, ids...)...)
	case k < 78:
		ids := p.tagged(st)
		one(append([]string{"XACKDEL", st, g, p.pick("KEEPREF", "DELREF", "ACKED"), "IDS", strconv.Itoa(len(ids))}, ids...)...)
	case k < 79:
		one("XGROUP", "DELCONSUMER", st, g, me)
	default:
		op.Reads = true
		one(p.look(st, g)...)
	}
	return op
}

// Ended records the last operation of Next with its outcome. After an unknown write the
// client goes on in a new session.
func (p *Player) Ended(op Op) {
	p.History.Add(op)
	p.insist = nil
	if w := op.Commands[0]; len(op.Commands) == 1 && w[0] == "XADD" && w[2] == "IDMP" && op.Outcome != client.Replied {
		p.insist = &insistence{op.Stream, w[3], w[4]}
	}
	switch op.Outcome {
	case client.Unknown:
		if !op.Reads {
			p.session = 0
		}
	case client.Replied:
		p.remember(op.Stream, op.Reply)
	}
}

// remember collects the IDs in a reply.
func (p *Player) remember(st string, v resp.Value) {
	if id, ok := check.ParseID(string(v.Str)); ok && id.MS > 0 {
		p.seen[st] = append(p.seen[st], id)
		if n := len(p.seen[st]); n > maxSeen {
			p.seen[st] = p.seen[st][n-maxSeen:]
		}
	}
	for _, e := range v.Elems {
		p.remember(st, e)
	}
}

func (p *Player) pick(words ...string) string { return words[p.Rand.IntN(len(words))] }
func (p *Player) count() string               { return strconv.Itoa(1 + p.Rand.IntN(6)) }

// maybe appends a word half of the times.
func (p *Player) maybe(words []string, more string) []string {
	if p.Rand.IntN(2) == 0 {
		return words
	}
	return append(words, more)
}

// id returns an ID from an earlier reply, or one of no entry.
func (p *Player) id(st string) string {
	if n := len(p.seen[st]); n > 0 {
		return p.seen[st][p.Rand.IntN(n)].String()
	}
	return "7-7"
}

func (p *Player) ids(st string) []string {
	var ids []string
	for range 1 + p.Rand.IntN(4) {
		ids = append(ids, p.id(st))
	}
	return ids
}

// tagged returns some IDs, of which the last one names the session.
func (p *Player) tagged(st string) []string { return append(p.ids(st), nobodysID(p.session)) }

// add returns an XADD. It may trim, or carry an idempotency token.
func (p *Player) add(st string) []string {
	words := []string{"XADD", st}
	switch k := p.Rand.IntN(10); {
	case p.insist != nil:
		words = append(words, "IDMP", p.insist.producer, p.insist.id)
	case k < 3:
		words = append(words, "MAXLEN", "=", strconv.Itoa(20+p.Rand.IntN(40)))
	case k < 4:
		words = append(words, "MINID", "=", p.id(st))
	case k < 6:
		words = append(words, "IDMP", "producer-"+consumerName(p.session), strconv.Itoa(p.n))
	}
	return append(words, "*", "p", payload(p.session, p.n), "v", p.pick("", "12", "-7", "a longer value, of words"))
}

// transaction returns the commands of a transaction, of which the first names the session.
func (p *Player) transaction(st, g string) [][]string {
	out := [][]string{p.add(st)}
	for range 1 + p.Rand.IntN(3) {
		switch p.Rand.IntN(7) {
		case 0:
			out = append(out, []string{"XTRIM", st, "MAXLEN", "=", strconv.Itoa(10 + p.Rand.IntN(40))})
		case 1:
			out = append(out, []string{"XTRIM", st, "MINID", "=", p.id(st)})
		case 2:
			out = append(out, []string{"XGROUP", "SETID", st, groupB, p.pick("$", "0", p.id(st))})
		case 3:
			out = append(out, []string{"XPENDING", st, g, "-", "+", "20"})
		case 4:
			out = append(out, []string{"XINFO", "CONSUMERS", st, g})
		case 5:
			out = append(out, []string{"XINFO", "GROUPS", st})
		default:
			out = append(out, []string{"XLEN", st})
		}
	}
	return out
}

// read returns an XREADGROUP, and whether it blocks.
func (p *Player) read(st, g string) (words []string, blocks bool) {
	words = []string{"XREADGROUP", "GROUP", g, consumerName(p.session), "COUNT", p.count()}
	after := ">"
	switch p.Rand.IntN(12) {
	case 0, 1:
		words[5] = strconv.Itoa(manyEntries + p.n) // makes the words unique: see Op.Blocks
		words = append(words, "BLOCK", strconv.FormatInt(p.Block.Milliseconds(), 10))
		blocks = true
	case 2, 3:
		words = append(words, "CLAIM", p.pick("0", "30", "300"))
	case 4:
		words = append(words, "NOACK")
	case 5, 6:
		after = p.pick("0", p.id(st))
	}
	return append(words, "STREAMS", st, after), blocks
}

// look returns a read-only command.
func (p *Player) look(st, g string) []string {
	switch p.Rand.IntN(9) {
	case 0, 1:
		return []string{"XRANGE", st, p.pick("-", "("+p.id(st), p.id(st)), "+", "COUNT", p.count()}
	case 2, 3:
		return []string{"XREVRANGE", st, "+", p.pick("-", p.id(st)), "COUNT", p.count()}
	case 4:
		return []string{"XLEN", st}
	case 5:
		return []string{"XPENDING", st, g}
	case 6:
		return []string{"XPENDING", st, g, p.pick("-", "("+p.id(st)), "+", "10"}
	case 7:
		return []string{"XINFO", p.pick("STREAM", "GROUPS"), st}
	default:
		return []string{"XINFO", "CONSUMERS", st, g}
	}
}

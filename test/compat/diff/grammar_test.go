package diff

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"

	"pgregory.net/rapid"
)

// future is the millisecond part of IDs that no clock reaches. If the last ID of a stream
// has it, "*" gives the next ID the same millisecond part on every server.
const future = 4102444800000 // the year 2100

// Idle times, in milliseconds. A sequence takes seconds, so an entry that got no idle time
// from a command stays below recent. The commands give old or older, so that every
// threshold is far from every idle time.
const (
	recent = 1_000_000
	old    = 10_000_000
	older  = 20_000_000
)

// gen generates one sequence of commands.
type gen struct {
	rng    *rand.Rand
	oracle version
	prefix string
	// claims allows XREADGROUP CLAIM. Its replies depend on the millisecond of earlier
	// commands, so that such a sequence is sent slowly.
	claims  bool
	tag     string // inside a MULTI: the hash tag of all its keys
	last    map[string]uint64
	rules   []rule // the rules that the oracle knows
	weight  int    // sum of their weights
	futures int    // number of calls of setFuture
	out     [][]string
}

func newGen(oracle version, prefix string) *gen {
	g := &gen{oracle: oracle, prefix: prefix, last: map[string]uint64{}}
	for _, r := range rules() {
		if g.has(r.since) {
			g.rules = append(g.rules, r)
			g.weight += r.weight
		}
	}
	return g
}

// seeded draws a number from rapid, bit by bit, as the seed of all choices that follow.
// rapid's own ranges prefer small numbers so much that the last rules would never be
// chosen. Each bit is as likely to be one as zero.
func (g *gen) seeded(t *rapid.T) *gen {
	seed := uint64(0)
	for range 32 {
		seed <<= 1
		if rapid.Bool().Draw(t, "bit") {
			seed |= 1
		}
	}
	g.rng = rand.New(rand.NewPCG(seed, 0))
	return g
}

// Choices.

func (g *gen) n(lo, hi int) int       { return lo + g.rng.IntN(hi-lo+1) }
func (g *gen) odds(percent int) bool  { return g.n(0, 99) >= 100-percent }
func (g *gen) has(since version) bool { return g.oracle >= since }

func (g *gen) one(words ...string) string { return words[g.n(0, len(words)-1)] }

// common returns the usual word with a probability in percent, otherwise one of the others.
func (g *gen) common(percent int, usual string, others ...string) string {
	if g.odds(100 - percent) {
		return g.one(others...)
	}
	return usual
}

// Names. Keys lie in two slots, so that commands on several keys go to several shards. All
// keys of a sequence start with its own prefix.

const keysPerTag = 3 // keys for streams

// The keys that are for another type most of the time.
const (
	stringKey = keysPerTag + iota
	hashKey
	zsetKey
	allPerTag
)

var tags = []string{"a", "b"}

func (g *gen) keyOf(tag string, i int) string {
	return fmt.Sprintf("{%s%s}s%d", g.prefix, tag, i)
}

func (g *gen) key() string {
	tag := g.tag
	if tag == "" {
		tag = g.one(tags...)
	}
	if g.odds(4) {
		return g.keyOf(tag, g.n(stringKey, zsetKey))
	}
	return g.keyOf(tag, g.n(0, keysPerTag-1))
}

// str returns the key of a string, most of the time.
func (g *gen) str() string {
	key := g.key()
	if g.odds(90) {
		return key[:len(key)-1] + strconv.Itoa(stringKey)
	}
	return key
}

// beside returns another key of the slot of key. A Redis that is no cluster takes keys of
// all slots.
func beside(key string, i int) string { return key[:strings.IndexByte(key, '}')+2] + strconv.Itoa(i) }

// keys returns all keys that a sequence may have used.
func (g *gen) keys() []string {
	var out []string
	for _, tag := range tags {
		for i := range allPerTag {
			out = append(out, g.keyOf(tag, i))
		}
	}
	return out
}

func (g *gen) group() string {
	return g.common(95, g.one("g", "g", "h"), "", "none", "streams", "count")
}
func (g *gen) consumer() string { return g.common(95, g.one("c", "c", "d", "e"), "", "block") }

// IDs.

// badIDs are words that are no IDs, or IDs in an unusual form.
var badIDs = []string{
	"x", "", "1-", "-1-1", "1-2-3", "1-x", "x-1", " 1-1", "1 -1", "+1-1", "01-02", "1-+2", "(", "(x", "((1-1", "0x1-1", "1_0",
	"18446744073709551616-0", "0-18446744073709551616", "1-1 ", "*-1", "-", "+", "$", ">",
	"1" + strings.Repeat("0", 130), strings.Repeat("0", 100) + "1-1",
}

var edgeIDs = []string{
	"0", "0-0", "0-1", "18446744073709551615", "18446744073709551615-18446744073709551615",
	"18446744073709551615-18446744073709551614", "18446744073709551614-18446744073709551615",
	"4102444800000-3", "4102444800000", "5-18446744073709551615",
}

// id returns the ID of an entry that may be in the stream at key.
func (g *gen) id(key string) string {
	switch g.n(0, 39) {
	case 39:
		return g.one(badIDs...)
	case 38:
		return g.one(edgeIDs...)
	case 37, 36:
		return fmt.Sprint(future, "-", g.n(0, 6))
	case 35:
		return fmt.Sprint(g.n(0, int(g.last[key])+1))
	}
	return fmt.Sprint(g.n(0, int(g.last[key])+1), "-", g.n(0, 2))
}

// newID returns an ID for XADD, most of the time greater than the last one.
func (g *gen) newID(key string) string {
	switch g.n(0, 29) {
	case 29:
		return g.one(badIDs...)
	case 28:
		return g.one(edgeIDs...)
	case 27:
		return g.id(key)
	}
	last := g.last[key]
	step := uint64(g.n(0, 2))
	g.last[key] = last + step
	switch g.n(0, 3) {
	case 0:
		return fmt.Sprint(last+step, "-*")
	case 1:
		return fmt.Sprint(last+step, "-", g.n(0, 2))
	}
	g.last[key] = last + step + 1
	return fmt.Sprint(last+step+1, "-", g.n(0, 1))
}

// bound returns an end of a range.
func (g *gen) bound(key, usual string) string {
	switch g.n(0, 9) {
	case 9:
		return "(" + g.id(key)
	case 8:
		return g.one("-", "+", "(-", "(+", "(0-0", "(18446744073709551615-18446744073709551615")
	case 7, 6, 5, 4:
		return g.id(key)
	}
	return usual
}

// Numbers.

var oddNumbers = []string{
	"-1", "0", "9223372036854775807", "9223372036854775808", "-9223372036854775808", "18446744073709551615", "1.5", "x", "", " 1", "1 ",
	"07", "+1", "-0", "0x1", "1e3", "-9223372036854775809", "4294967296", "-2",
}

// oddCounts leaves out the greatest delivery count. With the next delivery, it becomes
// negative in Redis and stays in Millrace.
var oddCounts = slices.DeleteFunc(slices.Clone(oddNumbers), func(s string) bool { return s == "9223372036854775807" })

func (g *gen) count() string {
	if g.odds(8) {
		return g.one(oddNumbers...)
	}
	return strconv.Itoa(g.n(1, 12))
}

// minIdle returns a threshold that is far from every idle time, so that no reply depends
// on the clock.

func (g *gen) minIdle() string {
	return g.common(90, g.one("0", "0", strconv.Itoa(old/2), strconv.Itoa((old+older)/2)), "-1", "x", "", "9223372036854775807",
		"9223372036854775808", "1000000000000", "1.5")
}

// word returns an option, sometimes with its case changed.
func (g *gen) word(w string) string {
	if g.odds(4) {
		return strings.ToLower(w)
	}
	return w
}

func (g *gen) fields() []string {
	var out []string
	for range g.n(1, 2) {
		out = append(out, g.one("f", "f", "temp", "", "10", "-5"), g.value())
	}
	return out
}

func (g *gen) value() string {
	switch g.n(0, 15) {
	case 15:
		return strings.Repeat("x", g.n(50, 700))
	case 14:
		return g.one("", "-1", "123456789012", "a b", "\r\n", "\x00\xff", "9223372036854775808", "007")
	}
	return strconv.Itoa(g.n(0, 300))
}

func (g *gen) refs() []string {
	if g.has(v82) && g.odds(30) {
		return []string{g.word(g.one("KEEPREF", "DELREF", "ACKED"))}
	}
	return nil
}

// trim returns MAXLEN or MINID with its arguments.
func (g *gen) trim(key string) []string {
	kind := g.one("MAXLEN", "MINID")
	out := []string{g.word(kind)}
	approx := false
	switch g.n(0, 3) {
	case 3:
		out = append(out, "~")
		approx = true
	case 2:
		out = append(out, "=")
	}
	if kind == "MAXLEN" {
		out = append(out, g.common(93, strconv.Itoa(g.n(0, 8)), oddNumbers...))
	} else {
		out = append(out, g.id(key))
	}
	if approx && g.odds(40) || g.odds(3) {
		out = append(out, g.word("LIMIT"), g.common(85, g.one("0", "1", "3", "100", "1000"), oddNumbers...))
	}
	return out
}

// rule generates one kind of command.
type rule struct {
	weight int
	since  version
	make   func(g *gen) []string
}

// rules returns the commands on streams, and those on names of any type.
func rules() []rule {
	return []rule{
		{30, v50, (*gen).xadd},
		{6, v50, (*gen).xaddAuto},
		{1, v50, (*gen).xaddMany},
		{6, v50, (*gen).xrange},
		{3, v50, func(g *gen) []string { return []string{"XLEN", g.key()} }},
		{6, v50, (*gen).xdel},
		{6, v50, (*gen).xtrim},
		{4, v50, (*gen).xsetid},
		{14, v50, (*gen).xgroup},
		{16, v50, (*gen).xreadgroup},
		{7, v50, (*gen).xread},
		{8, v50, (*gen).xack},
		{7, v50, (*gen).xpending},
		{10, v50, (*gen).xclaim},
		{8, v50, (*gen).xautoclaim},
		{12, v50, (*gen).xinfo},
		{5, v82, (*gen).xdelex},
		{6, v82, (*gen).xackdel},
		{5, v86, (*gen).xaddOnce},
		{3, v86, (*gen).xcfgset},
		{3, v86, (*gen).xidmprecord},
		{5, v50, (*gen).names},
		{4, v50, (*gen).moves},
		{3, v50, (*gen).expiry},
		{3, v50, (*gen).strings},
		{4, v50, (*gen).stringPart},
		{4, v50, (*gen).hashes},
		{8, v50, (*gen).zsets},
		{2, v50, (*gen).multi},
		{2, v82, (*gen).watch},
	}
}

// command appends a command, or a few that belong together.
func (g *gen) command() {
	at := g.n(0, g.weight-1)
	for _, r := range g.rules {
		if at -= r.weight; at < 0 {
			g.emit(r.make(g))
			return
		}
	}
}

// emit appends a command, sometimes a spoilt one.
func (g *gen) emit(words []string) {
	if words == nil {
		return
	}
	if g.odds(6) {
		words = g.spoil(words)
	}
	g.out = append(g.out, g.sane(words))
}

// spoil drops, repeats, replaces or inserts a word after the key.
func (g *gen) spoil(words []string) []string {
	from := 2
	switch words[0] {
	case "XGROUP", "XINFO", "LCS":
		from = 3
	case "XIDMPRECORD", "XSETID", "DEL", "UNLINK", "EXISTS", "TOUCH", "MGET", "MSET", "MSETNX", "KEYS", "RENAME", "RENAMENX", "COPY": // every word is a key, or no word may change
		return words
	case "XREAD", "XREADGROUP":
		if g.tag != "" {
			return words // an ID could become a key of another slot
		}
	}
	switch words[0] {
	case "XREADGROUP", "XCLAIM", "XAUTOCLAIM":
		if !g.has(v72) {
			from = 4 // created has used the name of the consumer
		}
	}
	if slices.Contains(words, "*") || len(words) <= from {
		return words
	}
	words = slices.Clone(words)
	i := g.n(from, len(words)-1)
	switch g.n(0, 4) {
	case 0:
		return slices.Delete(words, i, i+1)
	case 1:
		return slices.Insert(words, i, words[i])
	case 2:
		words[i] = g.one(oddNumbers...)
	case 3:
		words[i] = g.one(badIDs...)
	default:
		return slices.Insert(words, i, g.option())
	}
	return words
}

func (g *gen) option() string {
	return g.one("COUNT", "NOACK", "STREAMS", "MAXLEN", "MINID", "LIMIT", "~", "=", "NOMKSTREAM", "MKSTREAM", "ENTRIESREAD", "IDLE", "TIME",
		"RETRYCOUNT", "FORCE", "JUSTID", "LASTID", "FULL", "GROUP", "ENTRIESADDED", "MAXDELETEDID", "BLOCK")
}

// sane replaces the arguments of a command that would make it wait, or make its reply
// depend on milliseconds.
func (g *gen) sane(words []string) []string {
	words = slices.Clone(words)
	if ofElements(words[0]) {
		words = g.saneElements(words)
	}
	fix := func(i int, ok func(n int64) bool, instead string) {
		if i >= len(words) {
			return
		}
		if n, err := strconv.ParseInt(strings.TrimSpace(words[i]), 0, 64); err == nil && !ok(n) {
			words[i] = instead
		}
	}
	idle := func(n int64) bool { return n <= 0 || n > recent }
	switch words[0] {
	case "XCLAIM", "XAUTOCLAIM":
		fix(4, idle, "0")
		if i := slices.IndexFunc(words, func(w string) bool { return is(w, "COUNT") }); i > 0 {
			// Redis allocates room for as many deleted IDs, and fails if there is not enough.
			fix(i+1, func(n int64) bool { return n < 1_000_000 || n > math.MaxInt64/16 }, "7")
		}
	case "XPENDING":
		fix(4, idle, "0")
	case "XSETID":
		if i := slices.IndexFunc(words, func(w string) bool { return is(w, "ENTRIESADDED") }); i > 0 {
			// The next XADDs could count beyond 2^63, and Millrace restores no dump with such a
			// number.
			fix(i+1, func(n int64) bool { return n < 1<<62 }, "1000000")
		}
	case "EXPIRE", "PEXPIRE":
		for i := 3; i < len(words); i++ { // words that spoil inserted
			if is(words[i], "GT") || is(words[i], "LT") {
				words[i] = "XX"
			}
		}
	case "XREAD", "XREADGROUP":
		for i, w := range words {
			switch strings.ToUpper(w) {
			case "BLOCK":
				fix(i+1, func(n int64) bool { return n == 1 || n < 0 || n > 1<<62 && g.has(v72) || n == 0 && g.tag != "" }, "1")
			case "CLAIM":
				fix(i+1, idle, "0")
			}
		}
	}
	return words
}

func (g *gen) xadd() []string {
	key := g.key()
	out := []string{"XADD", key}
	out = append(out, g.xaddOptions(key)...)
	out = append(out, g.newID(key))
	return append(out, g.fields()...)
}

func (g *gen) xaddOptions(key string) []string {
	var out []string
	if g.odds(10) {
		out = append(out, g.word("NOMKSTREAM"))
	}
	if g.odds(20) {
		out = append(out, g.trim(key)...)
	}
	if g.odds(30) {
		out = append(out, g.refs()...)
	}
	return out
}

// xaddAuto adds an entry under an ID that the server chooses, to a stream where the
// choice does not depend on the clock.
func (g *gen) xaddAuto() []string {
	key := g.key()
	g.out = append(g.out, []string{"XSETID", key, g.setFuture()})
	out := []string{"XADD", key, "NOMKSTREAM"}
	out = append(out, g.xaddOptions(key)...)
	out = append(out, "*")
	return append(out, g.fields()...)
}

// setFuture returns an ID for XSETID that no clock reaches, and a greater one each time:
// Redis before 7.2 would let an empty stream go back below its greatest deleted ID.
func (g *gen) setFuture() string {
	if g.has(v72) {
		return fmt.Sprint(future, "-0")
	}
	g.futures++
	return fmt.Sprint(future, "-", 1000*g.futures)
}

// xaddOnce adds entries of an idempotent producer.
func (g *gen) xaddOnce() []string {
	key := g.key()
	g.out = append(g.out, []string{"XGROUP", "CREATE", key, "g", "0", "MKSTREAM"}, []string{"XSETID", key, fmt.Sprint(future, "-0")})
	out := []string{"XADD", key}
	out = append(out, g.xaddOptions(key)...)
	pid := g.common(95, g.one("p", "q"), "")
	if g.odds(40) {
		out = append(out, g.word("IDMPAUTO"), pid)
	} else {
		out = append(out, g.word("IDMP"), pid, g.common(97, strconv.Itoa(g.n(0, 4)), ""))
	}
	if g.odds(5) {
		out = append(out, "IDMP", "p", "1")
	}
	out = append(out, g.common(95, "*", "5-*", "5-5"))
	for range g.n(1, 3) {
		out = append(out, g.one("f", "e"), g.one("1", "2"))
	}
	return out
}

// xaddMany fills nodes.
func (g *gen) xaddMany() []string {
	key := g.key()
	for range g.n(1, 110) {
		g.last[key]++
		g.out = append(g.out, []string{"XADD", key, fmt.Sprint(g.last[key], "-*"), "f", "1"})
	}
	return nil
}

func (g *gen) xrange() []string {
	key := g.key()
	out := []string{"XRANGE", key, g.bound(key, "-"), g.bound(key, "+")}
	if g.odds(40) {
		out = []string{"XREVRANGE", key, g.bound(key, "+"), g.bound(key, "-")}
	}
	if g.odds(50) {
		out = append(out, g.word("COUNT"), g.count())
	}
	return out
}

func (g *gen) ids(key string) []string {
	var out []string
	for range g.n(1, 4) {
		out = append(out, g.id(key))
	}
	return out
}

// numbered returns IDS numids id …
func (g *gen) numbered(key string) []string {
	ids := g.ids(key)
	return append([]string{g.word("IDS"), g.common(95, strconv.Itoa(len(ids)), oddNumbers...)}, ids...)
}

func (g *gen) xdel() []string {
	key := g.key()
	return append([]string{"XDEL", key}, g.ids(key)...)
}

func (g *gen) xdelex() []string {
	key := g.key()
	out := append([]string{"XDELEX", key}, g.refs()...)
	return append(out, g.numbered(key)...)
}

func (g *gen) xackdel() []string {
	key := g.key()
	out := append([]string{"XACKDEL", key, g.group()}, g.refs()...)
	return append(out, g.numbered(key)...)
}

func (g *gen) xtrim() []string {
	key := g.key()
	out := append([]string{"XTRIM", key}, g.trim(key)...)
	return append(out, g.refs()...)
}

func (g *gen) xsetid() []string {
	key := g.key()
	if !g.has(v72) {
		return []string{"XSETID", key, g.common(80, g.setFuture(), "x", "", "1-", "1-2-3", "-", "$", "18446744073709551616-0")}
	}
	out := []string{"XSETID", key, g.common(60, fmt.Sprint(g.last[key]+uint64(g.n(0, 2)), "-", g.n(0, 2)), g.id(key))}
	if g.odds(40) {
		out = append(out, g.word("ENTRIESADDED"), g.common(85, strconv.Itoa(g.n(0, 40)), oddNumbers...), g.word("MAXDELETEDID"), g.id(key))
	}
	return out
}

func (g *gen) xgroup() []string {
	key, group := g.key(), g.group()
	read := func(out []string) []string {
		if g.odds(25) {
			out = append(out, g.word("ENTRIESREAD"), g.common(80, strconv.Itoa(g.n(0, 12)), oddNumbers...))
		}
		return out
	}
	switch g.n(0, 19) {
	case 0, 1, 2, 3, 4, 5, 6, 7, 8:
		out := []string{"XGROUP", g.word("CREATE"), key, group, g.common(60, g.one("0", "$"), g.id(key))}
		if g.odds(40) {
			out = append(out, g.word("MKSTREAM"))
		}
		return read(out)
	case 9, 10, 11:
		return read([]string{"XGROUP", "SETID", key, group, g.common(40, g.one("0", "$", "+"), g.id(key))})
	case 12, 13, 14:
		return []string{"XGROUP", "CREATECONSUMER", key, group, g.consumer()}
	case 15, 16:
		return []string{"XGROUP", "DELCONSUMER", key, group, g.consumer()}
	case 17, 18:
		return []string{"XGROUP", "DESTROY", key, group}
	}
	return []string{"XGROUP", g.one("NOSUCH", "CREATE", "SETID", "HELP", "DESTROY"), key}
}

func (g *gen) xreadgroup() []string {
	out := []string{"XREADGROUP", g.word("GROUP"), g.group(), g.consumer()}
	if g.odds(50) {
		out = append(out, g.word("COUNT"), g.count())
	}
	if g.odds(3) {
		out = append(out, g.word("BLOCK"), g.timeout())
	}
	if g.claims && g.odds(40) {
		out = append(out, g.word("CLAIM"), g.minIdle())
	}
	if g.odds(15) {
		out = append(out, g.word("NOACK"))
	}
	out = g.streams(out, func(key string) string {
		return g.common(70, ">", g.id(key), "0", "0")
	})
	for _, w := range out {
		if strings.HasPrefix(w, "{") {
			g.created(w, out[2], out[3])
		}
	}
	return out
}

// created creates a consumer if the oracle would create it only with its first entry.
func (g *gen) created(key, group, consumer string) {
	if !g.has(v72) {
		g.out = append(g.out, []string{"XGROUP", "CREATECONSUMER", key, group, consumer})
	}
}

// timeout returns a time for BLOCK. The greatest number is an error since Redis 7.2; older
// versions would block.

func (g *gen) timeout() string {
	if g.has(v72) && g.odds(5) {
		return "9223372036854775807"
	}
	return g.common(80, "1", "-1", "x", "1.5", "")
}

func (g *gen) xread() []string {
	out := []string{"XREAD"}
	if g.odds(50) {
		out = append(out, g.word("COUNT"), g.count())
	}
	if g.odds(3) {
		out = append(out, g.word("BLOCK"), g.timeout())
	}
	return g.streams(out, func(key string) string {
		switch n := g.n(0, 9); {
		case n == 9 && g.has(v74):
			return "+"
		case n >= 8:
			return "$"
		case n >= 6:
			return "0"
		}
		return g.id(key)
	})
}

// streams appends STREAMS, keys and IDs.
func (g *gen) streams(out []string, id func(key string) string) []string {
	out = append(out, g.word("STREAMS"))
	var keys, ids []string
	for range g.common(70, "x", "xx", "xxx", "xxxx") {
		key := g.key()
		keys, ids = append(keys, key), append(ids, id(key))
	}
	return append(append(out, keys...), ids...)
}

func (g *gen) xack() []string {
	key := g.key()
	return append([]string{"XACK", key, g.group()}, g.ids(key)...)
}

func (g *gen) xpending() []string {
	key := g.key()
	out := []string{"XPENDING", key, g.group()}
	if g.odds(30) {
		return out
	}
	if g.odds(30) {
		out = append(out, g.word("IDLE"), g.minIdle())
	}
	out = append(out, g.bound(key, "-"), g.bound(key, "+"), g.count())
	if g.odds(40) {
		out = append(out, g.consumer())
	}
	return out
}

func (g *gen) xclaim() []string {
	key := g.key()
	ids := g.ids(key)
	if g.claims {
		// One command delivers all its entries in one millisecond. XREADGROUP CLAIM takes them
		// in the order of IDs here, and in the order of delivery in Redis.
		ids = ids[:1]
	}
	out := append([]string{"XCLAIM", key, g.group(), g.consumer(), g.minIdle()}, ids...)
	g.created(key, out[2], out[3])
	for range g.n(0, 3) {
		switch g.n(0, 5) {
		case 0:
			out = append(out, g.word("IDLE"), g.common(85, strconv.Itoa(g.n(1, 2)*old), oddNumbers...))
		case 1:
			out = append(out, g.word("TIME"), g.common(85, g.one("1000", "1700000000000"), oddNumbers...))
		case 2:
			out = append(out, g.word("RETRYCOUNT"), g.common(85, strconv.Itoa(g.n(0, 9)), oddCounts...))
		case 3:
			out = append(out, g.word("FORCE"))
		case 4:
			out = append(out, g.word("JUSTID"))
		case 5:
			out = append(out, g.word("LASTID"), g.id(key))
		}
	}
	return out
}

func (g *gen) xautoclaim() []string {
	key := g.key()
	out := []string{"XAUTOCLAIM", key, g.group(), g.consumer(), g.minIdle(), g.bound(key, "0")}
	g.created(key, out[2], out[3])
	if g.odds(50) {
		out = append(out, g.word("COUNT"), g.count())
	}
	if g.odds(25) {
		out = append(out, g.word("JUSTID"))
	}
	return out
}

func (g *gen) xinfo() []string {
	key := g.key()
	switch g.n(0, 9) {
	case 0, 1:
		return []string{"XINFO", g.word("STREAM"), key}
	case 2, 3, 4:
		out := []string{"XINFO", "STREAM", key, g.word("FULL")}
		if g.odds(50) {
			out = append(out, g.word("COUNT"), g.count())
		}
		return out
	case 5, 6, 7:
		return []string{"XINFO", g.word("GROUPS"), key}
	case 8:
		return []string{"XINFO", g.word("CONSUMERS"), key, g.group()}
	}
	return []string{"XINFO", g.one("NOSUCH", "STREAM", "HELP", "GROUPS", "CONSUMERS"), key}
}

// xcfgset sets no duration that could end before the sequence does. Otherwise the load of
// the machine would decide which IDs are forgotten. Scripts that set the time test that.
func (g *gen) xcfgset() []string {
	out := []string{"XCFGSET", g.key()}
	for range g.n(0, 2) {
		if g.odds(50) {
			out = append(out, g.word("IDMP-DURATION"), g.common(80, strconv.Itoa(3600+g.n(0, 3)), "86400", "86401", "0", "x", "-1"))
		} else {
			out = append(out, g.word("IDMP-MAXSIZE"), g.common(80, strconv.Itoa(g.n(1, 3)), "10000", "10001", "0", "x", "-1"))
		}
	}
	return out
}

// xidmprecord uses IDs in the future only: nobody knows the moment at which Redis forgets
// an ID that is older than IDMP-DURATION.
func (g *gen) xidmprecord() []string {
	id := g.common(85, fmt.Sprint(future, "-", g.n(0, 6)), "x", "", "1-2-3", "4102444800001-0")
	return []string{"XIDMPRECORD", g.key(), g.common(90, "p", "q", ""), g.common(90, strconv.Itoa(g.n(0, 4)), ""), id}
}

// head returns the first commands of every sequence: the protocol version, and the
// parameters of streams.

func (g *gen) head() [][]string {
	set := func(name, value string) []string { return []string{"CONFIG", "SET", name, value} }
	out := [][]string{
		{"HELLO", g.one("2", "3")},
		set("stream-node-max-entries", g.common(60, "100", "1", "2", "3", "10", "0")),
		set("stream-node-max-bytes", g.common(80, "4096", "0", "1", "100", "300")),
	}
	if g.has(v86) {
		out = append(out, set("stream-idmp-maxsize", g.common(60, "100", "1", "2", "3")))
	}
	return out
}

// groups gives most streams a group or two, because most commands on groups would have no
// effect otherwise.
func (g *gen) groups() {
	for _, key := range g.keys() {
		if key[len(key)-1] >= '0'+stringKey {
			continue
		}
		for _, group := range []string{"g", "h"} {
			if g.odds(70) {
				g.out = append(g.out, []string{"XGROUP", "CREATE", key, group, "0", "MKSTREAM"})
			}
		}
	}
}

// names returns a command for keys of any type.
func (g *gen) names() []string {
	switch g.n(0, 5) {
	case 0:
		return []string{g.one("DEL", "UNLINK"), g.key()}
	case 1:
		return []string{g.one("DEL", "UNLINK"), g.key(), g.key()}
	case 2:
		return []string{g.one("EXISTS", "TOUCH"), g.key(), g.key(), g.key()}
	case 3:
		return []string{"TYPE", g.key()}
	case 4:
		if g.tag == "" {
			return []string{"KEYS", g.one("{"+g.prefix+"*", "{"+g.prefix+"[ab]}s[0-1]", "{"+g.prefix+"?}s[^1]")}
		}
	}
	return []string{"EXISTS", g.key()}
}

// moves returns a command that renames or copies a key within a slot.
func (g *gen) moves() []string {
	from := g.key()
	to := from[:len(from)-1] + strconv.Itoa(g.n(0, keysPerTag-1))
	switch g.n(0, 3) {
	case 0:
		return []string{"RENAME", from, to}
	case 1:
		return []string{"RENAMENX", from, to}
	case 2:
		// Each server restores the dump of the other. Only the newest Redis knows all fields.
		if g.has(v86) && g.tag == "" {
			g.out = append(g.out, []string{exchange, from, to})
			return nil
		}
	}
	out := []string{"COPY", from, to}
	if g.odds(40) {
		out = append(out, g.word("REPLACE"))
	}
	return out
}

// expiry returns a command for the time to live of a key. The times are long past or far in
// the future.
func (g *gen) expiry() []string {
	key := g.key()
	switch g.n(0, 5) {
	case 0:
		return []string{g.one("TTL", "PTTL", "EXPIRETIME", "PEXPIRETIME"), key}
	case 1:
		return []string{"PERSIST", key}
	case 2:
		out := []string{g.one("EXPIREAT", "PEXPIREAT"), key, g.one("4102444800", "4102444800000", "4102444801000", "1", "0", "-1", "x")}
		return append(out, g.condition("NX", "XX", "GT", "LT")...)
	}
	out := []string{g.one("EXPIRE", "PEXPIRE"), key, g.one("100000000", "200000000", "100000000", "-1", "0", "x", "9223372036854775807", "9223372036854775")}
	// GT and LT would compare two such times, which differ by milliseconds.
	return append(out, g.condition("NX", "XX")...)
}

func (g *gen) condition(words ...string) []string {
	var out []string
	for g.odds(25) {
		out = append(out, g.word(g.one(words...)))
	}
	return out
}

// strings returns a command for strings.
func (g *gen) strings() []string {
	key := g.str()
	number := func() string { return g.common(80, strconv.Itoa(g.n(0, 20)), oddNumbers...) }
	switch g.n(0, 9) {
	case 0, 1:
		out := []string{"SET", key, number()}
		for g.odds(30) {
			out = append(out, g.one("NX", "XX", "GET", "KEEPTTL", "nx"))
		}
		if g.odds(15) {
			out = append(out, g.one("EX", "PX"), g.one("100000000", "0", "-1", "x", "9223372036854775807"))
		}
		return out
	case 2:
		return []string{"GET", key}
	case 3:
		return []string{g.one("INCR", "DECR", "STRLEN", "GETDEL"), key}
	case 4:
		return []string{g.one("INCRBY", "DECRBY"), key, number()}
	case 5:
		return []string{g.one("APPEND", "SETNX", "GETSET"), key, number()}
	case 6:
		out := []string{"GETEX", key}
		if g.odds(50) {
			out = append(out, g.one("PERSIST", "EX", "EXAT", "PXAT", "NX"), g.one("100000000", "4102444800000", "0"))
		}
		return out
	case 7:
		return []string{g.one("SETEX", "PSETEX"), key, g.one("100000000", "0", "-1", "x", "9223372036854775807"), number()}
	}
	return []string{"MGET", key, g.str(), g.key()}
}

// stringPart returns a command on a part of a string, or on several strings.
func (g *gen) stringPart() []string {
	key := g.common(90, g.str(), g.key())
	place := func() string {
		return g.common(92, strconv.Itoa(g.n(-6, 8)), "x", "", "9223372036854775807", "-9223372036854775808", "1.5")
	}
	value := func() string { return g.one("", "a", "abcab", "bacbacba", "10.5", "-3", "xy") }
	number := func() string {
		return g.common(85, g.one("1", "-1.5", "0.1", "10", "3.0e3", "2.5e-3"), "x", "", "inf", "nan", "1e4000", "0x1p3")
	}
	switch g.n(0, 6) {
	case 0:
		return []string{g.one("GETRANGE", "SUBSTR"), key, place(), place()}
	case 1:
		return []string{"SETRANGE", key, g.common(90, strconv.Itoa(g.n(-1, 12)), "x", "536870913"), value()}
	case 2:
		return []string{"INCRBYFLOAT", key, number()}
	case 3:
		return []string{g.one("MSET", "MSETNX"), key, value(), beside(key, g.n(0, zsetKey)), value()}
	case 4:
		return []string{"MSET", key, number()}
	}
	out := []string{"LCS", key, beside(key, stringKey)}
	for g.odds(40) {
		out = append(out, g.word(g.one("LEN", "IDX", "WITHMATCHLEN", "MINMATCHLEN")))
		if g.odds(30) {
			out = append(out, place())
		}
	}
	return out
}

// multi appends a transaction on the keys of one slot.
func (g *gen) multi() []string {
	if g.tag != "" {
		return []string{"MULTI"}
	}
	g.tag = g.one(tags...)
	g.transaction()
	g.tag = ""
	return nil
}

func (g *gen) transaction() {
	g.out = append(g.out, []string{"MULTI"})
	for range g.n(0, 4) {
		g.command()
	}
	g.out = append(g.out, []string{g.common(85, "EXEC", "DISCARD")})
}

// watch appends a transaction that depends on the changes of a few commands before it. It
// creates the keys before it watches them. A key that did not exist at WATCH, and was
// created and deleted since, counts as changed in Redis but not in Millrace.
func (g *gen) watch() []string {
	if g.tag != "" {
		return nil
	}
	g.tag = g.one(tags...)
	words := []string{"WATCH"}
	for range g.n(1, 2) {
		key := g.key()
		g.out = append(g.out, []string{"XGROUP", "CREATE", key, "g", "0", "MKSTREAM"})
		words = append(words, key)
	}
	g.out = append(g.out, words)
	for range g.n(0, 3) {
		g.command()
	}
	if g.odds(10) {
		g.out = append(g.out, []string{"UNWATCH"})
	}
	g.transaction()
	g.tag = ""
	return nil
}

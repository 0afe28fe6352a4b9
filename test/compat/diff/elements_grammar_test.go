package diff

import (
	"slices"
	"strconv"
	"strings"
)

// Hashes and sorted sets have few and short elements here, so that Redis keeps them as
// listpacks: otherwise HGETALL and HSCAN have no order that can be compared.

// element is a field or a member.
func (g *gen) element() string {
	return g.common(92, g.one("a", "b", "c", "d", "e"), "", "10", "a b", "nx")
}

// several returns 1 to 4 of what one makes.
func (g *gen) several(one func() []string) (out []string) {
	for range g.n(1, 4) {
		out = append(out, one()...)
	}
	return out
}

func (g *gen) elements() []string { return g.several(func() []string { return []string{g.element()} }) }

// ofKind is the key of a hash or a sorted set, most of the time.
func (g *gen) ofKind(kind int) string {
	key := g.key()
	if g.odds(92) {
		return key[:len(key)-1] + strconv.Itoa(kind)
	}
	return key
}

func (g *gen) hashes() []string {
	key := g.ofKind(hashKey)
	value := func() string {
		return g.common(70, strconv.Itoa(g.n(-5, 20)), "v", "", "10.5", "9223372036854775807", "-1", "3.0e3")
	}
	number := func() string { return g.common(80, strconv.Itoa(g.n(-9, 9)), oddNumbers...) }
	switch g.n(0, 15) {
	case 0, 1, 2, 3, 4:
		return append([]string{g.common(80, "HSET", "HMSET"), key}, g.several(func() []string { return []string{g.element(), value()} })...)
	case 5:
		return []string{"HSETNX", key, g.element(), value()}
	case 6:
		return []string{g.one("HGET", "HEXISTS", "HSTRLEN"), key, g.element()}
	case 7:
		return append([]string{"HMGET", key}, g.elements()...)
	case 8, 9:
		return append([]string{"HDEL", key}, g.elements()...)
	case 10, 11:
		return []string{g.one("HINCRBY", "HINCRBYFLOAT"), key, g.element(), number()}
	case 12:
		out := []string{"HSCAN", key, g.common(90, "0", "7", "x", "-1")}
		if g.odds(40) {
			out = append(out, g.word("COUNT"), g.count())
		}
		if g.odds(40) {
			out = append(out, g.word("MATCH"), g.one("*", "a*", "[a-c]", ""))
		}
		if g.has(v74) && g.odds(20) {
			out = append(out, g.word("NOVALUES"))
		}
		return out
	}
	return []string{g.one("HGETALL", "HGETALL", "HKEYS", "HVALS", "HLEN", "TYPE"), key}
}

func (g *gen) score() string {
	return g.common(88, g.one("0", "1", "1", "2", "2.5", "3", "-1", "10", "-1.25"),
		append(slices.Clone(oddNumbers), "inf", "-inf", "+inf", "nan", "1e400", "0.1", "1e-7", "1700000000.123", "5e-324", ".5", "0x1p3")...)
}

func (g *gen) scoreBound() string {
	out := g.common(90, g.one("-inf", "+inf", "inf", "0", "1", "2", "2.5", "3", "-1"), "x", "", "nan", "1e400", "10", "1e3")
	if g.odds(25) {
		out = "(" + out
	}
	return out
}

func (g *gen) lexBound() string {
	return g.common(90, g.one("-", "+", "[a", "(a", "[b", "(c", "[d", "[e"), "[", "(", "", "x", "[10")
}

func (g *gen) rank() string { return g.common(92, strconv.Itoa(g.n(-4, 5)), oddNumbers...) }

func (g *gen) zsets() []string {
	key := g.ofKind(zsetKey)
	switch g.n(0, 19) {
	case 0, 1, 2, 3, 4, 5:
		out := []string{"ZADD", key}
		for g.odds(30) {
			out = append(out, g.word(g.one("NX", "XX", "GT", "LT", "CH", "INCR")))
		}
		return append(out, g.several(func() []string { return []string{g.score(), g.element()} })...)
	case 6:
		return []string{"ZINCRBY", key, g.score(), g.element()}
	case 7, 8:
		return append([]string{g.common(60, "ZREM", "ZMSCORE"), key}, g.elements()...)
	case 9:
		return []string{g.one("ZCOUNT", "ZREMRANGEBYSCORE"), key, g.scoreBound(), g.scoreBound()}
	case 10:
		return []string{"ZSCORE", key, g.element()}
	case 11:
		out := []string{g.one("ZRANK", "ZREVRANK"), key, g.element()}
		if g.has(v72) && g.odds(40) {
			out = append(out, g.word("WITHSCORE"))
		}
		return out
	case 12:
		out := []string{g.one("ZPOPMIN", "ZPOPMAX"), key}
		if g.odds(60) {
			out = append(out, g.count())
		}
		return out
	case 13:
		return []string{"ZREMRANGEBYRANK", key, g.rank(), g.rank()}
	case 14:
		out := []string{"ZSCAN", key, g.common(90, "0", "7", "x")}
		if g.odds(40) {
			out = append(out, g.word("MATCH"), g.one("*", "a*", "[a-c]", ""))
		}
		return out
	case 15:
		return []string{g.one("ZCARD", "TYPE"), key}
	}
	return g.zrange(key)
}

// zrange reads a part of a sorted set, in one of all the ways there are.
func (g *gen) zrange(key string) []string {
	var out []string
	limits := true
	switch g.n(0, 7) {
	case 0, 1:
		out = []string{g.common(80, "ZRANGE", "ZREVRANGE"), key, g.rank(), g.rank()}
		limits = false
	case 2, 3:
		out = []string{"ZRANGE", key, g.scoreBound(), g.scoreBound(), g.word("BYSCORE")}
	case 4:
		out = []string{"ZRANGE", key, g.lexBound(), g.lexBound(), g.word("BYLEX")}
	case 5, 6:
		out = []string{g.one("ZRANGEBYSCORE", "ZREVRANGEBYSCORE"), key, g.scoreBound(), g.scoreBound()}
	case 7:
		out = []string{g.one("ZRANGEBYLEX", "ZREVRANGEBYLEX"), key, g.lexBound(), g.lexBound()}
	}
	if out[0] == "ZRANGE" && g.odds(40) {
		out = append(out, g.word("REV"))
	}
	if limits && g.odds(40) || g.odds(2) {
		out = append(out, g.word("LIMIT"), g.common(90, strconv.Itoa(g.n(-1, 3)), oddNumbers...), g.common(90, strconv.Itoa(g.n(-2, 4)), oddNumbers...))
	}
	if g.odds(45) {
		out = append(out, g.word("WITHSCORES"))
	}
	return out
}

// ofElements reports whether a command is one on hashes or sorted sets.
func ofElements(name string) bool {
	return strings.HasPrefix(name, "H") && name != "HELLO" || strings.HasPrefix(name, "Z")
}

// saneElements takes out of a command what would make a hash or a sorted set too large for a
// listpack, and ends of ranges that Redis took before it had another parser of numbers. It
// leaves out a fourth word of ZRANK that an old Redis does not know: in a MULTI, that
// Redis would refuse the EXEC.
func (g *gen) saneElements(words []string) []string {
	if (is(words[0], "ZRANK") || is(words[0], "ZREVRANK")) && len(words) == 4 && !g.has(v72) {
		words = words[:3]
	}
	for i := 2; i < len(words); i++ {
		switch w := words[i]; {
		case len(w) > 60:
			words[i] = "long"
		case (w == " 1" || w == "0x1" || w == "0x1-1" || w == " 1-1") && !g.has(v82) && words[0] != "ZADD" && words[0] != "ZINCRBY":
			words[i] = "1"
		}
	}
	return words
}

package stream_test

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"millrace/command"
	"millrace/kv"
	"millrace/kv/pebblekv"
	"millrace/resp"
	"millrace/stream"
)

// elementsMaker draws commands on hashes and sorted sets under a few names. It knows
// nothing of their replies.
type elementsMaker struct {
	*rapid.T
	newer bool // also words that Redis 7.0 does not know
	exact bool // scores that all versions print alike
}

func (m *elementsMaker) pick(name string, from ...string) string {
	return rapid.SampledFrom(from).Draw(m.T, name)
}

func (m *elementsMaker) some(name string, most int, one func() string) (out []string) {
	for range rapid.IntRange(1, most).Draw(m.T, name) {
		out = append(out, one())
	}
	return out
}

func (m *elementsMaker) hash() string { return m.pick("hash", "h", "h", "h", "i", "z", "s", "none") }
func (m *elementsMaker) zset() string { return m.pick("zset", "z", "z", "z", "y", "h", "s", "none") }

func (m *elementsMaker) member() string {
	return m.pick("member", "a", "b", "c", "d", "e", "", "aa", "10", "\xff\x00")
}

func (m *elementsMaker) number() string {
	return m.pick("number", "0", "1", "-1", "2", "7", "100", "-7", "x", "", "9223372036854775807", "9223372036854775808", "1.5", " 1", "01")
}

func (m *elementsMaker) float() string {
	more := []string{"inf", "-inf", "+inf", "nan", "x", "", "1e400", "1e3", "1e22"}
	if !m.exact {
		more = append(more, "0.1", "4611686018427387904", "1e-7", "12345678901234567890", "5e-324", "3.3333", "1700000000.123")
	}
	return m.pick("float", slices.Concat([]string{"0", "1", "1", "2", "2.5", "3", "-1.25", "5", "10"}, more)...)
}

func (m *elementsMaker) bound() string {
	return m.pick("open", "", "", "(") + m.pick("bound", "0", "1", "2", "2.5", "5", "-inf", "+inf", "inf", "10", "x", "-1")
}

func (m *elementsMaker) lexBound() string {
	return m.pick("lex", "-", "+", "[a", "(a", "[c", "(c", "[", "(", "[b", "x", "")
}

// command draws one command.
func (m *elementsMaker) command() []string {
	if rapid.Bool().Draw(m.T, "sorted") {
		return m.zsetCommand()
	}
	return m.hashCommand()
}

func (m *elementsMaker) hashCommand() []string {
	key, field := m.hash(), m.member()
	value := func() string { return m.pick("value", "1", "-5", "v", "", "10.5", "9223372036854775807") }
	pair := func() string { return m.member() + "\n" + value() }
	switch name := m.pick("command", "HSET", "HSET", "HSET", "HMSET", "HSETNX", "HGET", "HMGET", "HGETALL", "HKEYS", "HVALS", "HDEL", "HEXISTS",
		"HLEN", "HSTRLEN", "HINCRBY", "HINCRBYFLOAT", "HSCAN"); name {
	case "HSET", "HMSET":
		return strings.Split(name+"\n"+key+"\n"+strings.Join(m.some("pairs", 4, pair), "\n"), "\n")
	case "HSETNX":
		return []string{name, key, field, value()}
	case "HGET", "HEXISTS", "HSTRLEN":
		return []string{name, key, field}
	case "HMGET", "HDEL":
		return append([]string{name, key}, m.some("fields", 4, m.member)...)
	case "HINCRBY":
		return []string{name, key, field, m.number()}
	case "HINCRBYFLOAT":
		return []string{name, key, field, strings.Replace(m.float(), "1e400", "1e5000", 1)} // its sum would make the hash a large one
	case "HSCAN":
		out := []string{name, key, "0"}
		if m.newer && rapid.Bool().Draw(m.T, "novalues") {
			out = append(out, "NOVALUES")
		}
		return append(out, "MATCH", m.pick("pattern", "*", "a*", "[ab]"))
	default:
		return []string{name, key}
	}
}

func (m *elementsMaker) zsetCommand() []string {
	key, member := m.zset(), m.member()
	scored := func() string { return m.float() + "\n" + m.member() }
	rank := func() string { return m.pick("rank", "0", "1", "2", "-1", "-2", "5", "-9", "x") }
	limit := func(out []string) []string {
		if rapid.IntRange(0, 2).Draw(m.T, "limit") == 0 {
			out = append(out, "LIMIT", m.pick("offset", "0", "1", "2", "-1"), m.pick("count", "1", "2", "0", "-1", "9"))
		}
		return out
	}
	scores := func(out []string) []string {
		if rapid.Bool().Draw(m.T, "scores") {
			out = append(out, "WITHSCORES")
		}
		return out
	}
	switch name := m.pick("command", "ZADD", "ZADD", "ZADD", "ZADD", "ZINCRBY", "ZREM", "ZCARD", "ZCOUNT", "ZSCORE", "ZMSCORE", "ZRANK", "ZREVRANK",
		"ZRANGE", "ZRANGE", "ZREVRANGE", "ZRANGEBYSCORE", "ZREVRANGEBYSCORE", "ZRANGEBYLEX", "ZREVRANGEBYLEX", "ZPOPMIN", "ZPOPMAX", "ZREMRANGEBYSCORE",
		"ZREMRANGEBYRANK", "ZSCAN"); name {
	case "ZADD":
		out := []string{name, key}
		for rapid.IntRange(0, 2).Draw(m.T, "option") == 0 {
			out = append(out, m.pick("which", "NX", "XX", "GT", "LT", "CH", "INCR", "ch"))
		}
		return append(out, strings.Split(strings.Join(m.some("pairs", 4, scored), "\n"), "\n")...)
	case "ZINCRBY":
		return []string{name, key, m.float(), member}
	case "ZREM", "ZMSCORE":
		return append([]string{name, key}, m.some("members", 4, m.member)...)
	case "ZCARD":
		return []string{name, key}
	case "ZCOUNT", "ZREMRANGEBYSCORE":
		return []string{name, key, m.bound(), m.bound()}
	case "ZSCORE":
		return []string{name, key, member}
	case "ZRANK", "ZREVRANK":
		if m.newer && rapid.Bool().Draw(m.T, "withscore") {
			return []string{name, key, member, "WITHSCORE"}
		}
		return []string{name, key, member}
	case "ZRANGE":
		out := []string{name, key, rank(), rank()}
		switch rapid.IntRange(0, 3).Draw(m.T, "by") {
		case 1:
			out = []string{name, key, m.bound(), m.bound(), "BYSCORE"}
		case 2:
			out = []string{name, key, m.lexBound(), m.lexBound(), "BYLEX"}
		}
		if rapid.Bool().Draw(m.T, "rev") {
			out = append(out, "REV")
		}
		return scores(limit(out))
	case "ZREVRANGE":
		return scores([]string{name, key, rank(), rank()})
	case "ZRANGEBYSCORE", "ZREVRANGEBYSCORE":
		return limit(scores([]string{name, key, m.bound(), m.bound()}))
	case "ZRANGEBYLEX", "ZREVRANGEBYLEX":
		return limit([]string{name, key, m.lexBound(), m.lexBound()})
	case "ZPOPMIN", "ZPOPMAX":
		if rapid.Bool().Draw(m.T, "counted") {
			return []string{name, key, m.pick("count", "1", "2", "0", "9", "-1", "x")}
		}
		return []string{name, key}
	case "ZREMRANGEBYRANK":
		return []string{name, key, rank(), rank()}
	default:
		return []string{name, key, "0", "MATCH", m.pick("pattern", "*", "a*", "[ab]")}
	}
}

// general draws a command on names of any type.
func (m *elementsMaker) general() []string {
	names := func() string { return m.pick("name", "h", "i", "z", "y", "s") }
	switch m.pick("general", "DEL", "RENAME", "COPY", "SET", "TYPE", "OBJECT", "DUMP") {
	case "DEL":
		return []string{"DEL", names()}
	case "RENAME":
		return []string{"RENAME", names(), names()}
	case "COPY":
		return []string{"COPY", names(), names(), "REPLACE"}
	case "SET":
		return []string{"SET", "s", "v"}
	case "OBJECT":
		return []string{"OBJECT", "ENCODING", m.pick("element", "h", "i", "z", "y")}
	}
	return []string{"TYPE", names()}
}

// TestElementsLive sends random commands to a live Redis as well. All replies must be the
// same, in both protocol versions.
func TestElementsLive(t *testing.T) {
	if testing.Short() {
		t.Skip("it is long, and runs in one goroutine")
	}
	redis := newLiveRedis(t)
	newer := redis.version() >= 704
	done := map[string]int{}
	rapid.Check(t, func(rt *rapid.T) {
		redis.do(argvOf("FLUSHALL"))
		r := openRig(rt)
		defer r.close()
		proto := rapid.SampledFrom([]int{2, 3}).Draw(rt, "proto")
		redis.do(argvOf("HELLO", strconv.Itoa(proto)))
		m := &elementsMaker{T: rt, newer: newer, exact: !newer}
		var sent []string
		for range rapid.IntRange(1, 60).Draw(rt, "length") {
			words := m.command()
			if rapid.IntRange(0, 12).Draw(rt, "any") == 0 {
				words = m.general()
			}
			sent = append(sent, fmt.Sprintf("%q", words))
			r.nowMS = time.Now().UnixMilli()
			ours, theirs := resp.Print(r.run(argvOf(words...)), proto), resp.Print(redis.do(argvOf(words...)), proto)
			if ours != theirs {
				rt.Fatalf("%s\nis %s\nin Redis %s", strings.Join(sent, "\n"), ours, theirs)
			}
			if !strings.HasPrefix(ours, "-") {
				done[words[0]]++
			}
		}
		if err := stream.Check(r.reader(), 0, kv.Slots-1); err != nil {
			rt.Fatal(err)
		}
	})
	t.Logf("%v", done)
}

// TestElementsAgree runs random commands on one state, and in other batches on a second
// one: both must answer alike and hold the same bytes, and all keys must agree. ZRANGE and
// HGETALL must say the same as the other reads.
func TestElementsAgree(t *testing.T) {
	if testing.Short() {
		t.Skip("it is long, and runs in one goroutine")
	}
	rapid.Check(t, func(rt *rapid.T) {
		first, second := openRig(rt), &lazyRig{rig: openRig(rt)}
		defer first.close()
		defer second.close()
		p := &player{T: rt, first: first, second: second}
		m := &elementsMaker{T: rt, newer: true}
		for range rapid.IntRange(1, 80).Draw(rt, "length") {
			words := m.command()
			if rapid.IntRange(0, 12).Draw(rt, "any") == 0 {
				words = m.general()
			}
			got := resp.Print(first.run(argvOf(words...)), 3)
			if c, _ := stream.Lookup(argvOf(words...)); c != nil && c.Is(command.Write) {
				if other := resp.Print(second.run(argvOf(words...)), 3); other != got {
					rt.Fatalf("%q answers %s, and in a batch %s", words, got, other)
				}
			}
			switch rapid.IntRange(0, 9).Draw(rt, "between") {
			case 0:
				first.state.Reset()
			case 1:
				second.commit()
			}
			if err := stream.Check(pebblekv.Reader{R: first.db}, 0, kv.Slots-1); err != nil {
				rt.Fatalf("after %q: %v", words, err)
			}
		}
		second.commit()
		p.sameBytes()
		for _, z := range []string{"z", "y"} {
			sameMembers(rt, first, z)
		}
	})
}

// sameMembers compares the replies of all reads of a sorted set.
func sameMembers(rt *rapid.T, r *rig, z string) {
	all := r.do("ZRANGE " + z + " 0 -1 WITHSCORES")
	if all.IsErr() {
		return
	}
	n := len(all.Elems) / 2
	last := math.Inf(-1)
	for i := range n {
		name, score := all.Elems[2*i], all.Elems[2*i+1].Float
		if score < last {
			rt.Fatalf("%v is not in order", all)
		}
		last = score
		for _, c := range []struct {
			words []string
			want  string
		}{
			{[]string{"ZRANK", z, string(name.Str)}, fmt.Sprint(":", i)},
			{[]string{"ZREVRANK", z, string(name.Str)}, fmt.Sprint(":", n-1-i)},
			{[]string{"ZSCORE", z, string(name.Str)}, resp.Print(resp.Double(score), 2)},
			{[]string{"ZRANGE", z, fmt.Sprint(i), fmt.Sprint(i)}, resp.Print(resp.Array(name), 2)},
			{[]string{"ZRANGE", z, fmt.Sprint(n - 1 - i), fmt.Sprint(n - 1 - i), "REV"}, resp.Print(resp.Array(name), 2)},
		} {
			if got := resp.Print(r.run(argvOf(c.words...)), 2); got != c.want {
				rt.Fatalf("%q is %s, and %v has it at %d", c.words, got, all, i)
			}
		}
	}
	if got := r.do("ZCARD " + z).Int; got != int64(n) {
		rt.Fatalf("ZCARD is %d, and there are %d", got, n)
	}
}

package stream_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"millrace/kv"
	"millrace/resp"
	"millrace/stream"
)

// TestDumpElementsLive dumps and restores hashes and sorted sets both ways. Small ones have
// the same bytes as Redis's.
func TestDumpElementsLive(t *testing.T) {
	redis := newLiveRedis(t)
	newer := redis.version() >= 702
	seen := make(map[byte]int)
	rapid.Check(t, func(rt *rapid.T) {
		ours := openRig(rt)
		defer ours.close()
		m := &elementsMaker{T: rt, exact: !newer}
		redis.line("DEL s")
		redis.line("CONFIG SET rdbcompression " + m.pick("compression", "yes", "no"))
		kind := m.pick("type", "hash", "zset")
		word := func() string {
			return m.pick("word", "", "a", "b", "12", "-1", "300", "70000", "9223372036854775807", "01", strings.Repeat("x", 64), strings.Repeat("ab", 40), strings.Repeat("y", 5000))
		}
		for range rapid.IntRange(1, 10).Draw(rt, "elements") {
			words := []string{"HSET", "s", word(), word()}
			if kind == "zset" {
				words = []string{"ZADD", "s", m.float(), word()}
			}
			redis.do(argvOf(words...))
			ours.run(argvOf(words...))
		}
		payload := redis.line("DUMP s")
		if payload.Kind != resp.KindBulk {
			return
		}
		seen[payload.Str[0]]++
		show := map[string]string{"hash": "HGETALL s", "zset": "ZRANGE s 0 -1 WITHSCORES"}[kind]
		text := func(v resp.Value) string {
			if kind == "hash" { // a large one has no order
				var pairs []string
				for i := 0; i+1 < len(v.Elems); i += 2 {
					pairs = append(pairs, resp.Print(resp.Array(v.Elems[i:i+2]...), 2))
				}
				slices.Sort(pairs)
				return strings.Join(pairs, "\n")
			}
			return resp.Print(v, 2)
		}
		want := text(redis.line(show))
		if got := text(ours.do(show)); got != want {
			rt.Fatalf("here:\n%s\nin Redis:\n%s", got, want)
		}
		encoding := redis.line("OBJECT ENCODING s").String()
		made := ours.do("DUMP s").Str
		if got := ours.restore(payload.Str, "REPLACE"); got != "+OK" {
			rt.Fatalf("RESTORE answers %s to %x", got, payload.Str)
		}
		if err := stream.Check(ours.reader(), 0, kv.Slots-1); err != nil {
			rt.Fatal(err)
		}
		if got := text(ours.do(show)); got != want {
			rt.Fatalf("restored here:\n%s\nin Redis:\n%s", got, want)
		}
		for _, back := range [][]byte{made, ours.do("DUMP s").Str} {
			if got := redis.do([][]byte{[]byte("RESTORE"), []byte("s"), []byte("0"), back, []byte("REPLACE")}); got.Kind != resp.KindSimple {
				rt.Fatalf("Redis answers %v to %x", got, back)
			}
			if got := text(redis.line(show)); got != want {
				rt.Fatalf("restored in Redis:\n%s\nbefore:\n%s", got, want)
			}
			redis.line("CONFIG SET rdbcompression no")
			again := redis.line("DUMP s").Str
			if n := len(again) - 10; encoding == `"listpack"` && (len(back) != len(again) || !bytes.Equal(again[:n], back[:n])) {
				rt.Fatalf("Redis dumped\n%x, and we\n%x", again, back)
			}
		}
	})
	t.Logf("types and how often: %v", seen)
}

// TestRestoreFieldTTL refuses a hash of which a field has a time to live, and takes one of
// which a field had one.
func TestRestoreFieldTTL(t *testing.T) {
	redis := newLiveRedis(t)
	if redis.version() < 704 {
		t.Skip("this Redis has no fields with a time to live")
	}
	r := newRig(t)
	for _, extra := range []string{"", strings.Repeat("x", 100)} {
		redis.line("DEL s")
		redis.do(argvOf("HSET", "s", "f", "v"+extra, "g", "w"))
		redis.line("HEXPIRE s 1000 FIELDS 1 f")
		if got := r.restore(redis.line("DUMP s").Str, "REPLACE"); got != "-ERR a field of the hash has a time to live, which Millrace does not keep" {
			t.Error(got)
		}
		redis.line("HPERSIST s FIELDS 1 f")
		if got := r.restore(redis.line("DUMP s").Str, "REPLACE"); got != "+OK" {
			t.Error(got)
		}
		if a, b := len(r.do("HGETALL s").Elems), len(redis.line("HGETALL s").Elems); a != b || a != 4 {
			t.Errorf("%d and %d", a, b)
		}
	}
}

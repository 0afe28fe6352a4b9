package stream_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"millrace/kv"
	"millrace/kv/pebblekv"
	"millrace/resp"
	"millrace/stream"
)

// differences returns the fields of XINFO STREAM FULL that this Redis does not have or, as
// Redis 7.0 the lag, computes differently. idmp tells whether it knows idempotent producers.
func differences(redis *liveRedis) (fields []string, idmp bool) {
	if redis.line("COMMAND INFO XCFGSET").Elems[0].Kind == resp.KindArray {
		return nil, true
	}
	return []string{
		"lag", "active-time", "idmp-duration", "idmp-maxsize", "pids-tracked", "iids-tracked", "iids-added", "iids-duplicates",
	}, false
}

// without removes fields from a reply.
func without(v resp.Value, fields []string) resp.Value {
	var elems []resp.Value
	for i := 0; i < len(v.Elems); i++ {
		if slices.Contains(fields, string(v.Elems[i].Str)) {
			i++
			continue
		}
		elems = append(elems, without(v.Elems[i], fields))
	}
	v.Elems = elems
	return v
}

// fullWithout is full without some fields, and without idle times, because the two servers
// have different clocks.
func fullWithout(fields []string, do func(line string) resp.Value) string {
	out := []string{resp.Print(without(do("XINFO STREAM s FULL COUNT 0"), fields), 2), resp.Print(do("XRANGE s - +"), 2)}
	for _, g := range []string{"g", "12", "other"} {
		out = append(out, forget(resp.Print(do("XPENDING s "+g+" - + 1000"), 2)))
	}
	return strings.Join(out, "\n")
}

func (r *liveRedis) line(line string) resp.Value {
	r.t.Helper()
	return r.do(argvOf(strings.Fields(line)...))
}

// TestDumpToRedis dumps streams here and restores them in Redis.
func TestDumpToRedis(t *testing.T) {
	redis, rounds, dumps := newLiveRedis(t), 0, 0
	fields, idmp := differences(redis)
	fields = append(fields, "active-time") // Redis does not read the trailer that has it
	rapid.Check(t, func(rt *rapid.T) {
		rounds++
		ours := openRig(rt)
		defer ours.close()
		ours.nowMS = time.Now().UnixMilli() // so that Redis forgets no idempotent IDs
		m := &streamMaker{T: rt, idmp: idmp}
		ours.do(fmt.Sprintf("_setting stream-node-max-entries %d", 1+m.intn("chunk", 6)))
		for range 1 + m.intn("commands", 60) {
			ours.do(m.command())
			ours.nowMS += int64(m.intn("wait", 30))
		}
		payload := ours.do("DUMP s")
		if payload.Kind != resp.KindBulk {
			return
		}
		if got := redis.do([][]byte{[]byte("RESTORE"), []byte("s"), []byte("0"), payload.Str, []byte("REPLACE")}); got.Kind != resp.KindSimple {
			rt.Fatalf("Redis answers %v to %x", got, payload.Str)
		}
		if a, b := fullWithout(fields, ours.do), fullWithout(fields, redis.line); a != b {
			rt.Fatalf("here:\n%s\nin Redis:\n%s", a, b)
		}
		dumps++
	})
	if 2*dumps < rounds {
		t.Errorf("only %d streams of %d were dumped", dumps, rounds)
	}
}

// TestDumpFromRedis dumps streams in Redis, compressed or not, restores them here, dumps
// them again and restores them in Redis.
func TestDumpFromRedis(t *testing.T) {
	redis, rounds, dumps, same := newLiveRedis(t), 0, 0, 0
	fields, idmp := differences(redis)
	kept := append(slices.Clone(fields), "active-time") // Redis does not read our trailer
	rapid.Check(t, func(rt *rapid.T) {
		rounds++
		ours := openRig(rt)
		defer ours.close()
		m := &streamMaker{T: rt, idmp: idmp}
		compress := m.pick("compression", "yes", "no")
		for _, line := range []string{
			"DEL s", "CONFIG SET rdbcompression " + compress,
			fmt.Sprintf("CONFIG SET stream-node-max-entries %d", 1+m.intn("chunk", 6)),
		} {
			redis.line(line)
		}
		for range 1 + m.intn("commands", 60) {
			redis.line(m.command())
		}
		payload := redis.line("DUMP s")
		if payload.Kind != resp.KindBulk {
			return
		}
		ours.nowMS = 1 << 41 // later than any time of Redis's clock
		if got := ours.restore(payload.Str); got != "+OK" {
			rt.Fatalf("RESTORE answers %s to %x", got, payload.Str)
		}
		if err := stream.Check(pebblekv.Reader{R: ours.db}, 0, kv.Slots-1); err != nil {
			rt.Fatal(err)
		}
		before := fullWithout(fields, redis.line)
		if got := fullWithout(fields, ours.do); got != before {
			rt.Fatalf("here:\n%s\nin Redis:\n%s", got, before)
		}
		before = fullWithout(kept, redis.line)
		back := ours.do("DUMP s").Str
		if got := redis.do([][]byte{[]byte("RESTORE"), []byte("s"), []byte("0"), back, []byte("REPLACE")}); got.Kind != resp.KindSimple {
			rt.Fatalf("Redis answers %v to %x", got, back)
		}
		if after := fullWithout(kept, redis.line); after != before {
			rt.Fatalf("before:\n%s\nand back in Redis:\n%s", before, after)
		}
		dumps++
		// The bytes are the same when both write the same type, unless Redis compresses or
		// still has deleted entries in its listpacks.
		if compress == "no" && !m.deleted && payload.Str[0] == back[0] {
			same++
			if !bytes.Equal(payload.Str, back) {
				rt.Fatalf("Redis dumped\n%x, and we\n%x", payload.Str, back)
			}
		}
	})
	if 2*dumps < rounds {
		t.Errorf("only %d streams of %d were dumped", dumps, rounds)
	}
	t.Logf("%d of %d dumps had the same bytes", same, dumps)
}

// TestDumpStringsLive dumps and restores strings both ways.
func TestDumpStringsLive(t *testing.T) {
	redis := newLiveRedis(t)
	rapid.Check(t, func(rt *rapid.T) {
		ours := openRig(rt)
		defer ours.close()
		repeating := rapid.Map(rapid.SliceOfN(rapid.SampledFrom([]string{"a", "bc", "def"}), 0, 400), func(parts []string) string {
			return strings.Join(parts, "")
		})
		value := []byte(rapid.OneOf(rapid.StringMatching(`-?[0-9]{1,12}`), rapid.StringN(0, 40, -1), repeating).Draw(rt, "value"))
		redis.do([][]byte{[]byte("SET"), []byte("s"), value})
		for _, compress := range []string{"yes", "no"} {
			redis.line("CONFIG SET rdbcompression " + compress)
			payload := redis.line("DUMP s").Str
			if got := ours.restore(payload, "REPLACE"); got != "+OK" {
				rt.Fatalf("RESTORE answers %s to %x", got, payload)
			}
			if got := ours.do("GET s").Str; !bytes.Equal(got, value) {
				rt.Fatalf("%q is restored as %q from %x", value, got, payload)
			}
			back := ours.do("DUMP s").Str
			if got := redis.do([][]byte{[]byte("RESTORE"), []byte("s"), []byte("0"), back, []byte("REPLACE")}); got.Kind != resp.KindSimple {
				rt.Fatalf("Redis answers %v to %x", got, back)
			}
			if got := redis.line("GET s").Str; !bytes.Equal(got, value) {
				rt.Fatalf("%q is restored in Redis as %q from %x", value, got, back)
			}
			// The bytes are the same except for the footer, which has the version.
			if n := len(payload) - 10; compress == "no" && (len(back) != len(payload) || !bytes.Equal(payload[:n], back[:n])) {
				rt.Fatalf("Redis dumped\n%x, and we\n%x", payload, back)
			}
		}
	})
}

package stream_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"millrace/kv"
	"millrace/resp"
	"millrace/stream"
)

// members returns a ZADD or HSET of the elements from first to last.
func members(command, key string, first, last int) [][]byte {
	words := []string{command, key}
	for i := first; i <= last; i++ {
		if command == "ZADD" {
			words = append(words, strconv.Itoa(i), fmt.Sprint("m", i))
		} else {
			words = append(words, fmt.Sprint("m", i), strconv.Itoa(i))
		}
	}
	return argvOf(words...)
}

// largeElements returns a rig with a sorted set z and a hash h of so many elements.
func largeElements(t *testing.T, count int) *rig {
	t.Helper()
	r := newRig(t)
	for first := 1; first <= count; first += 5000 {
		for _, c := range [][][]byte{members("ZADD", "z", first, min(first+4999, count)), members("HSET", "h", first, min(first+4999, count))} {
			if v := r.run(c); v.IsErr() {
				t.Fatal(v)
			}
		}
	}
	return r
}

func (r *rig) check(t *testing.T) {
	t.Helper()
	if err := stream.Check(r.reader(), 0, kv.Slots-1); err != nil {
		t.Fatal(err)
	}
}

// TestElementsScan walks over a large hash and a large sorted set while others are added and
// removed: all that stay are answered once.
func TestElementsScan(t *testing.T) {
	if testing.Short() {
		t.Skip("it is long, and runs in one goroutine")
	}
	r := largeElements(t, 3000)
	for _, c := range []struct{ scan, add, remove string }{
		{"HSCAN h", "HSET h new%d v", "HDEL h m%d"}, {"ZSCAN z", "ZADD z 5 new%d", "ZREM z m%d"},
	} {
		seen := make(map[string]int)
		steps := 0
		for cursor := "0"; ; steps++ {
			v := r.do(c.scan + " " + cursor + " COUNT 100")
			for i := 0; i < len(v.Elems[1].Elems); i += 2 {
				seen[string(v.Elems[1].Elems[i].Str)]++
			}
			r.do(fmt.Sprintf(c.add, steps))
			r.do(fmt.Sprintf(c.remove, 2000+steps))
			if cursor = string(v.Elems[0].Str); cursor == "0" {
				break
			}
			if n, err := strconv.ParseUint(cursor, 10, 64); err != nil || n >= 1<<53 {
				t.Fatalf("cursor %s", cursor)
			}
		}
		if steps < 25 || steps > 35 {
			t.Errorf("%s took %d steps", c.scan, steps)
		}
		for i := 1; i < 2000; i++ {
			if n := seen[fmt.Sprint("m", i)]; n != 1 {
				t.Fatalf("%s answers m%d %d times", c.scan, i, n)
			}
		}
		if v := r.do(c.scan + " 0 COUNT 100000000"); len(v.Elems[1].Elems) < 5900 {
			t.Errorf("%s: %d", c.scan, len(v.Elems[1].Elems))
		}
		if got := r.show(c.scan + " 9007199254740991"); got != `["0", []]` {
			t.Errorf("%s beyond the end: %s", c.scan, got)
		}
	}
	r.check(t)
}

// TestElementsBounds asks for more than one record may do. A refused command must change
// nothing, and a read on a view must be answered.
func TestElementsBounds(t *testing.T) {
	if testing.Short() {
		t.Skip("it is long, and runs in one goroutine")
	}
	r := largeElements(t, 12_000)
	const tooMany = "-ERR the step would go over more than 10000 elements of hashes and sorted sets, or 16 MiB of their keys; " +
		"take fewer at a time, and read large ones without MULTI"
	for _, line := range []string{
		"ZREMRANGEBYSCORE z 1 11000", "ZREMRANGEBYRANK z 0 10999", "ZREMRANGEBYRANK z 0 -2", "ZPOPMIN z 12000", "ZPOPMAX z 10001",
	} {
		if got := r.show(line); got != tooMany {
			t.Errorf("%s: %.100s", line, got)
		}
	}
	for _, line := range []string{"HGETALL h", "HKEYS h", "ZRANGE z 0 -1", "ZCOUNT z 1 11000", "DUMP h", "DUMP z", "ZRANGEBYSCORE z 1 11000", "HVALS h"} {
		if v := r.do(line); v.IsErr() {
			t.Errorf("%s: %v", line, v)
		}
		if got := resp.Print(r.apply(argvOf(strings.Fields(line)...))[0], 2); got != tooMany {
			t.Errorf("%s in a record: %.100s", line, got)
		}
	}
	// All commands of a record have one bound.
	replies := r.apply(argvOf("ZRANGE", "z", "0", "5999"), argvOf("ZRANGE", "z", "0", "5999"), argvOf("ZCARD", "z"))
	if len(replies[0].Elems) != 6000 || resp.Print(replies[1], 2) != tooMany || replies[2].Int != 12_000 {
		t.Errorf("in one record: %d members, %.50s, %v", len(replies[0].Elems), resp.Print(replies[1], 2), replies[2])
	}
	for _, argv := range [][][]byte{members("ZADD", "z", 1, 10_001), members("HSET", "h", 1, 10_001)} {
		if got := resp.Print(r.run(argv), 2); got != "-ERR the command names more than 10000 elements, or more than 16 MiB of keys; send it in parts" {
			t.Errorf("%.100s", got)
		}
	}
	for line, want := range map[string]string{
		"ZRANK z m6001": ":6000", "ZREVRANK z m1": ":11999", "ZCOUNT z 1 11000": ":11000",
		"HLEN h": ":12000", "OBJECT ENCODING h": `"hashtable"`, "OBJECT ENCODING z": `"skiplist"`,
	} {
		if got := r.show(line); got != want {
			t.Errorf("%s: %s", line, got)
		}
	}
	for _, line := range []string{"ZREMRANGEBYSCORE z 1 1000", "ZREMRANGEBYRANK z -1000 -1"} {
		if got := r.show(line); got != ":1000" {
			t.Errorf("%s: %s", line, got)
		}
	}
	r.check(t)
	if got := r.show("ZREMRANGEBYSCORE z -inf +inf"); got != ":10000" {
		t.Error(got)
	}
	if got := r.show("DEL h"); got != ":1" {
		t.Error(got)
	}
	r.check(t)
}

// TestElementSizes stores elements of the greatest size, and has longer ones refused.
func TestElementSizes(t *testing.T) {
	if testing.Short() {
		t.Skip("it is long, and runs in one goroutine")
	}
	r := newRig(t)
	most, value := strings.Repeat("f", 1<<16-1), strings.Repeat("v", 4<<20)
	const tooLong = "-ERR a field of a hash or a member of a sorted set has at most 65535 bytes"
	for _, words := range [][]string{
		{"HSET", "h", most + "f", "v"}, {"HSETNX", "h", most + "f", "v"}, {"HINCRBY", "h", most + "f", "1"}, {"HINCRBYFLOAT", "h", most + "f", "1"},
		{"ZADD", "z", "1", most + "f"}, {"ZINCRBY", "z", "1", most + "f"}, {"ZREM", "z", most + "f"}, {"HDEL", "h", most + "f"},
	} {
		if got := resp.Print(r.run(argvOf(words...)), 2); got != tooLong {
			t.Errorf("%s: %.100s", words[0], got)
		}
	}
	if got := resp.Print(r.run(argvOf("HSET", "h", "f", value+"v")), 2); got != "-ERR string exceeds maximum allowed size (proto-max-bulk-len)" {
		t.Errorf("HSET: %.100s", got)
	}
	if got := r.show("EXISTS h z"); got != ":0" {
		t.Errorf("a refused element is there: %s", got)
	}
	for _, words := range [][]string{{"HSET", "h", most, value}, {"ZADD", "z", "1", most}, {"HGET", "h", most}, {"HGET", "h", most + "f"}, {"ZSCORE", "z", most + "f"}} {
		if v := r.run(argvOf(words...)); v.IsErr() {
			t.Errorf("%s: %.100s", words[0], v.Str)
		}
	}
	// The fields that a command names may hold more than it may read.
	for i := range 17 {
		r.run(argvOf("HSET", "h", fmt.Sprint("f", i), value))
	}
	words := []string{"h"}
	pairs := []string{"HSET", "h"}
	for i := range 17 {
		words = append(words, fmt.Sprint("f", i))
		pairs = append(pairs, fmt.Sprint("f", i), "v")
	}
	const tooMuch = "-ERR the fields that the command names hold more than 64 MiB; name fewer at a time"
	for _, argv := range [][][]byte{argvOf(append([]string{"HMGET"}, words...)...), argvOf(append([]string{"HDEL"}, words...)...), argvOf(pairs...)} {
		if got := resp.Print(r.run(argv), 2); got != tooMuch {
			t.Errorf("%s: %.100s", argv[0], got)
		}
	}
	if got := r.show("HLEN h"); got != ":18" {
		t.Error(got)
	}
	r.check(t)
	// Each key starts with the name.
	long := strings.Repeat("n", 60_000)
	if v := r.run(members("ZADD", long, 1, 400)); !strings.HasPrefix(string(v.Str), "ERR the command names more than") {
		t.Errorf("%.100v", v)
	}
}

// TestZSetQueue pops from a sorted set that is a queue. A walk from either end must cross few
// tombstones, however many members were popped. So must the commands that fill and empty a
// small collection again and again.
func TestZSetQueue(t *testing.T) {
	if testing.Short() {
		t.Skip("it is long, and runs in one goroutine")
	}
	r := largeElements(t, 9000)
	for range 80 {
		r.do("ZPOPMIN z 50")
		r.do("ZPOPMAX z 50")
	}
	for _, line := range []string{"ZRANGE z 0 0", "ZRANGE z -1 -1", "ZPOPMIN z", "ZPOPMAX z", "ZRANGEBYSCORE z -inf +inf LIMIT 0 1", "ZREMRANGEBYRANK z 0 0"} {
		if n := r.passed(line); n > 1000 {
			t.Errorf("%s passes %d records", line, n)
		}
	}
	for i := range 3000 {
		r.do(fmt.Sprintf("ZADD q %d m%d", i, i))
		r.do("ZPOPMIN q")
		r.do(fmt.Sprintf("HSET t m%d v", i))
		r.do(fmt.Sprintf("HDEL t m%d", i))
	}
	for _, line := range []string{"ZADD q 5 a", "ZPOPMIN q", "HSET t a v", "HDEL t a"} {
		if n := r.passed(line); n > 100 {
			t.Errorf("%s passes %d records", line, n)
		}
	}
	for i := range 1000 { // the same by ZREM, and by rising scores
		r.do(fmt.Sprintf("ZADD q %d a %d b", i, i))
	}
	if n := r.passed("ZRANGE q 0 -1"); n > 1000 {
		t.Errorf("ZRANGE passes %d records", n)
	}
	r.check(t)
}

package stream_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2"

	"millrace/kv/pebblekv"
	"millrace/resp"
	"millrace/stream"
)

// execOf returns lines as the commands of an EXEC.
func execOf(lines ...string) (cmds [][][]byte) {
	for _, l := range lines {
		cmds = append(cmds, argvOf(strings.Fields(l)...))
	}
	return cmds
}

// repeated returns a line n times.
func repeated(line string, n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = line
	}
	return out
}

// wideRig is a rig with a stream s of 2,000 entries of 200 bytes and a group g with all of
// them pending, a hash and a string.
func wideRig(t *testing.T) *rig {
	r := newRig(t)
	r.do("XGROUP CREATE s g 0 MKSTREAM")
	for range 20 {
		r.apply(execOf(repeated("XADD s * f "+strings.Repeat("v", 200), 100)...)...)
	}
	r.do("XREADGROUP GROUP g c COUNT 2000 STREAMS s >")
	r.do("HSET h a 1 b 2")
	r.do("SET k " + strings.Repeat("x", 1<<20))
	return r
}

// dumpState returns all keys and values that are stored.
func dumpState(t *testing.T, db *pebble.DB) string {
	t.Helper()
	it, err := db.NewIter(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer it.Close()
	var b bytes.Buffer
	for ok := it.First(); ok; ok = it.Next() {
		fmt.Fprintf(&b, "%x=%x\n", it.Key(), it.Value())
	}
	return b.String()
}

// TestBudget runs calls within their budget and beyond it.
func TestBudget(t *testing.T) {
	r := wideRig(t)
	r.nowMS += 1000
	for _, tc := range []struct {
		name  string
		lines []string
		ok    bool
	}{
		{"ten thousand XADDs", repeated("XADD small * f v", 10_000), true},
		{"ten thousand XLENs and an XADD", append(repeated("XLEN s", 10_000), "XADD small * f v"), true},
		{"one wide range", []string{"XADD small * f v", "XRANGE s - +"}, true},
		{"a hundred wide ranges", append(repeated("XRANGE s - +", 100), "XADD small * f v"), false},
		{"a hundred strings of 1 MiB", append(repeated("GET k", 100), "XADD small * f v"), false},
		{"MGETs", append(repeated("MGET k k k k", 3), "XADD small * f v"), false},
		{"histories", repeated("XREADGROUP GROUP g c COUNT 2000 STREAMS s 0", 100), false},
		{"claims", repeated("XAUTOCLAIM s g c 0 0 COUNT 2000", 100), false},
		{"walks that find nothing", append(repeated("XPENDING s g IDLE 999999 - + 10 nobody", 100), "XADD small * f v"), true},
		{"idle walks", append(repeated("XPENDING s g IDLE 1 - + 2000", 100), "XADD small * f v"), false},
		{"one name removed again and again", repeated("COPY h t REPLACE", 2000), false},
		{"copies", repeated("COPY s t REPLACE", 100), false},
		{"dumps", append(repeated("DUMP k", 100), "XADD small * f v"), false},
	} {
		v := r.apply(execOf(tc.lines...)...)[0]
		if refused := v.IsErr() && strings.HasPrefix(string(v.Str), "EXECABORT "); refused == tc.ok {
			t.Errorf("%s: %.200s", tc.name, v)
		}
	}
	if n := r.show("EXISTS t"); n != ":0" {
		t.Errorf("an EXEC that was undone has left a copy: %q", n)
	}
}

// TestBudgetUndo checks that an EXEC beyond its budget changes nothing: neither what is stored, nor
// what is in memory, nor the names that blocked calls look at. Records before it in the same batch stay.
func TestBudgetUndo(t *testing.T) {
	r := wideRig(t)
	b := r.db.NewIndexedBatch()
	kv := pebblekv.NewBatch(b)
	apply := func(lines ...string) (replies []resp.Value, refusal *resp.Value) {
		t.Helper()
		replies, refusal, err := r.state.Apply(kv, r.nowMS, execOf(lines...))
		if err != nil {
			t.Fatal(err)
		}
		return replies, refusal
	}
	commit := func() {
		t.Helper()
		if err := r.state.Flush(kv); err != nil {
			t.Fatal(err)
		}
		if err := b.Commit(pebble.NoSync); err != nil {
			t.Fatal(err)
		}
		r.state.Committed()
	}
	r.state.Touched()
	apply("XADD s 9999999999-1 f before")
	apply("DEL h")
	changes := []string{
		"XADD s * f lost", "XGROUP CREATE s lost 0", "XACK s g 1000000-0", "XREADGROUP GROUP g lost COUNT 1 STREAMS s >",
		"DEL k", "SET k2 lost", "XADD lost * f v", "XTRIM s MAXLEN 10", "HSET h c 3", "EXPIRE s 100", "_FLUSH", "XADD lost2 * f v",
	}
	if _, refusal := apply(append(append(changes, "SET s2 "+strings.Repeat("v", 1<<20), "COPY s2 s3"), repeated("GET s3", 10)...)...); refusal == nil {
		t.Fatal("the EXEC was not refused")
	}
	if names, all := r.state.Touched(); all || fmt.Sprintf("%q", names) != `["s" "h"]` {
		t.Errorf("touched %q, all %v", names, all)
	}
	// What a replica answers that has done the same without the EXEC.
	other := wideRig(t)
	for _, line := range []string{"XADD s 9999999999-1 f before", "DEL h"} {
		other.apply(argvOf(strings.Fields(line)...))
	}
	replies, refusal := apply("XLEN s", "XADD s * f after", "XGROUP CREATE s new 0", "EXISTS k k2 lost lost2 s2 s3 h", "HGETALL h", "XINFO GROUPS s", "TTL s")
	if refusal != nil {
		t.Fatal(refusal)
	}
	want := other.apply(execOf("XLEN s", "XADD s * f after", "XGROUP CREATE s new 0", "EXISTS k k2 lost lost2 s2 s3 h", "HGETALL h", "XINFO GROUPS s", "TTL s")...)
	for i := range want {
		if got := resp.Print(replies[i], 2); got != resp.Print(want[i], 2) {
			t.Errorf("reply %d:\n got %s\nwant %s", i, got, resp.Print(want[i], 2))
		}
	}
	commit()
	if got, want := dumpState(t, r.db), dumpState(t, other.db); got != want {
		t.Errorf("the stored states differ:\n%s", firstDifference(got, want))
	}
}

func firstDifference(a, b string) string {
	x, y := strings.Split(a, "\n"), strings.Split(b, "\n")
	for i := range min(len(x), len(y)) {
		if x[i] != y[i] {
			return fmt.Sprintf("%.300s\n%.300s", x[i], y[i])
		}
	}
	return fmt.Sprintf("%d and %d lines", len(x), len(y))
}

// TestReadBudget checks that an EXEC that only reads has a bound on its replies.
func TestReadBudget(t *testing.T) {
	r := wideRig(t)
	read := func(n int) *resp.Value {
		t.Helper()
		_, refusal, err := r.state.Read(pebblekv.Reader{R: r.db}, r.nowMS, execOf(repeated("GET k", n)...))
		if err != nil {
			t.Fatal(err)
		}
		return refusal
	}
	if v := read(60); v != nil {
		t.Errorf("60 MiB of replies: %v", v)
	}
	if v := read(65); v == nil || !strings.HasPrefix(string(v.Str), "EXECABORT ") {
		t.Errorf("65 MiB of replies: %v", v)
	}
}

// TestLargeClaim checks that an XCLAIM whose reply would be too large is refused and claims
// nothing.
func TestLargeClaim(t *testing.T) {
	r := newRig(t)
	r.do("XGROUP CREATE s g 0 MKSTREAM")
	claim := "XCLAIM s g other 0"
	for i := range 40 {
		r.do(fmt.Sprintf("XADD s 1-%d f %s", i+1, strings.Repeat("v", 1<<20)))
		claim += fmt.Sprintf(" 1-%d", i+1)
	}
	for range 4 {
		r.do("XREADGROUP GROUP g c COUNT 10 STREAMS s >")
	}
	before := dumpState(t, r.db)
	if v := r.do(claim); !v.IsErr() || !strings.Contains(string(v.Str), "more than 32 MiB") {
		t.Errorf("XCLAIM of 40 MiB: %.100s", v)
	}
	if after := dumpState(t, r.db); after != before {
		t.Errorf("the state has changed: %s", firstDifference(before, after))
	}
	if v := r.do(claim + " JUSTID"); len(v.Elems) != 40 {
		t.Errorf("XCLAIM JUSTID: %.100s", v)
	}
}

// TestBudgetCountsAlike checks that a replica with cold caches spends as much as one that
// has run all records before.
func TestBudgetCountsAlike(t *testing.T) {
	warm := wideRig(t)
	for _, lines := range [][]string{
		{"XADD s * f v", "XRANGE s - + COUNT 10", "XREADGROUP GROUP g c COUNT 3 STREAMS s >"},
		{"XPENDING s g IDLE 1 - + 100", "XACK s g 1000000-0", "XAUTOCLAIM s g d 0 0 COUNT 50"},
		{"XINFO STREAM s FULL", "XTRIM s MAXLEN 1500 DELREF", "HSET h c 3", "HGETALL h"},
		{"COPY s t", "RENAME t u", "XGROUP DELCONSUMER s g c", "_KEYS * 10", "XADD s * f v"},
	} {
		cold := stream.NewState(0, 16383)
		b := warm.db.NewIndexedBatch()
		_, _, err := cold.Apply(pebblekv.NewBatch(b), warm.nowMS, execOf(lines...))
		if err != nil {
			t.Fatal(err)
		}
		b.Close()
		warm.apply(execOf(lines...)...)
		if cold.Spent() != warm.state.Spent() || cold.Spent() < len(lines) {
			t.Errorf("%q: cold %d, warm %d", lines, cold.Spent(), warm.state.Spent())
		}
	}
}

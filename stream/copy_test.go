package stream_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"millrace/kv"
	"millrace/resp"
	"millrace/stream"
)

// streamLine draws a command on the stream NAME. The caller replaces NAME.
func streamLine(p *rapid.T) string {
	id := func() string {
		return fmt.Sprintf("%d-%d", rapid.IntRange(0, 30).Draw(p, "ms"), rapid.IntRange(0, 2).Draw(p, "seq"))
	}
	word := func(words ...string) string { return rapid.SampledFrom(words).Draw(p, "word") }
	group, member := word("g", "h"), word("c", "d")
	return word(
		"XADD NAME * f v",
		"XADD NAME "+id()+" f v",
		"XADD NAME * "+word("f", "g")+" "+strings.Repeat("v", rapid.IntRange(1, 600).Draw(p, "size")),
		"XADD NAME IDMP "+word("p", "q")+" "+word("1", "2", "3")+" * f v",
		"XADD NAME MAXLEN ~ 3 * f v",
		"XTRIM NAME MAXLEN "+word("0", "2", "5"),
		"XTRIM NAME MINID "+id()+" "+word("KEEPREF", "DELREF", "ACKED"),
		"XDEL NAME "+id(),
		"XDELEX NAME "+word("KEEPREF", "DELREF", "ACKED")+" IDS 1 "+id(),
		"XSETID NAME "+id(),
		"XCFGSET NAME IDMP-MAXSIZE "+word("1", "2"),
		"XGROUP CREATE NAME "+group+" "+word("0", "$", id())+" MKSTREAM",
		"XGROUP DESTROY NAME "+group,
		"XGROUP SETID NAME "+group+" "+word("0", "$"),
		"XGROUP DELCONSUMER NAME "+group+" "+member,
		"XREADGROUP GROUP "+group+" "+member+" COUNT 2 STREAMS NAME >",
		"XREADGROUP GROUP "+group+" "+member+" COUNT 2 CLAIM 0 STREAMS NAME >",
		"XREADGROUP GROUP "+group+" "+member+" STREAMS NAME 0",
		"XACK NAME "+group+" "+id(),
		"XACKDEL NAME "+group+" IDS 1 "+id(),
		"XNACK NAME "+group+" FAIL IDS 1 "+id(),
		"XAUTOCLAIM NAME "+group+" "+member+" 0 0 COUNT 2",
		"XCLAIM NAME "+group+" "+member+" 0 "+id()+" FORCE",
		"XINFO STREAM NAME FULL COUNT 0",
		"XINFO GROUPS NAME",
		"XPENDING NAME "+group,
		"XPENDING NAME "+group+" - + 10",
		"XRANGE NAME - +",
		"PEXPIRE NAME 1000000",
		"PTTL NAME",
		"DEL NAME",
	)
}

// TestRenameAndCopyChangeNothing runs the same commands on a stream that keeps its name and
// on one that is sometimes renamed or replaced by a copy. All replies must be the same, and
// changing the original must not change the copy.
func TestRenameAndCopyChangeNothing(t *testing.T) {
	rapid.Check(t, func(p *rapid.T) {
		still, moved := openRig(p), openRig(p)
		defer still.close()
		defer moved.close()
		names := []string{"{t}a", "{t}b", "{t}c"}
		at := 0
		on := func(r *rig, line, name string) string {
			return strings.ReplaceAll(resp.Print(r.do(strings.ReplaceAll(line, "NAME", name)), 2), name, "NAME")
		}
		for range rapid.IntRange(1, 60).Draw(p, "steps") {
			next := (at + rapid.IntRange(1, 2).Draw(p, "next")) % len(names)
			before, now := names[at], names[next]
			switch rapid.IntRange(0, 9).Draw(p, "what") {
			case 0:
				if moved.show("RENAME "+before+" "+now) == "+OK" {
					at = next
				}
			case 1:
				full := on(moved, "XINFO STREAM NAME FULL COUNT 0", before)
				if moved.show("COPY "+before+" "+now+" REPLACE") == ":1" {
					if got := on(moved, "XINFO STREAM NAME FULL COUNT 0", now); got != full {
						p.Fatalf("the copy is\n%s\nof\n%s", got, full)
					}
					moved.do("XADD " + before + " * only here")
					at = next
				}
			}
			line := streamLine(p)
			for _, r := range []*rig{still, moved} {
				r.nowMS += 7
			}
			if got, want := on(moved, line, names[at]), on(still, line, "{t}s"); got != want {
				p.Fatalf("%s answers %s, where nothing was renamed %s", line, got, want)
			}
		}
		if err := stream.Check(moved.reader(), 0, kv.Slots-1); err != nil {
			p.Fatal(err)
		}
	})
}

// TestCopyIsBounded copies values that are just small enough, and values that are too large.
func TestCopyIsBounded(t *testing.T) {
	if testing.Short() {
		t.Skip("it copies the largest values that are allowed")
	}
	const refusal = "-ERR The value is too large to be copied in one step: it has more than 100000 records or 16777216 bytes"
	r := newRig(t)
	value := strings.Repeat("x", 1<<20)
	for i := range 15 {
		r.run(argvOf("XADD", "{t}bytes", fmt.Sprint(i+1), "f", value))
	}
	for _, step := range []string{"COPY {t}bytes {t}copy", "RENAME {t}copy {t}renamed"} {
		if got := r.show(step); got != ":1" && got != "+OK" {
			t.Errorf("%s answers %s", step, got)
		}
	}
	r.run(argvOf("XADD", "{t}bytes", "16", "f", value))
	for _, step := range []string{"COPY {t}bytes {t}copy", "RENAME {t}bytes {t}renamed", "RENAMENX {t}bytes {t}new"} {
		if got := r.show(step); got != refusal {
			t.Errorf("%s answers %s", step, got)
		}
	}
	if got := r.show("XLEN {t}renamed"); got != ":15" {
		t.Errorf("after a refused RENAME its target has %s entries", got)
	}
	var add [][][]byte
	for i := range 100_001 {
		add = append(add, argvOf("XADD", "{t}records", fmt.Sprint(i+1), "f", "v"))
	}
	addAll := func(add [][][]byte) { // one EXEC may not hold so many
		for part := range slices.Chunk(add, 1000) {
			r.apply(part...)
		}
	}
	addAll(add[:99_000])
	if got := r.show("COPY {t}records {t}copy"); got != ":1" {
		t.Errorf("COPY of 99000 entries answers %s", got)
	}
	addAll(add[99_000:])
	if got := r.show("COPY {t}records {t}copy REPLACE"); got != refusal {
		t.Errorf("COPY of 100001 entries answers %s", got)
	}
	if err := stream.Check(r.reader(), 0, kv.Slots-1); err != nil {
		t.Error(err)
	}
}

package stream_test

import (
	"strings"
	"testing"
)

// leftoverRig returns a rig with 10,000 entries. Consumer d of group g0 owns the entries 2-0,
// 100-0 and 10000-0, and c had all others until it was deleted. Most of them are leftovers.
func leftoverRig(t *testing.T) *rig {
	r := manyPending(t, 10_000, 1)
	r.do("XCLAIM s g0 d 0 2-0 100-0 10000-0")
	if got := r.show("XGROUP DELCONSUMER s g0 c"); got != ":9997" {
		t.Fatalf("XGROUP DELCONSUMER answers %s", got)
	}
	return r
}

// due returns the command that the shard's leader would propose now, if there is one.
func (r *rig) due() string {
	r.t.Helper()
	argv, _, err := r.state.Due(r.reader(), r.nowMS)
	if err != nil {
		r.t.Fatal(err)
	}
	words := make([]string, len(argv))
	for i, w := range argv {
		words[i] = string(w)
	}
	return strings.Join(words, " ")
}

// TestLeftoversAreHidden compares the answers of commands on a group with leftovers with
// those of the same group once _CLEANUP has removed them.
func TestLeftoversAreHidden(t *testing.T) {
	if testing.Short() {
		t.Skip("it is long, and runs in one goroutine")
	}
	for _, line := range []string{
		"XPENDING s g0",
		"XPENDING s g0 - + 10",
		"XPENDING s g0 IDLE 0 - + 10",
		"XPENDING s g0 IDLE 0 3 + 1",
		"XPENDING s g0 - + 10 d",
		"XPENDING s g0 - + 10 c",
		"XINFO GROUPS s",
		"XINFO CONSUMERS s g0",
		"XINFO STREAM s FULL COUNT 3",
		"XACK s g0 1-0 2-0 3-0 4-0 5-0",
		"XACK s g0 1-0",
		"XCLAIM s g0 e 0 1-0 2-0 3-0 4-0 5-0 JUSTID",
		"XCLAIM s g0 e 0 1-0 2-0 3-0 4-0 5-0 JUSTID FORCE",
		"XCLAIM s g0 e 0 7-0 JUSTID FORCE",
		"XAUTOCLAIM s g0 e 0 0 COUNT 2 JUSTID",
		"XAUTOCLAIM s g0 e 0 3 COUNT 10 JUSTID",
		"XNACK s g0 FAIL IDS 5 1-0 2-0 3-0 4-0 5-0",
		"XNACK s g0 FAIL IDS 2 1-0 2-0 FORCE",
		"XREADGROUP GROUP g0 d COUNT 10 STREAMS s 0",
		"XREADGROUP GROUP g0 c COUNT 10 STREAMS s 0",
		"XREADGROUP GROUP g0 e COUNT 10 CLAIM 0 STREAMS s >",
		"XACKDEL s g0 ACKED IDS 3 1-0 2-0 3-0",
		"XDELEX s ACKED IDS 5 1-0 2-0 3-0 4-0 5-0",
		"XDELEX s DELREF IDS 5 1-0 2-0 3-0 4-0 5-0",
		"XTRIM s MAXLEN 9000 ACKED",
		"XTRIM s MAXLEN 9000 DELREF",
		"XGROUP DELCONSUMER s g0 c",
		"XGROUP DELCONSUMER s g0 d",
		"XGROUP DESTROY s g0",
		"DUMP s",
		"DEL s",
	} {
		t.Run(line, func(t *testing.T) {
			lazy, clean := leftoverRig(t), leftoverRig(t)
			steps := 0
			for ; clean.due() != ""; steps++ {
				clean.do(clean.due())
			}
			if steps < 2 || clean.due() != "" {
				t.Fatalf("cleaned up after %d steps", steps)
			}
			if lazy.due() != "_CLEANUP" {
				t.Fatalf("due is %q", lazy.due())
			}
			clean.check(t)
			lazy.check(t)
			if got, want := lazy.show(line), clean.show(line); got != want {
				t.Errorf("the answer with leftovers is %.300s\nwithout %.300s", got, want)
			}
			if got, want := lazy.show("XPENDING s g0"), clean.show("XPENDING s g0"); got != want {
				t.Errorf("then XPENDING answers %s with leftovers, without %s", got, want)
			}
			lazy.check(t)
			for lazy.due() != "" {
				lazy.do(lazy.due())
				lazy.check(t)
			}
			if got, want := lazy.show("XPENDING s g0 - + 20"), clean.show("XPENDING s g0 - + 20"); got != want {
				t.Errorf("after the cleanup XPENDING answers %s, without leftovers %s", got, want)
			}
		})
	}
}

// TestLeftoversMove renames, copies, flushes and re-creates streams with leftovers.
func TestLeftoversMove(t *testing.T) {
	if testing.Short() {
		t.Skip("it is long, and runs in one goroutine")
	}
	for _, lines := range [][]string{
		{"RENAME s {s}2"},
		{"COPY s {s}2"},
		{"_CLEANUP", "COPY s {s}2", "DEL s"},
		{"_FLUSH"},
		{"DEL s", "XADD s 1-0 f v", "XGROUP CREATE s g0 0"},
		{"XGROUP DESTROY s g0", "XGROUP CREATE s g0 0", "XREADGROUP GROUP g0 c STREAMS s >"},
		{"XGROUP SETID s g0 0", "XREADGROUP GROUP g0 e COUNT 5000 STREAMS s >"},
		{"XGROUP SETID s g0 0", "XREADGROUP GROUP g0 e COUNT 10000 STREAMS s >", "XGROUP DELCONSUMER s g0 e"},
	} {
		t.Run(strings.Join(lines, "; "), func(t *testing.T) {
			r := leftoverRig(t)
			for _, line := range lines {
				if v := r.do(line); v.IsErr() {
					t.Fatalf("%s: %v", line, v)
				}
				r.check(t)
			}
			for n := 0; r.due() != ""; n++ {
				if n == 20 {
					t.Fatal("the cleanup does not end")
				}
				r.do(r.due())
				r.check(t)
			}
		})
	}
}

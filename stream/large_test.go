package stream_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"millrace/resp"
)

// TestReplyTooLarge asks for replies that would take too much memory. The fields are empty,
// so that everything else is small.
func TestReplyTooLarge(t *testing.T) {
	const entries, words = 50, 40000 // 2.88 MB each as a reply
	r := newRig(t)
	add := slices.Concat([]string{"XADD", "s", ""}, slices.Repeat([]string{""}, words))
	for i := range entries {
		add[2] = fmt.Sprint(i + 1)
		if v := r.run(argvOf(add...)); v.IsErr() {
			t.Fatal(v)
		}
	}
	const want = "-ERR the reply would take more than 128 MiB of memory; ask for fewer entries with COUNT"
	for _, line := range []string{"XRANGE s - +", "XINFO STREAM s FULL COUNT 0"} {
		if got := r.show(line); got != want {
			t.Errorf("%s answers %.100s", line, got)
		}
	}
	if n := len(r.do("XRANGE s - + COUNT 40").Elems); n != 40 {
		t.Errorf("%d entries", n)
	}
	// XREAD answers as many entries as fit. The client reads on from there.
	v := r.do("XREAD STREAMS s s 0 0")
	if n := len(v.Elems[1].Elems); n != 23 || len(v.Elems) != 2 {
		t.Errorf("XREAD answers %d entries, and %d streams", n, len(v.Elems)/2)
	}
}

// TestAddTooLarge adds an entry that is too large. It must be refused without reading the
// words, so that their memory is never touched.
func TestAddTooLarge(t *testing.T) {
	r := newRig(t)
	w := make([]byte, 1<<29)
	argv := append(argvOf("XADD", "s", "1-1"), w, w)
	if got := resp.Print(r.run(append(argv, []byte("f"), nil)), 2); got != "-ERR Elements are too large to be stored" {
		t.Error(got)
	}
	if got := r.show("EXISTS s"); got != ":0" {
		t.Error("there is a stream now")
	}
}

// TestLongWords adds an entry with words whose length prefixes have all sizes.
func TestLongWords(t *testing.T) {
	r := newRig(t)
	var words []string
	for _, n := range []int{0, 1, 127, 128, 16383, 16384, 1 << 20} {
		words = append(words, strings.Repeat("w", n))
	}
	words = append(words, "last")
	if v := r.run(argvOf(slices.Concat([]string{"XADD", "s", "1"}, words)...)); v.IsErr() {
		t.Fatal(v)
	}
	v := r.do("XRANGE s - +").Elems[0].Elems[1].Elems
	for i, w := range words {
		if string(v[i].Str) != w {
			t.Errorf("word %d has %d bytes, not %d", i, len(v[i].Str), len(w))
		}
	}
}

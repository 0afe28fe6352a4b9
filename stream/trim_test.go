package stream_test

import (
	"fmt"
	"strings"
	"testing"

	"millrace/kv"
	"millrace/kv/pebblekv"
	"millrace/stream"
)

// longTrimEntries is the length of the stream in TestLongTrims: 50 chunks.
const longTrimEntries = 5000

// TestLongTrims trims so many entries at once that trims write range tombstones, and then
// goes on with the rest of the stream.
func TestLongTrims(t *testing.T) {
	for _, c := range []struct {
		trim string
		want int // entries that it deletes
	}{
		{"MAXLEN 100", 4900},
		{"MAXLEN 0", 5000},
		{"MAXLEN = 1", 4999},
		{"MAXLEN 3500", 1500},
		{"MINID 4321", 4320},
		{"MINID = 5000", 4999},
		{"MINID 5001", 5000},
		{"MAXLEN ~ 100 LIMIT 0", 4900},
		{"MAXLEN ~ 0 LIMIT 0", 5000},
		{"MAXLEN ~ 0 LIMIT 1234", 1200},
		{"MAXLEN ~ 150", 4800},
		{"MINID ~ 4321 LIMIT 0", 4300},
		{"MINID ~ 4321 LIMIT 4000", 4000},
		{"MINID ~ 9999 LIMIT 0", 5000},
	} {
		for _, forget := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/forget=%v", c.trim, forget), func(t *testing.T) {
				testLongTrim(t, c.trim, c.want, forget)
			})
		}
	}
}

// testLongTrim runs one trim, which must delete want entries. With forget the state drops its
// caches before each trim.
func testLongTrim(t *testing.T, trim string, want int, forget bool) {
	r := newRig(t)
	r.fill("s", 1, longTrimEntries)
	if forget {
		r.state.Reset()
	}
	if got := r.show("XTRIM s " + trim); got != fmt.Sprintf(":%d", want) {
		t.Fatalf("%s of %d entries were deleted", got, longTrimEntries)
	}
	check := func() {
		t.Helper()
		if err := stream.Check(pebblekv.Reader{R: r.db}, 0, kv.Slots-1); err != nil {
			t.Fatal(err)
		}
	}
	check()
	first := "[]"
	if want < longTrimEntries {
		first = fmt.Sprintf(`[["%d-0", ["f", "v"]]]`, want+1)
	}
	if got := r.show("XRANGE s - + COUNT 1"); got != first {
		t.Errorf("the first entry is %s, not %s", got, first)
	}
	r.fill("s", longTrimEntries+1, longTrimEntries+50)
	if forget {
		r.state.Reset()
	}
	if got := r.show("XTRIM s MAXLEN 20"); got != fmt.Sprintf(":%d", longTrimEntries+50-want-20) {
		t.Errorf("the second trim deleted %s", got)
	}
	check()
	if got := r.show("DEL s"); got != ":1" {
		t.Error(got)
	}
	check()
	if got := r.dump(); len(got) != 1 || !strings.HasPrefix(got[0], "system") {
		t.Errorf("DEL leaves %q", got)
	}
}

// fill adds the entries first-0 to last-0 as one record.
func (r *rig) fill(key string, first, last int) {
	var cmds [][][]byte
	for i := first; i <= last; i++ {
		cmds = append(cmds, argvOf("XADD", key, fmt.Sprint(i), "f", "v"))
	}
	for _, v := range r.apply(cmds...) {
		if v.IsErr() {
			r.t.Fatalf("%v", v)
		}
	}
}

// TestDeletedLong deletes a stream with many pending entries, which also had many entries.
func TestDeletedLong(t *testing.T) {
	r := newRig(t)
	r.fill("s", 1, 3000)
	for _, line := range []string{
		"XGROUP CREATE s g 0", "XGROUP CREATE s h 0", "XREADGROUP GROUP g c COUNT 2000 STREAMS s >", "XADD s IDMP p i * f v",
		"XTRIM s MAXLEN 1",
	} {
		if v := r.do(line); v.IsErr() {
			t.Fatalf("%s: %v", line, v)
		}
	}
	r.fill("t", 1, 100)
	if got := r.show("UNLINK s nokey"); got != ":1" {
		t.Error(got)
	}
	for _, rec := range r.dump() {
		if strings.Contains(rec, `"s"`) && !strings.HasPrefix(rec, "system") {
			t.Errorf("left behind: %s", rec)
		}
	}
	if got := r.show("XLEN t"); got != ":100" {
		t.Error(got)
	}
}

// dump returns all records as text.
func (r *rig) dump() []string {
	it, err := r.db.NewIter(nil)
	if err != nil {
		r.t.Fatal(err)
	}
	defer it.Close()
	var out []string
	for ok := it.First(); ok; ok = it.Next() {
		out = append(out, stream.PrintRecord(it.Key(), it.Value()))
	}
	return out
}

// TestTrimStepsAreBounded trims more entries with references than one command may. Each
// command deletes as many as it may, and the last one the rest.
func TestTrimStepsAreBounded(t *testing.T) {
	if testing.Short() {
		t.Skip("it fills a long stream")
	}
	const entries, most = 100_000, 1 << 17 / 2 // with one group
	for _, refs := range []string{"DELREF", "ACKED"} {
		r := newRig(t)
		for from := 0; from < entries; from += 1000 {
			var add [][][]byte
			for i := range 1000 {
				add = append(add, argvOf("XADD", "s", fmt.Sprintf("%d-1", from+i+1), "f", "v"))
			}
			r.apply(add...)
		}
		r.do("XGROUP CREATE s g 0")
		r.do("XREADGROUP GROUP g c COUNT 1000 STREAMS s >")
		if refs == "ACKED" {
			r.do(fmt.Sprintf("XGROUP SETID s g %d-1", entries)) // the group has read all, and holds the first 1,000
		}
		want, held := most, 0
		if refs == "ACKED" {
			want, held = most-1000, 1000
		}
		if got := r.show("XTRIM s MAXLEN 0 " + refs); got != fmt.Sprintf(":%d", want) {
			t.Errorf("%s: the first XTRIM answers %s, want %d", refs, got, want)
		}
		if got := r.show("XTRIM s MAXLEN 0 " + refs); got != fmt.Sprintf(":%d", entries-held-want) {
			t.Errorf("%s: the second XTRIM answers %s", refs, got)
		}
		if got := r.show("XLEN s"); got != fmt.Sprintf(":%d", held) {
			t.Errorf("%s: %s entries are left", refs, got)
		}
		if err := stream.Check(r.reader(), 0, kv.Slots-1); err != nil {
			t.Error(err)
		}
	}
}

package stream_test

import (
	"fmt"
	"strings"
	"testing"

	"millrace/kv"
	"millrace/kv/pebblekv"
	"millrace/stream"
)

// TestLongTrims trims so much at once that it is done with range tombstones, and goes
// on with what is left.
func TestLongTrims(t *testing.T) {
	const entries = 5000 // 39 and some a chunk
	for _, c := range []struct {
		trim string
		want int // entries that go
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
				r := newRig(t)
				r.fill("s", 1, entries)
				if forget {
					r.state.Reset()
				}
				if got := r.show("XTRIM s " + c.trim); got != fmt.Sprintf(":%d", c.want) {
					t.Fatalf("%s of %d entries went", got, entries)
				}
				check := func() {
					t.Helper()
					if err := stream.Check(pebblekv.Reader{R: r.db}, 0, kv.Slots-1); err != nil {
						t.Fatal(err)
					}
				}
				check()
				first := "[]"
				if c.want < entries {
					first = fmt.Sprintf(`[["%d-0", ["f", "v"]]]`, c.want+1)
				}
				if got := r.show("XRANGE s - + COUNT 1"); got != first {
					t.Errorf("the first entry is %s, not %s", got, first)
				}
				r.fill("s", entries+1, entries+50)
				if forget {
					r.state.Reset()
				}
				if got := r.show("XTRIM s MAXLEN 20"); got != fmt.Sprintf(":%d", entries+50-c.want-20) {
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
			})
		}
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

// TestDeletedLong deletes a stream of many entries and groups, and one that had many.
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

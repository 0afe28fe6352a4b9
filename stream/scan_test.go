package stream_test

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"pgregory.net/rapid"

	"millrace/kv"
	"millrace/resp"
	"millrace/stream"
)

// scanAll scans to the end and returns the names in the order of the replies. between runs
// after each step except the last.
func (r *rig) scanAll(options string, between func()) []string {
	r.t.Helper()
	var out []string
	for cursor := "0"; ; {
		v := r.do("SCAN " + cursor + " " + options)
		if v.IsErr() || len(v.Elems) != 2 {
			r.t.Fatalf("SCAN %s %s: %s", cursor, options, resp.Print(v, 2))
		}
		for _, e := range v.Elems[1].Elems {
			out = append(out, string(e.Str))
		}
		if cursor = string(v.Elems[0].Str); cursor == "0" {
			return out
		}
		between()
	}
}

// TestScanWhileNamesComeAndGo changes the names during a scan. The scan must return every
// name that exists all the time, no name twice, and no name that never existed.
func TestScanWhileNamesComeAndGo(t *testing.T) {
	rapid.Check(t, func(p *rapid.T) {
		r := openRig(p)
		defer r.close()
		name := rapid.Custom(func(p *rapid.T) string {
			tag := rapid.SampledFrom([]string{"{a}", "{b}", ""}).Draw(p, "tag")
			return tag + fmt.Sprint(rapid.IntRange(0, 60).Draw(p, "name"))
		})
		there, always, ever := map[string]bool{}, map[string]bool{}, map[string]bool{}
		add := func(n string) {
			r.do("XADD " + n + " * f v")
			there[n], ever[n] = true, true
		}
		for range rapid.IntRange(0, 60).Draw(p, "names") {
			add(name.Draw(p, "first"))
		}
		for n := range there {
			always[n] = true
		}
		count := rapid.IntRange(1, 20).Draw(p, "count")
		got := r.scanAll(fmt.Sprint("COUNT ", count), func() {
			for range rapid.IntRange(0, 4).Draw(p, "changes") {
				n := name.Draw(p, "changed")
				if there[n] {
					r.do("DEL " + n)
					delete(there, n)
					delete(always, n)
				} else {
					add(n)
				}
			}
		})
		seen := map[string]bool{}
		for _, n := range got {
			if seen[n] || !ever[n] {
				p.Fatalf("%q was answered twice, or never was there", n)
			}
			seen[n] = true
		}
		for n := range always {
			if !seen[n] {
				p.Fatalf("%q was there all the time and is not in %q", n, got)
			}
		}
		if err := stream.Check(r.reader(), 0, kv.Slots-1); err != nil {
			p.Fatal(err)
		}
	})
}

// TestScanNamesOfOnePlace moves the index keys of several names to one place, as if their
// hashes were equal. A step that returns one of them must return all.
func TestScanNamesOfOnePlace(t *testing.T) {
	r := newRig(t)
	for _, name := range []string{"{t}a", "{t}b", "{t}c", "{t}d"} {
		r.do("XADD " + name + " * f v")
		for _, key := range []struct {
			key []byte
			set bool
		}{{stream.IndexKey([]byte(name)), false}, {stream.IndexKeyAt([]byte(name), 77), true}} {
			var err error
			if key.set && name != "{t}d" {
				err = r.db.Set(key.key, nil, pebble.NoSync)
			} else if !key.set && name != "{t}d" {
				err = r.db.Delete(key.key, pebble.NoSync)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	v := r.do("SCAN 0 COUNT 1")
	if got := resp.Print(v.Elems[1], 2); got != `["{t}a", "{t}b", "{t}c"]` {
		t.Errorf("the first step answers %s", got)
	}
	cursor := string(v.Elems[0].Str)
	if got := r.show("SCAN " + cursor + " COUNT 1"); got != `["0", ["{t}d"]]` {
		t.Errorf("the second step answers %s", got)
	}
	slot := strconv.Itoa(int(kv.Slot([]byte("t"))))
	if got := r.show("_SLOTNAMES " + slot + " 0 1"); !strings.HasSuffix(got, `["{t}a", "{t}b", "{t}c"]]`) {
		t.Errorf("_SLOTNAMES answers %s", got)
	}
	if got := r.show("_SLOTCOUNT " + slot + " " + cursor + " 1"); got != `["0", :1]` {
		t.Errorf("_SLOTCOUNT answers %s", got)
	}
}

// TestScanStepIsBounded scans names that are so long that their size ends a step before
// COUNT does.
func TestScanStepIsBounded(t *testing.T) {
	if testing.Short() {
		t.Skip("it writes as many bytes as a step may return")
	}
	r := newRig(t)
	const names, size = 120, 60_000
	for i := range names {
		r.run(argvOf("XADD", fmt.Sprint(strings.Repeat("x", size), i), "*", "f", "v"))
	}
	steps, found := 0, 0
	for cursor := "0"; steps == 0 || cursor != "0"; steps++ {
		v := r.do("SCAN " + cursor + " COUNT 1000000")
		cursor = string(v.Elems[0].Str)
		found += len(v.Elems[1].Elems)
	}
	if found != names || steps != 2 {
		t.Errorf("%d names in %d steps", found, steps)
	}
}

// TestRandomKey draws names that share a slot. Each must be drawn at least once, and no other
// name.
func TestRandomKey(t *testing.T) {
	r := newRig(t)
	if got := r.show("_RANDOMKEY 7"); got != "$-1" {
		t.Errorf("without names, %s is drawn", got)
	}
	var names []string
	for i := range 10 {
		name := fmt.Sprint("{tag}", i)
		names = append(names, name)
		r.do("XADD " + name + " * f v")
	}
	drawn := make(map[string]int)
	rapid.Check(t, func(p *rapid.T) {
		drawn[string(r.do("_RANDOMKEY "+strconv.FormatUint(rapid.Uint64().Draw(p, "random"), 10)).Str)]++
	})
	for i := range uint64(1000) {
		drawn[string(r.do("_RANDOMKEY "+strconv.FormatUint(i*0x9E3779B97F4A7C15, 10)).Str)]++
	}
	for name := range drawn {
		if !slices.Contains(names, name) {
			t.Errorf("%q is drawn", name)
		}
	}
	for _, name := range names {
		if drawn[name] == 0 {
			t.Errorf("%q is never drawn: %v", name, drawn)
		}
	}
}

// Clients that keep numbers as doubles, such as those in JavaScript, send a cursor back
// unchanged only up to 2^53.
func TestCursorsFitADouble(t *testing.T) {
	if got := uint64(float64(stream.MaxCursor)); stream.MaxCursor > 1<<53-1 || got != stream.MaxCursor {
		t.Errorf("the greatest cursor %d is %d as a double", stream.MaxCursor, got)
	}
}

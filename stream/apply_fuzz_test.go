package stream_test

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"millrace/kv"
	"millrace/resp"
	"millrace/stream"
)

// FuzzApply runs arbitrary words, one command a line, on two states. The first flushes after
// each command and sometimes drops its caches; the second flushes once. No command may panic
// or fail. Both states must give the same replies at the same cost, and end with the same
// records, which must agree with each other. When Check refuses words, Run must refuse them
// alike.
func FuzzApply(f *testing.F) {
	for _, path := range scripts(f) {
		script, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		for part := range strings.SplitSeq(string(script), "\nreset\n") {
			f.Add(commandsOf(part))
		}
	}
	f.Fuzz(func(t *testing.T, script []byte) {
		each, whole := newMemKV(), newMemKV()
		first, second := stream.NewState(0, kv.Slots-1), stream.NewState(0, kv.Slots-1)
		nowMS := int64(1_000_000)
		lines := bytes.Split(script, []byte("\n"))
		for i, line := range lines[:min(len(lines), 100)] {
			argv := bytes.Fields(line)
			if len(argv) == 0 {
				continue
			}
			c, refusal := stream.Lookup(argv)
			if c == nil || refusal != nil {
				continue
			}
			nowMS += int64(i) * 97
			one, two := applyOne(t, first, each, nowMS, argv), applyOne(t, second, whole, nowMS, argv)
			if one != two {
				t.Fatalf("%q answers\n%s\nwritten each time, and\n%s\nwritten once", argv, one, two)
			}
			if first.Spent() != second.Spent() {
				t.Fatalf("%q costs %d written each time, and %d written once", argv, first.Spent(), second.Spent())
			}
			if c.Check != nil {
				if refusal := c.Check(argv); refusal != nil && resp.Print(*refusal, 3) != one {
					t.Fatalf("%q: Check answers %v, Run %s", argv, refusal, one)
				}
			}
			if err := first.Flush(each); err != nil {
				t.Fatal(err)
			}
			if i%3 == 0 {
				first.Reset()
			}
		}
		if err := second.Flush(whole); err != nil {
			t.Fatal(err)
		}
		if err := stream.Check(each, 0, kv.Slots-1); err != nil {
			t.Error(err)
		}
		if a, b := each.print(), whole.print(); a != b {
			t.Errorf("written each time:\n%s\nwritten once:\n%s", a, b)
		}
	})
}

// commandsOf returns the first lines of a script without the replies.
func commandsOf(script string) []byte {
	var lines []string
	for block := range strings.SplitSeq(script, "\n\n") {
		commands, _, _ := strings.Cut(block, "\n----")
		lines = append(lines, strings.Split(commands, "\n")...)
	}
	return []byte(strings.Join(lines[:min(len(lines), 60)], "\n"))
}

// applyOne applies one command and returns its reply as text.
func applyOne(t testing.TB, s *stream.State, kv *memKV, nowMS int64, argv [][]byte) string {
	replies, _, err := s.Apply(kv, nowMS, [][][]byte{argv})
	if err != nil {
		t.Fatalf("%q: %v", argv, err)
	}
	return resp.Print(replies[0], 3)
}

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

// FuzzApply runs arbitrary words, a command a line, on two states: one writes after
// each command and forgets what it has in memory now and then, the other writes once.
// Nothing may panic or fail, what Check refuses Run refuses alike, both must answer and
// end alike, and all records must agree with each other.
func FuzzApply(f *testing.F) {
	for _, path := range scripts(f) {
		script, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		// Only the commands: a block's replies stand after its dashes.
		for block := range strings.SplitSeq(string(script), "\nreset\n") {
			var lines []string
			for part := range strings.SplitSeq(block, "\n\n") {
				commands, _, _ := strings.Cut(part, "\n----")
				lines = append(lines, strings.Split(commands, "\n")...)
			}
			f.Add([]byte(strings.Join(lines[:min(len(lines), 60)], "\n")))
		}
	}
	f.Fuzz(func(t *testing.T, script []byte) {
		each, whole := newMemKV(), newMemKV()
		first, second := stream.NewState(0, kv.Slots-1), stream.NewState(0, kv.Slots-1)
		apply := func(s *stream.State, kv *memKV, nowMS int64, argv [][]byte) string {
			replies, err := s.Apply(kv, nowMS, [][][]byte{argv})
			if err != nil {
				t.Fatalf("%q: %v", argv, err)
			}
			return resp.Print(replies[0], 3)
		}
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
			one, two := apply(first, each, nowMS, argv), apply(second, whole, nowMS, argv)
			if one != two {
				t.Fatalf("%q answers\n%s\nwritten each time, and\n%s\nwritten once", argv, one, two)
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

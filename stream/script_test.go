package stream_test

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode"

	"github.com/cockroachdb/datadriven"
	"github.com/cockroachdb/pebble/v2"

	"millrace/kv"
	"millrace/kv/pebblekv"
	"millrace/resp"
	"millrace/stream"
)

// The scripts in testdata, one for each command, are sessions. These directives run commands
// or show the state:
//
//	run now=1000       runs commands, one a line, at that time; shows the replies, one a line
//	exec now=1000      runs them as one record, as of an EXEC
//	type string        gives the names, one a line, another type
//	reset              empties the state
//	records            shows all records of the state
//	check              checks whether all records agree
//
// These arguments mark a block that a live Redis answers differently. It is not replayed
// there, and neither are the blocks after it up to the next reset.
//
//	since=8.2          the Redis version from which on the replies are the same
//	clock              the replies depend on the server's clock, such as an ID that it chose
//	ours=(reason)      Millrace differs on purpose
//
// Three more arguments are about replies:
//
//	times              the replies contain durations, which are not compared
//	proto=3            the replies are shown as RESP3
//	hex                replies that are not text are shown as "hex:0a…"
//
// A word "hex:0a…" in a command stands for these bytes.

// batching decides which commands of a script share a batch. It must not change any reply.
type batching int

const (
	batchEach  batching = iota // a batch for each command; the state drops its caches before it
	batchKeep                  // a batch for each command
	batchWhole                 // one batch for all commands, flushed at the end
)

// session runs a script on one state.
type session struct {
	rig   *rig
	mode  batching
	batch *pebble.Batch // of batchWhole
}

func newSession(t testing.TB, mode batching) *session {
	s := &session{rig: newRig(t), mode: mode}
	s.begin()
	return s
}

func (s *session) begin() {
	if s.mode == batchWhole {
		s.batch = s.rig.db.NewIndexedBatch()
	}
}

// end commits the batch of batchWhole.
func (s *session) end() {
	if s.batch == nil {
		return
	}
	if err := s.rig.state.Flush(pebblekv.NewBatch(s.batch)); err != nil {
		s.rig.t.Fatal(err)
	}
	if err := s.batch.Commit(pebble.NoSync); err != nil {
		s.rig.t.Fatal(err)
	}
	s.rig.state.Committed()
	s.batch = nil
}

// do runs commands as one record. As the router does, it refuses all of them when the words
// of one are wrong.
func (s *session) do(cmds ...[][]byte) []resp.Value {
	for _, argv := range cmds {
		c, refusal := stream.Lookup(argv)
		if c == nil && refusal == nil {
			s.rig.t.Fatalf("%q is not in the table", argv[0])
		}
		if refusal == nil && c.Check != nil {
			refusal = c.Check(argv)
		}
		if refusal != nil {
			return []resp.Value{*refusal}
		}
	}
	switch {
	case s.mode == batchWhole:
		replies, refusal, err := s.rig.state.Apply(pebblekv.NewBatch(s.batch), s.rig.nowMS, cmds)
		if err != nil || refusal != nil {
			s.rig.t.Fatalf("%s: %v, %v", cmds, refusal, err)
		}
		return replies
	case s.mode == batchEach:
		s.rig.state.Reset()
	}
	if len(cmds) == 1 {
		return []resp.Value{s.rig.run(cmds[0])}
	}
	return s.rig.apply(cmds...)
}

// records returns all records of the state as text.
func (s *session) records() string {
	s.end()
	defer s.begin()
	it, err := s.rig.db.NewIter(nil)
	if err != nil {
		s.rig.t.Fatal(err)
	}
	defer it.Close()
	var b strings.Builder
	for ok := it.First(); ok; ok = it.Next() {
		fmt.Fprintln(&b, stream.PrintRecord(it.Key(), it.Value()))
	}
	return b.String()
}

// directive runs one block of a script and returns its output.
func (s *session) directive(t *testing.T, d *datadriven.TestData) string {
	proto := 2
	if d.HasArg("proto") {
		d.ScanArgs(t, "proto", &proto)
	}
	if d.HasArg("now") {
		d.ScanArgs(t, "now", &s.rig.nowMS)
	}
	var lines [][][]byte
	for line := range strings.Lines(d.Input) {
		lines = append(lines, argvOf(scriptWords(t, line)...))
	}
	var out strings.Builder
	switch d.Cmd {
	case "run":
		for _, argv := range lines {
			fmt.Fprintln(&out, printReply(s.do(argv)[0], proto, d.HasArg("hex")))
		}
	case "exec":
		for _, v := range s.do(lines...) {
			fmt.Fprintln(&out, resp.Print(v, proto))
		}
	case "type":
		s.end()
		for _, argv := range lines {
			s.rig.putString(string(argv[0]))
		}
		s.begin()
	case "reset":
		s.end()
		lo, hi := kv.SlotBounds(0, kv.Slots-1)
		if err := s.rig.db.DeleteRange(lo, hi, pebble.NoSync); err != nil {
			t.Fatal(err)
		}
		s.rig.state.Reset()
		s.begin()
	case "records":
		return s.records()
	case "check":
		s.end()
		defer s.begin()
		if err := stream.Check(pebblekv.Reader{R: s.rig.db}, 0, kv.Slots-1); err != nil {
			return err.Error()
		}
		return "ok"
	default:
		d.Fatalf(t, "unknown directive %q", d.Cmd)
	}
	return out.String()
}

// scriptWords returns the words of a line of a script.
func scriptWords(t failer, line string) []string {
	words := goldenWords(strings.TrimSpace(line))
	for i, w := range words {
		if digits, ok := strings.CutPrefix(w, "hex:"); ok {
			b, err := hex.DecodeString(digits)
			if err != nil {
				t.Fatalf("%s: %v", w, err)
			}
			words[i] = string(b)
		}
	}
	return words
}

// printReply returns a reply in the form of the scripts.
func printReply(v resp.Value, proto int, inHex bool) string {
	if inHex && bytes.ContainsFunc(v.Str, unicode.IsControl) {
		return fmt.Sprintf("hex:%x", v.Str)
	}
	return resp.Print(v, proto)
}

// TestScripts runs every script with each batching. All must give the replies in the script,
// and leave the same records.
func TestScripts(t *testing.T) {
	for _, path := range scripts(t) {
		t.Run(filepath.Base(path), func(t *testing.T) {
			var first string
			for _, mode := range []batching{batchEach, batchKeep, batchWhole} {
				s := newSession(t, mode)
				datadriven.RunTest(t, path, s.directive)
				switch records := s.records(); {
				case mode == batchEach:
					first = records
				case records != first:
					t.Errorf("batching %d leaves other records:\n%s\nthan batching %d:\n%s", mode, records, batchEach, first)
				}
				s.end()
			}
		})
	}
}

// scripts returns the paths of all scripts.
func scripts(t testing.TB) []string {
	t.Helper()
	files, err := os.ReadDir("testdata")
	if err != nil {
		t.Fatal(err)
	}
	var paths []string
	for _, f := range files {
		if !f.IsDir() {
			paths = append(paths, filepath.Join("testdata", f.Name()))
		}
	}
	if len(paths) == 0 {
		t.Fatal("there are no scripts")
	}
	return paths
}

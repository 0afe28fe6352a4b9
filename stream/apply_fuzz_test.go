package stream_test

import (
	"bytes"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"millrace/resp"
	"millrace/stream"
	"millrace/stream/pebblekv"
)

// FuzzApply runs arbitrary words, a command a line, on two states that batch them
// differently. Nothing may panic or fail, both must answer and end alike, and all
// records must agree with each other.
func FuzzApply(f *testing.F) {
	for _, path := range scripts(f) {
		script, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		// Only the commands: a block's replies stand after its dashes.
		var lines []string
		for block := range strings.SplitSeq(string(script), "\n\n") {
			commands, _, _ := strings.Cut(block, "\n----")
			lines = append(lines, strings.Split(commands, "\n")...)
		}
		f.Add([]byte(strings.Join(lines, "\n")))
	}
	f.Fuzz(func(t *testing.T, script []byte) {
		each, whole := fuzzRig(t), fuzzRig(t)
		defer each.close()
		defer whole.close()
		batch := whole.db.NewIndexedBatch()
		defer batch.Close()
		lines := bytes.Split(script, []byte("\n"))
		for i, line := range lines[:min(len(lines), 200)] {
			argv := bytes.Fields(line)
			if len(argv) == 0 {
				continue
			}
			if c, refusal := stream.Lookup(argv); c == nil || refusal != nil {
				continue
			} else if c.Check != nil {
				c.Check(argv) // what it refuses, Run refuses as well
			}
			each.nowMS += int64(i) * 97
			whole.nowMS = each.nowMS
			one := each.apply(argv)
			if i%3 == 0 {
				each.state.Reset()
			}
			two, err := whole.state.Apply(pebblekv.NewBatch(batch), whole.nowMS, [][][]byte{argv})
			if err != nil {
				t.Fatalf("%q: %v", argv, err)
			}
			if a, b := resp.Print(one[0], 3), resp.Print(two[0], 3); a != b {
				t.Fatalf("%q answers\n%s\nalone, and in one batch\n%s", argv, a, b)
			}
		}
		if err := whole.state.Flush(pebblekv.NewBatch(batch)); err != nil {
			t.Fatal(err)
		}
		if err := batch.Commit(pebble.NoSync); err != nil {
			t.Fatal(err)
		}
		if err := stream.Check(pebblekv.Reader{R: each.db}, 0, stream.Slots-1); err != nil {
			t.Error(err)
		}
		if a, b := each.dump(), whole.dump(); !slices.Equal(a, b) {
			t.Errorf("batches of their own leave\n%s\none batch leaves\n%s", strings.Join(a, "\n"), strings.Join(b, "\n"))
		}
	})
}

// fuzzRig is openRig with less memory: there are thousands.
func fuzzRig(t testing.TB) *rig {
	db, err := pebble.Open("", &pebble.Options{FS: vfs.NewMem(), Logger: quiet{}, MemTableSize: 256 << 10})
	if err != nil {
		t.Fatal(err)
	}
	return &rig{t: t, db: db, state: stream.NewState(0), nowMS: 1_000_000}
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

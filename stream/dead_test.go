package stream_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2"

	"millrace/command"
	"millrace/kv"
	"millrace/kv/pebblekv"
	"millrace/stream"
)

// countedBatch is a batch that counts the records that its iterators pass, tombstones
// included.
type countedBatch struct {
	pebblekv.Batch
	passed *int
}

func (b countedBatch) Iter(lo, hi []byte) (kv.Iterator, error) {
	it, err := b.R.NewIter(&pebble.IterOptions{LowerBound: lo, UpperBound: hi})
	return countedIter{it, b.passed}, err
}

type countedIter struct {
	*pebble.Iterator
	passed *int
}

func (it countedIter) Close() error {
	stats := it.Stats()
	*it.passed += stats.ForwardStepCount[pebble.InternalIterCall] + stats.ReverseStepCount[pebble.InternalIterCall] +
		int(stats.InternalStats.PointsCoveredByRangeTombstones)
	return it.Iterator.Close()
}

// passed runs a command and returns the number of records that its iterators passed.
func (r *rig) passed(line string) int {
	r.t.Helper()
	b := r.db.NewIndexedBatch()
	defer b.Close()
	n := 0
	kv := countedBatch{pebblekv.NewBatch(b), &n}
	argv := argvOf(strings.Fields(line)...)
	c, refusal := stream.Lookup(argv)
	if refusal != nil {
		r.t.Fatal(*refusal)
	}
	if !c.Is(command.Write) {
		v, refusal, err := r.state.Read(kv, r.nowMS, [][][]byte{argv})
		if err != nil || refusal != nil || v[0].IsErr() {
			r.t.Fatalf("%s: %v, %v, %v", line, v, refusal, err)
		}
		return n
	}
	v, _, err := r.state.Apply(kv, r.nowMS, [][][]byte{argv})
	if err == nil {
		err = r.state.Flush(kv)
	}
	if err == nil {
		err = b.Commit(pebble.NoSync)
	}
	if err != nil || v[0].IsErr() {
		r.t.Fatalf("%s: %v, %v", line, v, err)
	}
	r.state.Committed()
	return n
}

// deadQueue makes a stream with queueLive entries after dead deleted ones. how is as in
// queue, or "one trim" for a single XTRIM, "MINID" for XTRIMs of 100 entries, or "XACKDEL"
// for a group that acknowledges and deletes them.
func (r *rig) deadQueue(key string, dead int, how string) {
	const step = 100
	switch how {
	case "one trim":
		r.queue(key, dead+queueLive, "")
		r.do(fmt.Sprintf("XTRIM %s MAXLEN %d", key, queueLive))
	case "MINID":
		r.queue(key, dead+queueLive, "")
		for n := step; n <= dead; n += step {
			r.do(fmt.Sprintf("XTRIM %s MINID %d", key, n+1))
		}
	case "XACKDEL":
		r.queue(key, dead+queueLive, "")
		r.do("XGROUP CREATE " + key + " old 0")
		for n := 0; n < dead; n += step {
			r.do(fmt.Sprintf("XREADGROUP GROUP old c COUNT %d STREAMS %s >", step, key))
			line := fmt.Sprintf("XACKDEL %s old DELREF IDS %d", key, step)
			for i := range step {
				line += fmt.Sprintf(" %d-0", n+i+1)
			}
			r.do(line)
		}
	default:
		r.queue(key, dead+queueLive, how)
	}
}

// TestDeadEntriesAreNotPassed checks that no command passes the tombstones of trimmed or
// deleted entries at the head of a queue. Each may pass only slightly more records than on
// a stream that never had other entries.
func TestDeadEntriesAreNotPassed(t *testing.T) {
	if testing.Short() {
		t.Skip("it deletes so many entries that most tombstones are compacted away")
	}
	const dead = 20_000
	// A stream with several chunks has more records than one with a single chunk.
	const slack = 2 * queueLive
	for _, how := range []string{"MAXLEN", "MAXLEN ~", "MINID", "XDEL", "one trim", "XACKDEL"} {
		t.Run(how, func(t *testing.T) {
			r := newRig(t)
			r.deadQueue("dead", dead, how)
			r.queue("fresh", queueLive, "")
			if how == "XACKDEL" {
				r.do("XGROUP CREATE fresh old 0")
			}
			last := fmt.Sprintf("%d-0", dead+queueLive)
			for _, line := range []string{
				"XRANGE %s - + COUNT 10", "XREVRANGE %s + - COUNT 10", "XREAD COUNT 10 STREAMS %s 0", "XLEN %s",
				"XINFO STREAM %s", "XINFO STREAM %s FULL", "OBJECT ENCODING %s", "MEMORY USAGE %s", "DUMP %s",
				"XGROUP CREATE %s g 0", "XREADGROUP GROUP g c COUNT 10 STREAMS %s >", "XREADGROUP GROUP g c COUNT 10 STREAMS %s 0",
				"XPENDING %s g", "XPENDING %s g - + 10", "XPENDING %s g IDLE 0 - + 10 c", "XINFO GROUPS %s", "XINFO CONSUMERS %s g",
				"XAUTOCLAIM %s g d 0 0 COUNT 10", "XREADGROUP GROUP g c COUNT 10 CLAIM 0 STREAMS %s >",
				"COPY %s copy REPLACE", "XADD %s 1000000-0 f v", "XTRIM %s MAXLEN ~ 90", "XTRIM %s MAXLEN 80", "XDEL %s " + last,
				"XGROUP DESTROY %s g", "RENAME %s other",
			} {
				fresh, got := r.passed(fmt.Sprintf(line, "fresh")), r.passed(fmt.Sprintf(line, "dead"))
				if got > fresh+slack {
					t.Errorf("%s passes %d records, %d of a fresh stream", line, got, fresh)
				}
			}
		})
	}
}

// TestLockComesAndGoes sets and deletes one string many times in one batch, as clients do with
// a lock. No scan crosses the old versions of the string.
func TestLockComesAndGoes(t *testing.T) {
	r := newRig(t)
	b := r.db.NewIndexedBatch()
	defer b.Close()
	n := 0
	kv := countedBatch{pebblekv.NewBatch(b), &n}
	for range 1000 {
		for _, line := range []string{"SET lock me NX PX 10000", "DEL lock"} {
			v, _, err := r.state.Apply(kv, r.nowMS, [][][]byte{argvOf(strings.Fields(line)...)})
			if err != nil || v[0].IsErr() || v[0].IsNull() {
				t.Fatalf("%s: %v, %v", line, v, err)
			}
		}
	}
	if err := r.state.Flush(kv); err != nil {
		t.Fatal(err)
	}
	if n > 0 {
		t.Errorf("iterators passed %d records", n)
	}
	if err := b.Commit(pebble.NoSync); err != nil {
		t.Fatal(err)
	}
	if err := stream.Check(r.reader(), 0, 16383); err != nil {
		t.Error(err)
	}
	if got := r.show("EXISTS lock"); got != ":0" {
		t.Errorf("EXISTS answers %s", got)
	}
}

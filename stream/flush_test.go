package stream_test

import (
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2"

	"millrace/kv"
	"millrace/kv/pebblekv"
	"millrace/stream"
)

// TestFlushStaysInTheShard flushes one of three shards that share a key space, as the shards
// of a node do. The other shards must keep their names, and all names of the flushed shard
// must be touched.
func TestFlushStaysInTheShard(t *testing.T) {
	r := newRig(t)
	runs := [][2]uint16{{0, 5000}, {5001, 10000}, {10001, kv.Slots - 1}}
	var shards []*rig
	for _, run := range runs {
		shards = append(shards, &rig{t: t, db: r.db, state: stream.NewState(run[0], run[1]), nowMS: 1000})
	}
	of := func(name string) *rig {
		for i, run := range runs {
			if slot := kv.Slot([]byte(name)); run[0] <= slot && slot <= run[1] {
				return shards[i]
			}
		}
		return nil
	}
	// Also names in the first and in the last slot of each shard.
	names := strings.Fields("a b c d e f g h i j")
	for _, edge := range []uint16{0, 5000, 5001, 10000, 10001, kv.Slots - 1} {
		names = append(names, nameIn(edge))
	}
	for _, name := range names {
		of(name).do("XADD " + name + " 1-1 f v")
		of(name).do("PEXPIRE " + name + " 100000")
	}
	applied := kv.SystemKey(5001, kv.SystemApplied) // of package shard
	if err := r.db.Set(applied, []byte("x"), pebble.NoSync); err != nil {
		t.Fatal(err)
	}
	shards[1].touched()
	shards[1].do("_FLUSH")
	if got := shards[1].touched(); got != "*" {
		t.Errorf("touched %q", got)
	}
	for _, name := range names {
		want := ":1"
		if of(name) == shards[1] {
			want = ":0"
		}
		if got := of(name).show("EXISTS " + name); got != want {
			t.Errorf("slot %d: EXISTS answers %s", kv.Slot([]byte(name)), got)
		}
	}
	for i, run := range runs {
		if err := stream.Check(r.reader(), run[0], run[1]); err != nil {
			t.Errorf("shard %d: %v", i, err)
		}
	}
	if _, ok, err := (pebblekv.Reader{R: r.db}).Get(applied); !ok || err != nil {
		t.Errorf("_FLUSH deleted another record of the shard: %v", err)
	}
}

// nameIn returns a name in the given slot.
func nameIn(slot uint16) string {
	for i := 0; ; i++ {
		name := make([]byte, 0, 4)
		for n := i; n > 0 || len(name) == 0; n /= 26 {
			name = append(name, 'a'+byte(n%26))
		}
		if kv.Slot(name) == slot {
			return string(name)
		}
	}
}

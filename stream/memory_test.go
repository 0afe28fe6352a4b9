package stream_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"millrace/kv"
	"millrace/resp"
	"millrace/stream"
)

// kept returns the number of bytes of all records of a name. It looks at every record of the
// state.
func (r *rig) kept(name string) int64 {
	r.t.Helper()
	it, err := r.db.NewIter(nil)
	if err != nil {
		r.t.Fatal(err)
	}
	defer it.Close()
	prefix := binary.BigEndian.AppendUint16(nil, kv.Slot([]byte(name)))
	prefix = append(binary.BigEndian.AppendUint16(prefix, uint16(len(name))), name...)
	size := 0
	for ok := it.First(); ok; ok = it.Next() {
		index := bytes.Equal(it.Key(), stream.IndexKey([]byte(name)))
		deadline := strings.HasPrefix(stream.PrintKey(it.Key()), "deadline ") && bytes.HasSuffix(it.Key(), []byte(name))
		if bytes.HasPrefix(it.Key(), prefix) || index || deadline {
			size += len(it.Key()) + len(it.Value())
		}
	}
	return int64(size)
}

// TestMemoryUsageIsExact compares MEMORY USAGE with the size of all records, after random
// commands.
func TestMemoryUsageIsExact(t *testing.T) {
	rapid.Check(t, func(p *rapid.T) {
		r := openRig(p)
		defer r.close()
		for range rapid.IntRange(1, 60).Draw(p, "steps") {
			r.nowMS += 7
			r.do(strings.ReplaceAll(streamLine(p), "NAME", "{t}s"))
		}
		v := r.do("MEMORY USAGE {t}s SAMPLES 0")
		if v.IsNull() {
			return
		}
		if want := r.kept("{t}s"); v.Int != want {
			p.Fatalf("MEMORY USAGE answers %d of %d bytes", v.Int, want)
		}
		// There are fewer records of each kind than samples. The result is still not exact,
		// because the estimate counts an owner for every pending entry.
		if sampled := r.do("MEMORY USAGE {t}s SAMPLES 1000"); sampled.Int < v.Int || sampled.Int > v.Int+64*60 {
			p.Fatalf("sampled, it answers %d of %d bytes", sampled.Int, v.Int)
		}
	})
}

// TestMemoryUsageSampled compares estimates with the exact size of a stream whose entries are
// alike.
func TestMemoryUsageSampled(t *testing.T) {
	r := newRig(t)
	for i := range 1000 {
		r.run(argvOf("XADD", "s", fmt.Sprint(1000+i), "field", strings.Repeat("x", 100)))
		r.run(argvOf("XADD", "s", "IDMP", "p", fmt.Sprint(1000+i), "*", "field", strings.Repeat("x", 100)))
	}
	for _, g := range []string{"g1", "g2", "g3"} {
		r.do("XGROUP CREATE s " + g + " 0")
		for i := range 20 {
			r.do(fmt.Sprintf("XREADGROUP GROUP %s consumer%02d COUNT 10 STREAMS s >", g, i))
		}
	}
	want := r.kept("s")
	for _, samples := range []string{"", " SAMPLES 1", " SAMPLES 5", " SAMPLES 100", " SAMPLES 1000000"} {
		got := r.do("MEMORY USAGE s" + samples).Int
		if got < want*95/100 || got > want*105/100 {
			t.Errorf("MEMORY USAGE s%s answers %d of %d bytes", samples, got, want)
		}
	}
}

// TestMemoryUsageIsBounded asks for the exact size of a stream that has too many records.
// Most of them are pending entries of a group that is not sampled by default.
func TestMemoryUsageIsBounded(t *testing.T) {
	const entries = 26_000
	r := newRig(t)
	var add [][][]byte
	for i := range entries {
		add = append(add, argvOf("XADD", "s", fmt.Sprint(i+1), "f", "v"))
	}
	r.apply(add...)
	for i := range 9 {
		r.do(fmt.Sprintf("XGROUP CREATE s g%d 0", i))
	}
	if got := r.do("MEMORY USAGE s SAMPLES 0"); got.Int != r.kept("s") {
		t.Errorf("SAMPLES 0 answers %s of %d bytes", resp.Print(got, 2), r.kept("s"))
	}
	r.do("XREADGROUP GROUP g8 c STREAMS s >")
	if got := r.show("MEMORY USAGE s SAMPLES 0"); got != "-ERR The value has more than 100000 records, too many to count them all. Use SAMPLES above 0" {
		t.Errorf("SAMPLES 0 answers %s", got)
	}
	if got, want := r.do("MEMORY USAGE s").Int, r.kept("s"); got < want*95/100 || got > want*105/100 {
		t.Errorf("sampled, it answers %d of %d bytes", got, want)
	}
}

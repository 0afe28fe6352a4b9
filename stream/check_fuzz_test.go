package stream_test

import (
	"slices"
	"strings"
	"testing"

	"millrace/kv"
	"millrace/stream"
)

// damaged has records of every kind.
const damaged = `XADD s 1-1 f v
XADD s 2-1 f v g w
XADD s 3-1 f v
XDEL s 2-1
XGROUP CREATE s g 0
XREADGROUP GROUP g c COUNT 2 STREAMS s >
XGROUP CREATECONSUMER s g d
XADD i IDMP p 1 * f v
SET k v PX 100000
HSET h a 1 b 2
ZADD z 1 a 2 b`

// FuzzCheck puts arbitrary bytes in the place of one key or value of a sound state, or leaves
// some out of it. Check may call the state sound or damaged, but must not panic, because
// millrace doctor runs it on directories that are.
func FuzzCheck(f *testing.F) {
	sound := newMemKV()
	state := stream.NewState(0, kv.Slots-1)
	for line := range strings.SplitSeq(damaged, "\n") {
		applyOne(f, state, sound, 1_000_000, argvOf(strings.Fields(line)...))
	}
	if err := state.Flush(sound); err != nil {
		f.Fatal(err)
	}
	if err := stream.Check(sound, 0, kv.Slots-1); err != nil {
		f.Fatal(err)
	}
	for i := range sound.keys {
		for _, cut := range []int{0, 1, 4, 5, 8, 15} {
			f.Add(i, true, cut, []byte{})
			f.Add(i, false, cut, []byte{})
			f.Add(i, false, cut, []byte("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"))
		}
	}
	f.Fuzz(func(t *testing.T, i int, inKey bool, keep int, tail []byte) {
		if i < 0 || i >= len(sound.keys) || keep < 0 {
			return
		}
		key := sound.keys[i]
		value := sound.values[key]
		m := newMemKV()
		for _, k := range sound.keys {
			if k != key {
				_ = m.Set([]byte(k), sound.values[k]) // never fails
			}
		}
		changed := func(b []byte) []byte { return append(slices.Clone(b[:min(keep, len(b))]), tail...) }
		if inKey {
			_ = m.Set(changed([]byte(key)), value)
		} else {
			_ = m.Set([]byte(key), changed(value))
		}
		_ = stream.Check(m, 0, kv.Slots-1) // any answer but a panic
	})
}

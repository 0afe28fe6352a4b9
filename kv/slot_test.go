package kv

import (
	"bytes"
	"testing"
)

func TestSlot(t *testing.T) {
	for _, c := range []struct {
		key  string
		want uint16
	}{
		{"", 0},
		{"123456789", 0x31C3}, // the check value of CRC16 (XMODEM)
		{"foo", 12182},
		{"user1000", 3443},
		{"{user1000}.following", 3443},
		{"{user1000}.followers", 3443},
		{"foo{}{bar}", 8363},    // the tag is empty, so the whole key counts
		{"foo{{bar}}zap", 4015}, // the tag is "{bar"
		{"{bar", 4015},          // there is no "}"
		{"foo{bar}{zap}", 5061},
		{"bar", 5061},
	} {
		if got := Slot([]byte(c.key)); got != c.want {
			t.Errorf("slot of %q is %d, not %d", c.key, got, c.want)
		}
	}
}

// TestBounds checks that the keys of a shard lie within the bounds of its slots.
func TestBounds(t *testing.T) {
	for _, run := range [][2]uint16{{0, 0}, {0, Slots - 1}, {255, 256}, {Slots - 1, Slots - 1}} {
		lo, hi := SlotBounds(run[0], run[1])
		for _, key := range [][]byte{SystemKey(run[0], SystemApplied), SystemKey(run[1], 0xFF)} {
			if bytes.Compare(lo, key) > 0 || bytes.Compare(key, hi) >= 0 {
				t.Errorf("key %x is not in [%x, %x)", key, lo, hi)
			}
		}
	}
}

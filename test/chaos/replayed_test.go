package main

import (
	"slices"
	"testing"

	"millrace/test/chaos/fault"
)

// TestReplayKinds checks that the deck knows every fault which the replayed era leaves
// out, and that -only limits that era as well.
func TestReplayKinds(t *testing.T) {
	for _, name := range unreplayed {
		if !slices.Contains(fault.Names(), name) {
			t.Errorf("there is no fault %q", name)
		}
	}
	c := &chaos{options: options{only: []string{"kill all", "wiped"}}}
	if got := c.replayKinds(); !slices.Equal(got, []string{"kill all"}) {
		t.Errorf("%q", got)
	}
}

package fault

import (
	"slices"
	"testing"
)

func TestMembers(t *testing.T) {
	before := members{0: {"a", "b", "c"}, 1: {"a", "b", "c"}, 2: {"b", "c", "d"}}
	after := members{0: {"b", "c", "e"}, 1: {"c", "b", "d"}, 2: {"d", "c", "b"}}
	if n := before.changes(after); n != 4 {
		t.Errorf("%d changes, want 4: two replicas came and two went", n)
	}
	if n := before.changes(before); n != 0 {
		t.Errorf("%d changes between equal members", n)
	}
	if before.holds("a") != 2 || before.holds("d") != 1 || before.holds("e") != 0 {
		t.Error("replicas are counted wrongly")
	}
}

// TestHold checks that other faults neither kill nor pause a held node, and that a node
// which is down or paused cannot be held.
func TestHold(t *testing.T) {
	w := newWorld(3)
	if killed := w.kill([]int{0}); !slices.Equal(killed, []int{0}) {
		t.Fatal(killed)
	}
	paused := w.pause([]int{1})
	if _, ok := w.hold([]int{0, 1}); ok {
		t.Error("a node that is down or paused was held")
	}
	n, ok := w.hold([]int{0, 1, 2})
	if !ok || n != 2 {
		t.Errorf("held node %d, %v", n, ok)
	}
	if got := w.kill([]int{0, 1, 2}); !slices.Equal(got, []int{1}) {
		t.Errorf("killed %v", got)
	}
	if got := w.pause([]int{2}); len(got) > 0 {
		t.Errorf("paused %v", got)
	}
	w.proceed(paused)
	w.release(2)
	if got := w.pause([]int{2}); len(got) != 1 {
		t.Error("a released node cannot be paused")
	}
}

package fault

import (
	"slices"
	"testing"
)

func TestMembers(t *testing.T) {
	before := members{0: {"a", "b", "c"}, 1: {"a", "b", "c"}, 2: {"b", "c", "d"}}
	after := members{0: {"b", "c", "e"}, 1: {"c", "b", "d"}, 2: {"d", "c", "b"}}
	if n := before.changes(after); n != 4 {
		t.Errorf("%d changes, want 4: two came, two went", n)
	}
	if n := before.changes(before); n != 0 {
		t.Errorf("%d changes of nothing", n)
	}
	if before.holds("a") != 2 || before.holds("d") != 1 || before.holds("e") != 0 {
		t.Error("replicas are counted wrongly")
	}
}

// A node that one fault has for itself is left alone by others, and one that others have
// taken is not given away.
func TestHold(t *testing.T) {
	w := newWorld(3)
	if killed := w.kill([]int{0}); !slices.Equal(killed, []int{0}) {
		t.Fatal(killed)
	}
	paused := w.pause([]int{1})
	if _, ok := w.hold([]int{0, 1}); ok {
		t.Error("a node that another fault has was given away")
	}
	n, ok := w.hold([]int{0, 1, 2})
	if !ok || n != 2 {
		t.Errorf("got node %d, %v", n, ok)
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
		t.Error("a node that was released cannot be paused")
	}
}

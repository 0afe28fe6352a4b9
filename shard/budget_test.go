package shard

import (
	"slices"
	"strings"
	"testing"

	"millrace/call"
)

// The budget of an EXEC may end in the middle of a trim. All replicas then refuse the EXEC or all do it,
// although one of them has just started and has read no IDs ahead. None of them halts.
func TestBudgetOnReplicas(t *testing.T) {
	c := newStreamCluster(t, "a", "b", "c")
	c.startAll()
	l := c.leader()
	l.mustDo(t, call.Write, "SET", "big", strings.Repeat("x", 8000*128))
	warmUp := slices.Repeat([]string{"XADD s MAXLEN 100 * f v"}, 192)
	cold := c.others(l.id)[0]
	done, refused := 0, 0
	for left := 0; left <= 120; left += 10 { // units for the trims: ten cost 20 with the IDs at hand
		// A refusal drops the caches of all replicas, so the leader gets the IDs again.
		if _, err := l.exec(t, call.Write, warmUp...); err != nil {
			t.Fatal(err)
		}
		c.stop(cold)
		c.start(cold)
		n := 1<<16 - left
		lines := slices.Repeat([]string{"GET big"}, n/8001)
		lines = append(lines, slices.Repeat([]string{"XLEN s"}, n%8001)...)
		lines = append(lines, slices.Repeat([]string{"XADD s MAXLEN 100 * f v"}, 10)...)
		switch got, err := l.exec(t, call.Write, lines...); {
		case err != nil:
			t.Fatalf("%d units left: %v", left, err)
		case strings.HasPrefix(got, "-EXECABORT "):
			refused++
		default:
			done++
		}
		c.converge()
	}
	if done == 0 || refused == 0 {
		t.Errorf("%d EXECs were done and %d refused", done, refused)
	}
}

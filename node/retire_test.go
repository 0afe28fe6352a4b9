package node

import (
	"context"
	"math"
	"os"
	"testing"
	"time"

	"millrace/placement"
	"millrace/shard"
)

func TestMayRetire(t *testing.T) {
	for _, tc := range []struct {
		name string
		term uint64 // last term that this replica has seen
		st   shard.Status
		want bool
	}{
		{"moved away", 5, shard.Status{Term: 5, Voters: []string{"a", "b"}}, true},
		{"a later leader", 5, shard.Status{Term: 6, Voters: []string{"a"}}, true},
		{"a leader of an older term", 6, shard.Status{Term: 5, Voters: []string{"a"}}, false},
		{"a voter", 5, shard.Status{Term: 5, Voters: []string{"a", "me"}}, false},
		{"a non-voter", 5, shard.Status{Term: 5, Voters: []string{"a"}, Nonvoters: []string{"me"}}, false},
		{"a replica that does not run", 0, shard.Status{Term: 5, Voters: []string{"a"}}, false},
		{"a leader that knows no members", 5, shard.Status{Term: 5}, false},
	} {
		if got := mayRetire("me", tc.term, tc.st); got != tc.want {
			t.Errorf("%s: %v", tc.name, got)
		}
	}
}

// TestRetireThinksAgain hands a shard back while its replica is closed for removal. The
// first retire therefore keeps the replica, and only the second one removes it.
func TestRetireThinksAgain(t *testing.T) {
	checkGoroutines(t)
	n, err := Open(testConfig(t.TempDir()))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := n.close(); err != nil {
			t.Error(err)
		}
	}()
	s := &placement.Shard{ID: 1, Last: placement.Slots - 1, Founders: []string{n.id}}
	if err := n.hosting.open(s); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(startTimeout); !n.replicas.get(1).Status().Ready; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the shard has no leader")
		}
	}
	gone := shard.Status{Term: math.MaxUint64, Voters: []string{"other"}}
	back := gone
	back.Nonvoters = []string{n.id}
	answers := []shard.Status{gone, back, gone, gone}
	n.hosting.status = func(context.Context, uint32) (shard.Status, error) {
		if runs := n.replicas.get(1) != nil; runs != (len(answers)%2 == 0) {
			t.Errorf("with %d answers left, the replica runs: %v", len(answers), runs)
		}
		st := answers[0]
		answers = answers[1:]
		return st, nil
	}
	for _, want := range []bool{true, false} {
		if err := n.hosting.retire(t.Context(), s); err != nil {
			t.Fatal(err)
		}
		if kept, err := n.hosting.onDisk(1); kept != want || err != nil {
			t.Errorf("kept: %v, %v; want %v", kept, err, want)
		}
		if _, err := os.Stat(retirement{Shard: 1}.path(n.cfg.DataDir)); err == nil {
			t.Error("the mark is still there")
		}
		if want {
			if err := n.hosting.open(s); err != nil {
				t.Fatal(err)
			}
		}
	}
	if len(answers) != 0 {
		t.Errorf("the leader was asked %d times too few", len(answers))
	}
}

// TestFinishRetiringRefuses shows that a mark with wrong content ends the start, and that a
// mark that was never set is removed.
func TestFinishRetiringRefuses(t *testing.T) {
	n := &Node{cfg: Config{DataDir: t.TempDir()}}
	h := newHosting(n)
	mark := retirement{Shard: 3}.path(n.cfg.DataDir)
	for content, fine := range map[string]bool{"": false, `{"shard":4}`: false, "{": false} {
		if err := os.WriteFile(mark, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := h.finishRetiring(); (err == nil) != fine {
			t.Errorf("%q: %v", content, err)
		}
	}
	if err := os.Rename(mark, mark+".new"); err != nil {
		t.Fatal(err)
	}
	if err := h.finishRetiring(); err != nil {
		t.Error(err)
	}
	if left, _ := os.ReadDir(n.cfg.DataDir); len(left) != 0 {
		t.Errorf("files left: %v", left)
	}
}

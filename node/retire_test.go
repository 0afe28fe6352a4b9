package node

import (
	"os"
	"testing"

	"millrace/shard"
)

func TestMayRetire(t *testing.T) {
	for _, tc := range []struct {
		name string
		term uint64 // that this replica has seen
		st   shard.Status
		want bool
	}{
		{"moved away", 5, shard.Status{Term: 5, Voters: []string{"a", "b"}}, true},
		{"a later leader", 5, shard.Status{Term: 6, Voters: []string{"a"}}, true},
		{"a leader that knows less", 6, shard.Status{Term: 5, Voters: []string{"a"}}, false},
		{"a voter", 5, shard.Status{Term: 5, Voters: []string{"a", "me"}}, false},
		{"to become one", 5, shard.Status{Term: 5, Voters: []string{"a"}, Nonvoters: []string{"me"}}, false},
		{"a replica that does not run", 0, shard.Status{Term: 5, Voters: []string{"a"}}, false},
		{"a leader that knows no members", 5, shard.Status{Term: 5}, false},
	} {
		if got := mayRetire("me", tc.term, tc.st); got != tc.want {
			t.Errorf("%s: %v", tc.name, got)
		}
	}
}

// A mark that says nothing ends the start; one that was never set is cleaned away.
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
		t.Errorf("left over: %v", left)
	}
}

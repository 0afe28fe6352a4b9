package gossip

import (
	"fmt"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestSeedTrouble checks when a seed that cannot be joined is worth a warning.
func TestSeedTrouble(t *testing.T) {
	s := newSeedTrouble()
	start := time.Unix(1000, 0)
	for _, step := range []struct {
		after time.Duration
		warn  bool
	}{{0, false}, {9 * time.Second, false}, {10 * time.Second, true}, {11 * time.Second, false}, {69 * time.Second, false}, {70 * time.Second, true}} {
		if got := s.failed("a:1", start.Add(step.after)); got != step.warn {
			t.Errorf("after %v: %v", step.after, got)
		}
	}
	s.joined("a:1")
	if s.failed("a:1", start.Add(80*time.Second)) {
		t.Error("the first failure after a join is a warning")
	}
}

func TestRemedy(t *testing.T) {
	for _, tc := range []struct {
		err  error
		want string
	}{
		{fmt.Errorf("join: %w", &net.DNSError{Err: "no such host", Name: "x"}), "resolved"},
		{fmt.Errorf("join: %w", syscall.ECONNREFUSED), "no node listens there"},
		{fmt.Errorf("EOF"), "--cluster-secret-file"},
	} {
		if got := remedy(tc.err); !strings.Contains(got, tc.want) {
			t.Errorf("%v: %s", tc.err, got)
		}
	}
}

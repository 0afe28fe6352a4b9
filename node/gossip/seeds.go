package gossip

import (
	"errors"
	"net"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Nodes that start together do not find each other at once, so a seed that cannot be joined
// is no warning before seedPatience. After that it is one every seedRepeat.
const (
	seedPatience = 10 * time.Second
	seedRepeat   = time.Minute
)

// seedTrouble remembers the seeds that cannot be joined.
type seedTrouble struct {
	mu    sync.Mutex
	since map[string]time.Time // when the first attempt failed; guarded by mu, like next
	next  map[string]time.Time // when to warn
}

func newSeedTrouble() *seedTrouble {
	return &seedTrouble{since: make(map[string]time.Time), next: make(map[string]time.Time)}
}

// failed notes that a seed could not be joined, and reports whether to warn now.
func (s *seedTrouble) failed(seed string, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.since[seed]; !ok {
		s.since[seed], s.next[seed] = now, now.Add(seedPatience)
	}
	if now.Before(s.next[seed]) {
		return false
	}
	s.next[seed] = now.Add(seedRepeat)
	return true
}

// joined forgets the trouble with a seed.
func (s *seedTrouble) joined(seed string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.since, seed)
	delete(s.next, seed)
}

// remedy tells an operator how to go on after err.
func remedy(err error) string {
	var dns *net.DNSError
	switch {
	case errors.As(err, &dns):
		return "the name cannot be resolved: correct --join, or the name service"
	case unreachable(err):
		return "no node listens there: start it, or correct --join"
	}
	return "it does not answer as a node of this cluster: --join takes gossip addresses (port 7946 by default), not those for peers or clients, " +
		"and --cluster-secret-file must have the same content on all nodes (make one with: head -c 32 /dev/urandom | base64)"
}

// unreachable reports whether no process has answered. memberlist passes only the text of the
// system's error on.
func unreachable(err error) bool {
	for _, e := range []syscall.Errno{syscall.ECONNREFUSED, syscall.EHOSTUNREACH, syscall.ENETUNREACH, syscall.ETIMEDOUT} {
		if strings.Contains(err.Error(), e.Error()) {
			return true
		}
	}
	return strings.Contains(err.Error(), "i/o timeout")
}

// plain returns the text of err in one line. memberlist joins errors in a list over several.
func plain(err error) string {
	return strings.Join(strings.Fields(strings.ReplaceAll(strings.TrimPrefix(err.Error(), "1 error occurred:"), "*", "")), " ")
}

package router

import (
	"fmt"
	"sync"
	"time"

	"millrace/command"
)

// A slowlog keeps the last slow commands of this node. A command's duration runs from the
// moment that it is read to its answer, so it includes the wait for the shard. Blocking
// calls are left out, because they wait on purpose. An EXEC is one entry.
type slowlog struct {
	mu     sync.Mutex
	recent []slowEntry // oldest first
	nextID int64
}

// slowEntry is one command of the slow log.
type slowEntry struct {
	id     int64
	at     time.Time
	micros int64
	argv   []string // shortened, without passwords
	addr   string
	name   string // from CLIENT SETNAME
}

// An entry keeps at most slowArgs words of at most slowWord bytes; Redis's bounds.
const (
	slowArgs = 32
	slowWord = 128
)

// add appends an entry, and drops the oldest beyond limit.
func (l *slowlog) add(e slowEntry, limit int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e.id = l.nextID
	l.nextID++
	l.recent = append(l.recent, e)
	l.trim(limit)
}

// trim drops the oldest entries beyond limit. l.mu is held.
func (l *slowlog) trim(limit int) {
	if over := len(l.recent) - limit; over > 0 {
		l.recent = append(l.recent[:0], l.recent[over:]...)
		clear(l.recent[len(l.recent):cap(l.recent)])
	}
}

// newest returns at most n entries, or all if n is negative, the newest first.
func (l *slowlog) newest(n, limit int) []slowEntry {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.trim(limit)
	if n < 0 || n > len(l.recent) {
		n = len(l.recent)
	}
	out := make([]slowEntry, n)
	for i := range out {
		out[i] = l.recent[len(l.recent)-1-i]
	}
	return out
}

func (l *slowlog) len(limit int) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.trim(limit)
	return len(l.recent)
}

// reset drops all entries. The numbers of later entries go on from there.
func (l *slowlog) reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.recent = nil
}

// noteTime puts an answered request into the slow log and the latency events if it took
// long enough.
func (r *Router) noteTime(q *request) {
	if q.cmd == nil || q.blocks {
		return
	}
	nanos := q.end - q.start
	if limit := r.settings.slowMicros.Load(); limit >= 0 && nanos/1000 >= limit {
		r.noteSlow(q, nanos)
	}
	if limit := r.settings.latencyMS.Load(); limit > 0 && nanos/1e6 >= limit {
		name := eventCommand
		if q.cmd.Is(command.Fast) {
			name = eventFast
		}
		r.events.add(name, time.Now(), nanos/1e6)
	}
}

// noteSlow puts a request that took nanos into the slow log.
func (r *Router) noteSlow(q *request, nanos int64) {
	q.c.mu.Lock()
	name := q.c.name
	q.c.mu.Unlock()
	r.slowlog.add(slowEntry{
		at: time.Now(), micros: nanos / 1000, argv: shortened(withoutSecrets(q.argv)), addr: q.c.addr, name: name,
	}, int(r.settings.slowLen.Load()))
}

// shortened returns the words of a command as the slow log shows them.
func shortened(argv [][]byte) []string {
	n := min(len(argv), slowArgs)
	out := make([]string, n)
	for i := range out {
		w := argv[i]
		switch {
		case i == slowArgs-1 && len(argv) > slowArgs:
			out[i] = fmt.Sprintf("... (%d more arguments)", len(argv)-slowArgs+1)
		case len(w) > slowWord:
			out[i] = fmt.Sprintf("%s... (%d more bytes)", w[:slowWord], len(w)-slowWord)
		default:
			out[i] = string(w)
		}
	}
	return out
}

// redacted replaces a secret where commands are shown.
var redacted = []byte("(redacted)")

// withoutSecrets returns argv, or a copy in which passwords are replaced.
func withoutSecrets(argv [][]byte) [][]byte {
	var hide []int
	switch {
	case len(argv) < 2:
	case command.IsWord(argv[0], "AUTH"):
		hide = []int{1, 2}
	case command.IsWord(argv[0], "HELLO"):
		for i := 2; i+2 < len(argv); i++ {
			if command.IsWord(argv[i], "AUTH") {
				hide = append(hide, i+1, i+2)
				i += 2
			}
		}
	case command.IsWord(argv[0], "ACL") && command.IsWord(argv[1], "SETUSER"):
		for i := 3; i < len(argv); i++ {
			hide = append(hide, i)
		}
	case command.IsWord(argv[0], "CONFIG") && command.IsWord(argv[1], "SET"):
		for i := 2; i+1 < len(argv); i += 2 {
			if secretParameters[string(lowered(argv[i]))] {
				hide = append(hide, i+1)
			}
		}
	case command.IsWord(argv[0], "MIGRATE"):
		for i := 6; i+1 < len(argv); i++ {
			if command.IsWord(argv[i], "AUTH") || command.IsWord(argv[i], "AUTH2") {
				hide = append(hide, i+1, i+2)
			}
		}
	}
	if len(hide) == 0 {
		return argv
	}
	out := append([][]byte(nil), argv...)
	for _, i := range hide {
		if i < len(out) {
			out[i] = redacted
		}
	}
	return out
}

// secretParameters are the parameters of Redis's CONFIG SET whose values are passwords.
// Millrace knows none of them, but a client that sends one still sends a secret.
var secretParameters = map[string]bool{
	"requirepass": true, "masterauth": true, "masteruser": true, "tls-key-file-pass": true, "tls-client-key-file-pass": true,
}

// lowered returns at most maxEcho bytes of w in lower case.
func lowered(w []byte) []byte {
	out := append([]byte(nil), cut(w, maxEcho)...)
	for i, b := range out {
		if 'A' <= b && b <= 'Z' {
			out[i] = b + 'a' - 'A'
		}
	}
	return out
}

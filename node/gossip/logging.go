package gossip

import (
	"context"
	"log"
	"log/slog"
	"strings"
	"sync"
	"time"
)

const (
	// repeatAfter is the time for which a warning is not repeated, because memberlist
	// logs the same warning for every packet.
	repeatAfter = time.Minute
	// maxKinds bounds the kinds of warnings that are remembered. At the bound all are
	// forgotten.
	maxKinds = 128
)

// logWriter passes memberlist's log lines to slog. Warnings and errors keep their level, but
// one that repeats within repeatAfter becomes a debug message. All lower lines become debug
// messages too, because Millrace logs joins and leaves itself.
type logWriter struct {
	log *slog.Logger
	now func() time.Time

	mu   sync.Mutex
	said map[string]time.Time // kind → when it was last logged; guarded by mu
}

func newLogger(l *slog.Logger) *log.Logger {
	return log.New(&logWriter{log: l, now: time.Now, said: make(map[string]time.Time)}, "", 0)
}

func (w *logWriter) Write(line []byte) (int, error) {
	text := strings.TrimSpace(string(line))
	level := slog.LevelDebug
	if rest, ok := strings.CutPrefix(text, "["); ok {
		if name, rest, ok := strings.Cut(rest, "] "); ok {
			text = rest
			if name == "WARN" || name == "ERR" || name == "ERROR" {
				level = slog.LevelWarn
			}
		}
	}
	text = strings.TrimPrefix(text, "memberlist: ")
	if level == slog.LevelWarn && w.repeats(text) {
		level = slog.LevelDebug
	}
	w.log.Log(context.Background(), level, text)
	return len(line), nil
}

// repeats reports whether a warning of the same kind as text was logged within
// repeatAfter. The kind of a warning is its first 24 bytes, because addresses and names
// come after them.
func (w *logWriter) repeats(text string) bool {
	kind := text[:min(len(text), 24)]
	now := w.now()
	w.mu.Lock()
	defer w.mu.Unlock()
	if at, ok := w.said[kind]; ok && now.Sub(at) < repeatAfter {
		return true
	}
	if len(w.said) >= maxKinds {
		clear(w.said)
	}
	w.said[kind] = now
	return false
}

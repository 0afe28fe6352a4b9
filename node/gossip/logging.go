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
	// repeatAfter is how long a warning of one kind stays unsaid after it was said:
	// memberlist repeats itself with every packet.
	repeatAfter = time.Minute
	// maxKinds bounds the kinds that are remembered; past it all are forgotten.
	maxKinds = 128
)

// logWriter turns memberlist's lines into records. What memberlist calls information
// is debugging to us: we log joins and leaves ourselves.
type logWriter struct {
	log *slog.Logger
	now func() time.Time

	mu   sync.Mutex
	said map[string]time.Time // by kind; guarded by mu
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

// repeats reports whether a warning like text was said lately. The kind of a warning
// is its beginning: what follows are addresses and names.
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

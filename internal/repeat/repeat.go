// Package repeat keeps a log readable when one thing fails again and again: of each message,
// a few come as they are, and the rest as a count.
package repeat

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// The first Few records of a message within Window are logged. The others are counted, and
// a record with their number follows when Window is over.
const (
	Few    = 5
	Window = time.Minute

	// maxMessages bounds the messages that are remembered. Others are logged as they come.
	maxMessages = 512
)

// Handler passes records on to another handler. It counts records of level Warn and above by
// their message, whatever their attributes are. For example, of 130 failed heartbeats in a
// minute, five are logged, and then one line with repeated=125.
type Handler struct {
	next   slog.Handler
	shared *counts
}

type counts struct {
	mu    sync.Mutex
	seen  map[string]*count // guarded by mu
	after func(time.Duration, func())
}

type count struct {
	logged   int
	repeated int
	last     slog.Record // the last that was not logged
	handler  slog.Handler
}

// NewHandler returns a Handler in front of next.
func NewHandler(next slog.Handler) *Handler {
	return &Handler{next, &counts{seen: make(map[string]*count), after: func(d time.Duration, f func()) { time.AfterFunc(d, f) }}}
}

// Enabled implements slog.Handler, like the next three.
func (h *Handler) Enabled(ctx context.Context, l slog.Level) bool { return h.next.Enabled(ctx, l) }

// WithAttrs shares the counts with h.
func (h *Handler) WithAttrs(a []slog.Attr) slog.Handler {
	return &Handler{h.next.WithAttrs(a), h.shared}
}

// WithGroup shares the counts with h.
func (h *Handler) WithGroup(name string) slog.Handler {
	return &Handler{h.next.WithGroup(name), h.shared}
}

// Handle logs r or counts it.
func (h *Handler) Handle(ctx context.Context, r slog.Record) error {
	if r.Level < slog.LevelWarn || h.shared.admit(h.next, r) {
		return h.next.Handle(ctx, r)
	}
	return nil
}

// admit reports whether r is to be logged.
func (s *counts) admit(next slog.Handler, r slog.Record) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.seen[r.Message]
	if c == nil {
		if len(s.seen) >= maxMessages {
			return true
		}
		c = new(count)
		s.seen[r.Message] = c
		s.after(Window, func() { s.end(r.Message) })
	}
	if c.logged < Few {
		c.logged++
		return true
	}
	c.repeated++
	c.last, c.handler = r.Clone(), next
	return false
}

// end ends the window of a message and logs how often it was repeated.
func (s *counts) end(message string) {
	s.mu.Lock()
	c := s.seen[message]
	delete(s.seen, message)
	s.mu.Unlock()
	if c == nil || c.repeated == 0 {
		return
	}
	r := slog.NewRecord(time.Now(), c.last.Level, message, 0)
	r.AddAttrs(slog.Int("repeated", c.repeated))
	c.last.Attrs(func(a slog.Attr) bool { r.AddAttrs(a); return true })
	_ = c.handler.Handle(context.Background(), r) // as slog itself, which drops the error of a handler
}

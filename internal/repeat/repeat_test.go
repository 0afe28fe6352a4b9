package repeat

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"
)

// TestHandler checks that a repeated message comes a few times and then as a count, by window
// and by message, and that messages below Warn all come.
func TestHandler(t *testing.T) {
	var b bytes.Buffer
	h := NewHandler(slog.NewTextHandler(&b, nil))
	var ends []func()
	h.shared.after = func(d time.Duration, f func()) {
		if d != Window {
			t.Errorf("a window of %v", d)
		}
		ends = append(ends, f)
	}
	l := slog.New(h).With("shard", 3)
	count := func(what string) int { return strings.Count(b.String(), what) }
	for i := range 20 {
		l.Warn("no heartbeat", "peer", i)
		l.WithGroup("g").Error("other", "x", i)
		l.Info("fine")
	}
	if count("no heartbeat") != Few || count("msg=other") != Few || count("msg=fine") != 20 {
		t.Errorf("logged:\n%s", &b)
	}
	b.Reset()
	for _, end := range ends {
		end()
	}
	if !strings.Contains(b.String(), `level=WARN msg="no heartbeat" shard=3 repeated=15 peer=19`) || count("\n") != 2 {
		t.Errorf("at the end of the window:\n%s", &b)
	}
	b.Reset()
	l.Warn("no heartbeat")
	if count("no heartbeat") != 1 {
		t.Error("the next window does not begin anew")
	}
	ends[len(ends)-1]()
	if count("repeated") != 0 {
		t.Errorf("nothing was repeated:\n%s", &b)
	}
}

// TestManyMessages checks that the memory for messages is bounded.
func TestManyMessages(t *testing.T) {
	h := NewHandler(slog.DiscardHandler)
	h.shared.after = func(time.Duration, func()) {}
	for i := range 2 * maxMessages {
		h.shared.admit(h, slog.NewRecord(time.Now(), slog.LevelWarn, strings.Repeat("x", i), 0))
	}
	if n := len(h.shared.seen); n != maxMessages {
		t.Errorf("%d messages are remembered", n)
	}
}

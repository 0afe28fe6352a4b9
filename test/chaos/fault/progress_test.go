package fault

import (
	"testing"
	"time"
)

func TestProgress(t *testing.T) {
	for _, tc := range []struct {
		name string
		p    progress
		kept bool
	}{
		{"as before", progress{before: 2000, after: 1900, during: 20_000}, true},
		{"half", progress{before: 2000, after: 1000, during: 20_000}, true},
		{"less than half", progress{before: 2000, after: 999, during: 20_000}, false},
		{"slow before, too", progress{before: 30, after: 20, during: 300}, true},
		{"next to nothing", progress{before: 30, after: 20, during: ProgressLeast - 1}, false},
	} {
		if text := tc.p.broken(); (text == "") != tc.kept {
			t.Errorf("%s: %q", tc.name, text)
		}
	}
}

func TestStuck(t *testing.T) {
	for _, tc := range []struct {
		acked  int
		lasted time.Duration
		stuck  bool
	}{
		{0, progressWindow - 1, false},
		{ProgressLeast, progressWindow, false},
		{ProgressLeast - 1, progressWindow, true},
	} {
		if text := stuck(tc.acked, tc.lasted); (text != "") != tc.stuck {
			t.Errorf("%+v: %q", tc, text)
		}
	}
}

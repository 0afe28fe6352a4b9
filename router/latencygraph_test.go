package router

import (
	"strings"
	"testing"
)

// The graph is that of Redis 7.0.15 for the same samples, byte for byte.
func TestLatencyGraph(t *testing.T) {
	const now = 1_000_000
	dashes := strings.Repeat("-", 80) + "\n"
	for _, c := range []struct {
		name    string
		samples []eventSample
		want    string
	}{
		{"one", []eventSample{{now, 10}},
			"command - high 10 ms, low 10 ms (all time high 23 ms)\n" + dashes + " \n \n \n_\n \n0\ns\n"},
		{"five", []eventSample{{now - 54, 10}, {now - 4, 7}, {now - 3, 12}, {now - 2, 13}, {now - 1, 23}},
			"command - high 23 ms, low 7 ms (all time high 23 ms)\n" + dashes +
				"    #\n    |\n  _o|\n#_|||\n     \n54321\n4ssss\ns    \n"},
		{"units", []eventSample{{now - 200_000, 1}, {now - 7300, 2}, {now - 60, 3}},
			"command - high 3 ms, low 1 ms (all time high 23 ms)\n" + dashes + "  #\n _|\n ||\n_||\n   \n221\ndhm\n"},
	} {
		if got := latencyGraph("command", c.samples, 23, now); got != c.want {
			t.Errorf("%s:\n%s\nwant\n%s", c.name, got, c.want)
		}
	}
	many := make([]eventSample, maxSamples)
	if got := latencyGraph("command", many, 0, 0); strings.Count(got, strings.Repeat("_", graphColumns)+"\n") != 2 {
		t.Errorf("samples beyond one row are not in a second one:\n%s", got)
	}
}

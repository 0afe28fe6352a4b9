package report

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"millrace/test/chaos/check"
	"millrace/test/chaos/fault"
	"millrace/test/chaos/measure"
)

func write(t *testing.T, r *Report) string {
	t.Helper()
	dir := t.TempDir()
	if err := r.Write(dir); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(dir, JSONFile))
	if err != nil {
		t.Fatal(err)
	}
	var back Report
	if err := json.Unmarshal(b, &back); err != nil || back.Seed != r.Seed || len(back.Events) != len(r.Events) || back.Took != r.Took {
		t.Errorf("read back: %+v, %v", back, err)
	}
	page, err := os.ReadFile(filepath.Join(dir, PageFile))
	if err != nil {
		t.Fatal(err)
	}
	return string(page)
}

func TestReport(t *testing.T) {
	r := &Report{
		Seed: 42, Took: time.Hour, Again: "make chaos SEED=42", Violations: 1, Ended: "interrupted", Missing: []string{"the network"},
		Counts:   map[string]int{"kills": 3},
		Problems: []check.Problem{{At: time.Minute, Invariant: "S1", Text: "lost <&>"}},
		Promises: []fault.Promise{{Name: "writes go on", Samples: 3, Kept: false}},
		Longest:  []measure.Gap{{Shard: 1, Took: time.Second}},
		Events:   []fault.Event{{Round: 1, Name: "kill", What: "kill -9 node 1", From: time.Minute, To: 2 * time.Minute, Resumed: time.Second}},
	}
	for i := range 3600 {
		p := measure.Point{Second: i, Acked: 1000, Replied: 2000, P50us: 900, P99us: 9000, MaxUs: 90_000}
		if i == 61 {
			p.Acked, p.Replied = 0, 0
		}
		r.Timeline = append(r.Timeline, p)
	}
	page := write(t, r)
	for _, want := range []string{
		"1 violations", "lost &lt;&amp;&gt;", "kill -9 node 1", "make chaos SEED=42", "<svg", `class="fault"`, `class="wrong"`, `class="none"`,
		"interrupted", "Not run: the network", "broken",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if strings.Contains(page, "NaN") || strings.Contains(page, "Inf") {
		t.Error("the picture contains NaN or Inf")
	}
}

// TestEmptyReport checks the page of a run that ended before its first second.
func TestEmptyReport(t *testing.T) {
	page := write(t, &Report{})
	if !strings.Contains(page, "no violations") || strings.Contains(page, "NaN") || strings.Contains(page, "Inf") {
		t.Error(page)
	}
}

func TestShrink(t *testing.T) {
	var points []measure.Point
	for i := range 1000 {
		points = append(points, measure.Point{Second: i, Acked: 100, MaxUs: 10})
	}
	points[500].Acked, points[501].MaxUs = 0, 99
	got := shrink(points, 10)
	if len(got) != 10 || got[5].Acked != 0 || got[5].MaxUs != 99 || got[4].Acked != 100 {
		t.Errorf("%+v", got)
	}
}

package report

import (
	"encoding/json"
	"os"
	"path/filepath"
	"time"

	"millrace/test/chaos/check"
	"millrace/test/chaos/fault"
	"millrace/test/chaos/measure"
	"millrace/test/chaos/replay"
	"millrace/test/chaos/workload"
)

// Report holds the results of a run.
type Report struct {
	Version  string        `json:"version"`
	Seed     uint64        `json:"seed"`
	Began    time.Time     `json:"began"`
	Took     time.Duration `json:"took_ns"`
	Nodes    int           `json:"nodes"`
	Shards   int           `json:"shards"`
	Network  string        `json:"network"`
	Again    string        `json:"again"` // the command that repeats the run
	Ended    string        `json:"ended"` // why the run ended early; empty: it did not
	Eras     int           `json:"eras"`
	Counts   map[string]int
	Total    measure.Point    `json:"total"`
	Windows  workload.Windows `json:"windows"`
	Replayed replay.Counts    `json:"replayed"` // numbers of comparisons with the shards' logs
	Promises []fault.Promise  `json:"promises"`
	// Violations counts all violations; Problems holds the first ones.
	Violations int             `json:"violations"`
	Problems   []check.Problem `json:"problems"`
	Longest    []measure.Gap   `json:"longest_gaps"`
	Events     []fault.Event   `json:"events"`
	Timeline   []measure.Point `json:"timeline"`
	LagMax     time.Duration   `json:"harness_lag_ns"`    // the longest delay of the harness itself
	Missing    []string        `json:"missing,omitempty"` // kinds of faults that the run could not inject
}

// The names of a report's files.
const (
	JSONFile = "report.json"
	PageFile = "report.html"
)

// Write writes both files into dir, which exists.
func (r *Report) Write(dir string) error {
	b, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, JSONFile), b, 0o644); err != nil {
		return err
	}
	f, err := os.Create(filepath.Join(dir, PageFile))
	if err != nil {
		return err
	}
	if err := r.page(f); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}

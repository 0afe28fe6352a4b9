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

// Report is a run.
type Report struct {
	Version  string        `json:"version"`
	Seed     uint64        `json:"seed"`
	Began    time.Time     `json:"began"`
	Took     time.Duration `json:"took_ns"`
	Nodes    int           `json:"nodes"`
	Shards   int           `json:"shards"`
	Network  string        `json:"network"`
	Again    string        `json:"again"` // the command that repeats it
	Ended    string        `json:"ended"` // why it ended before its time; empty: it did not
	Eras     int           `json:"eras"`
	Counts   map[string]int
	Total    measure.Point    `json:"total"`
	Windows  workload.Windows `json:"windows"`
	Replayed replay.Counts    `json:"replayed"` // compared with the shards' logs
	Promises []fault.Promise  `json:"promises"`
	// Violations counts all; Problems holds the first ones.
	Violations int             `json:"violations"`
	Problems   []check.Problem `json:"problems"`
	Longest    []measure.Gap   `json:"longest_gaps"`
	Events     []fault.Event   `json:"events"`
	Timeline   []measure.Point `json:"timeline"`
	LagMax     time.Duration   `json:"harness_lag_ns"` // how late the harness itself ran at most
	Missing    []string        `json:"missing,omitempty"`
}

// Files of a report.
const (
	JSONFile = "report.json"
	PageFile = "report.html"
)

// Write writes both files into dir.
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

package bench

import (
	"fmt"
	"os"
	"slices"
	"time"
)

// Fsync is what a bare append of 4 KiB with its fsync costs in a directory: the
// least that a durable write can cost there.
type Fsync struct {
	Dir     string        `json:"dir"`
	Samples int           `json:"samples"`
	P50     time.Duration `json:"p50_ns"`
	P99     time.Duration `json:"p99_ns"`
}

const (
	fsyncBytes   = 4 << 10
	fsyncSamples = 400 // of a run
)

// FsyncProbe appends n times 4 KiB to a new file in dir, with an fsync after each,
// and returns how long one takes. It removes the file.
func FsyncProbe(dir string, n int) (Fsync, error) {
	var f fsyncs
	if err := f.measure(dir, n); err != nil {
		return Fsync{}, err
	}
	return *f.result(dir), nil
}

// fsyncs are the times that appends took.
type fsyncs []time.Duration

func (s *fsyncs) measure(dir string, n int) (err error) {
	f, err := os.CreateTemp(dir, "fsync-probe-*")
	if err != nil {
		return fmt.Errorf("bench: fsync probe: %w", err)
	}
	defer func() {
		f.Close()
		if rerr := os.Remove(f.Name()); err == nil && rerr != nil {
			err = fmt.Errorf("bench: fsync probe: %w", rerr)
		}
	}()
	block := make([]byte, fsyncBytes)
	for i := range block {
		block[i] = byte(i * 31)
	}
	for range n {
		began := time.Now()
		if _, err := f.Write(block); err != nil {
			return fmt.Errorf("bench: fsync probe: %w", err)
		}
		if err := f.Sync(); err != nil {
			return fmt.Errorf("bench: fsync probe: %w", err)
		}
		*s = append(*s, time.Since(began))
	}
	return nil
}

func (s fsyncs) result(dir string) *Fsync {
	r := &Fsync{Dir: dir, Samples: len(s)}
	if len(s) > 0 {
		slices.Sort(s)
		r.P50, r.P99 = s[len(s)/2], s[len(s)*99/100]
	}
	return r
}

package bench

import (
	"fmt"
	"os"
	"slices"
	"time"
)

// Fsync holds the time of an append of 4 KiB with an fsync in a directory. No durable
// write can be faster there.
type Fsync struct {
	Dir     string        `json:"dir"`
	Samples int           `json:"samples"`
	P50     time.Duration `json:"p50_ns"`
	P99     time.Duration `json:"p99_ns"`
}

const (
	fsyncBytes   = 4 << 10
	fsyncSamples = 400 // in one run
)

// FsyncProbe appends 4 KiB to a new file in dir n times, each time with an fsync, and
// returns the distribution of the times. It removes the file.
func FsyncProbe(dir string, n int) (Fsync, error) {
	var f fsyncs
	if err := f.measure(dir, n); err != nil {
		return Fsync{}, err
	}
	return *f.result(dir), nil
}

// fsyncs are the measured times of appends with an fsync.
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

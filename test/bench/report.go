package bench

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Report holds the measurements of a run. Its JSON form has durations in nanoseconds.
type Report struct {
	Mode         Mode     `json:"mode"`
	Name         string   `json:"name"` // of the run, in the names of its streams
	Addrs        []string `json:"addrs"`
	ClusterAware bool     `json:"cluster_aware"`
	Places       []Place  `json:"places,omitempty"` // the leaders, if ClusterAware
	Clients      int      `json:"clients"`
	Depth        int      `json:"depth"`
	Streams      int      `json:"streams"`
	Size         int      `json:"size"`

	// Interrupted is set if the run was canceled.
	Interrupted bool          `json:"interrupted,omitempty"`
	Elapsed     time.Duration `json:"elapsed_ns"`
	Commands    int64         `json:"commands"`        // commands with a good reply
	Rate        float64       `json:"rate"`            // Commands per second
	EntriesRead int64         `json:"entries_read"`    // in mode read
	Errors      int64         `json:"errors"`          // error replies and unexpected replies
	Codes       Codes         `json:"codes,omitempty"` // of the error replies
	Lost        int64         `json:"lost"`            // commands with an unknown outcome: the connection broke before the reply
	Disconnects int64         `json:"disconnects"`     // broken connections
	FirstError  string        `json:"first_error,omitempty"`

	// Latency is the time of a batch of Depth commands, from before it is written until
	// its last reply has been read.
	Latency Latency      `json:"latency"`
	Group   *GroupReport `json:"group,omitempty"`
	Fsync   *Fsync       `json:"fsync,omitempty"`
}

// Place is a node with the number of streams of the run that it leads.
type Place struct {
	Addr    string `json:"addr"`
	Streams int    `json:"streams"`
}

// Codes counts error replies by their first word.
type Codes map[string]int64

// GroupReport holds the measurements of the consumers in mode group.
type GroupReport struct {
	Delivered    int64   `json:"delivered"`
	Acked        int64   `json:"acked"`
	Rate         float64 `json:"rate"`          // Delivered per second
	NotDelivered int64   `json:"not_delivered"` // entries that were added and not delivered
	// Delivery is the time from before the batch with an entry's XADD was written until
	// a consumer received the entry. Entries from other machines distort it, because
	// their clocks differ.
	Delivery Latency `json:"delivery"`
}

// Latency is a distribution of durations, with an error of at most one percent.
type Latency struct {
	Samples int64         `json:"samples"`
	P50     time.Duration `json:"p50_ns"`
	P90     time.Duration `json:"p90_ns"`
	P99     time.Duration `json:"p99_ns"`
	P999    time.Duration `json:"p999_ns"`
	Max     time.Duration `json:"max_ns"`
}

func newReport(cfg *Config) Report {
	return Report{Mode: cfg.Mode, Name: cfg.Name, Addrs: cfg.Addrs, ClusterAware: cfg.ClusterAware,
		Clients: cfg.Clients, Depth: cfg.Depth, Streams: cfg.Streams, Size: cfg.Size}
}

// fill copies the counts of the workers.
func (r *Report) fill(l *load, elapsed time.Duration) {
	r.Elapsed = elapsed
	r.Commands = l.done.Load()
	r.Rate = float64(r.Commands) / elapsed.Seconds()
	if r.Mode == ModeRead {
		r.EntriesRead = r.Commands * int64(l.cfg.ReadCount)
	}
	f := &l.failures
	f.mu.Lock()
	defer f.mu.Unlock()
	r.Errors, r.Lost, r.Disconnects, r.FirstError, r.Codes = f.errors, f.lost, f.broke, f.first, f.codes
}

func (l *load) groupReport(elapsed time.Duration, delivery *histogram) *GroupReport {
	g := &GroupReport{Delivered: l.delivered.Load(), Acked: l.acked.Load(), Delivery: delivery.summary()}
	g.Rate = float64(g.Delivered) / elapsed.Seconds()
	g.NotDelivered = max(0, l.done.Load()-g.Delivered)
	return g
}

// String returns the report for people, in lines that each end with a line break.
func (r Report) String() string {
	var b strings.Builder
	target := strings.Join(r.Addrs, ",")
	if r.ClusterAware {
		target += ", each stream at its leader"
	}
	fmt.Fprintf(&b, "%s at %s: %d clients x %d deep, %d streams, %d-byte values\n", r.Mode, target, r.Clients, r.Depth, r.Streams, r.Size)
	if r.Interrupted {
		fmt.Fprintf(&b, "  interrupted\n")
	}
	unit := "commands"
	if r.Mode == ModeGroup {
		unit = "entries added"
	}
	fmt.Fprintf(&b, "  rate      %.0f/s (%d %s in %.2f s)", r.Rate, r.Commands, unit, r.Elapsed.Seconds())
	if r.Mode == ModeRead {
		fmt.Fprintf(&b, ", %d entries read", r.EntriesRead)
	}
	b.WriteByte('\n')
	of := "command"
	if r.Depth > 1 {
		of = fmt.Sprintf("batch of %d", r.Depth)
	}
	fmt.Fprintf(&b, "  latency   %v  (round trip of a %s)\n", r.Latency, of)
	if g := r.Group; g != nil {
		fmt.Fprintf(&b, "  consumed  %.0f/s (%d delivered, %d acknowledged, %d not delivered)\n", g.Rate, g.Delivered, g.Acked, g.NotDelivered)
		fmt.Fprintf(&b, "  delivery  %v  (from XADD to consumer)\n", g.Delivery)
	}
	if f := r.Fsync; f != nil {
		fmt.Fprintf(&b, "  fsync     p50 %v  p99 %v  (bare 4 KiB append in %s)", round(f.P50), round(f.P99), f.Dir)
		if f.P50 > 0 && r.Depth == 1 {
			fmt.Fprintf(&b, "; latency p50 is %.1f of them", float64(r.Latency.P50)/float64(f.P50))
		}
		b.WriteByte('\n')
	}
	fmt.Fprintf(&b, "  errors    %d", r.Errors)
	if len(r.Codes) > 0 {
		var codes []string
		for c, n := range r.Codes {
			codes = append(codes, fmt.Sprintf("%s %d", c, n))
		}
		slices.Sort(codes)
		fmt.Fprintf(&b, " (%s)", strings.Join(codes, ", "))
	}
	if r.Disconnects > 0 {
		fmt.Fprintf(&b, ", %d connections lost with %d commands unanswered", r.Disconnects, r.Lost)
	}
	if r.FirstError != "" {
		fmt.Fprintf(&b, "; first: %s", r.FirstError)
	}
	b.WriteByte('\n')
	return b.String()
}

func (l Latency) String() string {
	return fmt.Sprintf("p50 %v  p90 %v  p99 %v  p99.9 %v  max %v", round(l.P50), round(l.P90), round(l.P99), round(l.P999), round(l.Max))
}

// round rounds to about three digits: 1.23456 s to 1.23 s.
func round(d time.Duration) time.Duration {
	for unit := time.Second; unit > time.Microsecond; unit /= 10 {
		if d >= 10*unit {
			return d.Round(unit / 10)
		}
	}
	return d.Round(time.Microsecond)
}

// histogram counts durations from a microsecond to a minute; longer ones count as a
// minute. One goroutine uses it.
type histogram struct{ h *hdrhistogram.Histogram }

const maxLatency = time.Minute

func newHistogram() *histogram {
	return &histogram{hdrhistogram.New(1, maxLatency.Microseconds(), 2)}
}

func (h *histogram) record(d time.Duration) {
	// RecordValue cannot fail, because the value is in range.
	_ = h.h.RecordValue(min(max(d, time.Microsecond), maxLatency).Microseconds())
}

func (h *histogram) merge(from *histogram) { h.h.Merge(from.h) }

func (h *histogram) summary() Latency {
	at := func(q float64) time.Duration { return time.Duration(h.h.ValueAtQuantile(q)) * time.Microsecond }
	return Latency{h.h.TotalCount(), at(50), at(90), at(99), at(99.9), time.Duration(h.h.Max()) * time.Microsecond}
}

package bench

import (
	"errors"
	"fmt"
	"time"
)

// Mode selects the commands of a run.
type Mode string

const (
	// ModeXAdd appends entries, spread over all streams.
	ModeXAdd Mode = "xadd"
	// ModeRead fills streams, and then reads ranges from random positions, half of them
	// with XRANGE and half with XREAD.
	ModeRead Mode = "read"
	// ModeGroup appends entries with one half of the clients and consumes them with the
	// other, by XREADGROUP and then XACK. It also measures the time from before an
	// entry's XADD to its arrival at a consumer. A consumer reads many streams with one
	// command, which a Redis Cluster refuses.
	ModeGroup Mode = "group"
	// ModeLatency appends entries with one client that sends one command at a time.
	ModeLatency Mode = "latency"
)

// Config describes one run. The comments give the default of each field, which replaces a
// zero value.
type Config struct {
	Mode     Mode     // default xadd
	Addrs    []string // host:port of the servers, which get the connections in turn
	Password string   // sent with AUTH unless empty

	// ClusterAware makes connections go to the leaders, as those of cluster clients do:
	// the run asks for CLUSTER SLOTS, and a connection uses only streams that its node
	// leads.
	ClusterAware bool

	Clients int // connections; default 50. Mode group needs two, a producer and a consumer
	Depth   int // commands in flight per connection; default 16
	Streams int // default 1
	Size    int // bytes of an entry's value; default 100

	// The run ends after Count commands (in mode group: entries) or after Duration,
	// whichever comes first. Duration is 10 s if both are zero.
	Count    int64
	Duration time.Duration

	ReadCount int // entries per stream and read command; default 10, in mode group 100
	Prepare   int // mode read: entries written to each stream first; default 1000
	MaxLen    int // XADD with MAXLEN ~ MaxLen; 0 means without
	// WaitReplicas, if above zero, ends each batch of modes xadd and latency with a WAIT
	// for this many replicas. Redis needs it to acknowledge more than one copy.
	WaitReplicas int

	// Name is part of the names of streams, bench-NAME-0 and so on, which contain no
	// hash tag. The default is random. The streams stay unless Remove is set.
	Name   string
	Remove bool

	// FsyncDir is a directory in which the run also measures fsyncs; see FsyncProbe.
	// Empty means none.
	FsyncDir string

	// ReplyTimeout bounds the wait for the replies to a batch, after which the connection
	// counts as lost; default 15 s. DialTimeout bounds the time to connect; default 5 s.
	ReplyTimeout time.Duration
	DialTimeout  time.Duration
}

// Bounds of a Config, so that a mistyped number does not use up the machine.
const (
	maxClients   = 20_000
	maxDepth     = 1 << 16
	maxStreams   = 1_000_000
	maxSize      = 16 << 20
	maxReadCount = 100_000
	maxReplicas  = 100
	// maxRingBytes bounds the requests that are built in advance for one node's
	// connections.
	maxRingBytes = 1 << 30
	// minGroupSize leaves room for the time at which an entry was sent.
	minGroupSize = stampBytes
)

// complete returns the Config with its defaults, or an error that names all bad fields.
func (c Config) complete() (Config, error) {
	c.setDefaults()
	return c, c.check()
}

func (c *Config) setDefaults() {
	or := func(n *int, def int) {
		if *n == 0 {
			*n = def
		}
	}
	if c.Mode == "" {
		c.Mode = ModeXAdd
	}
	or(&c.Clients, 50)
	or(&c.Depth, 16)
	or(&c.Streams, 1)
	or(&c.Size, 100)
	or(&c.ReadCount, map[Mode]int{ModeGroup: 100}[c.Mode])
	or(&c.ReadCount, 10)
	or(&c.Prepare, 1000)
	if c.Mode == ModeLatency {
		c.Clients, c.Depth = 1, 1
	}
	if c.Count == 0 && c.Duration == 0 {
		c.Duration = 10 * time.Second
	}
	if c.ReplyTimeout == 0 {
		c.ReplyTimeout = 15 * time.Second
	}
	if c.DialTimeout == 0 {
		c.DialTimeout = 5 * time.Second
	}
}

func (c *Config) check() error {
	within := func(field string, n, lo, hi int) error {
		if n < lo || n > hi {
			return fmt.Errorf("bench: %s is %d, must be %d to %d", field, n, lo, hi)
		}
		return nil
	}
	minClients, minSize := 1, 1
	var errs []error
	switch c.Mode {
	case ModeXAdd, ModeLatency:
	case ModeRead:
		if c.Prepare < c.ReadCount {
			errs = append(errs, fmt.Errorf("bench: streams of %d entries are too short for reads of %d", c.Prepare, c.ReadCount))
		}
	case ModeGroup:
		minClients, minSize = 2, minGroupSize
	default:
		errs = append(errs, fmt.Errorf("bench: mode %q is not xadd, read, group or latency", c.Mode))
	}
	if c.WaitReplicas > 0 && c.Mode != ModeXAdd && c.Mode != ModeLatency {
		errs = append(errs, fmt.Errorf("bench: mode %s does not wait for replicas", c.Mode))
	}
	if len(c.Addrs) == 0 {
		errs = append(errs, errors.New("bench: no address"))
	}
	if c.Count < 0 || c.Duration < 0 || c.ReplyTimeout < 0 || c.DialTimeout < 0 || c.MaxLen < 0 {
		errs = append(errs, errors.New("bench: counts and times must not be negative"))
	}
	errs = append(errs,
		within("clients", c.Clients, minClients, maxClients),
		within("depth", c.Depth, 1, maxDepth),
		within("streams", c.Streams, 1, maxStreams),
		within("size", c.Size, minSize, maxSize),
		within("replicas to wait for", c.WaitReplicas, 0, maxReplicas),
		within("read count", c.ReadCount, 1, maxReadCount),
		within("entries to prepare", c.Prepare, 1, 1<<30))
	return errors.Join(errs...)
}

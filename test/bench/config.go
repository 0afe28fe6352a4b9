package bench

import (
	"errors"
	"fmt"
	"time"
)

// Mode is what a run does.
type Mode string

const (
	// ModeXAdd appends entries, spread over all streams.
	ModeXAdd Mode = "xadd"
	// ModeRead prepares streams, and then reads ranges of them from random places, half
	// with XRANGE, half with XREAD.
	ModeRead Mode = "read"
	// ModeGroup appends entries with one half of the clients and consumes them with the
	// other: XREADGROUP, then XACK. It also measures how long an entry takes from
	// before its XADD to the hands of its consumer. A consumer reads many streams
	// with one command, which a Redis Cluster refuses.
	ModeGroup Mode = "group"
	// ModeLatency appends entries with one client that sends one command at a time.
	ModeLatency Mode = "latency"
)

// Config is one run. Zero fields have the default named beside them.
type Config struct {
	Mode     Mode     // xadd
	Addrs    []string // host:port of the servers; connections are dealt out over them
	Password string   // sent with AUTH when not empty

	// ClusterAware asks CLUSTER SLOTS and gives each connection streams that the node
	// it goes to leads, as cluster clients do.
	ClusterAware bool

	Clients int // connections; 50. In mode group, at least one each produces and consumes
	Depth   int // commands in flight per connection; 16
	Streams int // 1
	Size    int // bytes of an entry's value; 100

	// The run ends after Count commands (in mode group: entries) or after Duration,
	// whichever comes first. Duration is 10 s if both are zero.
	Count    int64
	Duration time.Duration

	ReadCount int // entries per stream and read command; 10, in mode group 100
	Prepare   int // mode read: entries written to each stream first; 1000
	MaxLen    int // XADD with MAXLEN ~ MaxLen; none
	// WaitReplicas ends each batch of modes xadd and latency with a WAIT for so many
	// replicas, which a Redis needs to answer for more than one copy. None.
	WaitReplicas int

	// Name is part of the names of streams, bench-NAME-0 and so on, which contain no
	// hash tag. Random. The streams stay unless Remove is set.
	Name   string
	Remove bool

	// FsyncDir is a directory whose disk is measured in the same run: see FsyncProbe.
	FsyncDir string

	// ReplyTimeout is how long the replies to a batch may take before the connection
	// counts as lost; 15 s. DialTimeout bounds connecting; 5 s.
	ReplyTimeout time.Duration
	DialTimeout  time.Duration
}

// What a run may ask for, so that a slip of the keyboard does not eat the machine.
const (
	maxClients   = 20_000
	maxDepth     = 1 << 16
	maxStreams   = 1_000_000
	maxSize      = 16 << 20
	maxReadCount = 100_000
	maxReplicas  = 100
	// maxRingBytes bounds the requests built beforehand for one node's connections.
	maxRingBytes = 1 << 30
	// minGroupSize leaves room for the time at which an entry was sent.
	minGroupSize = stampBytes
)

// complete returns the Config with its defaults filled in, or says what is wrong
// with it.
func (c Config) complete() (Config, error) {
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
	within := func(what string, n, lo, hi int) error {
		if n < lo || n > hi {
			return fmt.Errorf("bench: %s is %d, must be %d to %d", what, n, lo, hi)
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
	return c, errors.Join(errs...)
}

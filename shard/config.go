package shard

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft"

	"millrace/call"
	"millrace/kv"
	"millrace/raftlog"
	"millrace/resp"
)

// Machine is the replicated state machine of a shard. Apply, Flush, Reset, Touched
// and Committed are called by one goroutine at a time; Read, and the methods of
// Blocked and Timed, may run beside them and beside each other.
type Machine interface {
	// Apply runs one call's commands at nowMS, which never goes back, and returns one
	// reply for each. It must be deterministic. An error halts the shard: the disk
	// failed, or the command is unknown. The words stay valid, but belong to the log.
	Apply(b kv.Batch, nowMS int64, cmds [][][]byte) ([]resp.Value, error)
	// Flush writes what Apply kept in memory into b, once for each batch.
	Flush(b kv.Batch) error
	// Committed says that the batch has been committed.
	Committed()
	// Reset drops caches: the state below was replaced.
	Reset()
	// Touched returns the keys worth a look for blocked calls since it was last called,
	// or all: every key is. They are valid until the next Apply.
	Touched() (keys [][]byte, all bool)
	// Read runs one read-only command on a view.
	Read(v kv.Reader, nowMS int64, argv [][]byte) (resp.Value, error)
}

// Blocker is implemented by a Machine that has blocking commands.
type Blocker interface {
	// Block reads the words of a blocking command once, for a call that may wait.
	Block(argv [][]byte) Blocked
}

// Blocked is the command of one blocked call. Its methods change nothing; they may run
// beside each other and beside the applier.
type Blocked interface {
	// Keys returns the keys that the command waits on.
	Keys() [][]byte
	// Writes reports whether the command changes the state when it finds something, so
	// that it has to be proposed.
	Writes() bool
	// Ages reports whether time alone can make the command answer something. No record
	// touches its keys then.
	Ages() bool
	// Ready reports whether the command, run now, would answer data or an error.
	Ready(v kv.Reader, nowMS int64) (bool, error)
	// Arrival returns the command to propose when the first look finds nothing, or nil. It
	// leaves the traces that a call leaves even before it is served.
	Arrival(v kv.Reader, nowMS int64) ([][]byte, error)
	// Read runs a command that does not write, and that was found ready after it had
	// waited. An error that would have refused it at the start need not end it.
	Read(v kv.Reader, nowMS int64) (resp.Value, error)
}

// Timed is what a Machine also implements when its state changes by the passing of time
// alone. No replica acts on its own clock: what time does goes through the log.
type Timed interface {
	// Due returns the command that the leader is to propose at nowMS, or nil and when to
	// ask again if nothing is applied before; zero is never. Applied at nowMS or later,
	// the command must get on: until nothing is due any more, the next one follows it.
	// It answers how much it did.
	// Applied when nothing is due, it must change nothing.
	Due(v kv.Reader, nowMS int64) (argv [][]byte, againMS int64, err error)
}

// LogStore is a shard's part of package raftlog; *raftlog.Store is one.
type LogStore interface {
	raft.LogStore
	raft.StableStore
	Marker() (raftlog.Marker, bool, error)
	PutMarker(raftlog.Marker) error
	ResetLog() error
	Remove() error
}

// Prober asks other nodes about their replica of a shard. The answer must have been
// made after Probe was called: reads rest on it.
type Prober interface {
	Probe(ctx context.Context, node string, shard uint32) (call.Probe, error)
}

// Metrics hears of what takes time. Its methods are called on hot paths and must be
// quick and safe for concurrent use.
type Metrics interface {
	// Committed: a record of ours with so many calls and bytes was applied, took after
	// it was handed to Raft.
	Committed(calls, bytes int, took time.Duration)
	// Applied: so many records were applied and committed to the state in one batch.
	Applied(records int, took time.Duration)
	// ReadIndex: one poll of the voters took so long, for so many reads.
	ReadIndex(reads int, took time.Duration, ok bool)
}

// Config describes a replica. Fields without a word about a default are required.
type Config struct {
	ID     uint32
	NodeID string // this node: Raft's server ID and address
	// FirstSlot and LastSlot bound the run of slots: the shard's keys are those that
	// start with a big-endian u16 in [FirstSlot, LastSlot].
	FirstSlot, LastSlot uint16

	Machine Machine
	Log     LogStore
	// State holds the keys of all shards of the node. Its WAL must be on, and its
	// format version at least FormatFlushableIngestExcises.
	State *pebble.DB
	// StagingDir, on FS, is where this node's shards keep snapshots on their way out and
	// in; each uses a directory of its own below. It should be on State's file system.
	StagingDir string
	FS         vfs.FS
	// SnapshotSlots bounds how many snapshots are sent at once, by all shards that share
	// the channel: its capacity. Nil gives the shard one of its own, for SendsDefault.
	SnapshotSlots chan struct{}

	// Transport returns a new endpoint for each Raft instance. It must implement
	// raft.WithPreVote; with raft.WithClose it is closed when its instance ends. It
	// must answer an InstallSnapshot whose index is at most Shard.Applied and whose term
	// is current by itself, with success: Raft would go back in time.
	Transport func() raft.Transport
	Prober    Prober
	// Clock is the node's clock in ms since the Unix epoch.
	Clock func() int64

	// DigestEvery, if not zero, has a digest of the state taken at the records whose
	// index is a multiple of it, or of its doubles where that would take too much time.
	DigestEvery uint64

	// Founders, if not empty, are the voters that a shard without any state starts with.
	// A replica that is to join a running shard has none: the leader sends it everything.
	Founders []string

	Limits Limits // zero fields: defaults
	Timing Timing // zero fields: defaults

	// Scarce, if set, reports whether the disk is nearly full: then the log keeps no more
	// for other replicas than the bound for all. It must not block.
	Scarce func() bool

	// OnLeader, if set, hears of each new leader this replica learns of, itself
	// included; it must not block. nodeID is empty when the shard has no leader.
	OnLeader func(nodeID string, term uint64)
	// OnDue, if set, hears how much a command did that was due and that this replica
	// proposed. It must not block.
	OnDue func(n int64)
	// OnFatal, if set, hears of what this node cannot go on with: a failing or corrupt
	// disk. It is called at most once, and must not call the Shard.
	OnFatal func(error)
	Logger  *slog.Logger // nil: silence
	Metrics Metrics      // nil: none
}

// Limits bound queues, buffers and waits. Zero fields take the default.
type Limits struct {
	// RecordBytes closes a record. A call that is larger goes alone into its record.
	RecordBytes int // 128 KiB
	// MaxCallBytes bounds one call; above it the answer is call.ErrTooLarge.
	MaxCallBytes int // 4 MiB
	// InFlight bounds the records that were proposed and are not yet applied. A second
	// one is proposed only when it is full: calls that come while a record is under way
	// cost less in one record than in several.
	InFlight int // 4
	// QueueCalls and QueueBytes bound the writes that wait to be proposed, and
	// QueueReads the reads that wait for a read index or a reader. Above them the
	// answer is call.ErrOverloaded.
	QueueCalls int // 65,536
	QueueBytes int // 32 MiB
	QueueReads int // 65,536
	// Readers bounds the goroutines that run reads and look for blocked calls.
	Readers int // 4
	// Waiters bounds the blocked calls; above it the answer is call.ErrOverloaded.
	Waiters int // 65,536
	// AdminCalls bounds the Admin calls that wait; above it call.ErrOverloaded.
	AdminCalls int // 16
	// ApplyBytes closes a batch of the state.
	ApplyBytes int // 2 MiB
	// The log is truncated when it holds LogBytes or LogRecords, down to TrailingBytes
	// or TrailingRecords, whichever is less.
	LogBytes        int64  // 64 MiB
	LogRecords      uint64 // 65,536
	TrailingBytes   int64  // 16 MiB
	TrailingRecords uint64 // 16,384
	// HeldBytes and HeldRecords bound what a log keeps beyond that for replicas that
	// are catching up. One that falls behind further starts again from a snapshot.
	HeldBytes   int64  // 512 MiB
	HeldRecords uint64 // 524,288
	// CatchUpRecords is how far behind a replica may be to become a voter.
	CatchUpRecords uint64 // 1,024
	// TableBytes closes a file of an exported snapshot.
	TableBytes uint64 // 64 MiB
}

// SendsDefault is how many snapshots a shard sends at once when Config does not say.
const SendsDefault = 2

// Timing holds Raft's timers and the shard's own. Zero fields take the default.
type Timing struct {
	// Heartbeat is Raft's heartbeat, election and leader lease timeout: heartbeats go
	// through the follower's log queue, so a lease shorter than the election would only
	// make a leader give up for a slow disk.
	Heartbeat time.Duration // 1 s
	// CommitTimeout is how often an idle leader tells followers the commit index.
	CommitTimeout time.Duration // 1 s
	// Probe bounds one poll of the voters.
	Probe time.Duration // 1 s
	// LogStall is how long one write to the log may take before a leader gives up.
	LogStall time.Duration // 3 s
	// Watch is how often the supervisor looks for what is stuck.
	Watch time.Duration // 500 ms
	// Transfer bounds a leadership transfer, draining included.
	Transfer time.Duration // 5 s
	// Linger is the longest time that a record waits to become fuller, when many calls
	// are under way. See pace.
	Linger time.Duration // 4 ms
}

// maxAppendEntries is Raft's: records per append to a follower, and per group
// commit. The proposer's InFlight keeps groups below it; it counts when a follower
// catches up, and bounds the largest append to 64 × 128 KiB in the common case.
const maxAppendEntries = 64

// ErrConfig is returned by Open for a Config that cannot be used.
var ErrConfig = errors.New("shard: bad configuration")

func orInt[T int | int64 | uint64 | time.Duration](v *T, def T) {
	if *v <= 0 {
		*v = def
	}
}

// withDefaults fills zero fields.
func (l Limits) withDefaults() Limits {
	orInt(&l.RecordBytes, 128<<10)
	orInt(&l.MaxCallBytes, 4<<20)
	orInt(&l.InFlight, 4)
	orInt(&l.QueueCalls, 65536)
	orInt(&l.QueueBytes, 32<<20)
	orInt(&l.QueueReads, 65536)
	orInt(&l.Readers, 4)
	orInt(&l.Waiters, 65536)
	orInt(&l.AdminCalls, 16)
	orInt(&l.ApplyBytes, 2<<20)
	orInt(&l.LogBytes, 64<<20)
	orInt(&l.LogRecords, 65536)
	orInt(&l.TrailingBytes, 16<<20)
	orInt(&l.TrailingRecords, 16384)
	orInt(&l.HeldBytes, 512<<20)
	orInt(&l.HeldRecords, 524288)
	orInt(&l.CatchUpRecords, 1024)
	orInt(&l.TableBytes, 64<<20)
	return l
}

// withDefaults fills zero fields.
func (t Timing) withDefaults() Timing {
	orInt(&t.Heartbeat, time.Second)
	orInt(&t.CommitTimeout, time.Second)
	orInt(&t.Probe, time.Second)
	orInt(&t.LogStall, 3*time.Second)
	orInt(&t.Watch, 500*time.Millisecond)
	orInt(&t.Transfer, 5*time.Second)
	orInt(&t.Linger, 4*time.Millisecond)
	return t
}

// check returns c with defaults filled in, or what is wrong with it.
func (c Config) check() (Config, error) {
	c.Limits, c.Timing = c.Limits.withDefaults(), c.Timing.withDefaults()
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Scarce == nil {
		c.Scarce = func() bool { return false }
	}
	if c.SnapshotSlots == nil {
		c.SnapshotSlots = make(chan struct{}, SendsDefault)
	}
	bad := func(what string) (Config, error) { return c, fmt.Errorf("%w: shard %d: %s", ErrConfig, c.ID, what) }
	switch {
	case c.NodeID == "":
		return bad("no node ID")
	case c.LastSlot < c.FirstSlot || c.LastSlot == 0xFFFF:
		return bad(fmt.Sprintf("slots %d to %d", c.FirstSlot, c.LastSlot))
	case c.Machine == nil || c.Log == nil || c.State == nil:
		return bad("no machine, log or state")
	case c.Transport == nil || c.Prober == nil || c.Clock == nil:
		return bad("no transport, prober or clock")
	case c.StagingDir == "" || c.FS == nil:
		return bad("no staging directory")
	case c.State.FormatMajorVersion() < pebble.FormatFlushableIngestExcises:
		return bad(fmt.Sprintf("state format version %d", c.State.FormatMajorVersion()))
	}
	return c, nil
}

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

// Machine is the replicated state machine of a shard. Apply, Flush, Reset, Touched and
// Committed are called by one goroutine at a time. Read, and the methods of Blocked and
// Timed, may run beside them and beside each other.
type Machine interface {
	// Apply runs one call's commands at nowMS, which never goes back, and returns one
	// reply for each command, or the refusal of the whole call, which then has changed
	// nothing. It must be deterministic. An error halts the shard: the disk failed, or the
	// command is unknown. The words stay valid, but they belong to the log.
	Apply(b kv.Batch, nowMS int64, cmds [][][]byte) (replies []resp.Value, refusal *resp.Value, err error)
	// Flush writes into b the effects that Apply kept in memory. It is called once for
	// each batch.
	Flush(b kv.Batch) error
	// Committed tells the machine that the batch has been committed.
	Committed()
	// Reset drops caches, because the state below was replaced.
	Reset()
	// Touched returns the keys that are worth a look for blocked calls since it was last
	// called; all means that every key is. The keys are valid until the next Apply.
	Touched() (keys [][]byte, all bool)
	// Read runs one call's read-only commands on a view, and returns one reply for each, or
	// the refusal of the whole call.
	Read(v kv.Reader, nowMS int64, cmds [][][]byte) (replies []resp.Value, refusal *resp.Value, err error)
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
	// Arrival returns the command to propose when the first look finds nothing, or nil for
	// none. It is for the trace that a blocked call leaves even before it is served, such
	// as the name of a consumer that waits.
	Arrival(v kv.Reader, nowMS int64) ([][]byte, error)
	// Read runs a command that does not write, and that was found ready after it had
	// waited. An error that would have refused it at the start need not end it.
	Read(v kv.Reader, nowMS int64) (resp.Value, error)
}

// Metered is implemented by a Machine that counts the work of a call, so that a record
// cannot hold the shard for long.
type Metered interface {
	// Spent returns the units of work that the last call of Apply has taken. All replicas
	// must count alike.
	Spent() int
}

// Timed is implemented by a Machine whose state changes by the passing of time alone. No
// replica acts on its own clock: such changes go through the log.
type Timed interface {
	// Due returns the command that the leader is to propose at nowMS. If there is none it
	// returns nil, and the time at which to ask again if no record is applied before;
	// zero means never.
	//
	// The command, applied at nowMS or later, must make progress, because the next one
	// follows it until nothing is due any more. Its reply is an integer: how much it did.
	// Applied when nothing is due, it must change nothing.
	Due(v kv.Reader, nowMS int64) (argv [][]byte, againMS int64, err error)
}

// LogStore is one shard's part of package raftlog. *raftlog.Store implements it.
type LogStore interface {
	raft.LogStore
	raft.StableStore
	Marker() (raftlog.Marker, bool, error)
	PutMarker(raftlog.Marker) error
	ResetLog() error
	Remove() error
}

// Prober asks other nodes about their replica of a shard. The answer must have been made
// after Probe was called, because reads rest on it.
type Prober interface {
	Probe(ctx context.Context, node string, shard uint32) (call.Probe, error)
}

// Metrics hears of the steps that take time. Its methods are called on hot paths, so they
// must be quick and safe for concurrent use.
type Metrics interface {
	// Committed hears of a record of this replica's that was applied: its calls and
	// bytes, and the time since it was handed to Raft.
	Committed(calls, bytes int, took time.Duration)
	// Applied hears of a batch of records that was applied and committed to the state.
	Applied(records int, took time.Duration)
	// ReadIndex hears of one poll of the voters, on behalf of reads reads; ok is false
	// when no majority confirmed the term.
	ReadIndex(reads int, took time.Duration, ok bool)
}

// Config describes a replica. Every field is required unless its comment says otherwise.
type Config struct {
	ID     uint32
	NodeID string // this node's ID: Raft's server ID and address
	// FirstSlot and LastSlot bound the run of slots. The shard's keys are those that
	// start with a big-endian u16 in [FirstSlot, LastSlot].
	FirstSlot, LastSlot uint16

	Machine Machine
	Log     LogStore
	// State holds the keys of all shards of the node. Its WAL must be on, and its
	// format version at least FormatFlushableIngestExcises.
	State *pebble.DB
	// StagingDir, on FS, is where this node's shards keep snapshots on their way out and
	// in. Each shard uses a directory of its own below it. It should be on State's file
	// system, so that files can be linked.
	StagingDir string
	FS         vfs.FS
	// SnapshotSlots bounds how many snapshots are sent at once, by its capacity: all
	// shards that share the channel count together. If nil, the shard makes one for
	// itself, of SendsDefault.
	SnapshotSlots chan struct{}

	// Transport returns a new endpoint for each Raft instance. The endpoint must
	// implement raft.WithPreVote; if it implements raft.WithClose it is closed when its
	// instance ends. If an InstallSnapshot has an index of at most Shard.Applied and a
	// current term, the endpoint must answer it by itself, with success, because Raft
	// would go back in time.
	Transport func() raft.Transport
	Prober    Prober
	// Clock is the node's clock in ms since the Unix epoch.
	Clock func() int64

	// DigestEvery, if not zero, asks for digests of the state at the records whose index
	// is a multiple of it. Where that takes too much time, they are taken at multiples of
	// twice, four times … that number.
	DigestEvery uint64

	// Founders, if not empty, are the voters that a shard without any state starts with.
	// A replica that is to join a running shard has none, and the leader sends it
	// everything.
	Founders []string

	Limits Limits // zero fields: defaults
	Timing Timing // zero fields: defaults

	// Scarce, if set, reports whether the disk is nearly full. While it is, the log keeps
	// nothing beyond the general bounds for replicas that lag behind. It must not block.
	Scarce func() bool

	// OnLeader, if set, hears of each new leader that this replica learns of, itself
	// included. nodeID is empty when the shard has no leader. It must not block.
	OnLeader func(nodeID string, term uint64)
	// OnDue, if set, hears how much was done by each due command that this replica
	// proposed. It must not block.
	OnDue func(n int64)
	// OnFatal, if set, hears of a failure that this node cannot survive: a failing or
	// corrupt disk. It is called at most once, and must not call the Shard.
	OnFatal func(error)
	Logger  *slog.Logger // nil: silence
	Metrics Metrics      // nil: none
}

// Limits bound queues, buffers and waits. A zero field takes the default, which stands
// behind it.
type Limits struct {
	// RecordBytes closes a record. A larger call goes alone into its record.
	RecordBytes int // 128 KiB
	// MaxCallBytes bounds one call. A larger one is answered call.ErrTooLarge.
	MaxCallBytes int // 4 MiB
	// InFlight bounds the records that were proposed and are not applied yet. Beside one
	// record under way, another is proposed only when it is full, because calls that come
	// meanwhile cost less in one record than in several.
	InFlight int // 4
	// QueueCalls and QueueBytes bound the writes that wait to be proposed. QueueReads
	// bounds the reads that wait for a read index or a reader. Above them the answer is
	// call.ErrOverloaded.
	QueueCalls int // 65,536
	QueueBytes int // 32 MiB
	QueueReads int // 65,536
	// Readers bounds the goroutines that run reads and look at blocked calls.
	Readers int // 4
	// Waiters bounds the blocked calls. Above it the answer is call.ErrOverloaded.
	Waiters int // 65,536
	// AdminCalls bounds the Admin calls that wait. Above it the answer is
	// call.ErrOverloaded.
	AdminCalls int // 16
	// ApplyBytes closes a batch of the state.
	ApplyBytes int // 2 MiB
	// LogBytes and LogRecords bound the log: at either, it is truncated down to
	// TrailingBytes or TrailingRecords, whichever is less.
	LogBytes        int64  // 64 MiB
	LogRecords      uint64 // 65,536
	TrailingBytes   int64  // 16 MiB
	TrailingRecords uint64 // 16,384
	// HeldBytes and HeldRecords bound the log while replicas that are catching up need
	// more of it. A replica that falls behind further starts again from a snapshot.
	HeldBytes   int64  // 512 MiB
	HeldRecords uint64 // 524,288
	// CatchUpRecords is how many records a replica may be behind and still become a
	// voter.
	CatchUpRecords uint64 // 1,024
	// TableBytes closes a file of an exported snapshot.
	TableBytes uint64 // 64 MiB
}

// SendsDefault is how many snapshots a shard sends at once if Config.SnapshotSlots is
// nil.
const SendsDefault = 2

// Timing holds Raft's timers and the shard's own. A zero field takes the default, which
// stands behind it.
type Timing struct {
	// Heartbeat is Raft's heartbeat, election and leader lease timeout. The three are
	// equal because heartbeats go through the follower's log queue: with a shorter lease,
	// a follower's slow disk would make the leader give up before anybody could be
	// elected.
	Heartbeat time.Duration // 1 s
	// CommitTimeout is how often Raft tells followers the commit index on an idle shard. The
	// announcer has told it before, unless its message was lost.
	CommitTimeout time.Duration // 1 s
	// Probe bounds one poll of the voters.
	Probe time.Duration // 1 s
	// LogStall is how long one write to the log may take before a leader gives up.
	LogStall time.Duration // 3 s
	// Watch is how often the supervisor looks for conditions that do not mend themselves.
	Watch time.Duration // 500 ms
	// Transfer bounds a leadership transfer, draining included.
	Transfer time.Duration // 5 s
	// Linger is the longest time that a record waits to become fuller while many calls
	// are under way. See pace.
	Linger time.Duration // 4 ms
}

// maxAppendEntries is Raft's bound on the records of one append to a follower, and of one
// group commit. Group commits stay below it because of InFlight. It counts when a
// follower catches up: the largest append is then 64 × 128 KiB, unless single calls are
// larger.
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
	orInt(&l.MaxCallBytes, call.MaxBytes)
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

// check returns c with defaults filled in, or an error that names the first bad field.
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

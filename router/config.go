package router

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"time"

	"millrace/resp"
)

// Config configures a Router. All fields without a default must be set.
type Config struct {
	// NodeID is this node's ID: 40 lower-case hexadecimal digits.
	NodeID string
	// Listener accepts client connections. The Router closes it. The caller adds TLS.
	Listener net.Listener
	// Backend takes calls to nodes.
	Backend Backend
	// Topology returns the cluster map as it is now.
	Topology func() Topology
	// Leaders knows the leaders of the shards.
	Leaders Leaders
	// RequirePass is the password of the default user. If it is empty, there is none, and
	// only clients on the loopback interface are served.
	RequirePass string
	// Version is Millrace's own, shown in INFO; default "dev".
	Version string
	// Info returns the node's fields of a section of INFO ("memory", "keyspace" …). A field
	// replaces the router's own of the same name. Default: the node has none.
	Info func(section string) []InfoField
	// EnableFlush allows FLUSHALL and FLUSHDB.
	EnableFlush bool
	// Debug runs DEBUG, given the words after the first. It may take long, but must end
	// with ctx. If it is nil, DEBUG is refused.
	Debug func(ctx context.Context, argv [][]byte) resp.Value
	// Progress returns how far the replicas of a shard are, as its leader knows. Default:
	// WAIT answers 0.
	Progress func(ctx context.Context, shard uint32) (Progress, error)
	// Shutdown stops the node in order, and returns at once. If it is nil, SHUTDOWN is
	// refused.
	Shutdown func()
	// DataDir is shown in CONFIG GET dir.
	DataDir string
	// Limits bound the resources that clients can take; zero fields have the defaults.
	Limits Limits
	// Logger takes messages for operators, never payloads or passwords. Default:
	// slog.Default().
	Logger *slog.Logger
}

// Limits are the bounds of the router. Each field tells the effect of reaching it.
type Limits struct {
	// Connections is how many clients may be connected; more are answered "ERR max
	// number of clients reached" and closed. Default 10,000, or MaxConnections if that is less.
	Connections int
	// MaxConnections is the most that CONFIG SET maxclients accepts, because the process has
	// no descriptors for more. Default: 2^32-1.
	MaxConnections int
	// Unauthenticated is how many of them may not have authenticated yet, where a
	// password is set; more are refused likewise. Default 1,000.
	Unauthenticated int
	// AuthTimeout is how long a client may stay unauthenticated; then it is closed.
	// Default 5 s.
	AuthTimeout time.Duration
	// IdleTimeout is how long a client may send nothing while no command of it runs; then
	// it is closed. Zero, as in Redis: clients are never closed for this.
	IdleTimeout time.Duration
	// Patience is how long a command that was not done is tried again before its client
	// gets the error. Default 5 s.
	Patience time.Duration
	// Answer is how long a command that was sent may stay without an answer beyond
	// Patience; then its outcome is unknown. Default 10 s.
	Answer time.Duration
	// InFlight is how many commands of one connection may be unanswered; then nothing
	// more is read from it. Default 1,024.
	InFlight int
	// InFlightBytes is how many bytes of commands of one connection may be unanswered;
	// then nothing more is read from it. Default 16 MiB.
	InFlightBytes int
	// OutputSoftBytes is how many bytes of replies may wait for a client to read them;
	// then nothing more is read from it. Default 1 MiB.
	OutputSoftBytes int
	// OutputHardBytes is how many bytes of replies a client may make the router hold;
	// beyond, it is closed. Default 64 MiB.
	OutputHardBytes int
	// WriteStall is how long a client may take no byte of a reply; then it is closed.
	// Default 60 s.
	WriteStall time.Duration
	// Blocked is how many clients may be in a blocking call at once; more are answered
	// OVERLOADED. Default 10,000.
	Blocked int
	// MultiCommands is how many commands a MULTI may queue, and MultiBytes how many
	// bytes; more are refused, and EXEC with them. Defaults 10,000 and 1 MiB.
	MultiCommands int
	MultiBytes    int
	// Watched is how many keys a connection may watch at once; a WATCH of more is
	// refused. MultiBytes bounds their bytes. Default 1,000.
	Watched int
	// ReadAhead is how many reads of one connection may be at one shard at once. Each read
	// is linearizable, but if two overlap, the later one may see an older state than the
	// earlier one. Default 1: no reads overlap.
	ReadAhead int
	// FanOut is how many keys a command over several shards may name; more are refused.
	// Default 10,000.
	FanOut int
	// Keys is how many names a shard may have before it refuses KEYS. Default 100,000.
	Keys int
	// Input bounds the commands of an authenticated client, PreAuth those of the others.
	// Defaults resp.DefaultLimits and resp.PreAuthLimits.
	Input, PreAuth resp.Limits
}

// withDefaults fills in the fields that are zero.
func (l Limits) withDefaults() Limits {
	n := func(v *int, def int) {
		if *v == 0 {
			*v = def
		}
	}
	d := func(v *time.Duration, def time.Duration) {
		if *v == 0 {
			*v = def
		}
	}
	n(&l.MaxConnections, math.MaxUint32)
	n(&l.Connections, min(10_000, l.MaxConnections))
	n(&l.Unauthenticated, 1_000)
	d(&l.AuthTimeout, 5*time.Second)
	d(&l.Patience, 5*time.Second)
	d(&l.Answer, 10*time.Second)
	n(&l.InFlight, 1_024)
	n(&l.InFlightBytes, 16<<20)
	n(&l.OutputSoftBytes, 1<<20)
	n(&l.OutputHardBytes, 64<<20)
	d(&l.WriteStall, 60*time.Second)
	n(&l.Blocked, 10_000)
	n(&l.MultiCommands, 10_000)
	n(&l.MultiBytes, 1<<20)
	n(&l.Watched, 1_000)
	n(&l.ReadAhead, 1)
	n(&l.FanOut, 10_000)
	n(&l.Keys, 100_000)
	if l.Input == (resp.Limits{}) {
		l.Input = resp.DefaultLimits
	}
	if l.PreAuth == (resp.Limits{}) {
		l.PreAuth = resp.PreAuthLimits
	}
	return l
}

// ErrConfig is wrapped by the errors that New returns.
var ErrConfig = errors.New("router: bad configuration")

func (c Config) check() error {
	switch {
	case len(c.NodeID) != 40:
		return fmt.Errorf("%w: node ID %q is not 40 hexadecimal digits", ErrConfig, c.NodeID)
	case c.Listener == nil:
		return fmt.Errorf("%w: no listener", ErrConfig)
	case c.Backend == nil || c.Topology == nil || c.Leaders == nil:
		return fmt.Errorf("%w: no backend, map or leaders", ErrConfig)
	case c.Limits.OutputSoftBytes > c.Limits.OutputHardBytes:
		return fmt.Errorf("%w: the soft output limit %d is above the hard one %d", ErrConfig,
			c.Limits.OutputSoftBytes, c.Limits.OutputHardBytes)
	}
	return nil
}

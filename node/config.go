package node

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"

	"millrace/internal/version"
)

// Version is the version of this build.
var Version = version.Get().Version

// Bounds of a configuration.
const (
	// MinSecretBytes is how long a cluster secret must be.
	MinSecretBytes = 16
	// MinMemoryBytes is the least memory a node runs in.
	MinMemoryBytes = 64 << 20
	// MaxShards bounds the shards of a cluster: each costs its nodes a little when idle.
	MaxShards = 256
	// MaxReplicas bounds the replicas of a shard.
	MaxReplicas = 5
	// MinLogRecords is the least a shard's log holds before it is truncated: what is
	// under way has to fit.
	MinLogRecords = 64
	// maxHostBytes bounds a host name: what the DNS allows.
	maxHostBytes = 253
	// MaxBootstrapExpect bounds the nodes that start a cluster together.
	MaxBootstrapExpect = 64
)

// Config is everything a node is told. It is checked once, by Validate, and not
// changed after.
type Config struct {
	DataDir string

	ClientAddr string // Redis clients
	PeerAddr   string // the other nodes' Raft and forwarded commands
	GossipAddr string // TCP and UDP
	HTTPAddr   string // health, status, metrics; empty: none
	// Advertise is the host that others reach this node by; empty: the host of each address.
	Advertise string

	Join            []string // gossip addresses of nodes to join
	BootstrapExpect int      // how many empty nodes start a cluster together
	Shards          int      // of a new cluster
	Replicas        int      // of each shard of a new cluster

	// LogRecords is how many records a shard's log holds before it is truncated, to a
	// quarter. A replica that is further behind than the log reaches gets a snapshot.
	LogRecords int

	// MemoryBytes is the budget that caches, memtables and the Go heap share.
	MemoryBytes int64

	// BallastBytes is set aside on the disk, to be given free when it is full; zero: none.
	BallastBytes int64

	// Secret is what all nodes of a cluster know. Without it nothing but loopback is
	// listened on for peers and gossip.
	Secret      []byte
	RequirePass string

	// EnableShutdown lets clients stop this node with SHUTDOWN.
	EnableShutdown bool

	Pprof bool
	// EnableDebug has DEBUG served to clients, which can disturb the node with it.
	EnableDebug bool
	// EnableFlush has FLUSHALL and FLUSHDB served to clients, which remove all data of the
	// cluster.
	EnableFlush bool
	Logger      *slog.Logger
}

// DefaultConfig returns the defaults of the command line.
func DefaultConfig() Config {
	return Config{
		ClientAddr:      "127.0.0.1:6379",
		PeerAddr:        "127.0.0.1:7947",
		GossipAddr:      "127.0.0.1:7946",
		HTTPAddr:        "127.0.0.1:9646",
		BootstrapExpect: 1,
		Shards:          DefaultShards,
		Replicas:        3,
		LogRecords:      65536,
		MemoryBytes:     512 << 20,
		BallastBytes:    128 << 20,
	}
}

// DefaultShards is how many shards a new cluster has unless it is told. docs/decisions
// says how the number was measured.
const DefaultShards = 6

// ErrConfig is wrapped by every error of Validate.
var ErrConfig = errors.New("configuration")

// Validate checks c. Its errors name the setting.
func (c Config) Validate() error {
	bad := func(setting, format string, args ...any) error {
		return fmt.Errorf("%w: %s: %s", ErrConfig, setting, fmt.Sprintf(format, args...))
	}
	if c.DataDir == "" {
		return bad("data", "a directory is required")
	}
	for _, a := range []struct{ setting, addr string }{
		{"client-addr", c.ClientAddr}, {"peer-addr", c.PeerAddr}, {"gossip-addr", c.GossipAddr}, {"http-addr", c.HTTPAddr},
	} {
		if a.addr == "" && a.setting == "http-addr" {
			continue
		}
		if err := checkAddr(a.addr); err != nil {
			return bad(a.setting, "%v", err)
		}
	}
	for _, a := range c.Join {
		if err := checkAddr(a); err != nil {
			return bad("join", "%v", err)
		}
		if _, port, _ := net.SplitHostPort(a); port == "0" {
			return bad("join", "%q names no port", a)
		}
	}
	if err := checkHost(c.Advertise); err != nil {
		return bad("advertise", "%v", err)
	}
	if n := len(c.Secret); n > 0 && n < MinSecretBytes {
		return bad("cluster-secret-file", "a secret of %d bytes; at least %d are needed", n, MinSecretBytes)
	}
	for _, n := range []struct {
		setting       string
		value, lo, hi int
	}{
		{"shards", c.Shards, 1, MaxShards},
		{"replicas", c.Replicas, 1, MaxReplicas},
		{"bootstrap-expect", c.BootstrapExpect, 1, MaxBootstrapExpect},
	} {
		if n.value < n.lo || n.value > n.hi {
			return bad(n.setting, "%d is not between %d and %d", n.value, n.lo, n.hi)
		}
	}
	if c.LogRecords < MinLogRecords {
		return bad("log-records", "%d is below the least, %d", c.LogRecords, MinLogRecords)
	}
	if c.MemoryBytes < MinMemoryBytes {
		return bad("memory", "%d bytes is below the least, %d", c.MemoryBytes, int64(MinMemoryBytes))
	}
	if len(c.Secret) == 0 {
		for _, a := range []struct{ setting, addr string }{{"peer-addr", c.PeerAddr}, {"gossip-addr", c.GossipAddr}} {
			if !isLoopback(a.addr) {
				return bad(a.setting, "%s is not loopback: nodes that others can reach need a cluster-secret-file", a.addr)
			}
		}
	}
	return nil
}

func checkAddr(addr string) error {
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("%q is not HOST:PORT", addr)
	}
	if n, err := strconv.Atoi(port); err != nil || n < 0 || n > 65535 {
		return fmt.Errorf("%q has no port between 0 and 65535", addr)
	}
	return nil
}

// checkHost checks a host that others are told; an address with a port is none.
func checkHost(host string) error {
	if ip := net.ParseIP(host); ip != nil {
		if ip.IsUnspecified() {
			return fmt.Errorf("%q is no host that others could reach", host)
		}
		return nil
	}
	if len(host) > maxHostBytes {
		return fmt.Errorf("a host of %d bytes; at most %d may be", len(host), maxHostBytes)
	}
	for _, c := range []byte(host) {
		switch {
		case c >= '0' && c <= '9', c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c == '-', c == '.', c == '_':
		default:
			return fmt.Errorf("%q is not a host name or an IP address", host)
		}
	}
	return nil
}

// isLoopback reports whether addr can be reached from this machine only.
func isLoopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return false
	}
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

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

// Limits of a configuration.
const (
	// MinSecretBytes is the least length of a cluster secret.
	MinSecretBytes = 16
	// MinMemoryBytes is the least memory budget of a node.
	MinMemoryBytes = 64 << 20
	// MaxShards is the most shards of a cluster. Even an idle shard costs its nodes a little.
	MaxShards = 256
	// MaxReplicas is the most replicas of a shard.
	MaxReplicas = 5
	// MinLogRecords is the least value of LogRecords, because the log must hold all records
	// that are under way.
	MinLogRecords = 64
	// maxHostBytes is the most bytes of a host name in the DNS.
	maxHostBytes = 253
	// MaxBootstrapExpect is the most nodes that create a cluster together.
	MaxBootstrapExpect = 64
)

// Config is the configuration of a node. Open checks it with Validate; it must not be
// changed afterwards.
type Config struct {
	// DataDir is the data directory. It is created if it does not exist.
	DataDir string

	// The addresses to listen on, as HOST:PORT. With port 0 the system chooses a port.
	ClientAddr string // for Redis clients
	PeerAddr   string // for Raft messages and forwarded commands of other nodes
	GossipAddr string // both TCP and UDP
	HTTPAddr   string // for health, status and metrics; empty: no HTTP listener
	// Advertise is the host under which others reach this node. If it is empty, the host of
	// each address above is used.
	Advertise string

	Join            []string // gossip addresses of nodes to join
	BootstrapExpect int      // number of empty nodes that create a cluster together
	Shards          int      // number of shards of a new cluster
	Replicas        int      // number of replicas of each shard of a new cluster

	// LogRecords is the number of records at which a shard truncates its log to a quarter.
	// A replica that needs an older record receives a snapshot instead.
	LogRecords int

	// MemoryBytes is the budget that caches, memtables and the Go heap share.
	MemoryBytes int64

	// BallastBytes is the size of a file that only takes up room, so that an operator can
	// remove it when the disk is full. Zero: no such file.
	BallastBytes int64

	// Secret proves to the other nodes that this node may join them. Without it, peers and
	// gossip must use loopback addresses.
	Secret []byte
	// RequirePass is the password of the default user; empty: none is needed.
	RequirePass string

	// EnableShutdown lets clients stop this node with SHUTDOWN.
	EnableShutdown bool
	// EnableDebug lets clients use DEBUG, with which they can disturb this node.
	EnableDebug bool
	// EnableFlush lets clients remove all data of the cluster with FLUSHALL and FLUSHDB.
	EnableFlush bool
	// Pprof serves /debug/pprof/ on HTTPAddr.
	Pprof bool
	// Logger receives all log lines; nil: they are discarded.
	Logger *slog.Logger
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

// DefaultShards is the default number of shards of a new cluster. docs/decisions says how
// it was measured.
const DefaultShards = 6

// ErrConfig is wrapped by every error of Validate.
var ErrConfig = errors.New("configuration")

// Validate checks c. Its errors name the setting.
func (c Config) Validate() error {
	if c.DataDir == "" {
		return badSetting("data", "a directory is required")
	}
	if err := c.checkAddrs(); err != nil {
		return err
	}
	if err := c.checkNumbers(); err != nil {
		return err
	}
	switch n := len(c.Secret); {
	case n == 0:
		return c.checkLoopback()
	case n < MinSecretBytes:
		return badSetting("cluster-secret-file", "the secret has %d bytes; at least %d are needed", n, MinSecretBytes)
	}
	return nil
}

// badSetting returns an ErrConfig that names a setting.
func badSetting(setting, format string, args ...any) error {
	return fmt.Errorf("%w: %s: %s", ErrConfig, setting, fmt.Sprintf(format, args...))
}

// checkAddrs checks the form of all addresses.
func (c Config) checkAddrs() error {
	for _, a := range []struct{ setting, addr string }{
		{"client-addr", c.ClientAddr}, {"peer-addr", c.PeerAddr}, {"gossip-addr", c.GossipAddr}, {"http-addr", c.HTTPAddr},
	} {
		if a.addr == "" && a.setting == "http-addr" {
			continue
		}
		if err := checkAddr(a.addr); err != nil {
			return badSetting(a.setting, "%v", err)
		}
	}
	for _, a := range c.Join {
		if err := checkAddr(a); err != nil {
			return badSetting("join", "%v", err)
		}
		if _, port, _ := net.SplitHostPort(a); port == "0" {
			return badSetting("join", "%q names no port", a)
		}
	}
	if err := checkHost(c.Advertise); err != nil {
		return badSetting("advertise", "%v", err)
	}
	return nil
}

// checkNumbers checks all numbers against their limits.
func (c Config) checkNumbers() error {
	for _, n := range []struct {
		setting       string
		value, lo, hi int
	}{
		{"shards", c.Shards, 1, MaxShards},
		{"replicas", c.Replicas, 1, MaxReplicas},
		{"bootstrap-expect", c.BootstrapExpect, 1, MaxBootstrapExpect},
	} {
		if n.value < n.lo || n.value > n.hi {
			return badSetting(n.setting, "%d is not between %d and %d", n.value, n.lo, n.hi)
		}
	}
	if c.LogRecords < MinLogRecords {
		return badSetting("log-records", "%d is below the minimum, %d", c.LogRecords, MinLogRecords)
	}
	if c.MemoryBytes < MinMemoryBytes {
		return badSetting("memory", "%d bytes is below the minimum, %d", c.MemoryBytes, int64(MinMemoryBytes))
	}
	return nil
}

// checkLoopback checks that other machines cannot reach the addresses for nodes.
func (c Config) checkLoopback() error {
	for _, a := range []struct{ setting, addr string }{{"peer-addr", c.PeerAddr}, {"gossip-addr", c.GossipAddr}} {
		if !isLoopback(a.addr) {
			return badSetting(a.setting, "%s is not loopback: a node that others can reach needs a cluster-secret-file", a.addr)
		}
	}
	return nil
}

// checkAddr checks that addr is HOST:PORT. HOST may be empty.
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

// checkHost checks a host to advertise. It may be empty, but must not include a port.
func checkHost(host string) error {
	if ip := net.ParseIP(host); ip != nil {
		if ip.IsUnspecified() {
			return fmt.Errorf("%q is not a host that others can reach", host)
		}
		return nil
	}
	if len(host) > maxHostBytes {
		return fmt.Errorf("the host has %d bytes; at most %d are allowed", len(host), maxHostBytes)
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

// isLoopback reports whether only this machine can reach addr.
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

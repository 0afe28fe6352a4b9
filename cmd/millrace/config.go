package main

import (
	"fmt"
	"os"
	"sort"
	"strconv"
	"strings"

	"github.com/knadh/koanf/parsers/yaml"
	"github.com/knadh/koanf/providers/env/v2"
	"github.com/knadh/koanf/providers/file"
	"github.com/knadh/koanf/providers/posflag"
	"github.com/knadh/koanf/v2"
	"github.com/spf13/pflag"

	"millrace/node"
)

// serverFlags declares the flags of a server with their defaults. A setting has the
// same name as a flag, in the YAML file ("client-addr: …") and, in upper case with
// underscores, in the environment (MILLRACE_CLIENT_ADDR).
func serverFlags(fs *pflag.FlagSet) {
	d := node.DefaultConfig()
	fs.String("config", "", "YAML file of settings named like these flags")
	fs.String("data", "", "data directory (required)")
	fs.String("client-addr", d.ClientAddr, "address for Redis clients")
	fs.String("peer-addr", d.PeerAddr, "address for the other nodes: Raft and forwarded commands")
	fs.String("gossip-addr", d.GossipAddr, "address for gossip, TCP and UDP")
	fs.String("http-addr", d.HTTPAddr, "address for /livez, /readyz, /status and /metrics; empty for none")
	fs.String("advertise", "", "host that other nodes and clients reach this node by (default: the host of each address)")
	fs.StringSlice("join", nil, "gossip addresses of nodes to join, HOST:PORT,…")
	fs.Int("bootstrap-expect", d.BootstrapExpect, "how many empty nodes start a cluster together")
	fs.Int("shards", d.Shards, "how many shards a new cluster has")
	fs.Int("replicas", d.Replicas, "how many replicas of each shard a new cluster keeps")
	fs.String("memory", formatBytes(d.MemoryBytes), "memory budget of the process")
	fs.String("cluster-secret-file", "", "file whose content every node of the cluster must prove to know; without it nothing listens beyond loopback")
	fs.String("requirepass", "", "password that clients must give; without it only loopback clients are served")
	fs.Bool("pprof", false, "serve /debug/pprof on the HTTP address")
	fs.String("log-level", "info", "debug, info, warn or error")
	fs.String("log-format", "auto", "text, json, or auto: text on a terminal")
}

// serverSettings is what the flags, the environment and the file come to.
type serverSettings struct {
	node      node.Config
	logLevel  string
	logFormat string
}

// loadServerSettings merges flags over environment over file over defaults. A key
// that is no flag's name is an error, wherever it stands.
func loadServerSettings(fs *pflag.FlagSet) (serverSettings, error) {
	var s serverSettings
	k := koanf.New("\x00") // no nesting: setting names have no delimiter
	if path, _ := fs.GetString("config"); path != "" {
		if err := k.Load(file.Provider(path), yaml.Parser()); err != nil {
			return s, fmt.Errorf("config %s: %w", path, err)
		}
		if err := unknownKeys(fs, k, "config "+path); err != nil {
			return s, err
		}
	}
	envs := koanf.New("\x00")
	err := envs.Load(env.Provider("\x00", env.Opt{Prefix: "MILLRACE_", TransformFunc: func(key, value string) (string, any) {
		key = strings.ReplaceAll(strings.ToLower(strings.TrimPrefix(key, "MILLRACE_")), "_", "-")
		if key == "join" {
			return key, strings.Split(value, ",")
		}
		return key, value
	}}), nil)
	if err != nil {
		return s, err
	}
	if err := unknownKeys(fs, envs, "environment (MILLRACE_…)"); err != nil {
		return s, err
	}
	if err := k.Merge(envs); err != nil {
		return s, err
	}
	// posflag leaves alone what is already set, unless the flag was given.
	if err := k.Load(posflag.Provider(fs, "\x00", k), nil); err != nil {
		return s, err
	}

	c := node.DefaultConfig()
	c.DataDir = k.String("data")
	if c.DataDir == "" {
		return s, usageError("--data is required: the directory this node keeps its state in")
	}
	c.ClientAddr, c.PeerAddr = k.String("client-addr"), k.String("peer-addr")
	c.GossipAddr, c.HTTPAddr = k.String("gossip-addr"), k.String("http-addr")
	c.Advertise, c.Join = k.String("advertise"), k.Strings("join")
	c.RequirePass, c.Pprof = k.String("requirepass"), k.Bool("pprof")
	for _, n := range []struct {
		key string
		to  *int
	}{{"bootstrap-expect", &c.BootstrapExpect}, {"shards", &c.Shards}, {"replicas", &c.Replicas}} {
		if *n.to, err = strconv.Atoi(k.String(n.key)); err != nil {
			return s, usageError("%s: %q is not a number", n.key, k.String(n.key))
		}
	}
	if c.MemoryBytes, err = parseBytes(k.String("memory")); err != nil {
		return s, usageError("memory: %v", err)
	}
	if path := k.String("cluster-secret-file"); path != "" {
		b, err := os.ReadFile(path)
		if err != nil {
			return s, fmt.Errorf("cluster secret: %w", err)
		}
		c.Secret = []byte(strings.TrimSpace(string(b)))
		if len(c.Secret) < node.MinSecretBytes {
			return s, usageError("cluster secret in %s: %d bytes, at least %d are needed", path, len(c.Secret), node.MinSecretBytes)
		}
	}
	if err := c.Validate(); err != nil {
		return s, &codeError{exitUsage, err}
	}
	return serverSettings{node: c, logLevel: k.String("log-level"), logFormat: k.String("log-format")}, nil
}

func unknownKeys(fs *pflag.FlagSet, k *koanf.Koanf, where string) error {
	var bad []string
	for _, key := range k.Keys() {
		if fs.Lookup(key) == nil || key == "config" {
			bad = append(bad, key)
		}
	}
	if len(bad) == 0 {
		return nil
	}
	sort.Strings(bad)
	return usageError("%s: unknown settings: %s", where, strings.Join(bad, ", "))
}

var byteUnits = []struct {
	suffix string
	bytes  int64
}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"B", 1}}

// parseBytes reads a size such as "512MiB", or a plain number of bytes.
func parseBytes(s string) (int64, error) {
	num, unit := strings.TrimSpace(s), int64(1)
	for _, u := range byteUnits {
		if rest, ok := strings.CutSuffix(num, u.suffix); ok {
			num, unit = strings.TrimSpace(rest), u.bytes
			break
		}
	}
	n, err := strconv.ParseInt(num, 10, 64)
	if err != nil || n < 0 || n > (1<<62)/unit {
		return 0, fmt.Errorf("%q is not a size such as 512MiB", s)
	}
	return n * unit, nil
}

// formatBytes writes n in the greatest unit that divides it.
func formatBytes(n int64) string {
	for _, u := range byteUnits {
		if n >= u.bytes && n%u.bytes == 0 {
			return strconv.FormatInt(n/u.bytes, 10) + u.suffix
		}
	}
	return "0"
}

package main

import (
	"errors"
	"fmt"
	"os"
	"sort"
	"strconv"
	"strings"

	"github.com/knadh/koanf/parsers/yaml"
	"github.com/knadh/koanf/providers/env/v2"
	"github.com/knadh/koanf/providers/file"
	"github.com/knadh/koanf/v2"
	"github.com/spf13/pflag"

	"millrace/node"
)

// serverFlags declares the flags of a server with their defaults. A setting has the
// same name as a flag, in the YAML file ("client-addr: …") and, in upper case with
// underscores, in the environment (MILLRACE_CLIENT_ADDR).
func serverFlags(fs *pflag.FlagSet) {
	d := node.DefaultConfig()
	fs.String("config", "", "YAML file of settings named like these flags (or MILLRACE_CONFIG)")
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
	fs.String("ballast", formatBytes(d.BallastBytes), "disk space to set aside, at most a hundredth of the disk; DIR/ballast can be removed when the disk is full")
	fs.Int("log-records", d.LogRecords, "how many records a shard's log holds before it is truncated to a quarter; a replica further behind gets a snapshot")
	fs.String("cluster-secret-file", "", "file whose content every node of the cluster must prove to know; without it nothing listens beyond loopback")
	fs.String("requirepass", "", "password that clients must give; without it only loopback clients are served")
	fs.Bool("enable-shutdown", false, "let clients stop this node with SHUTDOWN")
	fs.Bool("pprof", false, "serve /debug/pprof on the HTTP address")
	fs.Bool("enable-debug", false, "serve DEBUG to clients, which can disturb the node with it: for tests")
	fs.Bool("enable-flush", false, "serve FLUSHALL and FLUSHDB to clients, which remove all data of the cluster")
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
	if err := mergeSettings(fs); err != nil {
		return serverSettings{}, err
	}
	str := func(key string) string { return fs.Lookup(key).Value.String() }
	num := func(key string) int { n, _ := fs.GetInt(key); return n } // fails only for what is no int flag
	c := node.DefaultConfig()
	c.DataDir = str("data")
	if c.DataDir == "" {
		return serverSettings{}, usageError("--data is required: the directory this node keeps its state in")
	}
	c.ClientAddr, c.PeerAddr, c.GossipAddr, c.HTTPAddr = str("client-addr"), str("peer-addr"), str("gossip-addr"), str("http-addr")
	c.Advertise, c.RequirePass = str("advertise"), str("requirepass")
	c.BootstrapExpect, c.Shards, c.Replicas = num("bootstrap-expect"), num("shards"), num("replicas")
	c.LogRecords = num("log-records")
	c.Join, _ = fs.GetStringSlice("join")
	c.EnableShutdown, _ = fs.GetBool("enable-shutdown")
	c.Pprof, _ = fs.GetBool("pprof")
	c.EnableDebug, _ = fs.GetBool("enable-debug")
	c.EnableFlush, _ = fs.GetBool("enable-flush")
	var err error
	if c.MemoryBytes, err = parseBytes(str("memory")); err != nil {
		return serverSettings{}, usageError("memory: %v", err)
	}
	if c.BallastBytes, err = parseBytes(str("ballast")); err != nil {
		return serverSettings{}, usageError("ballast: %v", err)
	}
	if path := str("cluster-secret-file"); path != "" {
		b, err := os.ReadFile(path)
		if err != nil {
			return serverSettings{}, usageError("cluster-secret-file: %v", err)
		}
		c.Secret = []byte(strings.TrimSpace(string(b)))
		if len(c.Secret) == 0 { // no secret at all must not pass for none wanted
			return serverSettings{}, usageError("cluster-secret-file: %s is empty", path)
		}
	}
	if err := c.Validate(); err != nil {
		return serverSettings{}, &codeError{exitUsage, err}
	}
	return serverSettings{node: c, logLevel: str("log-level"), logFormat: str("log-format")}, nil
}

// envPrefix begins the names of settings in the environment.
const envPrefix = "MILLRACE_"

// mergeSettings sets every flag that was not given to what the environment says of it,
// or else the file that --config or MILLRACE_CONFIG names.
func mergeSettings(fs *pflag.FlagSet) error {
	envs := koanf.New(noNesting)
	if err := envs.Load(env.Provider(noNesting, env.Opt{Prefix: envPrefix, TransformFunc: func(key, value string) (string, any) {
		return strings.ReplaceAll(strings.ToLower(strings.TrimPrefix(key, envPrefix)), "_", "-"), value
	}}), nil); err != nil {
		return err
	}
	if err := setFlags(fs, envs, "environment (MILLRACE_…)"); err != nil {
		return err
	}
	path := fs.Lookup("config").Value.String()
	if path == "" {
		return nil
	}
	k := koanf.New(noNesting)
	if err := k.Load(file.Provider(path), yaml.Parser()); err != nil {
		return usageError("config %s: %v", path, err)
	}
	if k.Exists("config") {
		return usageError("config %s: config: a file cannot name another", path)
	}
	return setFlags(fs, k, "config "+path)
}

// noNesting is koanf's delimiter: names of settings have no parts.
const noNesting = "\x00"

// setFlags sets the flags that were not set before to the values in k.
func setFlags(fs *pflag.FlagSet, k *koanf.Koanf, where string) error {
	var bad []string
	for _, key := range k.Keys() {
		f := fs.Lookup(key)
		if f == nil || f.Name == "help" {
			bad = append(bad, strings.ReplaceAll(key, noNesting, "."))
			continue
		}
		text, err := settingText(f, k.Get(key))
		if err != nil {
			return usageError("%s: %s: %v", where, key, err)
		}
		if f.Changed {
			continue
		}
		if err := fs.Set(key, text); err != nil {
			return usageError("%s: %v", where, err)
		}
	}
	if len(bad) == 0 {
		return nil
	}
	sort.Strings(bad)
	return usageError("%s: unknown settings: %s", where, strings.Join(bad, ", "))
}

// settingText returns a value as a flag takes it. YAML reads an unquoted 007 as the
// number 7, so a password may come out as another one: words must be words.
func settingText(f *pflag.Flag, v any) (string, error) {
	kind := f.Value.Type()
	switch v := v.(type) {
	case string:
		return v, nil
	case bool, int, int64, uint64:
		if kind == "string" && f.Name != "memory" && f.Name != "ballast" {
			return "", fmt.Errorf("%v is a %T here; put it in quotes", v, v)
		}
		return fmt.Sprint(v), nil
	case []any:
		if kind != "stringSlice" {
			return "", errors.New("a list is not expected here")
		}
		words := make([]string, len(v))
		for i, w := range v {
			word, ok := w.(string)
			if !ok {
				return "", fmt.Errorf("%v is a %T here; put it in quotes", w, w)
			}
			words[i] = word
		}
		return strings.Join(words, ","), nil
	case nil:
		return "", errors.New("it has no value")
	}
	return "", fmt.Errorf("%v is not expected here", v)
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

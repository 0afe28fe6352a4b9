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

// serverFlags declares the flags of a server with their defaults. Each flag is a setting
// with the same name in the YAML file (client-addr: …) and a related name in the
// environment (MILLRACE_CLIENT_ADDR).
func serverFlags(fs *pflag.FlagSet) {
	d := node.DefaultConfig()
	fs.String("config", "", "YAML `file` of settings, named like these flags; also MILLRACE_CONFIG")
	fs.String("data", "", "data `directory` of the node (required)")
	fs.String("client-addr", d.ClientAddr, "listen `address` for Redis clients")
	fs.String("peer-addr", d.PeerAddr, "listen `address` for other nodes: Raft and forwarded commands")
	fs.String("gossip-addr", d.GossipAddr, "listen `address` for gossip, TCP and UDP")
	fs.String("http-addr", d.HTTPAddr, "listen `address` for /livez, /readyz, /status and /metrics; empty turns HTTP off")
	fs.String("advertise", "", "`host` under which other nodes and clients reach this node (default: the host of each listen address)")
	fs.StringSlice("join", nil, "gossip addresses of nodes to join, as `HOST:PORT,...`")
	fs.Int("bootstrap-expect", d.BootstrapExpect, "`number` of empty nodes that create a cluster together; must be the same on all of them")
	fs.Int("shards", d.Shards, "`number` of shards of a new cluster")
	fs.Int("replicas", d.Replicas, "`number` of replicas of each shard of a new cluster")
	fs.String("memory", formatBytes(d.MemoryBytes), "memory budget of the process, a `size` such as 512MiB")
	fs.String("ballast", formatBytes(d.BallastBytes), "disk space to reserve as DIR/ballast, a `size` of at most 1 % of the disk; remove that file if the disk is full")
	fs.Int("log-records", d.LogRecords, "`number` of records a shard's log may hold before it is truncated to a quarter; a replica further behind receives a snapshot")
	fs.String("cluster-secret-file", "", "`file` with the secret that every node of the cluster must know; without it, nodes listen for each other on loopback only")
	fs.String("requirepass", "", "`password` that clients must send; without it, only clients on loopback are served")
	fs.Bool("enable-shutdown", false, "allow clients to stop this node with SHUTDOWN")
	fs.Bool("pprof", false, "serve /debug/pprof on the HTTP address")
	fs.Bool("enable-debug", false, "allow clients to use DEBUG, which can disturb the node; for tests")
	fs.Bool("enable-flush", false, "allow clients to use FLUSHALL and FLUSHDB, which remove all data of the cluster")
	fs.String("log-level", "info", "log `level`: debug, info, warn or error")
	fs.String("log-format", "auto", "log `format`: text, json, or auto, which is text on a terminal and JSON otherwise")
}

// serverSettings are the settings merged from flags, environment, file and defaults.
type serverSettings struct {
	node      node.Config
	logLevel  string
	logFormat string
}

// loadServerSettings returns the settings for the parsed flags fs. A flag goes before the
// environment, the environment before the file, and the file before the default. A name in
// the environment or the file that is not the name of a flag is an error.
func loadServerSettings(fs *pflag.FlagSet) (serverSettings, error) {
	if err := mergeSettings(fs); err != nil {
		return serverSettings{}, err
	}
	str := func(key string) string { return fs.Lookup(key).Value.String() }
	num := func(key string) int { n, _ := fs.GetInt(key); return n } // fails only if the flag is not an int
	c := node.DefaultConfig()
	c.DataDir = str("data")
	if c.DataDir == "" {
		return serverSettings{}, usageError("--data is required: it names the directory in which this node keeps its data")
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
		if len(c.Secret) == 0 { // an empty secret must not count as no secret
			return serverSettings{}, usageError("cluster-secret-file: %s is empty", path)
		}
	}
	if err := c.Validate(); err != nil {
		return serverSettings{}, &codeError{exitUsage, err}
	}
	return serverSettings{node: c, logLevel: str("log-level"), logFormat: str("log-format")}, nil
}

// envPrefix is the prefix of settings in the environment.
const envPrefix = "MILLRACE_"

// mergeSettings sets each flag that was not given on the command line to its value in the
// environment, or otherwise in the file that --config or MILLRACE_CONFIG names.
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
		return usageError("config %s: a file cannot name another file with config", path)
	}
	return setFlags(fs, k, "config "+path)
}

// noNesting is a delimiter for koanf that no name contains, because names have no parts.
const noNesting = "\x00"

// setFlags sets the flags that have not been set yet to the values in k. where names the
// source of k in errors.
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

// settingText returns the value v of a setting as text for flag f. It refuses a number or
// a boolean for a text setting, because YAML reads an unquoted 007 as the number 7: a
// password would silently become another one.
func settingText(f *pflag.Flag, v any) (string, error) {
	kind := f.Value.Type()
	switch v := v.(type) {
	case string:
		return v, nil
	case bool, int, int64, uint64:
		if kind == "string" && f.Name != "memory" && f.Name != "ballast" {
			return "", fmt.Errorf("%v is read as a %T; put it in quotes", v, v)
		}
		return fmt.Sprint(v), nil
	case []any:
		if kind != "stringSlice" {
			return "", errors.New("this setting cannot be a list")
		}
		words := make([]string, len(v))
		for i, w := range v {
			word, ok := w.(string)
			if !ok {
				return "", fmt.Errorf("%v is read as a %T; put it in quotes", w, w)
			}
			words[i] = word
		}
		return strings.Join(words, ","), nil
	case nil:
		return "", errors.New("the setting has no value")
	}
	return "", fmt.Errorf("%v is not a valid value", v)
}

var byteUnits = []struct {
	suffix string
	bytes  int64
}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"B", 1}}

// parseBytes parses a size: "512MiB", "2GiB", or a plain number of bytes.
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

// formatBytes formats n in the greatest unit that divides it: 536870912 as "512MiB".
func formatBytes(n int64) string {
	for _, u := range byteUnits {
		if n >= u.bytes && n%u.bytes == 0 {
			return strconv.FormatInt(n/u.bytes, 10) + u.suffix
		}
	}
	return "0"
}

package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"millrace/node"
)

// load loads the settings of a server from command-line arguments, environment variables
// and the content of a YAML file. An empty content means no file.
func load(t *testing.T, args []string, envs map[string]string, yaml string) (serverSettings, error) {
	t.Helper()
	for k, v := range envs {
		t.Setenv(k, v)
	}
	fs := pflag.NewFlagSet("server", pflag.ContinueOnError)
	serverFlags(fs)
	if yaml != "" {
		path := filepath.Join(t.TempDir(), "f.yaml")
		if err := os.WriteFile(path, []byte(yaml), 0o600); err != nil {
			t.Fatal(err)
		}
		args = append(args, "--config", path)
	}
	if err := fs.Parse(append([]string{"--data", "d"}, args...)); err != nil {
		t.Fatal(err)
	}
	return loadServerSettings(fs)
}

// TestPrecedence shows that a flag goes before the environment, the environment before the
// file, and the file before the defaults.
func TestPrecedence(t *testing.T) {
	def := node.DefaultConfig()
	for _, tc := range []struct {
		name                 string
		flag, env, yaml      string
		shards, replicas     int
		memory               int64
		pass, level, address string
	}{
		{"nothing", "", "", "", def.Shards, def.Replicas, def.MemoryBytes, "", "info", def.ClientAddr},
		{"file", "", "", "shards: 7\nreplicas: 5\nmemory: 268435456\nrequirepass: \"007\"\nlog-level: warn\nclient-addr: 127.0.0.1:1", 7, 5, 256 << 20, "007", "warn", "127.0.0.1:1"},
		{"environment over file", "", "8", "shards: 7\nreplicas: 5", 8, 5, def.MemoryBytes, "", "info", def.ClientAddr},
		{"flag over both", "9", "8", "shards: 7\nreplicas: 5", 9, 5, def.MemoryBytes, "", "info", def.ClientAddr},
		{"flag with the default value", "6", "8", "shards: 7", 6, def.Replicas, def.MemoryBytes, "", "info", def.ClientAddr},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var args []string
			envs := map[string]string{}
			if tc.flag != "" {
				args = []string{"--shards", tc.flag}
			}
			if tc.env != "" {
				envs["MILLRACE_SHARDS"] = tc.env
			}
			s, err := load(t, args, envs, tc.yaml)
			if err != nil {
				t.Fatal(err)
			}
			c := s.node
			if c.Shards != tc.shards || c.Replicas != tc.replicas || c.MemoryBytes != tc.memory || c.RequirePass != tc.pass || s.logLevel != tc.level || c.ClientAddr != tc.address {
				t.Errorf("%+v %s", c, s.logLevel)
			}
		})
	}
}

// TestJoinLists shows that every way to write a list gives the same value.
func TestJoinLists(t *testing.T) {
	want := "a:1 b:2"
	for name, tc := range map[string]struct {
		args []string
		envs map[string]string
		yaml string
	}{
		"flag":        {args: []string{"--join", "a:1,b:2"}},
		"two flags":   {args: []string{"--join", "a:1", "--join", "b:2"}},
		"environment": {envs: map[string]string{"MILLRACE_JOIN": "a:1,b:2"}},
		"YAML list":   {yaml: "join: [\"a:1\", \"b:2\"]"},
		"YAML text":   {yaml: "join: a:1,b:2"},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := load(t, tc.args, tc.envs, tc.yaml)
			if got := strings.Join(s.node.Join, " "); got != want || err != nil {
				t.Errorf("%q, %v", got, err)
			}
		})
	}
	if s, err := load(t, nil, map[string]string{"MILLRACE_JOIN": ""}, ""); len(s.node.Join) != 0 || err != nil {
		t.Errorf("an empty list: %q, %v", s.node.Join, err)
	}
}

// TestEnableFlush shows that commands which remove all data are off by default.
func TestEnableFlush(t *testing.T) {
	for name, tc := range map[string]struct {
		args []string
		envs map[string]string
		yaml string
		want bool
	}{
		"default":            {},
		"flag":               {args: []string{"--enable-flush"}, want: true},
		"environment":        {envs: map[string]string{"MILLRACE_ENABLE_FLUSH": "true"}, want: true},
		"file":               {yaml: "enable-flush: true", want: true},
		"flag over the file": {args: []string{"--enable-flush=false"}, yaml: "enable-flush: true"},
	} {
		t.Run(name, func(t *testing.T) {
			if s, err := load(t, tc.args, tc.envs, tc.yaml); err != nil || s.node.EnableFlush != tc.want {
				t.Errorf("%v, %v", s.node.EnableFlush, err)
			}
		})
	}
}

// TestConfigFromEnvironment shows that MILLRACE_CONFIG can name the file.
func TestConfigFromEnvironment(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f.yaml")
	if err := os.WriteFile(path, []byte("pprof: true\nhttp-addr: \"\""), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := load(t, nil, map[string]string{"MILLRACE_CONFIG": path, "MILLRACE_PPROF": "false"}, "")
	if err != nil || s.node.Pprof || s.node.HTTPAddr != "" {
		t.Errorf("%+v, %v", s.node, err)
	}
}

func TestUsageErrors(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("short\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, []byte(" \n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		args []string
		envs map[string]string
		yaml string
		want []string // in the error
	}{
		"unknown in the environment":   {envs: map[string]string{"MILLRACE_SHARD": "1"}, want: []string{"environment", "shard"}},
		"unknown in the file":          {yaml: "shards: 1\nshrads: 2\nreplics: 1", want: []string{"f.yaml", "replics, shrads"}},
		"nested in the file":           {yaml: "server:\n  shards: 1", want: []string{"server.shards"}},
		"help is not a setting":        {yaml: "help: true", want: []string{"help"}},
		"a file that names a file":     {yaml: "config: other.yaml", want: []string{"cannot name another"}},
		"invalid YAML":                 {yaml: "shards: [", want: []string{"f.yaml"}},
		"no such file":                 {args: []string{"--config", "/nowhere/f.yaml"}, want: []string{"/nowhere/f.yaml"}},
		"an invalid number":            {envs: map[string]string{"MILLRACE_SHARDS": "six"}, want: []string{"shards", "six"}},
		"a fraction":                   {yaml: "replicas: 2.5", want: []string{"replicas"}},
		"a list of numbers":            {yaml: "join: [1]", want: []string{"join", "quotes"}},
		"a list for a text":            {yaml: "client-addr: [a]", want: []string{"client-addr", "list"}},
		"a password that is a number":  {yaml: "requirepass: 007", want: []string{"requirepass", "quotes"}},
		"a password that is a boolean": {yaml: "requirepass: true", want: []string{"requirepass", "quotes"}},
		"no value":                     {yaml: "memory:", want: []string{"memory", "no value"}},
		"an invalid boolean":           {envs: map[string]string{"MILLRACE_PPROF": "maybe"}, want: []string{"pprof", "maybe"}},
		"an invalid size":              {args: []string{"--memory", "lots"}, want: []string{"memory", "lots"}},
		"a size too small":             {args: []string{"--memory", "1MiB"}, want: []string{"memory", "below"}},
		"an invalid address":           {args: []string{"--client-addr", "here"}, want: []string{"client-addr", "here"}},
		"too many replicas":            {args: []string{"--replicas", "9"}, want: []string{"replicas"}},
		"no secret file":               {args: []string{"--cluster-secret-file", "/nowhere"}, want: []string{"cluster-secret-file", "/nowhere"}},
		"an empty secret":              {args: []string{"--cluster-secret-file", empty}, want: []string{"cluster-secret-file", "empty"}},
		"a short secret":               {args: []string{"--cluster-secret-file", secret}, want: []string{"cluster-secret-file", "5 bytes"}},
		"beyond loopback":              {args: []string{"--peer-addr", ":7947"}, want: []string{"peer-addr", "loopback"}},
		"no directory":                 {args: []string{"--data", ""}, want: []string{"--data"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := load(t, tc.args, tc.envs, tc.yaml)
			var ce *codeError
			if !errors.As(err, &ce) || ce.code != exitUsage {
				t.Fatalf("%v: not a usage error", err)
			}
			for _, w := range tc.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("%q is not in %q", w, err)
				}
			}
		})
	}
}

func TestParseBytes(t *testing.T) {
	for _, tc := range []struct {
		text string
		want int64 // negative if the text is refused
	}{
		{"0", 0}, {"1", 1}, {"7B", 7}, {"2KiB", 2 << 10}, {"512MiB", 512 << 20}, {" 3 GiB ", 3 << 30},
		{"", -1}, {"-1", -1}, {"1.5GiB", -1}, {"1GB", -1}, {"MiB", -1}, {"1mib", -1},
		{"9223372036854775807", -1}, {"9999999999GiB", -1}, {"0x10", -1},
	} {
		got, err := parseBytes(tc.text)
		if tc.want < 0 && err == nil || tc.want >= 0 && (got != tc.want || err != nil) {
			t.Errorf("%q: %d, %v; want %d", tc.text, got, err, tc.want)
		}
		if err == nil {
			if back, err := parseBytes(formatBytes(got)); back != got || err != nil {
				t.Errorf("%q is formatted as %s, which parses to another size", tc.text, formatBytes(got))
			}
		}
	}
}

package cluster

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
)

// freshArgs returns the arguments of a server that listens on ports chosen by the system.
func freshArgs(dir string, more ...string) []string {
	return append([]string{"server", "--data", dir, "--client-addr", "127.0.0.1:0", "--peer-addr", "127.0.0.1:0",
		"--gossip-addr", "127.0.0.1:0", "--http-addr", "127.0.0.1:0", "--shards", "1", "--log-level", "error"}, more...)
}

// tree returns all files below dir with their content, to show that nothing has changed.
func tree(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
		if err != nil {
			return err
		}
		fmt.Fprintln(&b, strings.TrimPrefix(path, dir), info.Mode(), info.IsDir())
		if info.Mode().IsRegular() {
			content, err := os.ReadFile(path)
			fmt.Fprintf(&b, "%x\n", content)
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// noDatabases fails the test if a node has created its databases in dir.
func noDatabases(t *testing.T, dir string) {
	t.Helper()
	for _, name := range []string{"raftlog", "state"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
			t.Errorf("%s was created", name)
		}
	}
}

// refused runs a server that must end by itself with the exit code, and with each of texts in
// the last line of its output.
func refused(t *testing.T, code int, args []string, texts ...string) {
	t.Helper()
	got, out := Exec(t, args...)
	lines := strings.Split(strings.TrimSpace(out), "\n")
	last := lines[len(lines)-1]
	if got != code {
		t.Errorf("exit code %d, want %d: %s", got, code, out)
	}
	for _, text := range texts {
		if !strings.Contains(last, text) {
			t.Errorf("%q is not in %q", text, last)
		}
	}
}

// TestRefusesPlace starts servers on addresses and directories that they cannot use. Each
// names the wrong setting, changes nothing, and does not disturb the node in its place.
func TestRefusesPlace(t *testing.T) {
	t.Parallel()
	c := Start(t, Options{Nodes: 1, Shards: 1})
	there := c.Nodes[0]
	for _, tc := range []struct{ setting, addr string }{
		{"client-addr", there.Addr.Client}, {"peer-addr", there.Addr.Peer},
		{"gossip-addr", there.Addr.Gossip}, {"http-addr", there.Addr.HTTP},
	} {
		t.Run(tc.setting+" in use", func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "data")
			refused(t, 1, freshArgs(dir, "--"+tc.setting, tc.addr), tc.setting+":", tc.addr, "address already in use")
			noDatabases(t, dir)
		})
	}
	t.Run("directory in use", func(t *testing.T) {
		refused(t, 1, freshArgs(there.Dir), there.Dir, "in use by another process")
	})
	t.Run("dump of a running node", func(t *testing.T) {
		refused(t, 1, []string{"dump", "--data", there.Dir}, "in use by another process")
	})
	t.Run("foreign directory", func(t *testing.T) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "photo.jpg"), []byte("dear"), 0o600); err != nil {
			t.Fatal(err)
		}
		before := tree(t, dir)
		refused(t, 1, freshArgs(dir), dir, "photo.jpg", "not Millrace's")
		if after := tree(t, dir); after != before {
			t.Errorf("changed from\n%s to\n%s", before, after)
		}
	})
	t.Run("no directory", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		refused(t, 1, freshArgs(filepath.Join(file, "data")), "data directory", "not a directory")
	})
	t.Run("read-only directory", func(t *testing.T) {
		dir := t.TempDir()
		readOnly(t, dir)
		refused(t, 1, freshArgs(dir), "data directory", "read-only file system")
	})
	t.Run("beyond loopback without a secret", func(t *testing.T) {
		for _, setting := range []string{"peer-addr", "gossip-addr"} {
			dir := filepath.Join(t.TempDir(), "data")
			refused(t, 2, freshArgs(dir, "--"+setting, "0.0.0.0:0"), setting, "not loopback", "cluster-secret-file")
			if _, err := os.Stat(dir); err == nil {
				t.Error("the directory was created")
			}
		}
	})
	if _, err := c.Status(there); err != nil {
		t.Errorf("the node in this place: %v", err)
	}
}

// stoppedNode returns the directory of a node that took writes, was restarted, took more
// writes, and was stopped in order. It has both tables and logs.
func stoppedNode(t *testing.T) string {
	t.Helper()
	c := Start(t, Options{Nodes: 1, Shards: 1})
	n := c.Nodes[0]
	for round := range 2 {
		cl := client(n.Addr.Client)
		for i := range 200 {
			if err := cl.XAdd(context.Background(), &redis.XAddArgs{Stream: "s", Values: []string{"p", fmt.Sprint(round, i, strings.Repeat("x", 100))}}).Err(); err != nil {
				t.Fatal(err)
			}
		}
		cl.Close()
		if code := c.Terminate(n); code != 0 {
			t.Fatalf("exit code %d\n%s", code, c.LogTail(n, 20))
		}
		if round == 0 {
			c.Restart(n)
			c.WaitHealthy()
		}
	}
	return n.Dir
}

// flip damages the middle of the newest matching file that is not nearly empty.
func flip(t *testing.T, pattern string) {
	t.Helper()
	paths, err := filepath.Glob(pattern)
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range slices.Backward(paths) {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if len(b) < 64 {
			continue
		}
		for j := len(b) / 3; j < len(b)/3+16; j++ {
			b[j] ^= 0x5a
		}
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	t.Fatalf("nothing to damage: %s", pattern)
}

const someID = "0123456789abcdef0123456789abcdef01234567"

func writeFile(dir, name, content string) error {
	return os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600)
}

// damages are changes to a node's directory after which the server must refuse it.
var damages = []struct {
	name  string
	spoil func(t *testing.T, dir string) error
	code  int
	texts []string
	keeps bool // the refusal must not change a single byte
}{
	{"newer layout", func(t *testing.T, dir string) error {
		return writeFile(dir, "node.json", `{"format":2,"node_id":"`+someID+`"}`)
	}, 1, []string{"node.json", "format 2", "newer"}, true},
	{"newer Pebble", func(t *testing.T, dir string) error {
		markers, _ := filepath.Glob(filepath.Join(dir, "raftlog", "marker.format-version.*"))
		if len(markers) != 1 {
			return fmt.Errorf("markers: %v", markers)
		}
		return os.Rename(markers[0], filepath.Join(dir, "raftlog", "marker.format-version.000099.099"))
	}, 1, []string{"raftlog", "newer version"}, true},
	{"identity damaged", func(t *testing.T, dir string) error { return writeFile(dir, "node.json", "{") }, 12, []string{"node.json", "does not say whose"}, true},
	{"identity empty", func(t *testing.T, dir string) error { return writeFile(dir, "node.json", "") }, 12, []string{"node.json"}, true},
	{"node ID missing", func(t *testing.T, dir string) error { return writeFile(dir, "node.json", `{"format":1}`) }, 12, []string{"node_id"}, true},
	{"identity gone", func(t *testing.T, dir string) error { return os.Remove(filepath.Join(dir, "node.json")) }, 12, []string{"raftlog", "no node.json"}, true},
	{"databases gone", func(t *testing.T, dir string) error {
		for _, name := range []string{"raftlog", "state"} {
			if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
				return err
			}
		}
		return nil
	}, 12, []string{"databases are gone"}, false},
	{"log gone", func(t *testing.T, dir string) error { return os.RemoveAll(filepath.Join(dir, "raftlog")) }, 12, nil, false},
	{"log's WAL damaged", func(t *testing.T, dir string) error {
		flip(t, filepath.Join(dir, "raftlog", "*.log"))
		return nil
	}, 12, []string{"corruption"}, false},
	{"log's table damaged", func(t *testing.T, dir string) error {
		flip(t, filepath.Join(dir, "raftlog", "*.sst"))
		return nil
	}, 12, nil, false},
	{"state's manifest damaged", func(t *testing.T, dir string) error {
		flip(t, filepath.Join(dir, "state", "MANIFEST-*"))
		return nil
	}, 12, []string{"corruption"}, false},
}

// TestRefusesDirectory starts servers on damaged directories. Each ends with an exit code and
// a message that name the kind of damage. If the identity or a format is at fault, the server
// does not change a single byte.
func TestRefusesDirectory(t *testing.T) {
	skipIfShort(t)
	t.Parallel()
	intact := stoppedNode(t)
	for _, tc := range damages {
		t.Run(tc.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "data")
			if err := os.CopyFS(dir, os.DirFS(intact)); err != nil {
				t.Fatal(err)
			}
			if err := tc.spoil(t, dir); err != nil {
				t.Fatal(err)
			}
			before := ""
			if tc.keeps {
				before = tree(t, dir)
			}
			refused(t, tc.code, freshArgs(dir), tc.texts...)
			if tc.keeps && tree(t, dir) != before {
				t.Error("the directory was changed")
			}
		})
	}
	t.Run("state's WAL damaged", func(t *testing.T) {
		// This WAL is never synced, so its end may be lost at any time; the log still has all
		// records.
		dir := filepath.Join(t.TempDir(), "data")
		if err := os.CopyFS(dir, os.DirFS(intact)); err != nil {
			t.Fatal(err)
		}
		flip(t, filepath.Join(dir, "state", "*.log"))
		c := StartOn(t, dir)
		cl := client(c.Nodes[0].Addr.Client)
		defer cl.Close()
		if n, err := cl.XLen(context.Background(), "s").Result(); n != 400 || err != nil {
			t.Errorf("%d entries, want 400: %v", n, err)
		}
	})
	code, out := Exec(t, "dump", "--data", intact, "--part", "state")
	if code != 0 || !strings.Contains(out, "node_id") || strings.Count(out, "\n") < 100 {
		t.Errorf("dump of the intact directory: code %d\n%.500s", code, out)
	}
}

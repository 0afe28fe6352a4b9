package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"millrace/node"
)

// execute runs a command as main does, and returns its exit code and output.
func execute(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = run(context.Background(), args, &out, &errs)
	return code, out.String(), errs.String()
}

// freeAddr returns an address on which no process listens.
func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func TestExitCodes(t *testing.T) {
	dir := t.TempDir()
	damaged := t.TempDir()
	if err := os.WriteFile(filepath.Join(damaged, "node.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	foreign := t.TempDir()
	if err := os.WriteFile(filepath.Join(foreign, "letter"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		args []string
		code int
		want string // part of the output to stderr
	}{
		{[]string{"--version"}, 0, ""},
		{[]string{}, 0, ""},
		{[]string{"serve"}, 2, `"serve"`},
		{[]string{"server"}, 2, "--data"},
		{[]string{"server", dir}, 2, "takes no"},
		{[]string{"server", "--speed", "9"}, 2, "--speed"},
		{[]string{"server", "--shards", "x"}, 2, "shards"},
		{[]string{"server", "--data", dir, "--log-level", "loud"}, 2, "log-level"},
		{[]string{"server", "--data", dir, "--log-format", "xml"}, 2, "log-format"},
		{[]string{"server", "--data", damaged}, 12, "node.json"},
		{[]string{"server", "--data", foreign}, 1, "letter"},
		{[]string{"status", "--addr", "nowhere"}, 2, "HOST:PORT"},
		{[]string{"status", "-o", "xml"}, 2, "xml"},
		{[]string{"status", "--addr", freeAddr(t)}, 10, "refused"},
		{[]string{"status", "--ready", "--addr", freeAddr(t)}, 10, "refused"},
		{[]string{"status", "--wait", "--timeout", "300ms", "--addr", freeAddr(t)}, 10, "refused"},
		{[]string{"dump"}, 2, "--data"},
		{[]string{"dump", "--data", dir, "--part", "half"}, 2, "half"},
		{[]string{"dump", "--data", filepath.Join(dir, "none")}, 1, "node.json"},
		{[]string{"bench", "--addr", freeAddr(t), "--count", "1"}, 1, "refused"},
		{[]string{"bench", "--mode", "fast"}, 1, "fast"},
		{[]string{"bench", "-o", "xml"}, 2, "xml"},
		{[]string{"dev", "-n", "0"}, 2, "-n"},
		{[]string{"dev", "-n", "10"}, 2, "-n"},
	} {
		code, _, stderr := execute(t, tc.args...)
		if code != tc.code || !strings.Contains(stderr, tc.want) {
			t.Errorf("%v: code %d, %q; want %d and %q", tc.args, code, stderr, tc.code, tc.want)
		}
	}
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("a refused command left %v", left)
	}
}

// statusServer starts an HTTP server that answers with the results of status, and returns
// its address.
func statusServer(t *testing.T, status func() (int, node.Status)) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		code, st := status()
		w.WriteHeader(code)
		json.NewEncoder(w).Encode(st)
	}))
	t.Cleanup(s.Close)
	return strings.TrimPrefix(s.URL, "http://")
}

func TestStatus(t *testing.T) {
	id := strings.Repeat("ab", 20)
	well := node.Status{
		NodeID: id, ClusterID: id, Healthy: true,
		Nodes: []node.NodeStatus{{ID: id, ClientAddr: "127.0.0.1:1", Alive: true, Leads: 1}},
		Shards: []node.ShardStatus{
			{ID: 0, Leader: id},
			{ID: 1, LastSlot: 16383, Leader: id, Term: 2, Commit: 9, Replicas: []node.ReplicaStatus{{Node: id, Voter: true, Reached: true, Lag: 3}, {Node: "c"}}},
		},
	}
	ill := well
	ill.Healthy, ill.Problems = false, []string{"shard 1: no leader answers"}

	code, out, _ := execute(t, "status", "--addr", statusServer(t, func() (int, node.Status) { return 200, well }))
	for _, want := range []string{", healthy", "abababab", "0-16383", "abababab(3) c(?)*"} {
		if code != 0 || !strings.Contains(out, want) {
			t.Errorf("code %d, %q not in\n%s", code, want, out)
		}
	}
	code, out, _ = execute(t, "status", "--addr", statusServer(t, func() (int, node.Status) { return 200, ill }))
	if code != 10 || !strings.Contains(out, "NOT healthy") || !strings.Contains(out, "no leader answers") {
		t.Errorf("code %d\n%s", code, out)
	}
	code, out, _ = execute(t, "status", "-o", "json", "--addr", statusServer(t, func() (int, node.Status) { return 200, ill }))
	var got node.Status
	if err := json.Unmarshal([]byte(out), &got); code != 10 || err != nil || got.Problems[0] != ill.Problems[0] {
		t.Errorf("code %d, %v\n%s", code, err, out)
	}
	if code, _, stderr := execute(t, "status", "--addr", statusServer(t, func() (int, node.Status) { return 503, ill })); code != 10 || !strings.Contains(stderr, "503") {
		t.Errorf("code %d, %s", code, stderr)
	}

	// --wait asks again until the cluster is healthy.
	var asked atomic.Int32
	addr := statusServer(t, func() (int, node.Status) {
		switch asked.Add(1) {
		case 1:
			return 503, ill
		case 2:
			return 200, ill
		}
		return 200, well
	})
	if code, _, stderr := execute(t, "status", "--wait", "--addr", addr); code != 0 || asked.Load() != 3 {
		t.Errorf("code %d after %d requests: %s", code, asked.Load(), stderr)
	}
	if code, out, _ := execute(t, "status", "--wait", "--timeout", "400ms", "--addr", statusServer(t, func() (int, node.Status) { return 200, ill })); code != 10 || !strings.Contains(out, "NOT healthy") {
		t.Errorf("code %d\n%s", code, out)
	}
}

// TestBenchNothing shows that a benchmark fails if no command succeeded.
func TestBenchNothing(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() { // ends with the listener
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			go func() { // ends when the client hangs up
				defer nc.Close()
				buf := make([]byte, 4096)
				for {
					n, err := nc.Read(buf)
					if err != nil {
						return
					}
					// Each command is one array, so counting the asterisks counts the commands.
					fmt.Fprint(nc, strings.Repeat("-ERR not today\r\n", bytes.Count(buf[:n], []byte("*"))))
				}
			}()
		}
	}()
	code, _, stderr := execute(t, "bench", "--addr", l.Addr().String(), "--count", "20", "--clients", "1", "--depth", "2", "--streams", "1", "--duration", "2s")
	if code != 1 || !strings.Contains(stderr, "not today") {
		t.Errorf("code %d: %s", code, stderr)
	}
}

// TestDump shows that the directory of a stopped node can be printed, in part and in full.
func TestDump(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	cfg := node.DefaultConfig()
	cfg.DataDir, cfg.MemoryBytes, cfg.Shards = dir, node.MinMemoryBytes, 1
	cfg.ClientAddr, cfg.PeerAddr, cfg.GossipAddr, cfg.HTTPAddr = "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0", ""
	n, err := node.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if code, _, stderr := execute(t, "dump", "--data", dir); code != 1 || !strings.Contains(stderr, "in use") {
		t.Errorf("while it runs: code %d, %s", code, stderr)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- n.Run(ctx) }()
	for ; n.Ready() != nil; time.Sleep(5 * time.Millisecond) {
		select {
		case err := <-done:
			t.Fatal(err)
		default:
		}
	}
	stop()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	for part, want := range map[string][]string{
		"all": {"node_id", "# raftlog", "# state", "map "}, "log": {"# raftlog", "FOUND"}, "state": {"# state", "map "},
	} {
		code, out, stderr := execute(t, "dump", "--data", dir, "--part", part)
		for _, w := range want {
			if code != 0 || !strings.Contains(out, w) {
				t.Errorf("%s: code %d, %q not in %s%s", part, code, w, out, stderr)
			}
		}
		if part == "log" && strings.Contains(out, "# state") || part == "state" && strings.Contains(out, "# raftlog") {
			t.Errorf("%s prints more:\n%s", part, out)
		}
	}
	if code, out, _ := execute(t, "dump", "--data", dir, "--limit", "1"); code != 0 || !strings.Contains(out, "and more") {
		t.Errorf("code %d\n%s", code, out)
	}
	if err := os.RemoveAll(filepath.Join(dir, "state")); err != nil {
		t.Fatal(err)
	}
	if code, _, stderr := execute(t, "dump", "--data", dir); code != 1 || !strings.Contains(stderr, "no database") {
		t.Errorf("without the state: code %d, %s", code, stderr)
	}
}

package cluster

import (
	"net"
	"net/http"
	"os/exec"
	"testing"
	"time"
)

// TestDescriptors opens far more connections to every port of a node than the process may
// have files open. The node keeps serving the clients it has, answers health checks, and
// serves new clients once the others have gone.
func TestDescriptors(t *testing.T) {
	t.Parallel()
	c := Start(t, Options{Nodes: 1, Shards: 1, Hosts: func(int) Host {
		return Host{Start: func(cmd *exec.Cmd) error {
			cmd.Args = append([]string{"sh", "-c", `ulimit -n 200; exec "$@"`, "sh", cmd.Path}, cmd.Args[1:]...)
			cmd.Path = "/bin/sh"
			return cmd.Start()
		}}
	}})
	at := c.Nodes[0].Addr
	early := client(at.Client)
	defer early.Close()
	add := func() error { return early.Do(t.Context(), "XADD", "s", "*", "f", "v").Err() }
	if err := add(); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time, the first connections have timed out or gone
		var idle []net.Conn
		for _, addr := range []string{at.Client, at.Peer, at.Gossip, at.HTTP} {
			for range 300 {
				nc, err := net.DialTimeout("tcp", addr, 10*time.Second)
				if err != nil {
					t.Fatalf("connect to %s: %v", addr, err)
				}
				idle = append(idle, nc)
			}
		}
		if got := ask(t, at.Client, "PING\r\n"); got != "-ERR max number of clients reached" {
			t.Errorf("one client too many got %q", got)
		}
		r, err := http.Get("http://" + at.HTTP + "/livez")
		if err != nil {
			t.Fatalf("health check: %v", err)
		}
		r.Body.Close()
		for range 20 {
			if err := add(); err != nil {
				t.Errorf("a client that was there before: %v", err)
			}
		}
		for _, nc := range idle {
			nc.Close()
		}
		for deadline := time.Now().Add(HealthyTimeout); ask(t, at.Client, "PING\r\n") != "+PONG"; time.Sleep(poll) {
			if time.Now().After(deadline) {
				t.Fatal("new clients are refused although the others have gone")
			}
		}
	}
}

package clients

import (
	"flag"
	"os"
	"os/exec"
	"testing"

	"millrace/test/cluster"
)

var installed = flag.Bool("installed", false,
	"run also the clients that are not Go; needs redis-tools, python3-redis, php-cli, php-redis, libhiredis-dev, gcc and coreutils")

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(cluster.RunMain(m))
}

// needs ends a test that is about a program outside of Go, unless it was asked for; then
// the program must be there.
func needs(t *testing.T, program string) string {
	t.Helper()
	if !*installed {
		t.Skip("only with -installed: make clients")
	}
	path, err := exec.LookPath(program)
	if err != nil {
		t.Fatalf("%s is not installed, so nothing is known of it: %v", program, err)
	}
	return path
}

// victim starts three nodes, and returns their addresses and a function that kills the
// first.
func victim(t *testing.T) (addrs []string, kill func()) {
	t.Helper()
	c := cluster.Start(t, cluster.Options{})
	return c.Addrs(), func() { c.Kill(c.Nodes[0]) }
}

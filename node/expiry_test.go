package node

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestExpiry shows that a name is removed soon after its deadline, and that INFO counts it
// until then.
func TestExpiry(t *testing.T) {
	c := testConfig(filepath.Join(t.TempDir(), "data"))
	c.EnableDebug = true
	n := runNode(t, c)
	defer n.end(t)
	cl := dial(t, n.addrs.Client)
	ask := func(line string) string {
		t.Helper()
		cl.send(line)
		return cl.line()
	}
	info := func(section string) (fields string) {
		t.Helper()
		for _, f := range n.info(section) {
			fields += f.Name + ":" + f.Value + " "
		}
		return strings.TrimSpace(fields)
	}
	keyspace := func() string { return info("keyspace") }
	const hour = 3_600_000
	for line, want := range map[string]string{
		fmt.Sprint("SET k v PX ", hour): "+OK", "XADD s 1-1 f v": "$3", "SET stays v": "+OK",
	} {
		if got := ask(line); got != want {
			t.Fatalf("%s: %s", line, got)
		}
		if want == "$3" {
			cl.line()
		}
	}
	if got := ask(fmt.Sprint("PEXPIRE s ", hour)); got != ":1" {
		t.Fatal(got)
	}
	if got := keyspace(); got != "db0:keys=3,expires=2,avg_ttl=0" {
		t.Errorf("INFO keyspace: %s", got)
	}
	debugDo(n.Node, fmt.Sprint("clock-offset ", hour))
	for deadline := time.Now().Add(startTimeout); ask("DBSIZE") != ":1"; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the expired names are not removed: %s", keyspace())
		}
	}
	if got := keyspace(); got != "db0:keys=1,expires=0,avg_ttl=0" {
		t.Errorf("INFO keyspace: %s", got)
	}
	for line, want := range map[string]string{"EXISTS k": ":0", "XLEN s": ":0", "EXISTS stays": ":1"} {
		if got := ask(line); got != want {
			t.Errorf("%s: %s", line, got)
		}
	}
	const stats = "expired_keys:2 expired_stale_perc:0.00 keyspace_hits:1 keyspace_misses:2"
	// The leader counts the expired names a moment after it has removed them.
	for deadline := time.Now().Add(startTimeout); info("stats") != stats; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("INFO stats: %s", info("stats"))
		}
	}
}

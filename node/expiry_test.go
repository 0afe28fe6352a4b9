package node

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A name with a time to live goes by itself when its time has come, and INFO counts it
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
	keyspace := func() (fields string) {
		t.Helper()
		for _, f := range n.info("keyspace") {
			fields += f.Name + ":" + f.Value + " "
		}
		return strings.TrimSpace(fields)
	}
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
			t.Fatalf("they do not go: %s", keyspace())
		}
	}
	if got := keyspace(); got != "db0:keys=1,expires=0,avg_ttl=0" {
		t.Errorf("INFO keyspace: %s", got)
	}
}

package cluster

import (
	"bufio"
	"encoding/json"
	"os"
	"strings"
	"testing"
)

// TestHealthyStartIsQuiet shows that three nodes that start, found a cluster, serve a client and
// stop in order log no warning, and that no line has a key twice.
func TestHealthyStartIsQuiet(t *testing.T) {
	t.Parallel()
	c := Start(t, Options{Shards: 4, Args: []string{"--log-format", "json"}})
	cl := client(c.Nodes[0].Addr.Client)
	defer cl.Close()
	if err := cl.Do(t.Context(), "XADD", "s", "*", "f", "v").Err(); err != nil {
		t.Fatal(err)
	}
	c.WaitHealthy()
	lines := 0
	for _, n := range c.Nodes {
		f, err := os.Open(n.Dir + ".log")
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		for s := bufio.NewScanner(f); s.Scan(); lines++ {
			line := s.Text()
			for _, level := range []string{"WARN", "ERROR"} {
				if strings.Contains(line, `"level":"`+level+`"`) {
					t.Errorf("node %d: %s", n.Index+1, line)
				}
			}
			if key := doubleKey(t, line); key != "" {
				t.Errorf("node %d: %q is there twice: %s", n.Index+1, key, line)
			}
		}
	}
	if lines < 10 {
		t.Errorf("only %d lines were logged", lines)
	}
}

// doubleKey returns a key that an object has twice at its top level, or "".
func doubleKey(t *testing.T, object string) string {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(object))
	seen := make(map[string]bool)
	if _, err := d.Token(); err != nil { // {
		t.Fatalf("%v: %s", err, object)
	}
	for d.More() {
		key, err := d.Token()
		if err != nil {
			t.Fatalf("%v: %s", err, object)
		}
		name, _ := key.(string)
		if seen[name] {
			return name
		}
		seen[name] = true
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			t.Fatalf("%v: %s", err, object)
		}
	}
	return ""
}

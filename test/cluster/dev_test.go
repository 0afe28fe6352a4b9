package cluster

import (
	"bufio"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"millrace/node"
)

// TestDevSurvives kills a node of `millrace dev`. The cluster goes on, the node starts again,
// its log is kept, and a second dev cannot take the directory.
func TestDevSurvives(t *testing.T) {
	t.Parallel()
	bin, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	dev := exec.Command(bin, "dev", "--port", "0", "-n", "2", "--shards", "1", "--dir", dir)
	out, err := dev.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	dev.Stderr = os.Stderr
	if err := dev.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = dev.Process.Kill(); _ = dev.Wait() }()
	lines := make(chan string, 100)
	go func() { // ends with the output
		defer close(lines)
		for s := bufio.NewScanner(out); s.Scan(); {
			lines <- s.Text()
		}
	}()
	await := func(what string) {
		t.Helper()
		for timeout := time.After(HealthyTimeout); ; {
			select {
			case line, ok := <-lines:
				if !ok {
					t.Fatalf("the output ended before %q", what)
				}
				if strings.Contains(line, what) {
					return
				}
			case <-timeout:
				t.Fatalf("no line with %q", what)
			}
		}
	}
	await("ready: 2 nodes")
	await("connect   redis-cli -p ")
	await("look      millrace status --addr 127.0.0.1:")
	if second, err := exec.Command(bin, "dev", "--port", "0", "--dir", dir).CombinedOutput(); err == nil || !strings.Contains(string(second), "is in use by another millrace dev") {
		t.Errorf("a second dev in the directory: %v, %s", err, second)
	}
	b, err := os.ReadFile(filepath.Join(dir, "node2", node.AddressesFile))
	var a node.Addresses
	if err == nil {
		err = json.Unmarshal(b, &a)
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(a.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	await("node 2 has ended (signal: killed)")
	await("node 2 was started again")
	log, err := os.ReadFile(filepath.Join(dir, "node2.log"))
	if err != nil || !strings.Contains(string(log), "millrace is up") {
		t.Errorf("the log of the node that was killed: %v, %s", err, log)
	}
	if err := dev.Process.Signal(syscall.SIGHUP); err != nil { // as if its terminal were closed
		t.Fatal(err)
	}
	for range lines { // until it has ended
	}
	if err := dev.Wait(); err != nil {
		t.Errorf("dev ended with %v", err)
	}
}

package diff

import (
	"bufio"
	"fmt"
	"net"
	"os/exec"
	"strings"
	"testing"
	"time"

	"millrace/resp"
)

// version is a version of Redis: 700 is 7.0.
type version int

const (
	v50 version = 500
	v70 version = 700
	v72 version = 702
	v74 version = 704
	v82 version = 802
	v84 version = 804
	v86 version = 806
)

// patience is the limit of every wait. Only a test that fails waits that long.
const patience = 30 * time.Second

// startRedis starts the redis-server at path on a free port, with more as its further
// arguments. It writes nothing to disk, and ends with the test.
func startRedis(t testing.TB, path string, more ...string) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	l.Close()
	args := []string{"--port", fmt.Sprint(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", t.TempDir()}
	cmd := exec.Command(path, append(args, more...)...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	addr = fmt.Sprintf("127.0.0.1:%d", port)
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		nc, err := net.Dial("tcp", addr)
		if err == nil {
			nc.Close()
			return addr
		}
		if time.Now().After(deadline) {
			t.Fatalf("redis-server does not answer: %v", err)
		}
	}
}

// client is a connection to a server. Its failures end the test.
type client struct {
	t  testing.TB
	nc net.Conn
	in *resp.ValueReader
}

func dial(t testing.TB, addr string) *client {
	t.Helper()
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	return &client{t: t, nc: nc, in: resp.NewValueReader(bufio.NewReaderSize(nc, 64<<10), 256<<20)}
}

// send sends commands in one write.
func (c *client) send(cmds ...[]string) {
	var b []byte
	for _, words := range cmds {
		argv := make([][]byte, len(words))
		for i, w := range words {
			argv[i] = []byte(w)
		}
		b = resp.AppendCommand(b, argv...)
	}
	c.nc.SetDeadline(time.Now().Add(patience))
	if _, err := c.nc.Write(b); err != nil {
		c.t.Fatalf("send: %v", err)
	}
}

// recv reads n replies.
func (c *client) recv(n int) []resp.Value {
	out := make([]resp.Value, n)
	for i := range out {
		c.nc.SetDeadline(time.Now().Add(patience))
		v, err := c.in.ReadValue()
		if err != nil {
			c.t.Fatalf("reply %d of %d: %v", i+1, n, err)
		}
		out[i] = v
	}
	return out
}

func (c *client) do(words ...string) resp.Value {
	c.send(words)
	return c.recv(1)[0]
}

// versionOf asks a Redis for its version.
func versionOf(t testing.TB, c *client) version {
	t.Helper()
	for line := range strings.Lines(string(c.do("INFO", "server").Str)) {
		var major, minor int
		if n, _ := fmt.Sscanf(line, "redis_version:%d.%d", &major, &minor); n == 2 {
			return version(100*major + minor)
		}
	}
	t.Fatal("INFO names no version")
	return 0
}

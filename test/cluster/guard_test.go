package cluster

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// outside returns an address of this machine that is not loopback. To the server, a client
// that connects through it comes from that address.
func outside(t *testing.T) string {
	t.Helper()
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok && n.IP.IsGlobalUnicast() && n.IP.To4() != nil {
			return n.IP.String()
		}
	}
	t.Skip("this machine has only loopback addresses")
	return ""
}

// ask sends the bytes of words and returns the first line of the reply.
func ask(t *testing.T, addr, words string) string {
	t.Helper()
	nc, err := net.DialTimeout("tcp", addr, 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	nc.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := nc.Write([]byte(words)); err != nil {
		return err.Error()
	}
	line, err := bufio.NewReader(nc).ReadString('\n')
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(line)
}

// TestPasswordAndLoopback shows that a server without a password serves clients on loopback
// only. A server with a password serves clients from any address that send it.
func TestPasswordAndLoopback(t *testing.T) {
	t.Parallel()
	host := outside(t)
	open := Start(t, Options{Nodes: 1, Shards: 1, Args: []string{"--client-addr", "0.0.0.0:0", "--advertise", "127.0.0.1"}})
	local := open.Nodes[0].Addr.Client
	_, port, err := net.SplitHostPort(local)
	if err != nil {
		t.Fatal(err)
	}
	if got := ask(t, net.JoinHostPort(host, port), "PING\r\n"); !strings.HasPrefix(got, "-DENIED ") {
		t.Errorf("from outside without a password: %s", got)
	}
	if got := ask(t, local, "PING\r\n"); got != "+PONG" {
		t.Errorf("from loopback without a password: %s", got)
	}

	closed := Start(t, Options{Nodes: 1, Shards: 1, Args: []string{"--client-addr", "0.0.0.0:0", "--advertise", "127.0.0.1", "--requirepass", "s3cret"}})
	_, port, _ = net.SplitHostPort(closed.Nodes[0].Addr.Client)
	for _, from := range []string{host, "127.0.0.1"} {
		addr := net.JoinHostPort(from, port)
		for words, want := range map[string]string{
			"PING\r\n":                       "-NOAUTH ",
			"XADD s * a b\r\n":               "-NOAUTH ",
			"AUTH wrong\r\n":                 "-WRONGPASS ",
			"AUTH s3cret\r\n":                "+OK",
			"HELLO 3 AUTH default no\r\n":    "-WRONGPASS ",
			"*2\r\n$4\r\nPING\r\n$99999\r\n": "-ERR Protocol error",
		} {
			if got := ask(t, addr, words); !strings.HasPrefix(got, want) {
				t.Errorf("%q from %s: %s, want %s", words, from, got, want)
			}
		}
	}
	cl := redis.NewClient(&redis.Options{Addr: net.JoinHostPort(host, port), Password: "s3cret", MaxRetries: -1})
	defer cl.Close()
	if err := cl.XAdd(context.Background(), &redis.XAddArgs{Stream: "s", Values: []string{"a", "b"}}).Err(); err != nil {
		t.Error(err)
	}
	if log := closed.LogTail(closed.Nodes[0], 1<<20); strings.Contains(log, "s3cret") {
		t.Error("the log contains the password")
	}
}

// hostileWords are inputs that no proper client sends.
var hostileWords = []string{
	"*1000000000\r\n",
	"*2\r\n$536870912\r\n",
	"*1\r\n$-5\r\n",
	"*-1\r\n*0\r\n\r\n\r\n",
	"*3\r\n$4\r\nXADD\r\n",
	"$5\r\nhello\r\n",
	"*1\r\n*1\r\n*1\r\n",
	"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
	"POST / HTTP/1.1\r\nHost: x\r\n\r\n",
	"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
	strings.Repeat("A", 1<<20),
	strings.Repeat("*1\r\n$4\r\nPING\r\n", 20000),
	"*3\r\n$4\r\nXADD\r\n$1\r\nh\r\n$1\r\n*\r\n",
	"*5\r\n$4\r\nXADD\r\n$70000\r\n" + strings.Repeat("k", 70000) + "\r\n$1\r\n*\r\n$1\r\na\r\n$1\r\nb\r\n",
	"\x00\x00\x00\x00\r\n\r\n",
	"XREAD COUNT 18446744073709551616 STREAMS s 0\r\nXRANGE s - + COUNT -9\r\n",
	"'unbalanced\r\n",
}

// TestHostileClients sends hostile bytes on many connections. Each is answered or closed,
// other clients are served as usual, and the server's memory does not grow.
func TestHostileClients(t *testing.T) {
	t.Parallel()
	c := Start(t, Options{Nodes: 1, Shards: 2})
	n := c.Nodes[0]
	before := residentBytes(t, n.PID())
	l := startLoad("calm", 4, n.Addr.Client, n.Addr.Client)
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := range 3 * len(hostileWords) {
				hostile(n.Addr.Client, hostileWords[(i+w)%len(hostileWords)])
			}
		})
	}
	// Some connections send half a command and then nothing more.
	var idle []net.Conn
	for range 100 {
		if nc, err := net.Dial("tcp", n.Addr.Client); err == nil {
			fmt.Fprint(nc, "*1\r\n$4\r\nPI")
			idle = append(idle, nc)
		}
	}
	wg.Wait()
	for _, err := range l.errors() {
		t.Errorf("a calm client got an error: %v", err)
	}
	if slowest := l.slowestWrite(); slowest > 3*time.Second {
		t.Errorf("a calm client waited for %v", slowest)
	}
	grown := residentBytes(t, n.PID()) - before
	t.Logf("%d MiB of growth", grown>>20)
	if grown > 256<<20 && len(raceFlags) == 0 {
		t.Errorf("the server has grown by %d MiB", grown>>20)
	}
	for _, nc := range idle {
		nc.Close()
	}
	l.end(t, c)
}

// hostile sends words and reads until the server closes the connection or is silent.
func hostile(addr, words string) {
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		return
	}
	defer nc.Close()
	nc.SetDeadline(time.Now().Add(200 * time.Millisecond))
	go nc.Write([]byte(words)) // ends at the deadline
	buf := make([]byte, 64<<10)
	for {
		if _, err := nc.Read(buf); err != nil {
			return
		}
	}
}

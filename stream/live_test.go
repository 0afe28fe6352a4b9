package stream_test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"millrace/resp"
)

// liveRedis is a Redis to compare with.
type liveRedis struct {
	t    failer
	conn net.Conn
	in   *resp.ValueReader
}

// newLiveRedis connects to the Redis at REDIS_ADDR, or starts the redis-server in PATH. It
// skips the test when there is neither. It deletes everything in that Redis.
func newLiveRedis(t *testing.T) *liveRedis {
	t.Helper()
	addr := os.Getenv("REDIS_ADDR")
	if addr == "" {
		addr = startRedis(t)
	}
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	r := &liveRedis{t: t, conn: conn, in: resp.NewValueReader(conn, 0)}
	r.do(argvOf("FLUSHALL"))
	return r
}

// startRedis starts a redis-server that writes no files on a free port. It stops when the
// test ends.
func startRedis(t *testing.T) (addr string) {
	path, err := exec.LookPath("redis-server")
	if errors.Is(err, exec.ErrNotFound) {
		t.Skip("REDIS_ADDR is not set, and there is no redis-server to compare with")
	}
	if err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(t.TempDir(), "redis.sock")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	l.Close()
	cmd := exec.Command(path, "--port", fmt.Sprint(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", filepath.Dir(socket))
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	addr = fmt.Sprintf("127.0.0.1:%d", port)
	for deadline := time.Now().Add(10 * time.Second); ; {
		conn, err := net.Dial("tcp", addr)
		if err == nil {
			conn.Close()
			return addr
		}
		if time.Now().After(deadline) {
			t.Fatalf("redis-server does not answer: %v", err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// do sends one command and returns its reply.
func (r *liveRedis) do(argv [][]byte) resp.Value {
	r.t.Helper()
	r.conn.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := r.conn.Write(resp.AppendCommand(nil, argv...)); err != nil {
		r.t.Fatal(err)
	}
	v, err := r.in.ReadValue()
	if err != nil {
		r.t.Fatalf("%q: %v", argv, err)
	}
	return v
}

// version returns the version of the Redis as a number: 7.0 is 700.
func (r *liveRedis) version() int {
	r.t.Helper()
	_, after, ok := strings.Cut(string(r.do(argvOf("INFO", "server")).Str), "redis_version:")
	if !ok {
		r.t.Fatal("INFO names no version")
	}
	return versionNumber(after)
}

// versionNumber reads the first two numbers of a version: "7.0.15" is 700.
func versionNumber(s string) int {
	var major, minor int
	_, _ = fmt.Sscanf(s, "%d.%d", &major, &minor)
	return 100*major + minor
}

// TestScriptsLive replays the scripts against a live Redis 7.0 or newer.
func TestScriptsLive(t *testing.T) {
	redis := newLiveRedis(t)
	redis.do(argvOf("CONFIG", "SET", "rdbcompression", "no")) // because DUMP here does not compress
	version := redis.version()
	blocks := 0
	for _, path := range scripts(t) {
		t.Run(filepath.Base(path), func(t *testing.T) {
			redis.do(argvOf("FLUSHALL"))
			apart := false // whether the two differ until the next reset
			datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
				switch {
				case d.Cmd == "reset":
					apart = false
					redis.do(argvOf("FLUSHALL"))
					for _, s := range []string{"entries 100", "bytes 4096"} {
						redis.do(argvOf(strings.Fields("CONFIG SET stream-node-max-" + s)...))
					}
					return d.Expected
				case d.HasArg("clock") || d.HasArg("ours"):
					apart = true
				case d.HasArg("since"):
					var since string
					d.ScanArgs(t, "since", &since)
					apart = apart || versionNumber(since) > version
				}
				if apart || d.Cmd == "records" || d.Cmd == "check" {
					return d.Expected
				}
				blocks++
				proto := 2
				if d.HasArg("proto") {
					d.ScanArgs(t, "proto", &proto)
				}
				redis.do(argvOf("HELLO", fmt.Sprint(proto)))
				got := redis.block(d, proto)
				if d.HasArg("times") && forget(got) == forget(d.Expected) {
					return d.Expected
				}
				return got
			})
		})
	}
	if blocks < 30 {
		t.Errorf("only %d blocks were replayed", blocks)
	}
}

// block runs a block of a script and returns its output.
func (r *liveRedis) block(d *datadriven.TestData, proto int) string {
	var out strings.Builder
	if d.Cmd == "exec" {
		r.do(argvOf("MULTI"))
	}
	for line := range strings.Lines(d.Input) {
		words := scriptWords(r.t, line)
		switch {
		case d.Cmd == "type":
			words = []string{"SET", words[0], "x"}
		case words[0] == "_setting":
			words = append([]string{"CONFIG", "SET"}, words[1:]...)
		}
		v := r.do(argvOf(words...))
		if d.Cmd == "run" {
			fmt.Fprintln(&out, printReply(v, proto, d.HasArg("hex")))
		}
	}
	if d.Cmd == "exec" {
		for _, v := range r.do(argvOf("EXEC")).Elems {
			fmt.Fprintln(&out, resp.Print(v, proto))
		}
	}
	return out.String()
}

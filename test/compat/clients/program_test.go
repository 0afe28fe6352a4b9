package clients

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// programTimeout is the limit of a program of another language. It is longer than all waits
// of the program together.

const programTimeout = 3 * time.Minute

func redisPy(mode string) func(*testing.T, *site) {
	return func(t *testing.T, s *site) {
		runProgram(t, s, systemPython, append([]string{"testdata/session.py", mode, s.key}, s.addrs...)...)
	}
}

func phpRedis(t *testing.T, s *site) {
	runProgram(t, s, "php", append([]string{"testdata/session.php", s.key}, s.addrs...)...)
}

// scanPrograms are the interpreters of the programs that set keys on all shards, and scan them
// before and after the first node is killed. A client that is cluster-aware reads them so, too.
var scanPrograms = map[string]string{"scan.rb": "ruby", "scan.pl": "perl", "scan.php": "php"}

func scanProgram(file string) func(*testing.T, *site) {
	return func(t *testing.T, s *site) {
		runProgram(t, s, scanPrograms[file], append([]string{"testdata/" + file}, s.addrs...)...)
	}
}

func hiredis(t *testing.T, s *site) {
	bin := filepath.Join(t.TempDir(), "session")
	out, err := exec.Command("gcc", "-Wall", "-Wextra", "-Werror", "-O1", "-o", bin, "testdata/session.c", "-lhiredis", "-lpthread").CombinedOutput()
	if err != nil {
		t.Fatalf("compile: %v\n%s", err, out)
	}
	runProgram(t, s, bin, append([]string{s.key}, s.addrs...)...)
}

// runProgram runs a session of another language. The program prints "kill", the test kills
// the node and answers with a line, and the program prints "done" at the end.
func runProgram(t *testing.T, s *site, name string, args ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), programTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var said []string
	for lines := bufio.NewScanner(out); lines.Scan(); {
		said = append(said, lines.Text())
		if lines.Text() == "kill" {
			s.kill()
			if _, err := io.WriteString(in, "killed\n"); err != nil {
				t.Errorf("answer: %v", err)
			}
		}
	}
	if err := cmd.Wait(); err != nil || strings.Join(said, " ") != "kill done" {
		t.Errorf("%s said %q and ended with %v\n%s", name, said, err, &stderr)
	}
}

// tool runs a command-line tool of Redis against the first node and returns its output.
func tool(t *testing.T, s *site, stdin, name string, args ...string) string {
	t.Helper()
	out, err := tryTool(s, stdin, name, args...)
	if err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
	return out
}

func tryTool(s *site, stdin, name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), programTimeout)
	defer cancel()
	host, port, _ := strings.Cut(s.addrs[0], ":")
	cmd := exec.CommandContext(ctx, name, append([]string{"-h", host, "-p", port}, args...)...)
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// lines checks that a tool printed all of want in this order. Other output may come between.
func lines(t *testing.T, out string, want ...string) {
	t.Helper()
	rest := out
	for _, w := range want {
		_, after, found := strings.Cut(rest, w)
		if !found {
			t.Errorf("%q is missing, or not in its place, in:\n%s", w, out)
			return
		}
		rest = after
	}
}

// fill adds a few streams and strings whose keys begin with the test's key.
func fill(t *testing.T, s *site) {
	t.Helper()
	var b strings.Builder
	for i := range 5 {
		fmt.Fprintf(&b, "XADD %s:stream-%d 1-1 field value\nSET %s:string-%d value\n", s.key, i, s.key, i)
	}
	fmt.Fprintf(&b, "XADD %s:stream-4 2-1 field value\n", s.key)
	lines(t, tool(t, s, b.String(), "redis-cli"), "1-1", "OK", "2-1")
}

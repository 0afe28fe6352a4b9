package clients

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// cliCommands runs redis-cli with commands as arguments and as lines, in both protocols.
func cliCommands(t *testing.T, s *site) {
	lines(t, tool(t, s, "", "redis-cli", "XADD", s.key, "1-1", "f", "v"), "1-1")
	lines(t, tool(t, s, "", "redis-cli", "--no-raw", "XRANGE", s.key, "-", "+"), `1) 1) "1-1"`, `2) 1) "f"`, `2) "v"`)
	lines(t, tool(t, s, "", "redis-cli", "-3", "--no-raw", "XREAD", "STREAMS", s.key, "0"), fmt.Sprintf("1# %q => ", s.key), `1) 1) "1-1"`)
	lines(t, tool(t, s, "", "redis-cli", "--json", "XREAD", "STREAMS", s.key, "0"), fmt.Sprintf(`{%q:[["1-1",["f","v"]]]}`, s.key))
	lines(t, tool(t, s, "", "redis-cli", "-c", "XLEN", s.key), "1")
	session := "MULTI\nXADD " + s.key + " 2-1 f v\nXLEN " + s.key + "\nEXEC\nHELLO 3\nXLEN nosuch extra\nNOSUCH a b\nPING\n"
	lines(t, tool(t, s, session, "redis-cli"), "OK", "QUEUED", "QUEUED", "2-1", "2", "proto", "3",
		"ERR wrong number of arguments for 'xlen' command", "ERR unknown command 'NOSUCH', with args beginning with: 'a' 'b' ", "PONG")
	lines(t, tool(t, s, "", "redis-cli", "INFO", "server"), "redis_version:", "redis_mode:cluster")
	lines(t, tool(t, s, "", "redis-cli", "COMMAND", "DOCS", "xadd"), "summary")
}

// cliOperators runs commands about the cluster or a node rather than a stream.
func cliOperators(t *testing.T, s *site) {
	// All three replicas get the entry in the end: the leader and two others.
	wait := "XADD " + s.key + " 1-1 f v\nWAIT 1 0\nWAIT 2 60000\nWAITAOF 1 2 60000\nWAIT 3 100\n"
	// WAIT 1 answers how many have it by then, as in Redis: one or two.
	if got := tool(t, s, wait, "redis-cli"); !regexp.MustCompile(`^1-1\n[12]\n2\n1\n2\n2\n`).MatchString(got) {
		t.Errorf("WAIT and WAITAOF: %q", got)
	}
	// CONFIG SET changes a stream-* parameter in the whole cluster, others on one node.
	tool(t, s, "", "redis-cli", "CONFIG", "SET", "stream-idmp-maxsize", "77", "slowlog-max-len", "7")
	asker := func(addr string) string {
		return tool(t, &site{addrs: []string{addr}}, "", "redis-cli", "CONFIG", "GET", "s*-max*e*", "stream-idmp-maxsize")
	}
	lines(t, asker(s.addrs[0]), "slowlog-max-len\n7\n", "stream-idmp-maxsize\n77\n")
	lines(t, asker(s.addrs[1]), "slowlog-max-len\n128\n", "stream-idmp-maxsize\n77\n")
	tool(t, s, "", "redis-cli", "CONFIG", "SET", "stream-idmp-maxsize", "100", "slowlog-max-len", "128")
	// INFO keyspace counts the keys of the shards that a node leads, DBSIZE all keys.
	size := strings.TrimSpace(tool(t, s, "", "redis-cli", "DBSIZE"))
	sum := 0
	for _, addr := range s.addrs {
		info := tool(t, &site{addrs: []string{addr}}, "", "redis-cli", "INFO", "keyspace")
		if m := regexp.MustCompile(`db0:keys=(\d+),`).FindStringSubmatch(info); m != nil {
			n, _ := strconv.Atoi(m[1]) // the pattern has digits only
			sum += n
		}
	}
	if strconv.Itoa(sum) != size {
		t.Errorf("INFO keyspace of all nodes: %d keys; DBSIZE: %s", sum, size)
	}
	lines(t, tool(t, s, "", "redis-cli", "SHUTDOWN"), "SHUTDOWN is not allowed")
}

// cliInteractive runs redis-cli on a terminal. There it first asks for COMMAND DOCS, from
// which it makes hints.
func cliInteractive(t *testing.T, s *site) {
	ctx, cancel := context.WithTimeout(context.Background(), sessionPatience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "script", "-qec", "stty cols 100; redis-cli -h "+hostOf(s)+" -p "+portOf(s), "/dev/null")
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
	prompt := s.addrs[0] + "> "
	var unread string
	read := func(until string) {
		buf := make([]byte, 4096)
		for {
			if _, after, found := strings.Cut(unread, until); found {
				unread = after
				return
			}
			n, err := out.Read(buf)
			unread += string(buf[:n])
			if err != nil {
				t.Errorf("redis-cli ended with %v before %q: %q", err, until, unread)
				return
			}
		}
	}
	read(prompt)
	fmt.Fprintf(in, "XLEN %s\r", s.key)
	read("(integer) 0")
	read(prompt)
	fmt.Fprintf(in, "XADD %s * f v\r", s.key)
	read("-0\"")
	read(prompt)
	fmt.Fprint(in, "XTRIM ")
	read("key MAXLEN|MINID [=|~] threshold [LIMIT count]")
	fmt.Fprint(in, "\x15quit\r") // ^U deletes the line
	if err := cmd.Wait(); err != nil {
		t.Errorf("redis-cli: %v", err)
	}
}

func hostOf(s *site) string { host, _, _ := strings.Cut(s.addrs[0], ":"); return host }
func portOf(s *site) string { _, port, _ := strings.Cut(s.addrs[0], ":"); return port }

// cliScans runs the options of redis-cli that scan all keys.
func cliScans(t *testing.T, s *site) {
	fill(t, s)
	out := tool(t, s, "", "redis-cli", "--scan", "--pattern", s.key+":*")
	if n := len(strings.Fields(out)); n != 10 {
		t.Errorf("--scan found %d keys of 10:\n%s", n, out)
	}
	for i := range 5 {
		lines(t, out, fmt.Sprintf("%s:str", s.key), "-"+strconv.Itoa(i))
	}
	lines(t, tool(t, s, "", "redis-cli", "--bigkeys"), "Scanning the entire keyspace", "-------- summary -------", "Sampled ", "strings with ", "streams with ")
	mem := tool(t, s, "", "redis-cli", "--memkeys")
	lines(t, mem, "-------- summary -------", "strings with ", "streams with ")
	if strings.Contains(mem, "Warning") || regexp.MustCompile(`[1-9]\d* streams with 0 bytes`).MatchString(mem) {
		t.Errorf("--memkeys:\n%s", mem)
	}
	// Redis without an LFU policy refuses it too; redis-cli prints the error and ends.
	hot, err := tryTool(s, "", "redis-cli", "--hotkeys")
	if err == nil || !strings.Contains(hot, "An LFU maxmemory policy is not selected") {
		t.Errorf("--hotkeys: %v\n%s", err, hot)
	}
}

// cliMeters runs the options of redis-cli that print until they are stopped.
func cliMeters(t *testing.T, s *site) {
	for _, tc := range []struct {
		args []string
		want *regexp.Regexp
	}{
		{[]string{"--stat", "-i", "0.1"}, regexp.MustCompile(`keys\s+mem\s+clients\s+blocked\s+requests\s+connections[^\n]*\n(\d+ [^\n]+\n){3}`)},
		{[]string{"--latency", "--raw", "-i", "1"}, regexp.MustCompile(`^\d+ \d+ \d+\.\d+ \d+`)},
		{[]string{"--latency-history", "--raw", "-i", "1"}, regexp.MustCompile(`^\d+ \d+ \d+\.\d+ \d+`)},
		{[]string{"MONITOR"}, regexp.MustCompile(`^OK\n\d+\.\d+ \[0 127\.0\.0\.1:\d+\] "XLEN" "watched"\n`)},
	} {
		t.Run(strings.TrimLeft(tc.args[0], "-"), func(t *testing.T) { untilSeen(t, s, tc.args, tc.want) })
	}
}

// untilSeen runs redis-cli until it has printed the wanted text, then stops it. stdbuf makes
// it print line by line although its output is no terminal.
func untilSeen(t *testing.T, s *site, args []string, want *regexp.Regexp) {
	ctx, cancel := context.WithTimeout(context.Background(), sessionPatience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "stdbuf", append([]string{"-oL", "redis-cli", "-h", hostOf(s), "-p", portOf(s)}, args...)...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var seen bytes.Buffer
	buf := make([]byte, 4096)
	for !want.Match(seen.Bytes()) {
		n, err := out.Read(buf)
		seen.Write(buf[:n])
		if err != nil {
			t.Errorf("%v ended with %v after:\n%s", args, err, &seen)
			break
		}
		if bytes.Equal(seen.Bytes(), []byte("OK\n")) { // MONITOR listens now
			tool(t, s, "", "redis-cli", "XLEN", "watched")
		}
	}
	cancel()
	_ = cmd.Wait() // the error is that it was stopped
}

// cliPipe runs redis-cli --pipe, which sends commands without waiting and counts replies.
func cliPipe(t *testing.T, s *site) {
	var b strings.Builder
	const n = 1000
	for i := range n {
		v := strconv.Itoa(i)
		fmt.Fprintf(&b, "*5\r\n$4\r\nXADD\r\n$%d\r\n%s\r\n$1\r\n*\r\n$1\r\nf\r\n$%d\r\n%s\r\n", len(s.key), s.key, len(v), v)
	}
	b.WriteString("*2\r\n$4\r\nXLEN\r\n$1\r\nx\r\n*1\r\n$6\r\nNOSUCH\r\n")
	out, err := tryTool(s, b.String(), "redis-cli", "--pipe")
	if err == nil {
		t.Errorf("--pipe ends well although there is an error reply:\n%s", out)
	}
	lines(t, out, "ERR unknown command 'NOSUCH'", "errors: 1, replies: 1002")
	lines(t, tool(t, s, "", "redis-cli", "XLEN", s.key), strconv.Itoa(n))
}

// cliCluster runs redis-cli --cluster, and -c, which meets no redirection to follow.
func cliCluster(t *testing.T, s *site) {
	out := tool(t, s, "", "redis-cli", "--cluster", "check", s.addrs[0])
	lines(t, out, "[OK] All nodes agree about slots configuration.", "[OK] All 16384 slots covered.")
	lines(t, tool(t, s, "", "redis-cli", "--cluster", "info", s.addrs[0]), " masters.")
	var session strings.Builder
	for i := range 20 {
		fmt.Fprintf(&session, "XADD %s-%d * f v\n", strings.Trim(s.key, "{}"), i)
	}
	if out := tool(t, s, session.String(), "redis-cli", "-c"); strings.Contains(out, "Redirected") || strings.Contains(out, "ERR") {
		t.Errorf("-c:\n%s", out)
	}
	checkCounts(t, s)
	out, err := tryTool(s, "", "redis-cli", "--cluster", "call", s.addrs[0], "CLUSTER", "MEET", "127.0.0.1", "1")
	if err != nil {
		t.Errorf("--cluster call: %v\n%s", err, out)
	}
	lines(t, out, "CLUSTER MEET is not supported: Millrace places shards by itself")
}

// checkCounts waits until the check of redis-cli, which adds up the keys of all masters, counts
// each key once. While a leadership moves it may count another number.
func checkCounts(t *testing.T, s *site) {
	t.Helper()
	want := fmt.Sprintf("[OK] %s keys in ", strings.TrimSpace(tool(t, s, "", "redis-cli", "DBSIZE")))
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		out := tool(t, s, "", "redis-cli", "--cluster", "check", s.addrs[0])
		if strings.Contains(out, want) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%q is missing in:\n%s", want, out)
		}
	}
}

// awaitMasters waits until more than one node leads a shard.
func awaitMasters(t *testing.T, s *site) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		out, err := tryTool(s, "", "redis-cli", "CLUSTER", "NODES")
		masters := 0
		for line := range strings.Lines(out) {
			if f := strings.Fields(line); len(f) > 8 && strings.Contains(f[2], "master") { // with slots
				masters++
			}
		}
		if err == nil && masters > 1 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d masters, %v:\n%s", masters, err, out)
		}
	}
}

// benchmark runs redis-benchmark as a plain and as a cluster client. It ignores the rates.
func benchmark(t *testing.T, s *site) {
	run := func(args ...string) {
		t.Helper()
		args = append(args, "-q", "-n", "300", "-c", "6")
		out := tool(t, s, "", "redis-benchmark", args...)
		if strings.Contains(out, "rror") || strings.Contains(out, "WARNING") || !strings.Contains(out, "requests per second") {
			t.Errorf("redis-benchmark %v:\n%s", args, strings.ReplaceAll(out, "\r", "\n"))
		}
	}
	run("-t", "ping,set,get,incr")
	run("-3", "-t", "ping,set,get,incr")
	awaitMasters(t, s) // redis-benchmark refuses a cluster with one master, which is the case for a while after a kill
	run("--cluster", "-t", "ping,set,get,incr")
	// The arguments after the options are a command.
	start := time.Now()
	out := tool(t, s, "", "redis-benchmark", "-q", "-n", "300", "-c", "6", "-P", "10", "XADD", s.key, "*", "f", "v")
	lines(t, out, "requests per second")
	if n, err := strconv.Atoi(strings.TrimSpace(tool(t, s, "", "redis-cli", "XLEN", s.key))); err != nil || n < 300 {
		t.Errorf("%d entries, %v, in %v:\n%s", n, err, time.Since(start), out)
	}
}

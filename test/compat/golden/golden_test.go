package golden

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"millrace/resp"
	"millrace/test/cluster"
)

func TestMain(m *testing.M) { os.Exit(cluster.RunMain(m)) }

const (
	// patience is the limit of every wait for an event.
	patience = 10 * time.Second
	// quiet is how long the test listens where Redis sent no reply: no event tells that
	// none will come.
	quiet = 300 * time.Millisecond
)

// TestTranscripts replays every session in each protocol version it was recorded in.
func TestTranscripts(t *testing.T) {
	c := cluster.Start(t, cluster.Options{Nodes: 1, Shards: 6, Args: []string{"--enable-flush"}})
	met := map[*difference]bool{}
	for _, r := range []struct {
		answers  string // file of Redis's replies
		proto    int
		sessions []int
	}{
		{"golden-resp2.txt", 2, []int{1, 2, 3, 4, 5, 6, 7, 8}},
		{"golden-resp3.txt", 3, []int{1, 2, 3, 4, 5, 6, 7}},
		{"golden-adjacent.txt", 2, []int{9}},
		{"golden-cluster.txt", 2, []int{10}},
	} {
		want := lines(t, r.answers)
		for _, n := range r.sessions {
			name := fmt.Sprintf("p%d", n)
			t.Run(fmt.Sprintf("%s/resp%d", name, r.proto), func(t *testing.T) {
				s := &session{t: t, name: name, addr: c.Addrs()[0], http: c.Nodes[0].Addr.HTTP, proto: r.proto, conns: map[string]*conn{}, met: met}
				defer s.close()
				s.conn("main").do("FLUSHALL")
				s.replay(lines(t, name+".txt"), section(want, name))
			})
		}
	}
	for i := range explained {
		if d := &explained[i]; !met[d] && !t.Failed() {
			t.Errorf("nothing differs any more for this reason: %s %v: %s", d.session, d.command, d.reason)
		}
	}
}

func lines(t *testing.T, file string) []string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", file))
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimRight(string(b), "\n"), "\n")
}

// section returns the replies to a session: the lines between its mark and the next, or
// all lines of a file without marks.
func section(all []string, name string) []string {
	var out []string
	in, marked := true, false
	for _, l := range all {
		if mark, ok := strings.CutPrefix(l, "##### "); ok {
			if !marked {
				out, marked = nil, true
			}
			in = mark == name
			continue
		}
		if in {
			out = append(out, l)
		}
	}
	return out
}

// session is one file of commands that is being replayed on a node.
type session struct {
	t     *testing.T
	name  string
	addr  string
	http  string
	proto int
	conns map[string]*conn
	met   map[*difference]bool
}

// replay sends the lines of a session. want holds the same lines without pauses, each with
// Redis's reply.
func (s *session) replay(script, want []string) {
	var answers []string
	for _, l := range want {
		if strings.Contains(l, " => ") {
			answers = append(answers, l)
		}
	}
	ran, skipped := 0, false
	for _, line := range script {
		if heading, ok := strings.CutPrefix(line, "# "); ok {
			_, skipped = unplayed[heading]
			continue
		}
		if line == "" {
			continue
		}
		if ms, ok := strings.CutPrefix(line, "sleep "); ok {
			n, err := strconv.Atoi(ms)
			if err != nil {
				s.t.Fatal(err)
			}
			time.Sleep(time.Duration(n) * time.Millisecond) // the session tests how old entries are
			continue
		}
		if len(answers) == 0 {
			s.t.Fatalf("there is no answer to %s", line)
		}
		command, reply, _ := strings.Cut(answers[0], " => ")
		answers = answers[1:]
		if strings.TrimRight(command, " ") != strings.TrimRight(line, " ") {
			s.t.Fatalf("the transcript goes on with %s, not with %s", command, line)
		}
		if skipped {
			continue
		}
		sent := line
		if other, ok := inSlot[line]; ok {
			sent = other
		}
		got := s.line(sent, reply)
		if forget(got) != forget(reply) && !s.isExplained(line, got, reply) {
			s.t.Errorf("%s\n got %s\nwant %s", line, got, reply)
		}
		ran++
	}
	if len(answers) > 0 || ran == 0 {
		s.t.Errorf("%d lines were replayed, %d left over", ran, len(answers))
	}
}

// line runs one line of a session and returns the reply:
//
//	XLEN s         sends the command on the main connection
//	A> XLEN s      sends it on the connection A
//	A>> XREAD …    sends it on A without waiting for the reply
//	A<             reads the next reply on A
func (s *session) line(line, want string) string {
	first, rest, _ := strings.Cut(line, " ")
	switch {
	case strings.HasSuffix(first, "<"):
		return s.conn(first[:len(first)-1]).read(want)
	case strings.HasSuffix(first, ">>"):
		c := s.conn(first[:len(first)-2])
		before := s.blocked()
		c.send(words(rest))
		if strings.Contains(rest, "BLOCK") {
			s.settle(c, before)
		}
		return "(sent)"
	case strings.HasSuffix(first, ">") && len(first) > 1:
		c := s.conn(first[:len(first)-1])
		c.send(words(rest))
		return c.read("")
	}
	c := s.conn("main")
	c.send(words(line))
	reply := c.read("")
	if strings.HasPrefix(line, "XREADGROUP") {
		// XREADGROUP CLAIM takes entries that were delivered in the same millisecond in the
		// order of their IDs here, and in the order of delivery in Redis. A pause gives each
		// command a millisecond of its own.
		for now := time.Now().UnixMilli(); time.Now().UnixMilli() <= now; {
			time.Sleep(100 * time.Microsecond)
		}
	}
	return reply
}

// blocked returns how many blocked calls the shards have registered. The count of blocked
// clients in INFO would not do: it rises a moment before the shard has the call.
func (s *session) blocked() (count int) {
	r, err := http.Get("http://" + s.http + "/metrics")
	if err != nil {
		s.t.Fatal(err)
	}
	defer r.Body.Close()
	lines := bufio.NewScanner(r.Body)
	for lines.Scan() {
		if value, ok := strings.CutPrefix(lines.Text(), "millrace_shard_blocked_calls{"); ok {
			_, value, _ = strings.Cut(value, "} ")
			n, err := strconv.Atoi(value)
			if err != nil {
				s.t.Fatal(err)
			}
			count += n
		}
	}
	if err := lines.Err(); err != nil {
		s.t.Fatal(err)
	}
	return count
}

// settle waits until the command that was sent on c is blocked or answered.
func (s *session) settle(c *conn, before int) {
	for deadline := time.Now().Add(patience); s.blocked() <= before; time.Sleep(time.Millisecond) {
		c.nc.SetReadDeadline(time.Now().Add(time.Millisecond))
		if _, err := c.r.Peek(1); err == nil {
			return
		}
		if time.Now().After(deadline) {
			s.t.Fatal("the command is neither blocked nor answered")
		}
	}
}

func (s *session) isExplained(line, got, want string) bool {
	for i := range explained {
		d := &explained[i]
		if d.session == s.name && d.command.MatchString(line) && (d.ours == nil || d.ours.MatchString(got)) {
			s.met[d] = true
			return true
		}
	}
	return false
}

func (s *session) close() {
	for _, c := range s.conns {
		c.nc.Close()
	}
}

func (s *session) conn(name string) *conn {
	if c := s.conns[name]; c != nil {
		return c
	}
	nc, err := net.Dial("tcp", s.addr)
	if err != nil {
		s.t.Fatal(err)
	}
	r := bufio.NewReader(nc)
	c := &conn{t: s.t, nc: nc, r: r, in: resp.NewValueReader(r, 0), proto: s.proto}
	s.conns[name] = c
	if s.proto == 3 {
		c.do("HELLO", "3")
	}
	return c
}

type conn struct {
	t     *testing.T
	nc    net.Conn
	r     *bufio.Reader
	in    *resp.ValueReader
	proto int // protocol version in which replies are printed
	next  int // the version from the next reply on, unless that reply is an error
}

func (c *conn) send(words []string) {
	c.t.Helper()
	argv := make([][]byte, len(words))
	for i, w := range words {
		argv[i] = []byte(w)
	}
	if _, err := c.nc.Write(resp.AppendCommand(nil, argv...)); err != nil {
		c.t.Fatal(err)
	}
	c.next = c.proto
	switch {
	case strings.EqualFold(words[0], "HELLO") && len(words) > 1 && (words[1] == "2" || words[1] == "3"):
		c.next = int(words[1][0] - '0')
	case strings.EqualFold(words[0], "RESET"):
		c.next = 2
	}
}

const (
	noReply = "(no reply within 1s)"
	closed  = "(connection closed)"
)

// read returns the next reply. If want is noReply, it waits only for the time quiet.
func (c *conn) read(want string) string {
	c.t.Helper()
	wait := patience
	if want == noReply {
		wait = quiet
	}
	c.nc.SetReadDeadline(time.Now().Add(wait))
	v, err := c.in.ReadValue()
	var ne net.Error
	switch {
	case err == nil:
		if !v.IsErr() {
			c.proto = c.next
		}
		return resp.Print(v, c.proto)
	case errors.As(err, &ne) && ne.Timeout():
		return noReply
	}
	return closed
}

func (c *conn) do(words ...string) resp.Value {
	c.t.Helper()
	c.send(words)
	c.nc.SetReadDeadline(time.Now().Add(patience))
	v, err := c.in.ReadValue()
	if err != nil {
		c.t.Fatalf("%q: %v", words, err)
	}
	return v
}

// words splits a line at spaces outside of quotes.
func words(line string) []string {
	var out []string
	var w strings.Builder
	open, quoted := false, false
	for _, r := range line {
		switch {
		case r == '"':
			quoted, open = !quoted, true
		case r == ' ' && !quoted:
			if open {
				out = append(out, w.String())
			}
			w.Reset()
			open = false
		default:
			w.WriteRune(r)
			open = true
		}
	}
	if open {
		out = append(out, w.String())
	}
	return out
}

// clocks match the times in a reply, and the IDs that a clock chose.
var clocks = []*regexp.Regexp{
	regexp.MustCompile(`("(?:idle|inactive|seen-time|active-time)"[,:] ):\d+`),
	regexp.MustCompile(`(\["[\d-]+", "[^"]*", ):\d+(, :\d+\])`), // XPENDING, XINFO STREAM FULL
	regexp.MustCompile(`(\["[\d-]+", ):\d+(, :\d+\])`),          // XINFO STREAM FULL
	regexp.MustCompile(`(\], ):[1-9]\d*(, :\d+\])`),             // XREADGROUP CLAIM
	regexp.MustCompile(`(\], ):0(, :[1-9]\d*\])`),
	regexp.MustCompile(`()\b1[789]\d{11}()\b`),
}

// forget replaces the times in a reply by T.
func forget(reply string) string {
	for _, re := range clocks {
		reply = re.ReplaceAllString(reply, "${1}T${2}")
	}
	return reply
}

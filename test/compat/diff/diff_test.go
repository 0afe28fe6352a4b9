package diff

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"millrace/resp"
	"millrace/test/cluster"
)

var (
	commands = flag.Int("commands", 20_000, "least number of commands that each test compares")
	steps    = flag.Int("steps", 100, "average number of steps of a sequence")
)

func TestMain(m *testing.M) {
	flag.Parse()
	if testing.Short() {
		*commands /= 5
	}
	// rapid's own flags give the number of sequences at a time and their length.
	for name, value := range map[string]string{"rapid.checks": "50", "rapid.steps": fmt.Sprint(*steps), "rapid.nofailfile": "true",
		"rapid.shrinktime": "3s"} {
		if err := flag.Set(name, value); err != nil {
			panic(err)
		}
	}
	os.Exit(cluster.RunMain(m))
}

// newestEnv names the path of a Redis newer than the one in PATH.
const newestEnv = "REDIS86"

// TestRedis compares one node with the redis-server in PATH.
func TestRedis(t *testing.T) {
	path, err := exec.LookPath("redis-server")
	if err != nil {
		t.Skip("there is no redis-server to compare with")
	}
	compare(t, path, 1)
}

// TestNewestRedis compares one node with the Redis that REDIS86 names.
func TestNewestRedis(t *testing.T) {
	path := os.Getenv(newestEnv)
	if path == "" {
		t.Skip(newestEnv + " names no redis-server to compare with")
	}
	compare(t, path, 1)
}

// TestThreeNodes compares three nodes with the newest Redis that is installed. Each
// sequence goes to a node that is drawn.
func TestThreeNodes(t *testing.T) {
	path := os.Getenv(newestEnv)
	if path == "" {
		var err error
		if path, err = exec.LookPath("redis-server"); err != nil {
			t.Skip("there is no redis-server to compare with")
		}
	}
	compare(t, path, 3)
}

// pair is Millrace and an oracle, to which it sends the same commands.
type pair struct {
	ours    []*client // one for each node
	theirs  *client
	oracle  version
	runs    atomic.Uint64 // number of sequences run, from which the next one makes its keys
	started time.Time
	sent    int            // number of commands compared
	found   *session       // the last one that differed
	done    map[string]int // number of effective commands, by name
}

// enoughForAll is a number of commands after which every command was effective at least
// once. The rarest is effective once in ten thousand.
const enoughForAll = 300_000

// compare sends random sequences to Millrace and the Redis at path until it has compared
// as many commands as -commands says, or found a difference.
func compare(t *testing.T, path string, nodes int) {
	addr := startRedis(t, path)
	c := cluster.Start(t, cluster.Options{Nodes: nodes, Shards: 6})
	p := &pair{theirs: dial(t, addr), started: time.Now(), done: map[string]int{}}
	for _, a := range c.Addrs() {
		p.ours = append(p.ours, dial(t, a))
	}
	p.oracle = versionOf(t, p.theirs)
	defer func() {
		if p.found != nil {
			t.Logf("Millrace and Redis %d.%d differ:\n%s", p.oracle/100, p.oracle%100, p.shrink(*p.found))
		}
	}()
	for p.sent < *commands && !t.Failed() {
		rapid.Check(t, p.sequence)
	}
	// If a command was always refused or never had anything to do, its replies compare
	// nothing. In a short run this happens by chance.
	for _, name := range p.names() {
		if p.sent >= enoughForAll && p.done[name] == 0 {
			t.Errorf("%s was never effective", name)
		}
	}
	t.Logf("%v", p.done)
	t.Logf("%d commands in %d sequences compared with Redis %d.%d in %v", p.sent, p.runs.Load(), p.oracle/100, p.oracle%100,
		time.Since(p.started).Round(time.Second))
}

// names are the commands that the grammar has for this oracle.
func (p *pair) names() []string {
	out := strings.Fields("XADD XRANGE XREVRANGE XLEN XDEL XTRIM XSETID XGROUP XREADGROUP XREAD XACK XPENDING XCLAIM XAUTOCLAIM XINFO " +
		"DEL UNLINK EXISTS TOUCH TYPE KEYS RENAME RENAMENX COPY TTL PTTL EXPIRETIME PEXPIRETIME PERSIST EXPIRE PEXPIRE EXPIREAT PEXPIREAT " +
		"HSET HMSET HSETNX HGET HMGET HGETALL HKEYS HVALS HDEL HEXISTS HLEN HSTRLEN HINCRBY HINCRBYFLOAT HSCAN " +
		"ZADD ZINCRBY ZREM ZCARD ZCOUNT ZSCORE ZMSCORE ZRANK ZREVRANK ZRANGE ZREVRANGE ZRANGEBYSCORE ZREVRANGEBYSCORE ZRANGEBYLEX ZREVRANGEBYLEX " +
		"ZPOPMIN ZPOPMAX ZREMRANGEBYSCORE ZREMRANGEBYRANK ZSCAN " +
		"SET GET INCR DECR STRLEN GETDEL INCRBY DECRBY APPEND SETNX GETSET GETEX SETEX PSETEX MGET " +
		"GETRANGE SUBSTR SETRANGE INCRBYFLOAT MSET MSETNX LCS MULTI EXEC DISCARD")
	if p.oracle >= v86 {
		out = append(out, strings.Fields("XDELEX XACKDEL XCFGSET XIDMPRECORD WATCH UNWATCH "+exchange)...)
	}
	return out
}

// sequence generates one sequence, sends it to both, and compares the replies.
func (p *pair) sequence(t *rapid.T) {
	prefix := p.fresh()
	g := newGen(p.oracle, prefix).seeded(t)
	g.claims = p.oracle >= v84 && g.odds(25)
	node := g.n(0, len(p.ours)-1)
	head := g.head()
	g.groups()
	t.Repeat(map[string]func(*rapid.T){"command": func(t *rapid.T) { g.seeded(t).command() }})
	s := session{node: node, slow: g.claims, prefix: prefix, keys: g.keys(), head: len(head), cmds: append(head, g.out...)}
	p.sent += len(s.cmds)
	if text := p.run(s); text != "" {
		s.shown = text
		p.found = &s
		// The text is always the same, because rapid compares texts to tell two failures apart.
		t.Fatalf("a reply differs")
	}
}

// session is a sequence of commands as it was sent.
type session struct {
	node   int
	slow   bool   // send commands one by one: see slowly
	prefix string // of its keys
	keys   []string
	head   int // number of commands at the beginning that shrink keeps
	cmds   [][]string
	shown  string // the transcript of run
	shrunk bool   // some commands have been left out
}

// fresh returns a prefix that no key has had before.
func (p *pair) fresh() string { return fmt.Sprint(p.runs.Add(1)) }

// renamed returns s with other keys.
func (s session) renamed(prefix string) session {
	from, to := "{"+s.prefix, "{"+prefix
	words := func(in []string) []string {
		out := make([]string, len(in))
		for i, w := range in {
			out[i] = strings.ReplaceAll(w, from, to)
		}
		return out
	}
	cmds := make([][]string, len(s.cmds))
	for i := range cmds {
		cmds[i] = words(s.cmds[i])
	}
	s.prefix, s.keys, s.cmds = prefix, words(s.keys), cmds
	return s
}

// run sends a session to both and returns its transcript up to the first reply that
// differs, or "" if all are the same. It deletes the keys.
func (p *pair) run(s session) string {
	ours := p.ours[s.node]
	var a, b []resp.Value
	began := time.Now()
	if s.slow {
		a, b = p.slowly(ours, s.cmds)
	} else {
		a, b = p.both(ours, s.cmds)
	}
	for i, words := range s.cmds {
		if words[0] == "XADD" && byClock(b[i]) {
			return "" // without some commands that were left out, "*" depends on the clock
		}
		if words[0] == "EXEC" && strings.HasPrefix(string(a[i].Str), "CROSSSLOT ") {
			return "" // without the EXEC between them, two transactions became one
		}
		if words[0] == "EXEC" && !a[i].IsNull() && b[i].IsNull() && s.shrunk {
			return "" // the key may not have existed when it was watched: see gen.watch
		}
	}
	for i, words := range s.cmds {
		if v := a[i]; !v.IsErr() && !v.IsNull() && string(v.Str) != "QUEUED" && (v.Kind != resp.KindInt || v.Int != 0) &&
			(v.Kind != resp.KindArray || len(v.Elems) > 0) {
			p.done[words[0]]++
		}
	}
	late := time.Since(began) > lateBlock
	p.both(ours, [][]string{{"DISCARD"}, {"UNWATCH"}, append([]string{"DEL"}, s.keys...)})
	if i := p.differs(s.cmds, a, b); i >= 0 && !(late && isLate(s.cmds[i], a[i])) && !wentBack(p.oracle, s.cmds[i], a[i]) {
		return strings.ReplaceAll(transcript(s.cmds, a, b, i), "{"+s.prefix, "{")
	}
	return ""
}

// shrink leaves commands out of a session as long as it still differs, and returns the
// transcript of the shortest one that does.
func (p *pair) shrink(s session) string {
	try := func(cmds [][]string) string {
		fewer := s
		fewer.cmds, fewer.shrunk = cmds, len(cmds) < len(s.cmds)
		return p.run(fewer.renamed(p.fresh()))
	}
	cmds := s.cmds
	found := try(cmds)
	if found == "" {
		return "(this difference did not show again)\n" + s.shown
	}
	for size := (len(cmds) - s.head) / 2; size > 0; {
		before := len(cmds)
		for at := s.head; at < len(cmds); {
			fewer := slices.Concat(cmds[:at], cmds[min(at+size, len(cmds)):])
			if text := try(fewer); text != "" {
				cmds, found = fewer, text
				continue
			}
			at += size
		}
		if len(cmds) == before {
			size /= 2
		}
	}
	return found
}

// both sends commands to both and returns their replies. Commands up to the next exchange
// go out in one write.

func (p *pair) both(ours *client, cmds [][]string) (a, b []resp.Value) {
	n := slices.IndexFunc(cmds, func(words []string) bool { return words[0] == exchange })
	if n < 0 {
		n = len(cmds)
	}
	ours.send(cmds[:n]...)
	p.theirs.send(cmds[:n]...)
	a, b = ours.recv(n), p.theirs.recv(n)
	if n == len(cmds) {
		return a, b
	}
	x, y := p.exchange(ours, cmds[n][1], cmds[n][2])
	c, d := p.both(ours, cmds[n+1:])
	return append(append(a, x), c...), append(append(b, y), d...)
}

// exchange is a command of this test only. It dumps the first key on both servers, and
// restores each server's dump on the other one, at the second key.
const exchange = "-EXCHANGE"

func (p *pair) exchange(ours *client, from, to string) (a, b resp.Value) {
	a, b = ours.do("DUMP", from), p.theirs.do("DUMP", from)
	if a.Kind != resp.KindBulk || b.Kind != resp.KindBulk {
		return a, b
	}
	ours.send([]string{"RESTORE", to, "0", string(b.Str), "REPLACE"})
	p.theirs.send([]string{"RESTORE", to, "0", string(a.Str), "REPLACE"})
	return ours.recv(1)[0], p.theirs.recv(1)[0]
}

// slowly sends commands one by one, and gives each command that delivers entries a
// millisecond of its own. XREADGROUP CLAIM then shows which of two entries was delivered
// first.
func (p *pair) slowly(ours *client, cmds [][]string) (a, b []resp.Value) {
	for _, words := range cmds {
		x, y := p.both(ours, [][]string{words})
		a, b = append(a, x[0]), append(b, y[0])
		switch words[0] {
		case "XREADGROUP", "XCLAIM", "XAUTOCLAIM", "EXEC":
			for now := time.Now().UnixMilli(); time.Now().UnixMilli() <= now; {
				time.Sleep(100 * time.Microsecond)
			}
		}
	}
	return a, b
}

// differs returns the index of the first reply that differs, or -1.
func (p *pair) differs(cmds [][]string, a, b []resp.Value) int {
	var queued [][]string // since MULTI
	multi, restored := false, false
	for i, words := range cmds {
		restored = restored || words[0] == exchange
		ok := a[i].String() == b[i].String()
		switch {
		case is(words[0], "MULTI") && !multi:
			multi, queued = true, nil
		case is(words[0], "EXEC"):
			ok = p.sameExec(restored, queued, a[i], b[i])
			multi = false
		case is(words[0], "DISCARD"):
			multi = false
		case multi && string(a[i].Str) == "QUEUED":
			queued = append(queued, words)
		default:
			ok = ok || p.same(restored, words, a[i], b[i])
		}
		if !ok {
			return i
		}
	}
	return -1
}

// sameExec compares the replies of an EXEC one by one.
func (p *pair) sameExec(restored bool, queued [][]string, a, b resp.Value) bool {
	if len(a.Elems) != len(b.Elems) || len(a.Elems) != len(queued) || a.Kind != b.Kind {
		return a.String() == b.String()
	}
	for i, words := range queued {
		if !p.same(restored, words, a.Elems[i], b.Elems[i]) {
			return false
		}
	}
	return true
}

// same reports whether two replies to a command are the same, apart from times and
// intended differences.

func (p *pair) same(restored bool, words []string, a, b resp.Value) bool {
	if is(words[0], "XINFO") {
		a = clone(a)
		drop(&a, p.oracle)
	}
	a, b = forget(words, a, b)
	return a.String() == b.String() || isExplained(p.oracle, restored, words, a, b)
}

// transcript prints a session up to the reply that differs.
func transcript(cmds [][]string, a, b []resp.Value, last int) string {
	var out strings.Builder
	for i, words := range cmds[:last+1] {
		line := make([]byte, 0, 80)
		for j, w := range words {
			if j > 0 {
				line = append(line, ' ')
			}
			line = quote(line, w)
		}
		fmt.Fprintf(&out, "%s\n", line)
		if x, y := a[i].String(), b[i].String(); i == last {
			fmt.Fprintf(&out, "  Millrace  %s\n  Redis     %s\n", x, y)
		} else {
			fmt.Fprintf(&out, "  %s\n", x)
		}
	}
	return out.String()
}

func quote(dst []byte, w string) []byte {
	for i := range len(w) {
		if c := w[i]; c <= ' ' || c > '~' || c == '"' || c == '\\' {
			return resp.AppendQuoted(dst, []byte(w))
		}
	}
	if w == "" {
		return append(dst, `""`...)
	}
	return append(dst, w...)
}

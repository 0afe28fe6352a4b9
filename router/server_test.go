package router

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"millrace/resp"
)

// serverReplies are commands for operators with their replies over two shards, in RESP2.
var serverReplies = []struct{ line, want string }{
	{"CONFIG GET slowlog* TIMEOUT", `["slowlog-log-slower-than", "10000", "slowlog-max-len", "128", "TIMEOUT", "0"]`},
	{"CONFIG GET stream-idmp-*", `["stream-idmp-duration", "100", "stream-idmp-maxsize", "100"]`},
	{"CONFIG SET timeout", "-ERR wrong number of arguments for 'config|set' command"},
	{"CONFIG SET timeout 1 maxclients", "-ERR syntax error"},
	{"CONFIG SET timeout 1 nosuch 2", "-ERR Unknown option or number of arguments for CONFIG SET - 'nosuch'"},
	{"CONFIG SET timeout 7 TIMEOUT 8", "-ERR CONFIG SET failed (possibly related to argument 'timeout') - duplicate parameter"},
	{"CONFIG SET timeout 7 maxclients 0", "-ERR CONFIG SET failed (possibly related to argument 'maxclients') - argument must be between 1 and 4294967295 inclusive"},
	{"CONFIG SET timeout abc", "-ERR CONFIG SET failed (possibly related to argument 'timeout') - argument couldn't be parsed into an integer"},
	{"CONFIG SET timeout -1", "-ERR CONFIG SET failed (possibly related to argument 'timeout') - argument must be between 0 and 2147483647 inclusive"},
	{"CONFIG SET timeout 7 stream-idmp-maxsize 0", "-ERR CONFIG SET failed (possibly related to argument 'stream-idmp-maxsize') - argument must be between 1 and 10000 inclusive"},
	{"CONFIG SET databases 5", "-ERR CONFIG SET failed (possibly related to argument 'databases') - can't set immutable config"},
	{"CONFIG SET appendfsync no", "-ERR CONFIG SET failed (possibly related to argument 'appendfsync') - Millrace has it fixed at 'always'"},
	{`CONFIG SET save "" appendfsync always`, "+OK"},
	{"CONFIG GET timeout", `["timeout", "0"]`}, // no refused CONFIG SET changed it
	{"CONFIG SET timeout 7 Stream-Node-Max-Entries 50", "+OK"},
	{"CONFIG GET timeout stream-node-max-entries", `["timeout", "7", "stream-node-max-entries", "50"]`},
	{"CONFIG SET stream-idmp-duration 5 stream-idmp-maxsize 6", "+OK"},
	{"CONFIG GET stream-idmp-*", `["stream-idmp-duration", "5", "stream-idmp-maxsize", "6"]`},
	{"CONFIG GET notify-keyspace-events", `["notify-keyspace-events", ""]`},
	{"CONFIG SET notify-keyspace-events KEA", "-ERR CONFIG SET failed (possibly related to argument 'notify-keyspace-events') - Millrace has it fixed at ''"},
	{`CONFIG SET notify-keyspace-events ""`, "+OK"},
	{"CONFIG REWRITE", "-ERR The server is running without a config file"},

	{"CLIENT TRACKINGINFO", `["flags", ["off"], "redirect", :-1, "prefixes", []]`},
	{"CLIENT TRACKING ON BCAST PREFIX a", "-" + textTracking}, // the client would cache its replies
	{"CLIENT TRACKING ON OPTOUT", "-" + textTracking},
	{"CLIENT TRACKING ON", "-" + textTracking},
	{"CLIENT TRACKING OFF BCAST", "+OK"},
	{"CLIENT TRACKING ON OPTIN NOLOOP", "+OK"},
	{"CLIENT TRACKINGINFO", `["flags", ["on", "optin", "noloop"], "redirect", :0, "prefixes", []]`},
	{"CLIENT TRACKING OFF", "+OK"},
	{"CLIENT TRACKING ON PREFIX foo", "-ERR PREFIX option requires BCAST mode to be enabled"},
	{"CLIENT TRACKING ON BCAST OPTIN", "-ERR OPTIN and OPTOUT are not compatible with BCAST"},
	{"CLIENT TRACKING ON REDIRECT 9999", "-ERR The client ID you want redirect to does not exist"},
	{"CLIENT TRACKING ON REDIRECT abc", "-ERR value is not an integer or out of range"},
	{"CLIENT PAUSE abc", "-ERR timeout is not an integer or out of range"},
	{"CLIENT PAUSE -1", "-ERR timeout is negative"},
	{"CLIENT PAUSE 1 FOO", "-ERR CLIENT PAUSE mode must be WRITE or ALL"},
	{"CLIENT PAUSE 1 WRITE x", "-ERR unknown subcommand or wrong number of arguments for 'PAUSE'. Try CLIENT HELP."},
	{"CLIENT UNPAUSE", "+OK"},
	{"CLIENT KILL MAXAGE 100000", ":0"},
	{"CLIENT KILL MAXAGE x", "-ERR maxage is not an integer or out of range"},

	{"SLOWLOG", "-ERR wrong number of arguments for 'slowlog' command"},
	{"SLOWLOG GET abc", "-ERR count should be greater than or equal to -1"},
	{"SLOWLOG GET -2", "-ERR count should be greater than or equal to -1"},
	{"SLOWLOG GET 1 2", "-ERR unknown subcommand or wrong number of arguments for 'GET'. Try SLOWLOG HELP."},
	{"SLOWLOG RESET", "+OK"},
	{"SLOWLOG LEN", ":0"},
	{"LATENCY LATEST", "[]"},
	{"LATENCY HISTORY command", "[]"},
	{"LATENCY GRAPH command", "-ERR No samples available for event 'command'"},
	{"LATENCY RESET", ":0"},
	{"LATENCY HISTOGRAM foo", "[]"},

	{"ACL WHOAMI", `"default"`}, {"ACL USERS", `["default"]`}, {"ACL LIST", `["user default on nopass ~* &* +@all"]`},
	{"ACL GETUSER default", `["flags", ["on", "nopass"], "passwords", [], "commands", "+@all", "keys", "~*", "channels", "&*", "selectors", []]`},
	{"ACL GETUSER nosuch", "nil"},
	{"ACL CAT nosuch", "-ERR Unknown category 'nosuch'"},
	{"ACL CAT transaction", `["discard", "exec", "multi", "unwatch", "watch"]`},
	{"ACL GENPASS 0", "-ERR ACL GENPASS argument must be the number of bits for the output password, a positive number up to 4096"},
	{"ACL GENPASS x", "-ERR value is not an integer or out of range"},
	{"ACL LOG", "[]"}, {"ACL LOG RESET", "+OK"}, {"ACL LOG 5", "[]"}, {"ACL LOG x", "-ERR value is not an integer or out of range"},
	{"ACL DRYRUN default xlen", "-ERR wrong number of arguments for 'xlen' command"},
	{"ACL DRYRUN default xlen a", "+OK"},
	{"ACL DRYRUN nosuch xlen a", "-ERR User 'nosuch' not found"},
	{"ACL DRYRUN default nosuch", "-ERR Command 'nosuch' not found"},
	{"ACL SETUSER a", "-ERR ACL users are not supported by Millrace: the default user's password is set with --requirepass"},

	{"FUNCTION FLUSH", "+OK"}, {"FUNCTION FLUSH async", "+OK"},
	{"FUNCTION FLUSH foo", "-ERR FUNCTION FLUSH only supports SYNC|ASYNC option"},
	{"FUNCTION FLUSH a b", "-ERR unknown subcommand or wrong number of arguments for 'FLUSH'. Try FUNCTION HELP."},
	{"FUNCTION LIST WITHCODE LIBRARYNAME x", "[]"},
	{"FUNCTION LIST foo", "-ERR Unknown argument foo"},
	{"FUNCTION LIST LIBRARYNAME", "-ERR library name argument was not given"},
	{"FUNCTION STATS", `["running_script", nil, "engines", []]`},
	{"FUNCTION KILL", "-NOTBUSY No scripts in execution right now."},
	{"FUNCTION DELETE foo", "-ERR Library not found"},
	{"FUNCTION LOAD x", "-ERR Millrace runs no scripts and no functions"},
	{"SCRIPT FLUSH", "+OK"}, {"SCRIPT FLUSH SYNC", "+OK"},
	{"SCRIPT FLUSH foo", "-ERR SCRIPT FLUSH only support SYNC|ASYNC option"},
	{"SCRIPT EXISTS a b", "[:0, :0]"},
	{"SCRIPT KILL", "-NOTBUSY No scripts in execution right now."},
	{"EVALSHA ffff 0", "-NOSCRIPT No matching script. Please use EVAL."},
	{"EVAL x 0", "-ERR Millrace runs no scripts and no functions"},
	{"FCALL foo 0", "-ERR Function not found"},
	{"COMMAND GETKEYS eval s 2 a b c", `["a", "b"]`},
	{"COMMAND GETKEYS eval s x a", "[]"}, {"COMMAND GETKEYS xinfo nosuch k", "-ERR Invalid command specified"},

	{"MODULE LIST", "[]"}, {"MODULE LOAD x", "-ERR Millrace loads no modules"},
	{"SAVE", "+OK"}, {"SAVE x", "-ERR wrong number of arguments for 'save' command"},
	{"BGSAVE", "+Background saving started"}, {"BGSAVE SCHEDULE", "+Background saving started"}, {"BGSAVE foo", "-ERR syntax error"},
	{"BGREWRITEAOF", "+Background append only file rewriting started"},
	{"SHUTDOWN foo", "-ERR syntax error"}, {"SHUTDOWN ABORT", "-ERR No shutdown in progress."}, {"SHUTDOWN NOSAVE SAVE", "-ERR syntax error"},
	{"SHUTDOWN", "-ERR SHUTDOWN is not allowed: this node was started without --enable-shutdown"},
	{"REPLICAOF NO ONE", "-ERR REPLICAOF is not supported by Millrace: shards are placed by the cluster itself; see: millrace status"},
	{"SWAPDB 0 1", "-ERR SWAPDB is not allowed in cluster mode"}, {"MOVE a 1", "-ERR MOVE is not allowed in cluster mode"},
	{"LOLWUT VERSION abc", "-ERR value is not an integer or out of range"},
	{"SUBSCRIBE x", "-ERR unknown command 'SUBSCRIBE', with args beginning with: 'x' "},
	{"PSUBSCRIBE __keyspace@0__:*", "-ERR unknown command 'PSUBSCRIBE', with args beginning with: '__keyspace@0__:*' "},
	{"PUBLISH x y", "-ERR unknown command 'PUBLISH', with args beginning with: 'x' 'y' "},
	{"SPUBLISH x y", "-ERR unknown command 'SPUBLISH', with args beginning with: 'x' 'y' "},
	{"PUBSUB CHANNELS", "-ERR unknown command 'PUBSUB', with args beginning with: 'CHANNELS' "},
	{"UNSUBSCRIBE", "-ERR unknown command 'UNSUBSCRIBE'"},

	{"WAIT 0 10", ":0"}, {"WAIT -1 10", ":0"}, // no replica is asked
	{"WAIT abc 10", "-ERR value is not an integer or out of range"},
	{"WAIT 0 abc", "-ERR timeout is not an integer or out of range"},
	{"WAIT 0 -1", "-ERR timeout is negative"},
	{"WAITAOF 1 1 10", "[:1, :0]"},
	{"WAITAOF 2 0 10", "-ERR value is out of range, value must between 0 and 1"},
	{"WAITAOF 0 -1 10", "-ERR value is out of range, must be positive"},

	{"CLUSTER FORGET 0000000", "-ERR Unknown node 0000000"}, {"CLUSTER FORGET 00000001", "-ERR Unknown node 00000001"},
	{"CLUSTER FORGET 00000000", "-ERR More than one node has an ID that begins with 00000000"},
	{"CLUSTER REPLICAS foo", "-ERR Unknown node foo"}, {"CLUSTER SLAVES foo", "-ERR Unknown node foo"},
	{"CLUSTER COUNT-FAILURE-REPORTS foo", "-ERR Unknown node foo"},
	{"CLUSTER COUNT-FAILURE-REPORTS " + nodeID(1), ":0"},
}

// A refusal that redis-server knows too has the same text here.
func TestServerCommands(t *testing.T) {
	g := newRig(t, 2, nil)
	c := g.dial()
	for _, tc := range serverReplies {
		c.want(tc.line, tc.want)
	}
	if got := c.do("ACL GENPASS 5"); len(got) != len(`"2a"`) {
		t.Errorf("ACL GENPASS 5: %s", got)
	}
	if got := c.do("ACL CAT"); !strings.HasPrefix(got, `["keyspace", "read", `) || !strings.HasSuffix(got, `"scripting"]`) {
		t.Errorf("ACL CAT: %s", got)
	}
	c.do("HELLO 3")
	for _, tc := range []struct{ line, want string }{
		{"CLIENT TRACKINGINFO", `{"flags", ~["off"], "redirect", :-1, "prefixes", []}`},
		{"FUNCTION STATS", `{"running_script", nil, "engines", {}}`},
		{"ACL GETUSER default", `{"flags", ~["on", "nopass"], "passwords", [], "commands", "+@all", "keys", "~*", "channels", "&*", "selectors", []}`},
		{"ACL GETUSER nosuch", "nil"},
		{"CONFIG GET timeout stream-idmp-m*", `{"timeout", "7", "stream-idmp-maxsize", "6"}`},
		{"LATENCY HISTOGRAM foo", "{}"},
		{"LATENCY DOCTOR", "=Latency monitoring is disabled on this node. CONFIG SET latency-monitor-threshold <milliseconds> turns it on.\n"},
	} {
		c.want(tc.line, tc.want)
	}
}

// When a shard cannot take its part of a CONFIG SET, the reply is an error, and the node's own
// parameters stay as they were. A transaction may change those, but not the shards' ones.
func TestConfigSetWithoutALeader(t *testing.T) {
	g := newRig(t, 2, func(c *Config) { c.Limits.Patience = 50 * time.Millisecond })
	g.cl.move(1, -1)
	c := g.dial()
	c.want("CONFIG SET timeout 9 stream-idmp-maxsize 7", "-"+textNoLeader)
	c.want("CONFIG GET timeout", `["timeout", "0"]`)
	c.want("MULTI", "+OK")
	c.want("CONFIG GET stream-*", "+QUEUED")
	c.want("CONFIG SET stream-idmp-maxsize 7", "+QUEUED")
	c.want("CONFIG SET timeout 3", "+QUEUED")
	c.want("CONFIG GET timeout", "+QUEUED")
	c.want("EXEC", `[-`+textConfigInExec+`, -`+textConfigInExec+`, +OK, ["timeout", "3"]]`)
}

// A command or a transaction whose reply the client wants to cache is refused.
// The connection goes on as before.
func TestCachingIsRefused(t *testing.T) {
	g := newRig(t, 1, nil)
	c := g.dial()
	c.want("CLIENT TRACKING ON OPTIN", "+OK")
	c.want("CLIENT CACHING YES", "-"+textCaching)
	c.want("XLEN s", "-"+textCaching)
	c.want("XLEN s", ":0")
	c.want("CLIENT CACHING YES", "-"+textCaching)
	c.want("MULTI", "+OK")
	c.want("XLEN s", "+QUEUED")
	c.want("EXEC", "-EXECABORT Transaction discarded because of previous errors.")
	c.want("MULTI", "+OK")
	c.want("XLEN s", "+QUEUED")
	c.want("EXEC", "[:0]")
	c.want("CLIENT CACHING YES", "-"+textCaching)
	c.want("CLIENT TRACKING OFF", "+OK")
	c.want("CLIENT GETREDIR", ":-1")
}

func TestConfigMaxClients(t *testing.T) {
	g := newRig(t, 1, nil)
	c := g.dial()
	c.want("CONFIG SET maxclients 1", "+OK")
	d := g.dial()
	if got := d.recv(); got != "-"+textMaxClients {
		t.Errorf("got %s", got)
	}
	d.ended()
	c.want("CONFIG SET maxclients 2", "+OK")
	g.dial().want("PING", "+PONG")
}

func TestSlowlog(t *testing.T) {
	g := newRig(t, 1, func(c *Config) { c.RequirePass = "secret" })
	c := g.dial()
	c.want("AUTH secret", "+OK")
	c.want("CLIENT SETNAME me", "+OK")
	c.want("SLOWLOG RESET", "+OK")
	c.want("CONFIG SET slowlog-log-slower-than 0 slowlog-max-len 6", "+OK")
	c.want("AUTH default secret", "+OK")
	c.do("HELLO 2 AUTH default secret SETNAME me")
	c.do("CONFIG SET requirepass hidden")
	c.do("ACL SETUSER joe >hidden")
	c.do("NOSUCH secret")
	c.send(strings.TrimSpace("DEL " + strings.Repeat("k ", 40)))
	c.recv()
	c.do("ECHO " + strings.Repeat("x", 200))
	c.want("CONFIG SET slowlog-log-slower-than -1", "+OK")
	c.want("SLOWLOG LEN", ":6")
	var got []string
	c.send("SLOWLOG GET -1")
	v, err := c.read()
	if err != nil {
		t.Fatal(err)
	}
	for i, e := range v.Elems {
		if len(e.Elems) != 6 || e.Elems[4].Kind != resp.KindBulk || string(e.Elems[5].Str) != "me" || e.Elems[2].Int < 0 {
			t.Errorf("entry %d: %s", i, show(e))
			continue
		}
		got = append(got, show(e.Elems[3]))
	}
	want := []string{
		`["ECHO", "` + strings.Repeat("x", 128) + `... (72 more bytes)"]`,
		`["DEL", ` + strings.Repeat(`"k", `, 30) + `"... (10 more arguments)"]`,
		`["ACL", "SETUSER", "joe", "(redacted)"]`,
		`["CONFIG", "SET", "requirepass", "(redacted)"]`,
		`["HELLO", "2", "AUTH", "(redacted)", "(redacted)", "SETNAME", "me"]`,
		`["AUTH", "(redacted)", "(redacted)"]`,
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	c.want("CONFIG SET slowlog-max-len 2", "+OK")
	c.want("SLOWLOG LEN", ":2")
	c.send("SLOWLOG GET 1")
	if v, err = c.read(); err != nil || len(v.Elems) != 1 || show(v.Elems[0].Elems[3]) != want[0] {
		t.Errorf("SLOWLOG GET 1: %s, %v", show(v), err)
	}
	c.want("SLOWLOG RESET", "+OK")
	c.want("SLOWLOG GET", "[]")
}

// A blocked call waits on purpose, so SLOWLOG and LATENCY do not report it as slow.
func TestBlockedIsNotSlow(t *testing.T) {
	g := newRig(t, 1, nil)
	c := g.dial()
	c.want("CONFIG SET slowlog-log-slower-than 0 latency-monitor-threshold 1", "+OK")
	c.want("SLOWLOG RESET", "+OK")
	c.want("XREAD BLOCK 20 STREAMS s 0", "nilarray")
	if got := c.do("SLOWLOG GET"); strings.Contains(got, "XREAD") || !strings.Contains(got, "RESET") {
		t.Errorf("SLOWLOG GET: %s", got)
	}
	if got := c.do("LATENCY HISTORY command"); got != "[]" {
		t.Errorf("LATENCY HISTORY: %s", got)
	}
}

func TestLatency(t *testing.T) {
	g := newRig(t, 1, nil)
	c := g.dial()
	c.want("PING", "+PONG")
	c.want("XLEN s", ":0")
	if got := c.do("LATENCY HISTOGRAM xlen config"); !strings.HasPrefix(got, `["xlen", ["calls", :1, "histogram_usec", [:`) {
		t.Errorf("LATENCY HISTOGRAM: %s", got)
	}
	if got := c.do("LATENCY HISTOGRAM"); !strings.Contains(got, `"ping", [`) || !strings.Contains(got, `"latency|histogram", [`) {
		t.Errorf("LATENCY HISTOGRAM: %s", got)
	}
	g.r.events.add(eventCommand, time.Unix(100, 0), 5)
	g.r.events.add(eventCommand, time.Unix(100, 5), 9)
	g.r.events.add(eventCommand, time.Unix(101, 0), 7)
	g.r.events.add(eventFast, time.Unix(101, 0), 3)
	c.want("LATENCY LATEST", `[["command", :101, :7, :9], ["fast-command", :101, :3, :3]]`)
	c.want("LATENCY HISTORY command", "[[:100, :9], [:101, :7]]")
	if got := c.do("LATENCY DOCTOR"); !strings.Contains(got, "command: 2 seconds with slow commands, the longest of each took 8 ms on average, 9 ms at most.") {
		t.Errorf("LATENCY DOCTOR: %s", got)
	}
	if got := c.do("LATENCY GRAPH command"); !strings.Contains(got, "command - high 9 ms, low 7 ms (all time high 9 ms)") {
		t.Errorf("LATENCY GRAPH: %s", got)
	}
	c.want("LATENCY RESET nosuch fast-command", ":1")
	c.want("LATENCY RESET", ":1")
	c.want("LATENCY LATEST", "[]")
	for i := range maxSamples + 5 {
		g.r.events.add(eventFast, time.Unix(int64(i), 0), 1)
	}
	if samples, _ := g.r.events.history(eventFast); len(samples) != maxSamples || samples[0].unix != 5 {
		t.Errorf("%d samples, the first of %d", len(samples), samples[0].unix)
	}
}

func TestMonitor(t *testing.T) {
	g := newRig(t, 1, func(c *Config) { c.RequirePass = "secret" })
	m, c := g.dial(), g.dial()
	m.want("AUTH secret", "+OK")
	m.want("MONITOR", "+OK")
	c.want("AUTH secret", "+OK")
	c.want("CONFIG GET nosuch", "[]") // a command for administrators is not shown
	c.do("NOSUCH")                    // nor an unknown command
	c.want("ECHO a\"\\\x01b", `"a\"\\\x01b"`)
	c.want("MULTI", "+OK")
	c.want("XADD s 1-1 f v", "+QUEUED")
	c.want("EXEC", `["1-1"]`)
	from := "[0 " + c.nc.LocalAddr().String() + "]"
	for _, want := range []string{
		`"AUTH" "(redacted)"`, `"ECHO" "a\"\\\x01b"`, `"MULTI"`, `"XADD" "s" "1-1" "f" "v"`, `"EXEC"`,
	} {
		got := m.recv()
		at, rest, ok := strings.Cut(strings.TrimPrefix(got, "+"), " ")
		if !ok || rest != from+" "+want || len(at) < len("1700000000.000000") {
			t.Errorf("got %s, want … %s %s", got, from, want)
		}
	}
	if got := c.do("CLIENT LIST"); !strings.Contains(got, " flags=O ") {
		t.Errorf("CLIENT LIST shows no monitor: %s", got)
	}
	// RESET ends MONITOR. After its own line comes its reply, and no more lines.
	m.send("RESET")
	if got := m.recv(); !strings.HasSuffix(got, `"RESET"`) {
		t.Errorf("got %s", got)
	}
	if got := m.recv(); got != "+RESET" {
		t.Errorf("got %s", got)
	}
	c.want("PING", "+PONG")
	m.want("AUTH secret", "+OK")
	if g.r.monitors.list.Load() != nil {
		t.Error("there is a monitor after RESET")
	}
}

// A monitor that does not read is closed. The clients that it shows do not notice.
func TestSlowMonitor(t *testing.T) {
	g := newRig(t, 1, func(c *Config) {
		c.Limits.OutputSoftBytes, c.Limits.OutputHardBytes = 1<<16, 1<<20
	})
	m, c := g.dial(), g.dial()
	m.want("MONITOR", "+OK")
	word := strings.Repeat("x", 100_000)
	eventually(t, "the monitor is dropped", func() bool {
		if got := c.do("ECHO " + word); len(got) != len(word)+2 {
			t.Fatalf("ECHO returned %d bytes", len(got))
		}
		return g.r.monitors.list.Load() == nil
	})
	var many []*client
	for range maxMonitors {
		d := g.dial()
		d.want("MONITOR", "+OK")
		many = append(many, d)
	}
	c.want("MONITOR", "-ERR Too many connections are in MONITOR")
	many[0].nc.Close()
	eventually(t, "a monitor that left makes room", func() bool { return c.do("MONITOR") == "+OK" })
}

func TestPauseWrites(t *testing.T) {
	g := newRig(t, 1, nil)
	a, b, c := g.dial(), g.dial(), g.dial()
	a.want("CLIENT PAUSE 100000 WRITE", "+OK")
	a.want("CLIENT PAUSE 1 WRITE", "+OK") // does not shorten the pause
	b.send("XADD s 1-1 f v")
	c.send("MULTI", "XADD s 2-1 f v", "EXEC")
	for _, want := range []string{"+OK", "+QUEUED"} {
		if got := c.recv(); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	if got := a.do("INFO clients"); !strings.Contains(got, `paused_reason:client_pause\r\npaused_actions:write\r\n`) {
		t.Errorf("INFO clients: %s", got)
	}
	a.want("XLEN s", ":0") // reads are not paused
	a.want("CLIENT UNPAUSE", "+OK")
	if got := b.recv(); got != `"1-1"` && got != "-ERR The ID specified in XADD is equal or smaller than the target stream top item" {
		t.Errorf("got %s", got)
	}
	if got := c.recv(); got != `["2-1"]` {
		t.Errorf("got %s", got)
	}
}

// CLIENT PAUSE without WRITE holds all commands except CLIENT UNPAUSE. It ends when its time is
// over, and Drain does not wait for that.
func TestPauseAll(t *testing.T) {
	g := newRig(t, 1, nil)
	a, b, c := g.dial(), g.dial(), g.dial()
	c.want("PING", "+PONG")
	a.want("CLIENT PAUSE 100000", "+OK")
	b.send("PING")
	c.want("CLIENT UNPAUSE", "+OK")
	if got := b.recv(); got != "+PONG" {
		t.Errorf("got %s", got)
	}
	a.want("CLIENT PAUSE 1 ALL", "+OK")
	b.want("PING", "+PONG") // the pause ended after 1 ms
	a.want("CLIENT PAUSE 100000 ALL", "+OK")
	b.send("PING")
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := g.r.Drain(ctx); err != nil {
		t.Errorf("Drain: %v", err)
	}
}

// WAIT answers at once if enough replicas have the writes on disk. Otherwise it asks again,
// and never answers more than the leader says.
func TestWait(t *testing.T) {
	stored := make(chan map[string]uint64, 1)
	stored <- map[string]uint64{"b": 9, "c": 3}
	g := newRig(t, 1, func(c *Config) {
		c.Progress = func(ctx context.Context, shard uint32) (Progress, error) {
			if shard != 1 {
				return Progress{}, fmt.Errorf("asked of shard %d", shard)
			}
			m := <-stored
			stored <- m
			return Progress{Sure: 1, Commit: 9, Others: m}, nil
		}
	})
	c, d := g.dial(), g.dial()
	c.want("XADD s 1-1 f v", `"1-1"`)
	c.want("WAIT 1 0", ":1") // of three replicas, a majority is the leader and one more
	c.want("WAIT 2 30", ":1")
	c.want("WAITAOF 1 2 30", "[:1, :1]")
	c.send("WAIT 2 0")
	eventually(t, "WAIT waits", func() bool { return strings.Contains(d.do("INFO clients"), `blocked_clients:1\r\n`) })
	<-stored
	stored <- map[string]uint64{"b": 9, "c": 10}
	if got := c.recv(); got != ":2" {
		t.Errorf("got %s", got)
	}
	c.want("WAITAOF 0 2 0", "[:1, :2]")
	c.send("WAIT 3 0")
	eventually(t, "WAIT can be unblocked", func() bool { return d.do("CLIENT UNBLOCK 1") == ":1" })
	if got := c.recv(); got != ":2" {
		t.Errorf("got %s", got)
	}
	c.send("WAIT 3 0")
	eventually(t, "WAIT can be unblocked", func() bool { return d.do("CLIENT UNBLOCK 1 ERROR") == ":1" })
	if got := c.recv(); got != "-"+textUnblocked {
		t.Errorf("got %s", got)
	}
	c.want("MULTI", "+OK")
	c.want("WAIT 3 0", "+QUEUED")
	c.want("EXEC", "[:0]")
	d.want("WAIT 1 0", ":2") // this client has written nothing
}

// WAIT answers 0 when no replica tells its progress.
func TestWaitWithoutAnswer(t *testing.T) {
	g := newRig(t, 1, func(c *Config) {
		c.Progress = func(context.Context, uint32) (Progress, error) { return Progress{}, errors.New("nobody answers") }
	})
	c := g.dial()
	c.want("XADD s 1-1 f v", `"1-1"`)
	c.want("WAIT 1 20", ":0")
}

// The known progress of a replica counts, even when it no longer answers.
func TestWaitKeepsWhatItKnows(t *testing.T) {
	var asked atomic.Int32
	g := newRig(t, 1, func(c *Config) {
		c.Progress = func(context.Context, uint32) (Progress, error) {
			if asked.Add(1) > 1 {
				return Progress{}, errors.New("nobody answers")
			}
			return Progress{Commit: 5, Others: map[string]uint64{"b": 5, "c": 5}}, nil
		}
	})
	c := g.dial()
	c.want("XADD s 1-1 f v", `"1-1"`)
	c.want("WAIT 3 20", ":2")
	if n := asked.Load(); n < 2 {
		t.Errorf("asked %d times", n)
	}
}

func TestShutdown(t *testing.T) {
	asked := make(chan struct{})
	g := newRig(t, 1, func(c *Config) { c.Shutdown = func() { close(asked) } })
	c := g.dial()
	c.want("MULTI", "+OK")
	c.want("SHUTDOWN", "-ERR Command not allowed inside a transaction")
	c.want("EXEC", "-EXECABORT Transaction discarded because of previous errors.")
	c.send("SHUTDOWN NOSAVE NOW FORCE")
	c.ended()
	<-asked
}

func TestClusterReplicas(t *testing.T) {
	g := newRig(t, 1, nil)
	c := g.dial()
	c.want("CLUSTER REPLICAS "+nodeID(1), "-ERR The specified node is not a master")
	if got := c.do("CLUSTER REPLICAS " + nodeID(0)); strings.Count(got, " slave "+nodeID(0)+" ") != 2 {
		t.Errorf("CLUSTER REPLICAS: %s", got)
	}
}

func TestRate(t *testing.T) {
	s := newStats(nil)
	if c, in, out := s.rate.perSecond(); c != 0 || in != 0 || out != 0 {
		t.Error("a rate without samples")
	}
	for i := range int64(20) {
		s.commands.Store(i * 100)
		s.bytesIn.Store(math.MaxInt32 * i)
		s.sample(1 + i*int64(sweepEvery))
	}
	if c, in, out := s.rate.perSecond(); c != 400 || in != 4*math.MaxInt32 || out != 0 {
		t.Errorf("%d commands, %d bytes in, %d out", c, in, out)
	}
	s.commands.Store(0)
	s.sample(1 + 20*int64(sweepEvery))
	if c, _, _ := s.rate.perSecond(); c != 0 {
		t.Errorf("%d commands after a reset", c)
	}
}

package router

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"millrace/call"
	"millrace/resp"
	"millrace/stream"
)

// connectionReplies are commands about the connection with their replies, in RESP2.
var connectionReplies = []struct{ line, want string }{
	{"PING a b", "-ERR wrong number of arguments for 'ping' command"},
	{"ECHO", "-ERR wrong number of arguments for 'echo' command"},
	{"HELLO 4", "-NOPROTO unsupported protocol version"},
	{"HELLO abc", "-ERR Protocol version is not an integer or out of range"},
	{"HELLO +2", "-ERR Protocol version is not an integer or out of range"},
	{"HELLO 99999999999999999999", "-ERR Protocol version is not an integer or out of range"},
	{"HELLO 3 FOO", "-ERR Syntax error in HELLO option 'FOO'"},
	{"HELLO 2 AUTH a", "-ERR Syntax error in HELLO option 'AUTH'"},
	{"HELLO 2 SETNAME", "-ERR Syntax error in HELLO option 'SETNAME'"},
	{"HELLO 2 SETNAME foo", `["server", "redis", "version", "8.6.3", "proto", :2, "id", :1, "mode", "cluster", "role", "master", "modules", []]`},
	{"CLIENT GETNAME", `"foo"`},
	{`CLIENT SETNAME ""`, "+OK"},
	{"CLIENT GETNAME", "nil"},
	{"CLIENT SETNAME bar", "+OK"},
	{"CLIENT SETNAME a\x01b", "-" + textBadName},
	{"CLIENT SETINFO LIB-NAME x", "+OK"},
	{"CLIENT SETINFO lib-ver 1.0", "+OK"},
	{"CLIENT SETINFO LIB-VER \x01", "-ERR LIB-VER cannot contain spaces, newlines or special characters."},
	{"CLIENT SETINFO Lib-Name \x01", "-ERR Lib-Name cannot contain spaces, newlines or special characters."},
	{"CLIENT SETINFO FOO x", "-ERR Unrecognized option 'FOO'"},
	{"CLIENT MAINT_NOTIFICATIONS ON", "-ERR unknown subcommand 'MAINT_NOTIFICATIONS'. Try CLIENT HELP."},
	{"CLIENT NO-EVICT ON", "+OK"},
	{"CLIENT NO-TOUCH x", "-ERR syntax error"},
	{"CLIENT CACHING YES", "-ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or OPTOUT mode enabled"},
	{"CLIENT TRACKING ON OPTIN", "+OK"},
	{"CLIENT CACHING NO", "-ERR CLIENT CACHING NO is only valid when tracking is enabled in OPTOUT mode."},
	{"CLIENT CACHING YES", "-ERR CLIENT CACHING YES is not supported: no invalidations are sent, so nothing may be cached"},
	{"CLIENT TRACKING ON OPTIN OPTOUT", "-ERR You can't specify both OPTIN mode and OPTOUT mode"},
	{"CLIENT TRACKING ON FOO", "-ERR syntax error"},
	{"CLIENT TRACKING OFF", "+OK"},
	{"CLIENT GETREDIR", ":-1"},
	{"CLIENT", "-ERR wrong number of arguments for 'client' command"},
	{"CLIENT ID x", "-ERR wrong number of arguments for 'client|id' command"},
	{"CLIENT LIST TYPE foo", "-ERR Unknown client type 'foo'"},
	{"CLIENT LIST ID x", "-ERR Invalid client ID"},
	{"CLIENT LIST ID 99999", `""`},
	{"CLIENT LIST ID -1", `""`},
	{"CLIENT LIST ID 01", "-ERR Invalid client ID"},
	{"CLIENT LIST TYPE pubsub", `""`},
	{"CLIENT LIST ID", "-ERR syntax error"},
	{"CLIENT KILL 1.2.3.4:5", "-ERR No such client"},
	{"CLIENT KILL ID 99999", ":0"},
	{"CLIENT KILL ID 0", "-ERR client-id should be greater than 0"},
	{"CLIENT KILL ID 01", "-ERR client-id should be greater than 0"},
	{"CLIENT KILL MAXAGE 0", "-ERR maxage should be greater than 0"},
	{"CLIENT KILL MAXAGE x", "-ERR maxage is not an integer or out of range"},
	{"CLIENT PAUSE 9223372036854775807", "-ERR timeout is out of range"},
	{"CLIENT KILL USER nosuch", "-ERR No such user 'nosuch'"},
	{"CLIENT KILL TYPE x", "-ERR Unknown client type 'x'"},
	{"CLIENT KILL ID 3 ADDR", "-ERR syntax error"},
	{"CLIENT UNBLOCK x", "-ERR value is not an integer or out of range"},
	{"CLIENT UNBLOCK 99999 FOO", "-ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR"},
	{"CLIENT UNBLOCK 99999", ":0"},
	{"CLIENT REPLY x", "-ERR syntax error"},
	{"CLIENT REPLY ON", "+OK"},
	{"SELECT 0", "+OK"},
	{"SELECT 1", "-ERR SELECT is not allowed in cluster mode"},
	{"SELECT x", "-ERR value is not an integer or out of range"},
	{"SELECT 00", "-ERR value is not an integer or out of range"},
	{"SELECT 2147483648", "-ERR value is out of range, value must between -2147483648 and 2147483647"},
	{"WAITAOF 2 0 0", "-ERR value is out of range, value must between 0 and 1"},
	{"READONLY", "+OK"}, {"READWRITE", "+OK"}, {"ASKING", "+OK"},
	{"ROLE", `["master", :0, []]`},
	{"RESET x", "-ERR wrong number of arguments for 'reset' command"},
	{"COMMAND GETKEYS xread streams a b 1 2", `["a", "b"]`},
	{"COMMAND GETKEYS xreadgroup group streams count streams a b 1 2", `["a", "b"]`},
	{"COMMAND GETKEYS xgroup create a b c", `["a"]`},
	{"COMMAND GETKEYS del a b", `["a", "b"]`},
	{"COMMAND GETKEYS xread count 1 streams a b c", `["a"]`},
	{"COMMAND GETKEYS xread foo streams a b c d", `["a", "b"]`},
	{"COMMAND GETKEYS xreadgroup streams streams c streams a 0", `["a"]`},
	{"COMMAND GETKEYS xread streams a b", `["a"]`},
	{"COMMAND GETKEYS xread count 1 streams a", "-ERR Invalid arguments specified for command"},
	{"COMMAND GETKEYS xread a b c", "-ERR Invalid arguments specified for command"},
	{"COMMAND GETKEYS xgroup", "-ERR The command has no key arguments"},
	{"COMMAND GETKEYS xgroup foo a", "-ERR Invalid command specified"},
	{"COMMAND GETKEYS echo", "-ERR The command has no key arguments"},
	{"COMMAND GETKEYSANDFLAGS set a get", `[["a", [+OW, +update]]]`},
	{"COMMAND GETKEYSANDFLAGS set a b GET", `[["a", [+RW, +access, +update]]]`},
	{"COMMAND GETKEYSANDFLAGS set a b ifeq c", `[["a", [+RW, +update]]]`},
	{"COMMAND GETKEYS ping", "-ERR The command has no key arguments"},
	{"COMMAND GETKEYS foo", "-ERR Invalid command specified"},
	{"COMMAND GETKEYS xadd a", "-ERR Invalid number of arguments specified for command"},
	{"COMMAND GETKEYSANDFLAGS del a", `[["a", [+RM, +delete]]]`},
	{"COMMAND GETKEYSANDFLAGS xread streams a b 1 1", `[["a", [+RO, +access]], ["b", [+RO, +access]]]`},
	{"COMMAND INFO foo", "[nil]"},
	{"COMMAND INFO xlen", `[["xlen", :2, [+readonly, +fast], :1, :1, :1, [+@read, +@stream, +@fast], [], ` +
		`[["flags", [+RO], "begin_search", ["type", "index", "spec", ["index", :1]], "find_keys", ["type", "range", "spec", ["lastkey", :0, "keystep", :1, "limit", :0]]]], []]]`},
	{"COMMAND DOCS foo", "[]"},
	{"COMMAND LIST FILTERBY PATTERN xgroup|s*", `["xgroup|setid"]`},
	{"COMMAND LIST FILTERBY MODULE x", "[]"},
	{"COMMAND LIST FILTERBY foo x", "-ERR syntax error"},
	{"COMMAND LIST x", "-ERR syntax error"},
	{"CONFIG GET save", `["save", ""]`},
	{"CONFIG GET nosuch", "[]"},
	{"CONFIG GET save MAXMEM*", `["maxmemory", "0", "maxmemory-policy", "noeviction", "save", ""]`},
	{"CONFIG SET nosuch 1", "-ERR Unknown option or number of arguments for CONFIG SET - 'nosuch'"},
	{"CONFIG FOO", "-ERR unknown subcommand 'FOO'. Try CONFIG HELP."},
	{"CONFIG RESETSTAT", "+OK"},
	{"TIME x", "-ERR wrong number of arguments for 'time' command"},
	{"CLUSTER KEYSLOT foo{bar}baz", ":5061"},
	{"CLUSTER MYID", `"` + nodeID(0) + `"`},
	{"CLUSTER LINKS", "[]"},
	{"CLUSTER FOO", "-ERR unknown subcommand 'FOO'. Try CLUSTER HELP."},
	{"CLUSTER MEET a 1", "-ERR CLUSTER MEET is not supported: Millrace places shards by itself. See: millrace status"},
	{"INFO nosuch", `""`},
	{"INFO cluster", `"# Cluster\r\ncluster_enabled:1\r\n"`},
	{"XINFO HELP x", "-ERR wrong number of arguments for 'xinfo|help' command"},
}

// The replies and error texts are those of Redis 8.6.3 in cluster mode, except for refusals of
// our own such as that of CLUSTER MEET.
func TestConnectionCommands(t *testing.T) {
	g := newRig(t, 2, nil)
	c := g.dial()
	for _, tc := range connectionReplies {
		c.want(strings.ReplaceAll(tc.line, "\t", " "), tc.want)
	}
}

// INFO answers a bulk string in RESP2, in which show quotes the line ends, and in RESP3 a
// verbatim string, which show leaves as it is.
func TestInfo(t *testing.T) {
	g := newRig(t, 1, func(c *Config) {
		c.Version = "1.2.3"
		c.Info = func(section string) []InfoField {
			switch section {
			case "keyspace":
				return []InfoField{{"db0", "keys=3"}}
			case "memory":
				return []InfoField{{"maxmemory", "77"}}
			}
			return nil
		}
	})
	c := g.dial()
	c.do("XADD s")
	c.do("XLEN s")
	c.do("FOO")
	info := c.do("INFO everything")
	for _, want := range []string{
		`# Server\r\nredis_version:8.6.3\r\n`, `millrace_version:1.2.3\r\nredis_mode:cluster\r\n`, `maxmemory_human:77B\r\n`,
		`# CPU\r\nused_cpu_sys:`, `# Latencystats\r\nlatency_percentiles_usec_xlen:p50=`, `loading:0\r\n`, `role:master\r\n`,
		`connected_clients:1\r\n`, `maxmemory:77\r\n`, `# Keyspace\r\ndb0:keys=3\r\n`, `errorstat_ERR:count=2\r\n`,
		`cmdstat_xadd:calls=0,usec=0,usec_per_call=0.00,rejected_calls=1,failed_calls=0\r\n`, `cmdstat_xlen:calls=1,`,
		`aof_rewrite_in_progress:0\r\n`, `rdb_changes_since_last_save:0\r\n`,
	} {
		if !strings.Contains(info, want) {
			t.Errorf("INFO lacks %s in:\n%s", want, info)
		}
	}
	if def := c.do("INFO"); strings.Contains(def, "Commandstats") || !strings.Contains(def, "# Errorstats") {
		t.Errorf("INFO without a section: %s", def)
	}
	c.do("HELLO 3")
	if got := c.do("INFO server clients"); !strings.HasPrefix(got, "=# Server\r\n") || !strings.Contains(got, "\r\n\r\n# Clients\r\n") {
		t.Errorf("INFO server clients: %s", got)
	}
	counters := make(map[string]float64)
	for _, n := range g.r.Counters() {
		counters[n.Name+" "+n.Label] = n.Value
	}
	if counters["connections "] != 1 || counters["commands xlen"] != 1 || counters["error_replies "] != 2 {
		t.Errorf("counters: %v", counters)
	}
}

// Clients of Redis Cluster learn the topology, also while no leader is known.
func TestClusterCommands(t *testing.T) {
	g := newRig(t, 3, nil)
	g.cl.move(1, 1)
	c := g.dial()
	if got := c.do("CLUSTER INFO"); !strings.Contains(got, `cluster_state:ok\r\ncluster_slots_assigned:16384\r\ncluster_slots_ok:16384\r\n`) ||
		!strings.Contains(got, `cluster_known_nodes:3\r\ncluster_size:2\r\ncluster_current_epoch:7\r\n`) {
		t.Errorf("got %s", got)
	}
	node := func(i int) string { return fmt.Sprintf(`["127.0.0.1", :%d, "%s", []]`, 7000+i, nodeID(i)) }
	c.want("CLUSTER SLOTS", fmt.Sprintf("[[:0, :5460, %s, %s], [:5461, :10921, %s], [:10922, :16383, %s, %s]]",
		node(0), node(2), node(1), node(0), node(2)))
	nodes := nodeID(0) + " 127.0.0.1:7000@17000 myself,master - 0 0 7 connected 0-5460 10922-16383\\n" +
		nodeID(1) + " 127.0.0.1:7001@17001 master - 0 0 7 connected 5461-10921\\n" +
		nodeID(2) + " 127.0.0.1:7002@17002 slave " + nodeID(0) + " 0 0 7 connected\\n"
	c.want("CLUSTER NODES", `"`+nodes+`"`)
	c.do("HELLO 3")
	member := func(i int, role string) string {
		return fmt.Sprintf(`{"id", "%s", "port", :%d, "ip", "127.0.0.1", "endpoint", "127.0.0.1", "role", "%s", "replication-offset", :0, "health", "online"}`,
			nodeID(i), 7000+i, role)
	}
	if got, want := c.do("CLUSTER SHARDS"), fmt.Sprintf(`{"slots", [:5461, :10921], "nodes", [%s]}`,
		member(1, "master")); !strings.Contains(got, want) {
		t.Errorf("CLUSTER SHARDS lacks %s in:\n%s", want, got)
	}

	// A shard without a known leader makes the state fail, and its 5462 slots count as failed.
	g.cl.move(2, -1)
	g.cl.hints.mu.Lock()
	delete(g.cl.hints.known, 3)
	g.cl.hints.mu.Unlock()
	if got := c.do("CLUSTER INFO"); !strings.Contains(got, "cluster_state:fail\r\n") || !strings.Contains(got, "cluster_slots_fail:5462\r\n") {
		t.Errorf("got %s", got)
	}
}

func TestClientListAndKill(t *testing.T) {
	g := newRig(t, 1, nil)
	a, b := g.dial(), g.dial()
	a.want("CLIENT SETNAME first", "+OK")
	b.want("MULTI", "+OK")
	b.want("PING", "+QUEUED")
	list := a.do("CLIENT LIST")
	lines := strings.Split(strings.Trim(list, `"`), `\n`)
	if len(lines) != 3 || !strings.HasPrefix(lines[0], "id=1 addr=127.0.0.1:") || !strings.Contains(lines[0], " name=first ") ||
		!strings.Contains(lines[0], " flags=N ") || !strings.Contains(lines[0], " cmd=client|list ") ||
		!strings.Contains(lines[1], " flags=x ") || !strings.Contains(lines[1], " multi=1 ") {
		t.Errorf("CLIENT LIST: %s", list)
	}
	if got := a.do("CLIENT LIST ID 2 3"); !strings.HasPrefix(got, `"id=2 `) {
		t.Errorf("CLIENT LIST ID: %s", got)
	}
	if got := b.do("EXEC"); got != "[+PONG]" {
		t.Errorf("got %s", got)
	}
	a.want("CLIENT KILL ID 2", ":1")
	b.ended()
	d := g.dial()
	d.want("PING", "+PONG")
	a.want("CLIENT KILL TYPE normal", ":1")
	d.ended()
	a.want("CLIENT KILL TYPE normal SKIPME no", ":1") // ends its own connection too, after the reply
	a.ended()
	e, f := g.dial(), g.dial()
	e.want("PING", "+PONG")
	f.want("CLIENT KILL "+e.nc.LocalAddr().String(), "+OK")
	e.ended()
}

func TestClientReply(t *testing.T) {
	g := newRig(t, 1, nil)
	c := g.dial()
	c.send("CLIENT REPLY SKIP", "XADD s 1-1 a b", "XLEN s")
	if got := c.recv(); got != ":1" {
		t.Errorf("got %s", got)
	}
	c.send("CLIENT REPLY OFF", "XADD s 2-1 a b", "PING", "FOO", "CLIENT REPLY ON", "XLEN s")
	for _, want := range []string{"+OK", ":2"} {
		if got := c.recv(); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

// READONLY reads come from this node's replica while it has one, wherever the leader is.
func TestReadOnly(t *testing.T) {
	g := newRig(t, 1, nil)
	c := g.dial()
	c.want("XADD s 1-1 a b", `"1-1"`)
	c.want("READONLY", "+OK")
	g.cl.move(0, -1) // the shard has no leader now
	c.want("XLEN s", ":1")
	g.cl.move(0, 1)
	c.want("XADD s 2-1 a b", `"2-1"`) // writes go to the leader
	c.want("XLEN s", ":2")
	// An EXEC with several reads asks the leader, as all transactions do.
	var kinds []call.Kind
	g.cl.setFault(func(_ string, c *call.Call) fault {
		kinds = append(kinds, c.Kind)
		return fault{}
	})
	for _, line := range []string{"MULTI +OK", "XLEN_s +QUEUED", "XLEN_s +QUEUED", "EXEC [:2,_:2]", "XLEN_s :2"} {
		command, reply, _ := strings.Cut(line, " ")
		c.want(strings.ReplaceAll(command, "_", " "), strings.ReplaceAll(reply, "_", " "))
	}
	if want := []call.Kind{call.Read, call.ReadStale}; !slices.Equal(kinds, want) {
		t.Errorf("calls of kinds %v, want %v", kinds, want)
	}
	g.cl.setFault(nil)
	c.want("READWRITE", "+OK")
	c.want("XLEN s", ":2")
}

func TestCommandTable(t *testing.T) {
	g := newRig(t, 1, nil)
	c := g.dial()
	c.send("COMMAND")
	v, err := c.read()
	if err != nil {
		t.Fatal(err)
	}
	if c.do("COMMAND COUNT") != fmt.Sprintf(":%d", len(v.Elems)) {
		t.Errorf("COMMAND has %d elements, COMMAND COUNT another number", len(v.Elems))
	}
	c.send("COMMAND DOCS")
	docs, err := c.read()
	if err != nil || len(docs.Elems) != 2*len(v.Elems) {
		t.Errorf("COMMAND DOCS has %d elements, %v", len(docs.Elems), err)
	}
	// Every command can be run: it has a handler, or the state machine runs it.
	for _, cmd := range g.r.sorted() {
		for _, one := range append(cmd.Subcommands, cmd) {
			if len(one.Subcommands) == 0 && !stream.Runs(one) && g.r.handlers[one] == nil {
				t.Errorf("nothing runs %s", one.Name)
			}
			if one.Summary == "" || one.Since == "" || one.Group == "" && !strings.Contains(one.Name, "|") {
				t.Errorf("%s lacks a summary, version or group", one.Name)
			}
		}
	}
	// Every HELP answers simple strings.
	for _, container := range []string{"CLIENT", "CLUSTER", "COMMAND", "CONFIG", "XGROUP", "XINFO"} {
		c.send(container + " HELP")
		v, err := c.read()
		if err != nil || len(v.Elems) == 0 || v.Elems[0].Kind != resp.KindSimple {
			t.Errorf("%s HELP: %s, %v", container, show(v), err)
		}
	}
}

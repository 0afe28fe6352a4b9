package diff

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"millrace/resp"
	"millrace/test/cluster"
)

// shape describes the types in a reply without its values: a map by its keys and their
// types, a list by the types of its elements. For example, a list of two bulk strings and
// an integer is "*[bulk, int]".
func shape(v resp.Value) string {
	switch v.Kind {
	case resp.KindMap:
		var out []string
		for i := 0; i+1 < len(v.Elems); i += 2 {
			out = append(out, v.Elems[i].String()+": "+shape(v.Elems[i+1]))
		}
		return "{" + strings.Join(out, ", ") + "}"
	case resp.KindArray, resp.KindSet, resp.KindPush:
		var kinds []string
		for _, e := range v.Elems {
			if s := shape(e); !slices.Contains(kinds, s) {
				kinds = append(kinds, s)
			}
		}
		return map[resp.Kind]string{resp.KindArray: "*", resp.KindSet: "~", resp.KindPush: ">"}[v.Kind] + "[" + strings.Join(kinds, ", ") + "]"
	case resp.KindError:
		return v.String()
	}
	return map[resp.Kind]string{
		resp.KindNull: "null", resp.KindNullArray: "null array", resp.KindInt: "int", resp.KindBulk: "bulk", resp.KindSimple: "simple",
		resp.KindDouble: "double", resp.KindBool: "bool", resp.KindVerbatim: "verbatim",
	}[v.Kind]
}

// shapeLines are sent in turn, in RESP3, to a node and to a Redis in cluster mode.
var shapeLines = []string{
	"HELLO 3", "PING", "PING x", "ECHO x", "TIME", "ROLE", "LASTSAVE", "DBSIZE", "LOLWUT", "COMMAND COUNT",
	"INFO", "INFO server", "INFO commandstats", "INFO nosuch",
	"CLIENT ID", "CLIENT GETNAME", "CLIENT SETNAME me", "CLIENT GETNAME", "CLIENT INFO", "CLIENT LIST", "CLIENT LIST ID 999999", "CLIENT TRACKINGINFO",
	"CLIENT GETREDIR", "CLIENT NO-EVICT ON", "CLIENT KILL ID 999999", "CLIENT UNBLOCK 999999", "CLIENT PAUSE 0", "CLIENT UNPAUSE", "CLIENT HELP",
	"CONFIG GET maxclients", "CONFIG GET nosuch", "CONFIG GET save timeout", "CONFIG SET slowlog-max-len 100", "CONFIG RESETSTAT", "CONFIG HELP",
	"CONFIG SET slowlog-log-slower-than 0", "SET {s}str v", "SLOWLOG GET 1", "SLOWLOG LEN", "SLOWLOG RESET", "SLOWLOG HELP",
	"CONFIG SET slowlog-log-slower-than 10000",
	"LATENCY LATEST", "LATENCY HISTORY command", "LATENCY RESET", "LATENCY HISTOGRAM", "LATENCY HISTOGRAM set", "LATENCY HISTOGRAM nosuch",
	"LATENCY DOCTOR", "LATENCY HELP",
	"MEMORY USAGE {s}str", "MEMORY USAGE {s}none", "MEMORY DOCTOR", "MEMORY HELP", "MEMORY MALLOC-STATS", "MEMORY PURGE", "MEMORY STATS",
	"OBJECT ENCODING {s}str", "OBJECT ENCODING {s}none", "OBJECT IDLETIME {s}str", "OBJECT IDLETIME {s}none", "OBJECT REFCOUNT {s}str",
	"OBJECT REFCOUNT {s}none", "OBJECT FREQ {s}str", "OBJECT HELP",
	"ACL WHOAMI", "ACL USERS", "ACL LIST", "ACL CAT", "ACL CAT stream", "ACL GETUSER default", "ACL GETUSER nobody", "ACL GENPASS", "ACL LOG", "ACL LOG RESET",
	"ACL DRYRUN default GET x", "ACL HELP",
	"CLUSTER INFO", "CLUSTER MYID", "CLUSTER NODES", "CLUSTER SLOTS", "CLUSTER SHARDS", "CLUSTER KEYSLOT x", "CLUSTER COUNTKEYSINSLOT 0",
	"CLUSTER GETKEYSINSLOT 0 1", "CLUSTER LINKS", "CLUSTER REPLICAS nosuch", "CLUSTER COUNT-FAILURE-REPORTS nosuch", "CLUSTER HELP",
	"READONLY", "READWRITE", "ASKING", "MODULE LIST", "MODULE HELP", "SCRIPT EXISTS x", "SCRIPT FLUSH", "SCRIPT HELP",
	"FUNCTION LIST", "FUNCTION STATS", "FUNCTION FLUSH", "FUNCTION HELP", "WAIT 0 1", "COMMAND INFO get nosuch", "COMMAND LIST FILTERBY MODULE x",
	"COMMAND GETKEYS GET x", "COMMAND GETKEYSANDFLAGS GET x", "COMMAND DOCS nosuch", "COMMAND DOCS get", "COMMAND HELP",
	"XADD {s}a 1-1 f v", "XADD {s}a 1-2 f v", "XADD {s}none NOMKSTREAM * f v", "XLEN {s}a", "XRANGE {s}a - +", "XRANGE {s}a - + COUNT 0", "XREVRANGE {s}none + -",
	"XREAD STREAMS {s}a {s}b 0 0", "XREAD STREAMS {s}b 0", "XREAD COUNT 1 BLOCK 1 STREAMS {s}b 0", "XGROUP CREATE {s}a g 0", "XGROUP CREATECONSUMER {s}a g c",
	"XINFO STREAM {s}a", "XINFO STREAM {s}a FULL", "XINFO GROUPS {s}a", "XINFO CONSUMERS {s}a g", "XPENDING {s}a g",
	"XREADGROUP GROUP g c COUNT 1 STREAMS {s}a >", "XREADGROUP GROUP g c STREAMS {s}a 0", "XREADGROUP GROUP g c STREAMS {s}a >", "XREADGROUP GROUP g c STREAMS {s}a >",
	"XDEL {s}a 1-1", "XREADGROUP GROUP g c STREAMS {s}a 0", "XPENDING {s}a g", "XPENDING {s}a g - + 10", "XINFO STREAM {s}a FULL", "XINFO GROUPS {s}a",
	"XINFO CONSUMERS {s}a g", "XCLAIM {s}a g d 0 1-2", "XCLAIM {s}a g d 0 1-2 JUSTID", "XAUTOCLAIM {s}a g d 0 0", "XAUTOCLAIM {s}a g d 0 0 JUSTID", "XACK {s}a g 1-2",
	"XTRIM {s}a MAXLEN 0", "XINFO STREAM {s}a", "XSETID {s}a 9-9", "XGROUP DELCONSUMER {s}a g d", "XGROUP DESTROY {s}a g", "XINFO HELP", "XGROUP HELP",
	"GET {s}str", "GET {s}none", "MGET {s}str {s}none {s}a", "GETDEL {s}none", "GETEX {s}str EX 100", "GETSET {s}str w", "SET {s}str x GET", "SET {s}none2 x GET",
	"SET {s}str y NX", "TTL {s}str", "TYPE {s}a", "TYPE {s}none", "EXPIRE {s}str 10", "KEYS nosuch*", "RANDOMKEY", "SCAN 0 MATCH nosuch", "EXISTS {s}a", "DUMP {s}none",
	"HSET {s}h f v g 1", "HGETALL {s}h", "HGETALL {s}none", "HGET {s}h none", "HMGET {s}h f none", "HKEYS {s}h", "HSCAN {s}h 0", "HINCRBYFLOAT {s}h g 1.5",
	"ZADD {s}z 1 a 2 b 3 c", "ZADD {s}z INCR 1 a", "ZADD {s}z NX INCR 1 a", "ZRANGE {s}z 0 -1", "ZRANGE {s}z 0 -1 WITHSCORES", "ZRANGE {s}none 0 -1 WITHSCORES",
	"ZSCORE {s}z a", "ZSCORE {s}z none", "ZMSCORE {s}z a none", "ZRANK {s}z a", "ZRANK {s}z none", "ZSCAN {s}z 0", "ZINCRBY {s}z 1 a", "ZCOUNT {s}z 0 9",
	"ZPOPMIN {s}z", "ZPOPMAX {s}z 1", "ZPOPMIN {s}none", "OBJECT ENCODING {s}z",
	"COPY {s}a {s}c", "RENAME {s}c {s}d", "MULTI", "XLEN {s}a", "XINFO STREAM {s}a", "GET {s}none", "XREAD STREAMS {s}b 0", "EXEC", "WATCH {s}a", "SET {s}a v", "MULTI", "EXEC",
	"XLEN {s}a", "NOSUCH", "RESET",
}

// shapeDifferences has the lines whose replies have other types in Redis, with the reason.
var shapeDifferences = map[string]string{
	"NOSUCH": "Redis 8.6 has this text for a command without arguments.",
}

// onlyBoth removes from maps, at any depth, the fields that only one of them has. Other
// tests compare those.

func onlyBoth(a, b resp.Value) (resp.Value, resp.Value) {
	if a.Kind != b.Kind {
		return a, b
	}
	if a.Kind != resp.KindMap {
		for i := range min(len(a.Elems), len(b.Elems)) {
			a.Elems[i], b.Elems[i] = onlyBoth(a.Elems[i], b.Elems[i])
		}
		return a, b
	}
	x, y := resp.Value{Kind: a.Kind}, resp.Value{Kind: b.Kind}
	for i := 0; i+1 < len(a.Elems); i += 2 {
		if f := field(&b, string(a.Elems[i].Str)); f != nil {
			p, q := onlyBoth(a.Elems[i+1], *f)
			x.Elems = append(x.Elems, a.Elems[i], p)
			y.Elems = append(y.Elems, a.Elems[i], q)
		}
	}
	return x, y
}

// TestShapes compares the types of replies in RESP3. It covers commands that describe one
// server, such as INFO, so that their values cannot be the same.
func TestShapes(t *testing.T) {
	path, err := exec.LookPath("redis-server")
	if err != nil {
		t.Skip("there is no redis-server to compare with")
	}
	theirs := dial(t, startRedis(t, path, "--cluster-enabled", "yes"))
	if v := versionOf(t, theirs); v != v70 {
		t.Skipf("the explained differences are those to Redis 7.0; this is %d.%d", v/100, v%100)
	}
	if v := theirs.do("CLUSTER", "ADDSLOTSRANGE", "0", "16383"); v.IsErr() {
		t.Fatal(v.String())
	}
	for deadline := time.Now().Add(patience); !strings.Contains(string(theirs.do("CLUSTER", "INFO").Str), "cluster_state:ok"); {
		if time.Now().After(deadline) {
			t.Fatal("Redis does not serve its slots")
		}
		time.Sleep(10 * time.Millisecond)
	}
	ours := dial(t, cluster.Start(t, cluster.Options{Nodes: 1, Shards: 1}).Addrs()[0])
	for _, line := range shapeLines {
		words := strings.Fields(line)
		a, b := onlyBoth(ours.do(words...), theirs.do(words...))
		if x, y := shape(a), shape(b); (x != y) != (shapeDifferences[line] != "") {
			t.Errorf("%s (explained: %q)\n  Millrace  %s\n  Redis     %s", line, shapeDifferences[line], x, y)
		}
	}
}

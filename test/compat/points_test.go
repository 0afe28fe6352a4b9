package compat

import "testing"

// point is a behaviour in which servers that speak Redis's stream commands tend to differ.
type point struct {
	number int // its place in points, from 1
	name   string
	here   []shown
	not    string // the reason why the point, or a part of it, cannot be shown
}

const (
	invalidID = "-ERR Invalid stream ID specified as stream command argument"
	smallerID = "-ERR The ID specified in XADD is equal or smaller than the target stream top item"
	noGroup   = "-NOGROUP No such key 's' or consumer group 'g' in XREADGROUP with GROUP option"
)

var points = []point{
	// IDs
	{number: 1, name: "the syntax of an ID", here: []shown{
		{"xadd", "XADD s 8-018 f v", `"8-18"`},
		{"xadd", `XADD s " 9-1" f v`, `"9-1"`},
		{"xadd", "XADD s +9-+3 f v", `"9-3"`},
		{"xadd", "XADD s 1-2-3 f v", invalidID},
		{"xadd", "XADD s 8- f v", invalidID},
		{"xadd", "XADD s *-1 f v", invalidID},
		{"xadd", "XADD s 9-+ f v", invalidID},
		{"xadd", "XADD s 18446744073709551616-0 f v", invalidID},
		{"p1", "XADD s -1-1 f v", invalidID},
		{"stream/parse_test.go", "TestParseID", `{string(bytes.Repeat([]byte("0"), 127)) + "1", true, ID{}, false}`},
	}},
	{number: 2, name: "a missing sequence number, and 0-0", here: []shown{
		{"xadd", "XADD s 7 f v", `"7-0"`},
		{"xadd", "XADD s 0-* f v", `"0-1"`},
		{"xadd", "XADD s 0 f v", "-ERR The ID specified in XADD must be greater than 0-0"},
		{"xadd", "EXISTS s", ":0"},
	}},
	{number: 3, name: "ms-*", here: []shown{
		{"xadd", "XADD s 5-* f v", `"5-6"`},
		{"xadd", "XADD s 4-* f v", smallerID},
		{"xadd", "XADD s 2000-* temp 25", `"2000-1"`},
		{"xadd", "XADD top 18446744073709551615-* f v", "-ERR The stream has exhausted the last possible ID, unable to add more items"},
		{"xadd", "XADD top 9-* f v", smallerID},
	}},
	{number: 4, name: "* takes the time, which is one for all of an EXEC", here: []shown{
		{"xadd", "XADD s * temp 23", `"1000-2"`},
		{"xadd", "XADD s * temp 27", `"5000-6"`},
		{"xadd", "XADD s * a 2", `"6000-1"`},
		{"shard/raft_test.go", "TestClockNeverGoesBack", `"NOW"`},
	}},
	{number: 5, name: "IDs rise above every ID that was ever there", here: []shown{
		{"xdel", "XADD s 3-0 f v", smallerID},
		{"xtrim", "XADD s 7 f v", smallerID},
		{"xdel", "XADD r 5 f v", smallerID},
		{"xdel", "XADD r 5 f v", `"5-0"`},
	}},
	{number: 6, name: "where - and + are IDs", here: []shown{
		{"xgroup_setid", "XGROUP SETID s g +", "+OK"},
		{"xgroup_setid", "XGROUP SETID s g -", "+OK"},
		{"xgroup_create", "XGROUP CREATE s g2 +", invalidID},
		{"xadd", "XADD s - f v", invalidID},
		{"xread", "XREAD STREAMS s -", invalidID},
		{"xclaim", "XCLAIM s g c 0 2-0 +", "-ERR Unrecognized XCLAIM option '+'"},
	}},
	{number: 7, name: "incomplete and exclusive ends of a range", here: []shown{
		{"xrange", "XRANGE s 1 1", `[["1-1", ["f", "1"]], ["1-2", ["f", "2"]]]`},
		{"xrange", "XRANGE s (1 +", `["1-1", ["f", "1"]]`},
		{"xrange", "XREVRANGE s (3 -", `["3-0", ["f", "4"]]`},
		{"xrange", "XRANGE s (- +", invalidID},
		{"xrange", "XRANGE s ( +", invalidID},
		{"xpending", "XPENDING s g (- + 10", invalidID},
	}},
	{number: 8, name: "arguments are checked before the key, or after it", here: []shown{
		{"xrange", "XRANGE nokey abc +", invalidID},
		{"xpending", "XPENDING s nog - + x", "-ERR value is not an integer or out of range"},
		{"xtrim", "XTRIM nokey MAXLEN x", "-ERR value is not an integer or out of range"},
		{"xsetid", "XSETID nokey x", invalidID},
		{"xack", "XACK s nog abc", ":0"},
		{"xdel", "XDEL nokey abc", ":0"},
		{"xackdel", "XACKDEL nokey g1 IDS 2 1 abc", "[:-1, :-1]"},
		{"xdelex", "XDELEX nokey IDS 2 abc 1", "[:-1, :-1]"},
	}},

	// XADD and XTRIM
	{number: 9, name: "the first word that is no option is the ID", here: []shown{
		{"xadd", "XADD s MAXLENN 3 1-1 f v", invalidID},
		{"xadd", "XADD s KEEPREF DELREF 1-1 f v", invalidID},
		{"xadd", "XADD s ACKED KEEPREF 1-1 f v", invalidID},
		{"xadd", "XADD s NOMKSTREAM NOMKSTREAM 1-1 f v", "$-1"},
		{"xadd", "XADD nokey nomkstream MAXLEN 3 NOMKSTREAM 1-1 f v", "$-1"},
	}},
	{number: 10, name: "XADD adds, then trims", here: []shown{
		{"xadd", "XADD s MAXLEN 0 30 f v", `"30-0"`},
		{"xadd", "EXISTS s", ":1"},
	}},
	{number: 11, name: "an empty stream stays", here: []shown{
		{"xdel", "TYPE s", "+stream"},
		{"xtrim", "EXISTS s", ":1"},
		{"xinfo_groups", "XTRIM s MAXLEN 0", ":2"},
	}},
	{number: 12, name: "~ removes whole nodes", here: []shown{
		{"xtrim", "XTRIM s MAXLEN ~ 5", ":0"},
		{"xtrim", "XTRIM s MAXLEN ~ 4", ":3"},
		{"xtrim", "XTRIM s MINID ~ 6", ":0"},
		{"xtrim", "XTRIM s MINID ~ 7", ":3"},
		{"xadd", "XADD n MAXLEN ~ 3 6 f v", `"6-0"`},
		{"stream/trim_test.go", "TestLongTrims", `{"MAXLEN ~ 150", 4800}`},
	}},
	{number: 13, name: "LIMIT takes whole nodes or none", here: []shown{
		{"xtrim", "XTRIM s MAXLEN ~ 4 LIMIT 2", ":0"},
		{"xtrim", "XTRIM d MAXLEN ~ 2 LIMIT 1", ":0"},
		{"stream/trim_test.go", "TestLongTrims", `{"MAXLEN ~ 0 LIMIT 1234", 1200}`},
	}},
	{number: 14, name: "~ with DELREF or ACKED", here: []shown{
		{"xtrim", "XTRIM r MAXLEN ~ 6 DELREF", ":1"},
		{"xtrim", "XTRIM r MAXLEN ~ 6 LIMIT 2 DELREF", ":0"},
		{"xtrim", "XTRIM s MAXLEN ~ 1 ACKED", ":3"},
	}},
	{number: 15, name: "KEEPREF, DELREF, ACKED", here: []shown{
		{"xtrim", "XTRIM r MINID ~ 3 LIMIT 3 ACKED", ":1"},
		{"xtrim", "XTRIM s MAXLEN 0 ACKED", ":0"},
		{"xadd", "XADD s KEEPREF MAXLEN 3 4 f v", `"4-0"`},
		{"xadd", "XPENDING s g", `[:2, "1-0", "3-0", [["c", "2"]]]`},
		{"xadd", "XPENDING s g", `[:1, "1-0", "1-0", [["c", "1"]]]`},
		{"xdelex", "XDELEX s ACKED IDS 5 1-0 2-0 4-0 9-0 1-0", "[:1, :2, :2, :2, :-1]"},
	}},
	{number: 16, name: "max-deleted-entry-id and entries-added", here: []shown{
		{"xinfo_stream", "XINFO STREAM s", `["length", :0, "radix-tree-keys", :0, "radix-tree-nodes", :1, "last-generated-id", "2-1", "max-deleted-entry-id", "1-1", "entries-added", :3`},
		{"xackdel", "XINFO STREAM s", `"max-deleted-entry-id", "4-0", "entries-added", :4`},
	}},
	{number: 17, name: "recorded-first-entry-id", here: []shown{
		{"xinfo_stream", "XINFO STREAM s", `"recorded-first-entry-id", "1-2"`},
		{"xinfo_stream", "XINFO STREAM s", `"recorded-first-entry-id", "0-0"`},
	}},
	{number: 18, name: "XDEL of one ID twice", here: []shown{{"xdel", "XDEL s 1-2 1-2", ":1"}}},

	// Idempotent producers
	{number: 19, name: "a repeated ID", here: []shown{
		{"idmp", "XADD s IDMP p i 5-* f v", "-ERR syntax error, IDMP/IDMPAUTO can be used only with auto-generated IDs"},
		{"idmp", "XADD s IDMP p i MAXLEN 0 * f other", `"1000-0"`},
		{"idmp", "XADD s IDMP p i * f v", `"1000-0"`},
		{"idmp", "XINFO STREAM s", `"iids-duplicates", :3`},
		{"p6", "XADD s IDMP p i * f again", `"5-5"`},
	}},
	{number: 20, name: "old IDs are forgotten, and the oldest if there are too many",
		not: "An ID is too old or not when a command uses it. Redis forgets old IDs in sweeps, which no two replicas do at the same moment.",
		here: []shown{
			{"idmp", "XADD d IDMP p i * f v", `"1000-0"`},
			{"idmp", "XADD d IDMP p i * f v", `"6000-0"`},
			{"idmp", "XADD s IDMP p j * f v", `"101000-6"`},
		}},
	{number: 21, name: "XCFGSET forgets all, if it changes anything", here: []shown{
		{"idmp", "XCFGSET s IDMP-MAXSIZE 100 IDMP-DURATION 100", "+OK"},
		{"idmp", "XADD s IDMP p i * f v", `"101000-0"`},
		{"idmp", "XADD s IDMP p i * f v", `"101000-1"`},
		{"idmp", "XCFGSET nokey IDMP-DURATION 5", "-ERR no such key"},
	}},
	{number: 22, name: "IDMPAUTO, and the IDs that a copy of a stream knows",
		not: "MOVE and SWAPDB need more than one database.",
		here: []shown{
			{"idmp", "XADD s idmpauto q * a 1 b 2", `"1000-2"`},
			{"idmp", "XADD s IDMPAUTO q * b 2 a 1", `"1000-2"`},
			{"idmp", "XADD s IDMPAUTO q * b 1 a 2", `"1000-3"`},
			{"idmp", "XADD s IDMPAUTO p * a 1 b 2", `"1000-4"`},
			{"copy", "XADD {t}j IDMP p 1 * f v", `"2000-0"`},
			{"stream/copy_test.go", "TestRenameAndCopyChangeNothing", "RENAME"},
			{"stream/dump_property_test.go", "TestDumpRestore", "idmp: true"},
		}},

	// XREAD
	{number: 23, name: "$ and +", here: []shown{
		{"p5", "B<", `[["s", [["2-0", ["f", "2"]]]]]`},
		{"xread", "XREAD STREAMS nokey $", "*-1"},
		{"xread", "XREAD STREAMS s +", `[["s", [["1-2", ["f", "2"]]]]]`},
		{"xread", "XREAD COUNT 5 STREAMS s nokey + +", `[["s", [["1-3", ["f", "3"]]]]]`},
	}},
	{number: 24, name: "which streams, and their order", here: []shown{
		{"xread", "XREAD STREAMS s nokey 0 0", `[["s", `},
		{"xread", "XREAD STREAMS s t 1-2 0", `[["s", [["1-3", ["f", "3"]]]], ["t", [["5-0", ["g", "1"]]]]]`},
		{"xread", "XREAD STREAMS s s 0 1-2", `["s", [["1-3", ["f", "3"]]]]`},
		{"xdel", "XREAD STREAMS e 2", "*-1"},
	}},
	{number: 25, name: "BLOCK over streams answers those with news", here: []shown{
		{"p5", "C>> XREAD BLOCK 0 STREAMS s other $ $", "(sent)"},
		{"p5", "C<", `[["s", [["2-0", ["f", "2"]]]]]`},
		{"router/block_test.go", "TestBlockOverShards", `[["%s", [["1-1", ["k", "b"]]]]]`},
	}},
	{number: 26, name: "changes that do not wake XREAD", here: []shown{
		{"p5", "A>> XREAD BLOCK 2000 STREAMS k $", "(sent)"},
		{"p5", "SET k x", "+OK"},
		{"p5", "A<", "(no reply within 1s)"},
		{"p5", "A<", `[["k", [["6-0", ["f", "v"]]]]]`},
		{"xread", "XREAD STREAMS s str 0 0", "-WRONGTYPE Operation against a key holding the wrong kind of value"},
		{"xreadgroup", "XREADGROUP GROUP g a STREAMS s str > >", "-WRONGTYPE Operation against a key holding the wrong kind of value"},
	}},
	{number: 27, name: "BLOCK within MULTI, and its number", here: []shown{
		{"router/multi_test.go", "multiCases", `"BLOCK does not block"`},
		{"xreadgroup", "XREADGROUP GROUP g a BLOCK 1.5 STREAMS s >", "-ERR timeout is not an integer or out of range"},
	}},
	{number: 28, name: "a transaction is one event to blocked calls", here: []shown{
		{"p5", "A<", `[["m", [["1-0", ["a", "1"]], ["2-0", ["a", "2"]]]]]`},
	}},

	// Blocking
	{number: 29, name: "blocked calls are served in order of arrival, by the whole command", here: []shown{
		{"shard/wait_test.go", "TestBlockInOrder", `"call %d: %q, %v"`},
		{"shard/wait_test.go", "TestBlockTimeout", `"[50 120 200]"`},
	}},
	{number: 30, name: "one entry feeds one consumer of a group", here: []shown{
		{"p5", "B>> XREADGROUP GROUP g cb BLOCK 0 STREAMS s >", "(sent)"},
		{"p5", "B<", "(no reply within 1s)"},
		{"p5", "B<", `[["s", [["2-0", ["f", "2"]]]]]`},
	}},
	{number: 31, name: "a group or key that goes away under a blocked XREADGROUP", here: []shown{
		{"p5", "DEL s", ":1"},
		{"p5", "XGROUP DESTROY s g", ":1"},
		{"p5", "FLUSHALL", "+OK"},
		{"p5", "PEXPIRE s 50", ":1"},
		{"p5", "A<", noGroup},
		{"p5", "A<", "-WRONGTYPE Operation against a key holding the wrong kind of value"},
		{"router/names_test.go", "TestRenameWakes", `"RENAME @new @s", ` + "`" + `[["@s", [["5-1", ["f", "v"]]]]]` + "`"},
		{"stream/blocking_test.go", "readyCases", `{"group destroyed", `},
	}},
	{number: 32, name: "XGROUP SETID wakes nobody", here: []shown{
		{"stream/blocking_test.go", "readyCases", `{"moved back", `},
		{"p5", "A<", `[["s", [["1-0", ["f", "v"]], ["2-0", ["f", "v"]], ["3-0", ["f", "v"]]]]]`},
	}},
	{number: 33, name: "a blocked command that fails is counted once", here: []shown{
		{"router/block_test.go", "TestBlockedFailureCounts", "errorstat_NOGROUP:count=1"},
	}},

	// Groups
	{number: 34, name: "XGROUP CREATE", here: []shown{
		{"xgroup_create", "XINFO GROUPS t", `["name", "last", "consumers", :0, "pending", :0, "last-delivered-id", "2-2"`},
		{"xgroup_create", `XGROUP CREATE s "" 0`, "+OK"},
		{"xgroup_createconsumer", `XGROUP CREATECONSUMER s g ""`, ":1"},
		{"xgroup_create", "XGROUP CREATE t beyond 99-99", "+OK"},
		{"xgroup_create", "XGROUP CREATE s2 g2 abc MKSTREAM", invalidID},
		{"xgroup_create", "EXISTS s2", ":0"},
	}},
	{number: 35, name: "ENTRIESREAD", here: []shown{
		{"xgroup_create", "XINFO GROUPS t", `["name", "capped", "consumers", :0, "pending", :0, "last-delivered-id", "0-0", "entries-read", :2`},
		{"xgroup_setid", "XINFO GROUPS s", `"last-delivered-id", "0-0", "entries-read", :3, "lag", :3`},
		{"xgroup_setid", "XINFO GROUPS s", `"last-delivered-id", "1-0", "entries-read", $-1`},
	}},
	{number: 36, name: "entries-read when entries are delivered", here: []shown{
		{"xinfo_groups", "XINFO GROUPS s", `["name", "zero", "consumers", :1, "pending", :2, "last-delivered-id", "2-0", "entries-read", :2, "lag", :3]`},
		{"xinfo_groups", "XINFO GROUPS s", `["name", "mid", "consumers", :1, "pending", :1, "last-delivered-id", "4-0", "entries-read", $-1, "lag", $-1]`},
		{"xinfo_groups", "XINFO GROUPS s", `["name", "zero", "consumers", :1, "pending", :3, "last-delivered-id", "4-0", "entries-read", $-1, "lag", $-1]`},
		{"xinfo_groups", "XINFO GROUPS s", `["name", "zero", "consumers", :1, "pending", :4, "last-delivered-id", "5-0", "entries-read", :5, "lag", :0]`},
		{"xinfo_groups", "XINFO GROUPS s", `["name", "told", "consumers", :1, "pending", :2, "last-delivered-id", "5-0", "entries-read", :5, "lag", :1]`},
	}},
	{number: 37, name: "lag", here: []shown{
		{"xinfo_groups", "XINFO GROUPS s", `["name", "first", "consumers", :0, "pending", :0, "last-delivered-id", "1-0", "entries-read", $-1, "lag", :4]`},
		{"xinfo_groups", "XINFO GROUPS s", `["name", "told", "consumers", :1, "pending", :1, "last-delivered-id", "3-0", "entries-read", :3, "lag", $-1]`},
		{"xinfo_groups", "XINFO GROUPS s", `["name", "mid", "consumers", :1, "pending", :1, "last-delivered-id", "4-0", "entries-read", $-1, "lag", :0]`},
		{"xgroup_create", "XINFO GROUPS t", `["name", "beyond", "consumers", :0, "pending", :0, "last-delivered-id", "99-99", "entries-read", $-1, "lag", $-1]`},
	}},
	{number: 38, name: "commands that create a consumer, and the entries that go with it", here: []shown{
		{"xreadgroup", "XREADGROUP GROUP g new STREAMS s 0", `[["s", []]]`},
		{"xclaim", "XINFO CONSUMERS s g", `["name", "c3", "pending", :0, "idle", :0, "inactive", :-1]`},
		{"xautoclaim", "XINFO GROUPS s", `["name", "h", "consumers", :1, `},
		{"xpending", "XINFO GROUPS s", `"consumers", :1, "pending", :0`},
		{"xgroup_delconsumer", "XGROUP DELCONSUMER s g c", ":2"},
		{"xgroup_delconsumer", "XREADGROUP GROUP g c STREAMS s >", "*-1"},
	}},
	{number: 39, name: "seen-time and active-time", here: []shown{
		{"xclaim", "XINFO CONSUMERS s g", `["name", "c1", "pending", :2, "idle", :0, "inactive", :600]`},
		{"xinfo_consumers", "XINFO CONSUMERS s g", `["name", "a", "pending", :0, "idle", :600, "inactive", :-1]`},
		{"xinfo_consumers", "XINFO CONSUMERS s g", `{"name": "b", "pending": :0, "idle": :400, "inactive": :1000}`},
		{"xautoclaim", "XINFO CONSUMERS s g", `["name", "c3", "pending", :0, "idle", :0, "inactive", :-1]`},
	}},
	{number: 40, name: ">, NOACK, and entries that are delivered again", here: []shown{
		{"xreadgroup", "XREADGROUP GROUP g a NOACK STREAMS s >", `[["s", [["4-0", ["f", "4"]]]]]`},
		{"xreadgroup", "XPENDING s g", `[:3, "1-0", "3-0", [["a", "2"], ["b", "1"]]]`},
		{"xgroup_setid", "XPENDING s g", `[:3, "1-0", "3-0", [["c", "2"], ["d", "1"]]]`},
		{"xgroup_setid", "XPENDING s g - + 10", `["1-0", "d", :0, :2]`}, // one, and one more for the history
	}},
	{number: 41, name: "a read of pending entries",
		not: "Redis counts it as a write in rdb_changes_since_last_save, which is always 0 here.",
		here: []shown{
			{"xreadgroup", "XREADGROUP GROUP g a BLOCK 0 NOACK STREAMS s 1-1", `[["s", [["3-0", ["f", "3"]]]]]`},
			{"xreadgroup", "XREADGROUP GROUP g new STREAMS s 0", `[["s", []]]`},
			{"xreadgroup", "XREADGROUP GROUP g a STREAMS s 0", `[["s", [["1-0", *-1], ["3-0", ["f", "3"]]]]]`},
			{"xreadgroup", "XPENDING s g - + 10", `[["1-0", "a", :0, :3], ["2-0", "b", :0, :1], ["3-0", "a", :0, :5]]`},
			{"xreadgroup", "XREADGROUP GROUP g b CLAIM 50 COUNT 1 STREAMS s 2-0", `[["s", [["3-0", ["f", "3"]]]]]`},
			{"stream/watch_test.go", "watchCases", `{"XREADGROUP GROUP g c STREAMS s 0", false, ""}`},
		}},
	{number: 42, name: "XREADGROUP is one change",
		not:  "rdb_changes_since_last_save is always 0, because every acknowledged write is on disk.",
		here: []shown{{"router/cmd_test.go", "TestInfo", "rdb_changes_since_last_save:0"}}},
	{number: 43, name: "XACK", here: []shown{
		{"xack", "XACK s g 1-0 2-0 2-0 9-9", ":2"},
		{"xack", "XACK s g 1-0 abc", invalidID},
		{"xack", "XPENDING s g", `[:1, "1-0", "1-0", [["c", "1"]]]`},
	}},

	// Claims
	{number: 44, name: "XCLAIM", here: []shown{
		{"xclaim", "XCLAIM s g c9 0 1-0 2-0", `[["2-0", ["f", "2"]]]`},
		{"xclaim", "XPENDING s g", `[:2, "2-0", "3-0", [["c2", "1"], ["c9", "1"]]]`},
		{"xclaim", "XCLAIM s g c2 -5 1-0 JUSTID", `["1-0"]`},
		{"xclaim", "XPENDING s g - + 10", `[["1-0", "c1", :700, :2], ["2-0", "c1", :900, :2]]`},
		{"xclaim", "XPENDING s g - + 10", `[["1-0", "c1", :0, :3], ["2-0", "c1", :0, :3]]`},
		{"xclaim", "XPENDING s g - + 10", `[["1-0", "c2", :0, :7], ["2-0", "c1", :0, :1]]`},
		{"xclaim", "XPENDING s g - + 10", `[["1-0", "c2", :0, :10], ["2-0", "c1", :0, :1]]`},
	}},
	{number: 45, name: "XCLAIM FORCE", here: []shown{
		{"xclaim", "XPENDING s g - + 10", `["3-0", "c2", :0, :2]]`},
		{"xclaim", "XPENDING s g - + 10", `["3-0", "c2", :0, :1]]`},
		{"xclaim", "XINFO GROUPS s", `"last-delivered-id", "2-0", "entries-read", :2, "lag", :1`},
		{"xclaim", "XREADGROUP GROUP g c3 STREAMS s >", `[["s", [["3-0", ["f", "3"]]]]]`},
		{"xclaim", "XCLAIM s g c2 0 9-0 FORCE", "[]"},
	}},
	{number: 46, name: "XCLAIM LASTID, and options without IDs", here: []shown{
		{"xclaim", "XINFO GROUPS s", `"last-delivered-id", "3-0", "entries-read", :3`},
		{"xclaim", "XINFO GROUPS s", `"last-delivered-id", "50-0", "entries-read", :3`},
		{"xclaim", "XCLAIM s g c2 0 FORCE", "[]"},
	}},
	{number: 47, name: "XAUTOCLAIM", here: []shown{
		{"xautoclaim", "XAUTOCLAIM s g c2 0 0 COUNT 1", `["2-0", [["1-0", ["f", "1"]]], []]`},
		{"xautoclaim", "XAUTOCLAIM s g c2 0 - COUNT 2", `["3-0", [["2-0", ["f", "2"]]], ["1-0"]]`},
		{"xautoclaim", "XAUTOCLAIM s g c2 0 (2-0", `["0-0", [["4-0", ["f", "4"]], ["5-0", ["f", "5"]]], []]`},
		{"xautoclaim", "XAUTOCLAIM s g c2 0 +", `["0-0", [], []]`},
		{"xautoclaim", "XAUTOCLAIM s g c2 60000 0 COUNT 1", `["11-0", [], []]`},
	}},
	{number: 48, name: "XREADGROUP CLAIM", here: []shown{
		{"xreadgroup", "XREADGROUP GROUP g b CLAIM 1400 COUNT 1 STREAMS s >", `[["s", [["2-0", ["f", "2"], :1400, :2]]]]`},
		{"xreadgroup", "XREADGROUP GROUP g b CLAIM 1000 COUNT 3 STREAMS s >", `[["s", [["1-0", ["f", "1"], :1000, :1], ["5-0", ["f", "5"], :0, :0]]]]`},
		{"xreadgroup", "XREADGROUP GROUP g b CLAIM 100 NOACK STREAMS s >", `["3-0", ["f", "3"], :600, :2]`},
		{"xreadgroup", "XPENDING s g - + 10", `["2-0", "b", :100, :3]`},
		{"xreadgroup", "XREADGROUP GROUP g c CLAIM 50 COUNT 1 STREAMS s s 0 >", `[["s", []]]`},
		{"p5", "A>> XREADGROUP GROUP g c4 CLAIM 200 BLOCK 0 STREAMS s >", "(sent)"},
		{"stream/blocking_test.go", "readyCases", `{"pending, old enough", `},
	}},
	{number: 49, name: "XPENDING", here: []shown{
		{"xpending", "XPENDING s g - + 0", "[]"},
		{"xpending", "XPENDING s g - + -1", "[]"},
		{"xpending", "XPENDING s g - + 10 nosuch", "[]"},
		{"xpending", "XPENDING s g IDLE 0 - + 10", `["3-0", "c2", :0, :1]`},
		{"xpending", "XPENDING s g - + 10 c extra more", `[["1-0", "c", :0, :1]]`},
		{"xpending", "XPENDING s g IDLE 1 - + 10 c extra more", "-ERR syntax error"},
	}},
	{number: 50, name: "XACKDEL and XDELEX", here: []shown{
		{"xackdel", "XACKDEL s g1 IDS 1 1-0", "[:1]"},
		{"xackdel", "XPENDING s g2", `[:2, "1-0", "2-0", [["c", "2"]]]`},
		{"xackdel", "XACKDEL s g2 KEEPREF IDS 1 4-0", "[:1]"},
		{"xdelex", "XDELEX s ACKED IDS 5 1-0 2-0 4-0 9-0 1-0", "[:1, :2, :2, :2, :-1]"},
		{"xdelex", "XDELEX s DELREF IDS 2 2-0 3-0", "[:-1, :1]"},
		{"xdelex", "XPENDING s g", "[:0, $-1, $-1, *-1]"},
	}},

	// Other
	{number: 51, name: "changes that make a WATCH fail", here: []shown{
		{"stream/watch_test.go", "watchCases", `{"XACKDEL s g IDS 1 1-1", true, "8.2"}`},
		{"stream/watch_test.go", "watchCases", `{"XTRIM s MAXLEN 9", false, ""}`},
		{"stream/watch_test.go", "watchCases", `{"XAUTOCLAIM s g d 0 0", false, ""}`},
		{"stream/watch_test.go", "TestWatched", "XGROUP CREATE made g 0 MKSTREAM"},
		{"router/watch_test.go", "TestWatch", "what groups do is no modification"},
		{"router/multi_test.go", "multiCases", `"bad arity"`},
	}},
	{number: 52, name: "keyspace events", not: "There are no subscriptions and no keyspace events."},
	{number: 53, name: "a stream keeps its time to live; its type", here: []shown{
		{"expire", "PEXPIRETIME s", ":33177117420123"},
		{"xdel", "TYPE s", "+stream"},
		{"object", "OBJECT ENCODING s", `"stream"`},
	}},
	{number: 54, name: "missing groups and keys, and the type first", here: []shown{
		{"xgroup_destroy", "XGROUP DESTROY s g", ":0"},
		{"xgroup_destroy", "XGROUP DESTROY s g", "-ERR The XGROUP subcommand requires the key to exist."},
		{"xgroup_destroy", "XGROUP DESTROY str g", "-WRONGTYPE"},
		{"xinfo_consumers", "XINFO CONSUMERS str g", "-WRONGTYPE"},
	}},
	{number: 55, name: "where the keys are", here: []shown{
		{"stream/table_test.go", "TestKeyIndexes", `{"XREADGROUP GROUP streams count COUNT 2 BLOCK 0 CLAIM 3 NOACK STREAMS block > ", []int{12}}`},
		{"xread", "XREAD STREAMS streams 0", `[["streams", [["1-1", ["f", "1"]]]]]`},
		{"xreadgroup", "XREADGROUP GROUP COUNT STREAMS STREAMS s >", `[["s", [["6-0", ["f", "6"]]]]]`},
	}},
	{number: 56, name: "a transaction over slots", here: []shown{
		{"router/multi_test.go", "multiCases", `{"two slots", []string{"MULTI", "+OK", "XADD A * k v", "+QUEUED", "XADD B * k v", "+QUEUED", "EXEC",`},
	}},
	{number: 57, name: "XNACK", here: []shown{
		{"xnack", "XPENDING s g - + 10", `[["1-0", "", :-1, :1], ["2-0", "c1", :0, :1], ["3-0", "", :-1, :0]]`},
		{"xinfo_stream_groups", "XINFO STREAM s FULL COUNT 0", `["1-0", "", :0, :1]`},
		{"xnack", "XREADGROUP GROUP g c2 CLAIM 100000 COUNT 1 STREAMS s >", `[["s", [["3-0", ["f", "3"], :-1, :0]]]]`},
		{"xnack", "XCLAIM s g c3 100000 1-0", `[["1-0", ["f", "1"]]]`},
		{"xnack", "XAUTOCLAIM s g c1 100000 0 COUNT 1", `["2-0", [["1-0", ["f", "1"]]], []]`},
		{"xnack", "XPENDING s g 4 4 1", `[["4-0", "c1", :0, :9223372036854775807]]`},
		{"xnack", "XPENDING s g 4 4 1", `[["4-0", "", :-1, :3]]`},
		{"xnack", "XPENDING s g 5 5 1", `[["5-0", "", :-1, :0]]`},
		{"stream/blocking_test.go", "readyCases", `{"released", `},
	}},
	{number: 58, name: "MAXCOUNT and MAXSIZE",
		here: []shown{
			{"xread", "XREAD MAXCOUNT 2 STREAMS t m 0 0", `[["t", [["5-0", ["g", "1"]]]], ["m", [["1-0", ["f", "aaaaaaaaaa"]]]]]`},
			{"xread", "XREAD MAXCOUNT 1 STREAMS t m 0 0", `[["t", [["5-0", ["g", "1"]]]]]`},
			{"xread", "XREAD MAXCOUNT 2 COUNT 3 STREAMS m 0", "-ERR MAXCOUNT must be greater than or equal to COUNT"},
			{"xread", "XREAD MAXSIZE 1 STREAMS m t 0 0", `[["m", [["1-0", ["f", "aaaaaaaaaa"]]]]]`},
			{"xread", "XREAD MAXSIZE 1 STREAMS m 1", `[["m", [["2-0", ["f", "aaaaaaaaaa"]]]]]`}, // in an EXEC
			{"xreadgroup", "XPENDING t g", `[:1, "1-0", "1-0", [["a", "1"]]]`},
			{"xreadgroup", "XINFO GROUPS u", `"last-delivered-id", "0-0"`},
			{"xreadgroup", "XREADGROUP GROUP g a MAXCOUNT 3 STREAMS s t 0 0", `["t", [["1-0", ["f", "1"]]]]`},
			{"router/block_test.go", "TestBlockCapped", "XREADGROUP GROUP g c BLOCK 0 MAXCOUNT 1 STREAMS s >"},
			{"xreadgroup", "XREADGROUP GROUP g a MAXSIZE 46 STREAMS s t 0 0", `[["s", [["1-0", ["f", "1"]]]]]`},
			{"xreadgroup", "XREADGROUP GROUP g a MAXSIZE 47 STREAMS s t 0 0", `["2-0", ["f", "2"]]`},
		}},
}

// TestPoints finds every place that the points name.
func TestPoints(t *testing.T) {
	const count = 58
	for i, p := range points {
		if p.number != i+1 {
			t.Errorf("point %d is at place %d", p.number, i+1)
		}
		if len(p.here) == 0 && p.not == "" {
			t.Errorf("%d, %s: nothing shows it", p.number, p.name)
		}
		for _, s := range p.here {
			if err := s.find(); err != nil {
				t.Errorf("%d, %s: %v", p.number, p.name, err)
			}
		}
	}
	if len(points) != count {
		t.Errorf("there are %d points, not %d", len(points), count)
	}
}

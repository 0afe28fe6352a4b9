package stream_test

import (
	"net"
	"strings"
	"testing"

	"millrace/resp"
)

// watchCases lists commands and whether they trip a WATCH of s. They run after watchSetup: s
// holds 1-1 to 5-1, and group g has read all entries and acknowledged none.
var watchCases = []struct {
	line  string
	trips bool
	since string // version of Redis that has the command, when newer than 7.0
}{
	{"XADD s 9-1 f v", true, ""},
	{"XADD s MAXLEN 2 9-1 f v", true, ""},
	{"XADD s NOMKSTREAM 9-1 f v", true, ""},
	{"XADD s 1-1 f v", false, ""}, // refused
	{"XDEL s 1-1", true, ""},
	{"XDEL s 7-1", false, ""},
	{"XDELEX s IDS 1 1-1", true, "8.2"},
	{"XDELEX s IDS 1 7-1", false, "8.2"},
	{"XDELEX s ACKED IDS 1 1-1", false, "8.2"},
	{"XDELEX s DELREF IDS 1 1-1", true, "8.2"},
	{"XACKDEL s g IDS 1 1-1", true, "8.2"},
	{"XACKDEL s g IDS 1 7-1", false, "8.2"},
	{"XTRIM s MAXLEN 2", true, ""},
	{"XTRIM s MAXLEN 0", true, ""},
	{"XTRIM s MINID 3-1", true, ""},
	{"XTRIM s MAXLEN 9", false, ""},
	{"XTRIM s MAXLEN ~ 2", false, ""},
	{"XTRIM s MAXLEN 2 ACKED", false, "8.2"},
	{"XSETID s 100-1", false, ""},
	{"XCFGSET s IDMP-MAXSIZE 7", false, "8.6"},
	{"XGROUP CREATE s h 0", false, ""},
	{"XGROUP CREATE s h 0 MKSTREAM", false, ""},
	{"XGROUP CREATE new h 0 MKSTREAM", false, ""},
	{"XGROUP SETID s g 0", false, ""},
	{"XGROUP CREATECONSUMER s g d", false, ""},
	{"XGROUP DELCONSUMER s g c", false, ""},
	{"XGROUP DESTROY s g", false, ""},
	{"XREADGROUP GROUP g d STREAMS s >", false, ""},
	{"XREADGROUP GROUP g c STREAMS s 0", false, ""},
	{"XACK s g 1-1", false, ""},
	{"XCLAIM s g d 0 1-1", false, ""},
	{"XAUTOCLAIM s g d 0 0", false, ""},
	{"XNACK s g FAIL IDS 1 1-1", false, "8.8"},
	{"XADD s IDMP p i * f v", true, "8.6"},
	{"XREAD STREAMS s 0", false, ""},
	{"EXISTS s", false, ""},
	{"DEL s", true, ""},
	{"UNLINK s", true, ""},
	{"DEL s new", true, ""},
	{"SET s v", true, ""},
	{"SET s v NX", false, ""},
	{"EXPIRE s 100", true, ""},
	{"PEXPIREAT s 99999999999999", true, ""},
	{"EXPIRE s -1", true, ""},
	{"EXPIRE s 100 XX", false, ""},
	{"PERSIST s", false, ""},
	{"TOUCH s", false, ""},
	{"XADD other 1-1 f v", false, ""},
}

var watchSetup = []string{
	"XADD s 1-1 f v", "XADD s 2-1 f v", "XADD s 3-1 f v", "XADD s 4-1 f v", "XADD s 5-1 f v",
	"XGROUP CREATE s g 0", "XREADGROUP GROUP g c STREAMS s >",
}

// TestModified checks for each command whether it changes the modification number of s.
func TestModified(t *testing.T) {
	for _, c := range watchCases {
		r := newRig(t)
		for _, line := range watchSetup {
			r.do(line)
		}
		before := r.show("_MODIFIED s")
		number := strings.Trim(before, "[:]")
		r.do(c.line)
		if got := r.show("_MODIFIED s") != before; got != c.trips {
			t.Errorf("%s trips a WATCH: %v", c.line, got)
		}
		want := "+OK"
		if c.trips {
			want = "$-1"
		}
		if got := r.show("_WATCHED s " + number); got != want {
			t.Errorf("after %s, _WATCHED answers %s", c.line, got)
		}
	}
}

// TestModifiedLive runs each command between WATCH and EXEC on a live Redis.
func TestModifiedLive(t *testing.T) {
	redis := newLiveRedis(t)
	conn, err := net.Dial("tcp", redis.conn.RemoteAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	watcher := &liveRedis{t: t, conn: conn, in: resp.NewValueReader(conn, 0)}
	for _, c := range watchCases {
		if c.since != "" {
			continue
		}
		redis.do(argvOf("FLUSHALL"))
		for _, line := range watchSetup {
			redis.do(argvOf(strings.Fields(line)...))
		}
		watcher.do(argvOf("WATCH", "s"))
		redis.do(argvOf(strings.Fields(c.line)...))
		watcher.do(argvOf("MULTI"))
		if got := watcher.do(argvOf("EXEC")).IsNull(); got != c.trips {
			t.Errorf("%s trips a WATCH in Redis: %v", c.line, got)
		}
	}
}

// TestWatched watches names that are created, deleted and created again.
func TestWatched(t *testing.T) {
	r := newRig(t)
	number := func() string { return strings.Trim(r.show("_MODIFIED s"), "[:]") }
	if got := number(); got != "0" {
		t.Errorf("a missing name has number %s", got)
	}
	r.do("XADD s 1-1 f v")
	first := number()
	r.do("DEL s")
	if got := number(); got != "0" {
		t.Errorf("a deleted name has number %s", got)
	}
	r.do("XADD s 1-1 f v")
	if got := number(); got == first {
		t.Errorf("a name that came back has its old number %s", got)
	}
	second := number()
	r.do("XGROUP CREATE made g 0 MKSTREAM")
	r.do("PEXPIRE s 10")
	r.nowMS += 10
	if got := number(); got != "0" {
		t.Errorf("an expired name has number %s", got)
	}
	for _, c := range []struct {
		cmds []string
		want string
	}{
		{[]string{"_WATCHED s 0", "XADD s 1-1 f v", "XLEN s"}, `[+OK, "1-1", :1]`},
		{[]string{"_WATCHED s 0", "XADD s 2-1 f v"}, `[$-1, $-1]`},
		{[]string{"_WATCHED s " + second, "XADD s 2-1 f v", "DEL s"}, `[$-1, $-1, $-1]`},
		{[]string{"_WATCHED made 0", "XLEN made"}, `[$-1, $-1]`},
		{[]string{"_WATCHED nokey 0 s 777 other 0", "XADD s 2-1 f v"}, `[$-1, $-1]`},
		{[]string{"XADD s NOMKSTREAM 1-1 f v", "XLEN s"}, `[-ERR The ID specified in XADD is equal or smaller than the target stream top item, :1]`},
		{[]string{"XADD t NOMKSTREAM 1-1 f v", "XLEN s"}, `[$-1, :1]`}, // a null ends the record only after _WATCHED
	} {
		var cmds [][][]byte
		for _, line := range c.cmds {
			cmds = append(cmds, argvOf(strings.Fields(line)...))
		}
		if got := resp.Print(resp.Array(r.apply(cmds...)...), 2); got != c.want {
			t.Errorf("%q answers %s", c.cmds, got)
		}
	}
}

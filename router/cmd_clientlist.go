package router

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"millrace/command"
	"millrace/resp"
)

// clientListLines are the subcommands of CLIENT that show or steer the connections of
// this node.
func clientListLines() []line {
	return []line{
		clientLine("list [TYPE normal_master_replica_pubsub:(NORMAL|MASTER|REPLICA|PUBSUB)] [ID id:(client-id:int...)]", -2, command.Admin, "2.4.0",
			"Shows the connections to this node, one a line.", runClientList).
			costs("O(N log N) for N connections to this node.").tips("nondeterministic_output").history(
			"2.8.12 Each connection is shown with an `id`.",
			"5.0.0 `TYPE` picks connections by kind.",
			"6.0.0 The `user` is shown.",
			"6.2.0 `ID` picks connections by number; `redir`, `laddr`, `tot-mem`, `argv-mem` are new in each line.",
			"7.0.0 `resp`, `multi-mem`, `rbs`, `rbp` are new in each line.",
			"7.0.3 `ssub` is new in each line."),
		clientLine("info", 2, 0, "6.2.0", "Shows this connection as CLIENT LIST does.", runClientInfo).tips("nondeterministic_output"),
		clientLine("kill filter:(ip:port | new-format:([ID client-id:int]|[TYPE normal_master_slave_pubsub:(NORMAL|MASTER|SLAVE|REPLICA|PUBSUB)]|[USER username]|[ADDR ip:port]|[LADDR ip:port]|[SKIPME yes/no]|[MAXAGE maxage:int])...)", -3, command.Admin, "2.4.0",
			"Ends the connections that match.", runClientKill).
			costs("O(N) for N connections to this node.").history(
			"2.8.12 Takes pairs of an option and its value.",
			"2.8.12 `ID` picks a connection by its number.",
			"3.2.0 `TYPE` takes `master`.",
			"5.0.0 `TYPE` takes `replica`, and still the older word `slave`.",
			"6.2.0 `LADDR` picks by the address that was connected to."),
		clientLine("unblock client-id:int timeout_error:[TIMEOUT|ERROR]", -3, command.Admin, "5.0.0",
			"Ends the blocking call of another connection.", runClientUnblock),
		clientLine("no-evict enabled:(ON|OFF)", 3, command.Admin, "7.0.0", "Accepted; Millrace evicts no clients.", runOnOff),
		clientLine("pause timeout:int mode:[WRITE|ALL]", -3, command.Admin, "2.9.50", "Holds back the commands of this node's clients.", runClientPause).history(
			"6.2.0 `WRITE` holds back writes alone."),
		clientLine("unpause", 2, command.Admin, "6.2.0", "Lets the commands of this node's clients run again.", runClientUnpause),
	}
}

// CLIENT INFO
func runClientInfo(c *conn, q *request, _ [][]byte) {
	c.answer(q, resp.Verbatim(c.describe()))
}

// CLIENT LIST [TYPE type] [ID id …]: the clients of this node.
func runClientList(c *conn, q *request, argv [][]byte) {
	pick := func(*conn) bool { return true }
	switch {
	case len(argv) == 2:
	case len(argv) == 4 && command.IsWord(argv[2], "TYPE"):
		normal, ok := isNormalType(argv[3])
		if !ok {
			c.refuse(q, "ERR Unknown client type '"+string(cut(argv[3], maxEcho))+"'")
			return
		}
		pick = func(*conn) bool { return normal }
	case len(argv) > 3 && command.IsWord(argv[2], "ID"):
		ids := make(map[uint64]bool, len(argv)-3)
		for _, w := range argv[3:] {
			id, ok := command.ParseInt(w)
			if !ok {
				c.refuse(q, "ERR Invalid client ID")
				return
			}
			ids[uint64(id)] = true // no connection has a negative number
		}
		pick = func(o *conn) bool { return ids[o.id] }
	default:
		c.refuse(q, textSyntax)
		return
	}
	all := c.r.clients()
	slices.SortFunc(all, func(a, b *conn) int { return int(int64(a.id) - int64(b.id)) })
	var b strings.Builder
	for _, o := range all {
		if pick(o) {
			b.WriteString(o.describe())
		}
	}
	c.answer(q, resp.Verbatim(b.String()))
}

// isNormalType reports whether a client type is "normal", which is the type of every
// client here. ok is false for a word that is no type in Redis either.
func isNormalType(word []byte) (normal, ok bool) {
	for _, t := range []string{"normal", "master", "replica", "slave", "pubsub"} {
		if command.IsWord(word, t) {
			return t == "normal", true
		}
	}
	return false, false
}

// describe returns the connection's line of CLIENT LIST.
func (c *conn) describe() string {
	now := c.r.now()
	last := "NULL"
	if cmd := c.lastCmd.Load(); cmd != nil {
		last = cmd.Name
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	flags := ""
	if c.unblock.Load() != nil {
		flags += "b"
	}
	if c.inTx >= 0 {
		flags += "x"
	}
	if c.tracking.on {
		flags += "t"
	}
	if c.monitor {
		flags += "O"
	}
	if flags == "" {
		flags = "N"
	}
	return fmt.Sprintf("id=%d addr=%s laddr=%s fd=%d name=%s age=%d idle=%d flags=%s db=0 sub=0 psub=0 ssub=0 multi=%d watch=0 "+
		"qbuf=%d qbuf-free=0 argv-mem=0 multi-mem=0 rbs=0 rbp=0 obl=0 oll=%d omem=%d tot-mem=%d events=r cmd=%s user=%s redir=-1 resp=%d lib-name=%s lib-ver=%s\n",
		c.id, c.addr, c.laddr, c.fd, c.name, (now-c.created)/1e9, (now-c.lastSeen.Load())/1e9, flags, c.inTx,
		c.inBytes, c.inFlight, c.outBytes, c.inBytes+c.outBytes, last, "default", c.proto, c.libName, c.libVer)
}

// CLIENT KILL addr, or CLIENT KILL option value …
//
// The older form with an address may end the connection that sends it. The form with
// options spares it unless SKIPME NO is among them.
func runClientKill(c *conn, q *request, argv [][]byte) {
	if len(argv) == 3 {
		n := c.killMatching(q, []clientFilter{func(o *conn) bool { return o.addr == string(argv[2]) }}, false)
		if n == 0 {
			c.refuse(q, "ERR No such client")
			return
		}
		c.answer(q, resp.OK)
		return
	}
	if len(argv)%2 != 0 {
		c.refuse(q, textSyntax)
		return
	}
	skipMe := true
	var filters []clientFilter
	for i := 2; i < len(argv); i += 2 {
		opt, val := argv[i], argv[i+1]
		if command.IsWord(opt, "SKIPME") {
			skipMe = command.IsWord(val, "YES")
			if !skipMe && !command.IsWord(val, "NO") {
				c.refuse(q, textSyntax)
				return
			}
			continue
		}
		f, refused := c.r.killFilter(opt, val)
		if refused != "" {
			c.refuse(q, refused)
			return
		}
		filters = append(filters, f)
	}
	c.answer(q, resp.Int(int64(c.killMatching(q, filters, skipMe))))
}

// A clientFilter reports whether a connection matches one option of CLIENT KILL.
type clientFilter func(*conn) bool

// killFilter returns the filter of an option with its value, or the text of a refusal.
func (r *Router) killFilter(opt, val []byte) (f clientFilter, refused string) {
	switch {
	case command.IsWord(opt, "ID"):
		id, ok := command.ParseInt(val)
		if !ok || id <= 0 {
			return nil, "ERR client-id should be greater than 0"
		}
		return func(o *conn) bool { return o.id == uint64(id) }, ""
	case command.IsWord(opt, "ADDR"):
		return func(o *conn) bool { return o.addr == string(val) }, ""
	case command.IsWord(opt, "LADDR"):
		return func(o *conn) bool { return o.laddr == string(val) }, ""
	case command.IsWord(opt, "TYPE"):
		normal, ok := isNormalType(val)
		if !ok {
			return nil, "ERR Unknown client type '" + string(cut(val, maxEcho)) + "'"
		}
		return func(*conn) bool { return normal }, ""
	case command.IsWord(opt, "USER"):
		if string(val) != "default" {
			return nil, "ERR No such user '" + string(cut(val, maxEcho)) + "'"
		}
		return func(*conn) bool { return true }, ""
	case command.IsWord(opt, "MAXAGE"):
		age, ok := command.ParseInt(val)
		switch {
		case !ok:
			return nil, "ERR maxage is not an integer or out of range"
		case age <= 0:
			return nil, "ERR maxage should be greater than 0"
		}
		return func(o *conn) bool { return (r.now()-o.created)/1e9 >= age }, ""
	}
	return nil, textSyntax
}

// killMatching ends the connections that match all filters, and returns their number.
// This connection ends after its reply, or not at all with skipMe.
func (c *conn) killMatching(q *request, filters []clientFilter, skipMe bool) (n int) {
	for _, o := range c.r.clients() {
		switch {
		case o == c && skipMe, slices.ContainsFunc(filters, func(f clientFilter) bool { return !f(o) }):
		case o == c:
			q.last = true
			n++
		case o.kill():
			n++
		}
	}
	return n
}

// CLIENT UNBLOCK client-id [TIMEOUT|ERROR]
func runClientUnblock(c *conn, q *request, argv [][]byte) {
	mode := unblockTimeout
	switch {
	case len(argv) > 4:
		c.refuse(q, "ERR wrong number of arguments for 'client|unblock' command")
		return
	case len(argv) == 4 && command.IsWord(argv[3], "ERROR"):
		mode = unblockError
	case len(argv) == 4 && !command.IsWord(argv[3], "TIMEOUT"):
		c.refuse(q, "ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR")
		return
	}
	id, ok := command.ParseInt(argv[2])
	if !ok {
		c.refuse(q, textNotInt)
		return
	}
	c.r.mu.Lock()
	o := c.r.conns[uint64(id)]
	c.r.mu.Unlock()
	if o != nil {
		if ch := o.unblock.Load(); ch != nil {
			select {
			case *ch <- mode:
				c.answer(q, resp.Int(1))
				return
			default: // another CLIENT UNBLOCK came first
			}
		}
	}
	c.answer(q, resp.Int(0))
}

// CLIENT PAUSE timeout [WRITE|ALL]
func runClientPause(c *conn, q *request, argv [][]byte) {
	all := true
	switch {
	case len(argv) > 4:
		c.refuse(q, badSubcommand(argv))
		return
	case len(argv) == 4 && command.IsWord(argv[3], "WRITE"):
		all = false
	case len(argv) == 4 && !command.IsWord(argv[3], "ALL"):
		c.refuse(q, "ERR CLIENT PAUSE mode must be WRITE or ALL")
		return
	}
	ms, refused := parseTimeout(argv[2])
	if refused != "" {
		c.refuse(q, refused)
		return
	}
	c.r.pausing.begin(time.Duration(min(ms, maxPauseMS))*time.Millisecond, all)
	c.answer(q, resp.OK)
}

// maxPauseMS bounds a pause: a day.
const maxPauseMS = 24 * 3600 * 1000

// CLIENT UNPAUSE
func runClientUnpause(c *conn, q *request, _ [][]byte) {
	c.r.pausing.stop()
	c.answer(q, resp.OK)
}

package router

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"millrace/command"
	"millrace/resp"
)

// clientLines are CLIENT and its subcommands.
func clientLines() []line {
	sub := func(name string, arity int, flags command.Flags, since, summary string, run handler) line {
		return line{cmd: command.Command{
			Name: name, Arity: arity, Flags: flags | command.NoScript | command.Loading | command.Stale,
			Categories: categories(flags, "connection"), Since: since, Summary: summary, Complexity: "O(1)",
		}, run: run}
	}
	helpLine := sub("help", 2, 0, "5.0.0", "Returns helpful text about the different subcommands.", help(clientHelp))
	helpLine.cmd.Flags &^= command.NoScript
	return []line{{
		cmd: command.Command{Name: "client", Arity: -2, Categories: []string{"slow"}, Since: "2.4.0",
			Summary: "A container for client connection commands.", Complexity: "Depends on subcommand.", Group: "connection"},
		subs: []line{
			sub("id", 2, 0, "5.0.0", "Returns the unique client ID of the connection.", runClientID),
			sub("getname", 2, 0, "2.6.9", "Returns the name of the connection.", runClientGetName),
			sub("setname connection-name", 3, 0, "2.6.9", "Sets the connection name.", runClientSetName),
			sub("setinfo attr:(LIB-NAME libname | LIB-VER libver)", 4, 0, "7.2.0", "Sets information specific to the client or connection.", runClientSetInfo),
			sub("list [TYPE normal_master_replica_pubsub:(NORMAL|MASTER|REPLICA|PUBSUB)] [ID id:(client-id:int...)]", -2, command.Admin, "2.4.0", "Lists open connections.", runClientList).tips("nondeterministic_output").history(
				"2.8.12 Added unique client `id` field.",
				"5.0.0 Added optional `TYPE` filter.",
				"6.0.0 Added `user` field.",
				"6.2.0 Added `argv-mem`, `tot-mem`, `laddr` and `redir` fields and the optional `ID` filter.",
				"7.0.0 Added `resp`, `multi-mem`, `rbs` and `rbp` fields.",
				"7.0.3 Added `ssub` field."),
			sub("info", 2, 0, "6.2.0", "Returns information about the connection.", runClientInfo).tips("nondeterministic_output"),
			sub("kill filter:(ip:port | new-format:([ID client-id:int]|[TYPE normal_master_slave_pubsub:(NORMAL|MASTER|SLAVE|REPLICA|PUBSUB)]|[USER username]|[ADDR ip:port]|[LADDR ip:port]|[SKIPME yes/no]|[MAXAGE maxage:int])...)", -3, command.Admin, "2.4.0", "Terminates open connections.", runClientKill).history(
				"2.8.12 Added new filter format.",
				"2.8.12 `ID` option.",
				"3.2.0 Added `master` type in for `TYPE` option.",
				"5.0.0 Replaced `slave` `TYPE` with `replica`. `slave` still supported for backward compatibility.",
				"6.2.0 `LADDR` option."),
			sub("unblock client-id:int timeout_error:[TIMEOUT|ERROR]", -3, command.Admin, "5.0.0", "Unblocks a client blocked by a blocking command from a different connection.", runClientUnblock),
			sub("no-evict enabled:(ON|OFF)", 3, command.Admin, "7.0.0", "Accepted; Millrace evicts no clients.", runOnOff),
			sub("no-touch enabled:(ON|OFF)", 3, 0, "7.2.0", "Accepted; Millrace keeps no access times.", runOnOff),
			sub("reply on_off_skip:(ON|OFF|SKIP)", 3, 0, "3.2.0", "Instructs the server whether to reply to commands.", runClientReply),
			sub("tracking status:(ON|OFF) [REDIRECT client-id:int] [PREFIX prefix]... [BCAST] [OPTIN] [OPTOUT] [NOLOOP]", -3, 0, "6.0.0", "Accepted with OPTIN; other modes are refused, since no invalidations are sent.", runClientTracking),
			sub("caching mode:(YES|NO)", 3, 0, "6.0.0", "Refused; Millrace sends no invalidations.", runClientCaching),
			sub("trackinginfo", 2, 0, "6.2.0", "Returns the connection's use of tracking.", runClientTrackingInfo),
			sub("pause timeout:int mode:[WRITE|ALL]", -3, command.Admin, "2.9.50", "Suspends commands of this node's clients.", runClientPause).history(
				"6.2.0 `CLIENT PAUSE WRITE` mode added along with the `mode` option."),
			sub("unpause", 2, command.Admin, "6.2.0", "Resumes processing commands of this node's clients.", runClientUnpause),
			sub("getredir", 2, 0, "6.0.0", "Returns -1: invalidations are not redirected.", runClientGetRedir),
			helpLine,
		},
	}}
}

// clientHelp is what CLIENT HELP answers.
var clientHelp = []string{
	"CLIENT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
	"CACHING (YES|NO)",
	"    Refused: no invalidations are sent, so nothing may be cached.",
	"GETREDIR",
	"    Return -1.",
	"GETNAME",
	"    Return the name of the current connection.",
	"ID",
	"    Return the ID of the current connection.",
	"INFO",
	"    Return information about the current client connection.",
	"KILL <ip:port>",
	"    Kill connection made from <ip:port>.",
	"KILL <option> <value> [<option> <value> [...]]",
	"    Kill connections. Options are:",
	"    * ADDR <ip:port>, LADDR <ip:port>, ID <id>, TYPE <type>, USER <name>, MAXAGE <seconds>, SKIPME (YES|NO)",
	"LIST [TYPE <type>] [ID <id> ...]",
	"    Return information about client connections of this node.",
	"NO-EVICT (ON|OFF)",
	"    Accepted without effect.",
	"NO-TOUCH (ON|OFF)",
	"    Accepted without effect.",
	"PAUSE <timeout> [WRITE|ALL]",
	"    Suspend all, or just write, clients of this node for <timeout> milliseconds.",
	"REPLY (ON|OFF|SKIP)",
	"    Control the replies sent to the current connection.",
	"SETINFO <option> <value>",
	"    Set client meta attr. Options are:",
	"    * LIB-NAME: the client lib name.",
	"    * LIB-VER: the client lib version.",
	"SETNAME <name>",
	"    Assign the name <name> to the current connection.",
	"TRACKING (ON|OFF) [OPTIN] [NOLOOP]",
	"    Accepted without effect: no invalidations are sent. Other modes are refused.",
	"TRACKINGINFO",
	"    Report tracking status for the current connection.",
	"UNBLOCK <clientid> [TIMEOUT|ERROR]",
	"    Unblock the specified blocked client.",
	"UNPAUSE",
	"    Stop the current client pause, resuming traffic.",
	"HELP",
	"    Print this help.",
}

// help returns a handler that answers lines.
func help(lines []string) handler {
	out := make([]resp.Value, len(lines))
	for i, l := range lines {
		out[i] = resp.Simple(l)
	}
	return func(c *conn, q *request, _ [][]byte) { c.answer(q, resp.Array(out...)) }
}

const textBadName = "ERR Client names cannot contain spaces, newlines or special characters."

// CLIENT ID
func runClientID(c *conn, q *request, _ [][]byte) { c.answer(q, resp.Int(int64(c.id))) }

// CLIENT GETNAME
func runClientGetName(c *conn, q *request, _ [][]byte) {
	c.mu.Lock()
	name := c.name
	c.mu.Unlock()
	if name == "" {
		c.answer(q, resp.Null())
		return
	}
	c.answer(q, resp.BulkString(name))
}

// CLIENT SETNAME connection-name
func runClientSetName(c *conn, q *request, argv [][]byte) {
	if !plainWord(argv[2]) {
		c.refuse(q, textBadName)
		return
	}
	c.mu.Lock()
	c.name = string(argv[2])
	c.mu.Unlock()
	c.answer(q, resp.OK)
}

// CLIENT SETINFO LIB-NAME|LIB-VER value
func runClientSetInfo(c *conn, q *request, argv [][]byte) {
	attr := string(cut(argv[2], maxEcho))
	isName := command.IsWord(argv[2], "LIB-NAME")
	if !isName && !command.IsWord(argv[2], "LIB-VER") {
		c.refuse(q, "ERR Unrecognized option '"+attr+"'")
		return
	}
	if !plainWord(argv[3]) {
		c.refuse(q, "ERR "+attr+" cannot contain spaces, newlines or special characters.")
		return
	}
	c.mu.Lock()
	if isName {
		c.libName = string(argv[3])
	} else {
		c.libVer = string(argv[3])
	}
	c.mu.Unlock()
	c.answer(q, resp.OK)
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
			ids[uint64(id)] = true // one below zero is nobody's
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

// isNormalType reports whether a client type is that of all clients here, and
// whether it is one that Redis knows.
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
func runClientKill(c *conn, q *request, argv [][]byte) {
	if len(argv) == 3 {
		n := c.killMatching(q, func(o *conn) bool { return o.addr == string(argv[2]) }, false) // also itself
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
	var tests []func(*conn) bool
	for i := 2; i < len(argv); i += 2 {
		opt, val := argv[i], argv[i+1]
		switch {
		case command.IsWord(opt, "ID"):
			id, ok := command.ParseInt(val)
			if !ok || id <= 0 {
				c.refuse(q, "ERR client-id should be greater than 0")
				return
			}
			tests = append(tests, func(o *conn) bool { return o.id == uint64(id) })
		case command.IsWord(opt, "ADDR"):
			tests = append(tests, func(o *conn) bool { return o.addr == string(val) })
		case command.IsWord(opt, "LADDR"):
			tests = append(tests, func(o *conn) bool { return o.laddr == string(val) })
		case command.IsWord(opt, "TYPE"):
			normal, ok := isNormalType(val)
			if !ok {
				c.refuse(q, "ERR Unknown client type '"+string(cut(val, maxEcho))+"'")
				return
			}
			tests = append(tests, func(*conn) bool { return normal })
		case command.IsWord(opt, "USER"):
			if string(val) != "default" {
				c.refuse(q, "ERR No such user '"+string(cut(val, maxEcho))+"'")
				return
			}
		case command.IsWord(opt, "MAXAGE"):
			age, ok := command.ParseInt(val)
			switch {
			case !ok:
				c.refuse(q, "ERR maxage is not an integer or out of range")
				return
			case age <= 0:
				c.refuse(q, "ERR maxage should be greater than 0")
				return
			}
			tests = append(tests, func(o *conn) bool { return (c.r.now()-o.created)/1e9 >= age })
		case command.IsWord(opt, "SKIPME") && command.IsWord(val, "YES"):
			skipMe = true
		case command.IsWord(opt, "SKIPME") && command.IsWord(val, "NO"):
			skipMe = false
		default:
			c.refuse(q, textSyntax)
			return
		}
	}
	n := c.killMatching(q, func(o *conn) bool {
		for _, t := range tests {
			if !t(o) {
				return false
			}
		}
		return true
	}, skipMe)
	c.answer(q, resp.Int(int64(n)))
}

// killMatching ends the matching connections; this one after its reply.
func (c *conn) killMatching(q *request, match func(*conn) bool, skipMe bool) (n int) {
	for _, o := range c.r.clients() {
		switch {
		case !match(o) || o == c && skipMe:
			continue
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
			default: // somebody else has unblocked it just now
			}
		}
	}
	c.answer(q, resp.Int(0))
}

// CLIENT NO-EVICT and NO-TOUCH: ON|OFF
func runOnOff(c *conn, q *request, argv [][]byte) {
	if !command.IsWord(argv[2], "ON") && !command.IsWord(argv[2], "OFF") {
		c.refuse(q, textSyntax)
		return
	}
	c.answer(q, resp.OK)
}

// CLIENT REPLY ON|OFF|SKIP
func runClientReply(c *conn, q *request, argv [][]byte) {
	switch {
	case command.IsWord(argv[2], "ON"):
		c.mute, q.mute = muteNone, false
	case command.IsWord(argv[2], "OFF"):
		c.mute, q.mute = muteAll, true
	case command.IsWord(argv[2], "SKIP"):
		if c.mute != muteAll {
			c.mute = muteSkipNext
		}
		q.mute = true
	default:
		c.refuse(q, textSyntax)
		return
	}
	c.answer(q, resp.OK)
}

// tracking is what CLIENT TRACKING chose; the mode is always OPTIN.
type tracking struct {
	on, noloop bool
	// refused: CLIENT CACHING YES was, so the command that it was for is refused as well.
	refused bool
}

const (
	textTracking = "ERR CLIENT TRACKING is supported in OPTIN mode only: no invalidations are sent, so nothing may be cached"
	textCaching  = "ERR CLIENT CACHING YES is not supported: no invalidations are sent, so nothing may be cached"
)

// CLIENT TRACKING ON|OFF [REDIRECT id] [PREFIX prefix …] [BCAST] [OPTIN] [OPTOUT] [NOLOOP]
//
// Libraries that can cache say ON OPTIN on every connection, mostly without caching
// anything, so that is accepted. What would make them cache is refused: no invalidations
// are sent. These are the other modes, and CLIENT CACHING YES.
func runClientTracking(c *conn, q *request, argv [][]byte) {
	var t tracking
	bcast, optin, optout, prefix := false, false, false, false
	for i := 3; i < len(argv); i++ {
		w := argv[i]
		switch {
		case command.IsWord(w, "BCAST"):
			bcast = true
		case command.IsWord(w, "NOLOOP"):
			t.noloop = true
		case command.IsWord(w, "OPTIN"):
			optin = true
		case command.IsWord(w, "OPTOUT"):
			optout = true
		case command.IsWord(w, "PREFIX") && i+1 < len(argv):
			i++
			prefix = true
		case command.IsWord(w, "REDIRECT") && i+1 < len(argv):
			i++
			if _, ok := command.ParseInt(argv[i]); !ok {
				c.refuse(q, textNotInt)
				return
			}
			// Invalidations are for nobody, so also not for another connection.
			c.refuse(q, "ERR The client ID you want redirect to does not exist")
			return
		default:
			c.refuse(q, textSyntax)
			return
		}
	}
	refused := ""
	switch {
	case command.IsWord(argv[2], "OFF"):
		t = tracking{}
	case !command.IsWord(argv[2], "ON"):
		refused = textSyntax
	case !bcast && prefix:
		refused = "ERR PREFIX option requires BCAST mode to be enabled"
	case bcast && (optin || optout):
		refused = "ERR OPTIN and OPTOUT are not compatible with BCAST"
	case optin && optout:
		refused = "ERR You can't specify both OPTIN mode and OPTOUT mode"
	case !optin:
		refused = textTracking
	default:
		t.on = true
	}
	if refused != "" {
		c.refuse(q, refused)
		return
	}
	c.mu.Lock()
	c.tracking = t
	c.mu.Unlock()
	c.answer(q, resp.OK)
}

// CLIENT CACHING YES|NO
//
// A library sends it in one go with the command, or the transaction, whose reply it wants
// to keep, and may look at the last reply alone: so that is refused, too.
func runClientCaching(c *conn, q *request, argv [][]byte) {
	switch {
	case !c.tracking.on:
		c.refuse(q, "ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or OPTOUT mode enabled")
	case command.IsWord(argv[2], "NO"):
		c.refuse(q, "ERR CLIENT CACHING NO is only valid when tracking is enabled in OPTOUT mode.")
	case command.IsWord(argv[2], "YES"):
		c.mu.Lock()
		c.tracking.refused = !q.inExec
		c.mu.Unlock()
		c.refuse(q, textCaching)
	default:
		c.refuse(q, textSyntax)
	}
}

// wasToBeCached reports whether the command now read is one whose reply the client wants
// to cache: the first after CLIENT CACHING YES, if it reads.
func (c *conn) wasToBeCached(cmd *command.Command) bool {
	if !c.tracking.refused {
		return false
	}
	c.mu.Lock()
	c.tracking.refused = false
	c.mu.Unlock()
	return cmd.Is(command.ReadOnly) || cmd.Name == "multi"
}

// CLIENT GETREDIR
func runClientGetRedir(c *conn, q *request, _ [][]byte) { c.answer(q, resp.Int(c.tracking.redirect())) }

// redirect is 0 for tracking without redirection, -1 without tracking.
func (t tracking) redirect() int64 {
	if t.on {
		return 0
	}
	return -1
}

// CLIENT TRACKINGINFO
func runClientTrackingInfo(c *conn, q *request, _ [][]byte) {
	t := c.tracking
	var flags []resp.Value
	for _, f := range []struct {
		set  bool
		name string
	}{{!t.on, "off"}, {t.on, "on"}, {t.on, "optin"}, {t.noloop, "noloop"}} {
		if f.set {
			flags = append(flags, resp.BulkString(f.name))
		}
	}
	c.answer(q, resp.Map(
		resp.BulkString("flags"), resp.Set(flags...), resp.BulkString("redirect"), resp.Int(t.redirect()),
		resp.BulkString("prefixes"), resp.Array()))
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

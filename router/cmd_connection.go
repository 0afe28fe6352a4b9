package router

import (
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"math"
	"strconv"
	"time"

	"millrace/command"
	"millrace/resp"
)

// categories are the ACL categories of a command of the router, in Redis's order.
func categories(flags command.Flags, group string) []string {
	var out []string
	if flags&command.Admin != 0 {
		out = append(out, "admin")
	}
	if flags&command.Fast != 0 {
		out = append(out, "fast")
	} else {
		out = append(out, "slow")
	}
	if flags&command.Admin != 0 {
		out = append(out, "dangerous")
	}
	if group != "" {
		out = append(out, group)
	}
	return out
}

// anyTime are the flags of most commands about the connection: they run at any time, but
// not in a script.
const anyTime = command.NoScript | command.Loading | command.Stale | command.Fast

// connectionLines are the commands about the connection itself.
func connectionLines() []line {
	cmd := func(usage string, arity int, flags command.Flags, since, summary string, run handler) line {
		return line{cmd: command.Command{
			Name: usage, Arity: arity, Flags: flags, Categories: categories(flags, "connection"),
			Since: since, Summary: summary, Complexity: "O(1)", Group: "connection",
		}, run: run}
	}
	const loadingFast = command.Loading | command.Stale | command.Fast
	return []line{
		cmd("ping [message]", -1, command.Fast, "1.0.0", "Answers PONG, or the message.", runPing),
		cmd("echo message", 2, loadingFast, "1.0.0", "Answers the message.", runEcho),
		cmd("hello arguments:[protover:int [AUTH username_password:(username password)] [SETNAME clientname]]", -1, anyTime|command.NoAuth, "6.0.0",
			"Chooses the protocol, and may log in and name the connection.", runHello).history(
			"6.2.0 Without a version it only describes the connection."),
		cmd("auth [username] password", -2, anyTime|command.NoAuth, "1.0.0", "Logs in.", runAuth).history(
			"6.0.0 Takes a user's name before the password."),
		cmd("select index:int", 2, loadingFast, "1.0.0", "Takes database 0, the only one.", runSelect),
		cmd("quit", -1, anyTime|command.NoAuth, "1.0.0", "Ends the connection after its reply.", runQuit),
		cmd("reset", 1, anyTime|command.NoAuth, "6.2.0", "Makes the connection as new.", runReset),
		cmd("readonly", 1, loadingFast, "3.0.0",
			"Allows this connection's reads to be answered by a replica of this node, which may be behind.", runReadOnly).inGroup("cluster"),
		cmd("readwrite", 1, loadingFast, "3.0.0",
			"Sends this connection's reads to the leader again.", runReadWrite).inGroup("cluster"),
		cmd("asking", 1, command.Fast, "3.0.0", "Accepted; Millrace never redirects.", runAsking).inGroup("cluster"),
	}
}

// PING [message]
func runPing(c *conn, q *request, argv [][]byte) {
	switch len(argv) {
	case 1:
		c.answer(q, resp.Simple("PONG"))
	case 2:
		c.answer(q, resp.Bulk(argv[1]))
	default:
		c.refuse(q, "ERR wrong number of arguments for 'ping' command")
	}
}

// ECHO message
func runEcho(c *conn, q *request, argv [][]byte) { c.answer(q, resp.Bulk(argv[1])) }

// SELECT 0: a cluster has one database.
func runSelect(c *conn, q *request, argv [][]byte) {
	switch n, ok := command.ParseInt(argv[1]); {
	case !ok:
		c.refuse(q, textNotInt)
	case n < math.MinInt32 || n > math.MaxInt32:
		c.refuse(q, "ERR value is out of range, value must between -2147483648 and 2147483647")
	case n != 0:
		c.refuse(q, "ERR SELECT is not allowed in cluster mode")
	default:
		c.answer(q, resp.OK)
	}
}

// QUIT
func runQuit(c *conn, q *request, _ [][]byte) {
	q.last = true
	c.answer(q, resp.OK)
}

// RESET makes the connection as new. An open transaction is dropped.
func runReset(c *conn, q *request, _ [][]byte) {
	c.endTx()
	c.readOnly, c.asCluster = false, false
	c.mute = muteNone
	q.mute = false
	q.proto = 2
	c.mu.Lock()
	c.proto, c.name, c.tracking = 2, "", tracking{}
	c.mu.Unlock()
	c.r.unwatch(c)
	c.setAuthed(c.r.password == nil)
	c.answer(q, resp.Simple("RESET"))
}

// READONLY: reads may be stale from now on, if this node has a replica.
func runReadOnly(c *conn, q *request, _ [][]byte) {
	c.readOnly, c.asCluster = true, true
	c.answer(q, resp.OK)
}

// READWRITE ends READONLY.
func runReadWrite(c *conn, q *request, _ [][]byte) {
	c.readOnly = false
	c.answer(q, resp.OK)
}

// ASKING follows a redirection in Redis Cluster. Millrace sends none.
func runAsking(c *conn, q *request, _ [][]byte) {
	c.asCluster = true
	c.answer(q, resp.OK)
}

const (
	textWrongPass = "WRONGPASS invalid username-password pair or user is disabled."
	textNoPass    = "ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?"
	textHelloAuth = "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH <user> <pass> option can be used to authenticate the client and select the RESP protocol version at the same time"
)

// maxAuthFailures is how many wrong passwords a connection may try before it is closed, so
// that every ten guesses cost a connection.
const maxAuthFailures = 10

// AUTH [username] password
func runAuth(c *conn, q *request, argv [][]byte) {
	switch {
	case len(argv) > 3:
		c.refuse(q, textSyntax)
	case len(argv) == 2 && c.r.password == nil:
		c.refuse(q, textNoPass)
	case len(argv) == 2 && c.login(q, []byte("default"), argv[1]), len(argv) == 3 && c.login(q, argv[1], argv[2]):
		c.answer(q, resp.OK)
	default:
		c.refuse(q, textWrongPass)
	}
}

// login authenticates the connection if user and password are right. Its duration does
// not depend on how much of a wrong password is right.
func (c *conn) login(q *request, user, pass []byte) bool {
	right := subtle.ConstantTimeCompare(user, []byte("default"))
	if c.r.password != nil {
		sum := sha256.Sum256(pass)
		right &= subtle.ConstantTimeCompare(sum[:], c.r.password[:])
	}
	if right == 0 {
		c.r.stats.authFailures.Add(1)
		c.failures++
		q.last = c.failures >= maxAuthFailures
		return false
	}
	c.setAuthed(true)
	return true
}

// setAuthed notes whether the client has authenticated, and sets the limits on its input.
func (c *conn) setAuthed(authed bool) {
	r := c.r
	r.mu.Lock()
	defer r.mu.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.authed == authed {
		return
	}
	c.authed = authed
	if authed {
		r.unauthed--
		c.rd.SetLimits(r.lim.Input)
		return
	}
	r.unauthed++
	c.unauthedSince = r.now()
	c.rd.SetLimits(r.lim.PreAuth)
}

// HELLO [protover [AUTH username password] [SETNAME clientname]]
func runHello(c *conn, q *request, argv [][]byte) {
	h, refused := parseHello(argv, c.proto)
	switch {
	case refused != "":
		c.refuse(q, refused)
		return
	case q.inExec && h.proto != c.proto:
		c.refuse(q, "ERR HELLO cannot change the protocol version in a transaction")
		return
	case h.user != nil && !c.login(q, h.user, h.pass):
		c.refuse(q, textWrongPass)
		return
	case !c.authed:
		c.refuse(q, textHelloAuth)
		return
	}
	c.mu.Lock()
	c.proto = h.proto
	if h.named {
		c.name = h.name
	}
	c.mu.Unlock()
	q.proto = h.proto
	c.answer(q, resp.Map(
		resp.BulkString("server"), resp.BulkString("redis"),
		resp.BulkString("version"), resp.BulkString(RedisVersion),
		resp.BulkString("proto"), resp.Int(int64(h.proto)),
		resp.BulkString("id"), resp.Int(int64(c.id)),
		resp.BulkString("mode"), resp.BulkString("cluster"),
		resp.BulkString("role"), resp.BulkString("master"),
		resp.BulkString("modules"), resp.Array(),
	))
}

// hello holds the words of a HELLO.
type hello struct {
	proto      uint8
	user, pass []byte // nil without AUTH
	name       string
	named      bool // with SETNAME, whose name may be empty
}

// parseHello reads the words of a HELLO. Without a version, the protocol stays proto.
func parseHello(argv [][]byte, proto uint8) (h hello, refused string) {
	h.proto = proto
	if len(argv) > 1 {
		n, ok := command.ParseInt(argv[1])
		switch {
		case !ok:
			return h, "ERR Protocol version is not an integer or out of range"
		case n != 2 && n != 3:
			return h, "NOPROTO unsupported protocol version"
		}
		h.proto = uint8(n)
	}
	for i := 2; i < len(argv); i++ {
		switch left := len(argv) - 1 - i; {
		case command.IsWord(argv[i], "AUTH") && left >= 2:
			h.user, h.pass = argv[i+1], argv[i+2]
			i += 2
		case command.IsWord(argv[i], "SETNAME") && left >= 1:
			if !plainWord(argv[i+1]) {
				return h, textBadName
			}
			h.name, h.named = string(argv[i+1]), true
			i++
		default:
			return h, "ERR Syntax error in HELLO option '" + string(cut(argv[i], maxEcho)) + "'"
		}
	}
	return h, ""
}

// plainWord reports whether w has only printable ASCII without blanks, so that CLIENT LIST
// can show it.
func plainWord(w []byte) bool {
	for _, b := range w {
		if b < '!' || b > '~' {
			return false
		}
	}
	return true
}

// timeNow is TIME's reply: seconds, and microseconds of the second.
func timeNow() resp.Value {
	now := time.Now()
	return resp.Array(resp.BulkString(strconv.FormatInt(now.Unix(), 10)),
		resp.BulkString(fmt.Sprint(now.Nanosecond()/1000)))
}

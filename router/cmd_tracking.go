package router

import (
	"millrace/command"
	"millrace/resp"
)

// trackingLines are the subcommands of CLIENT about client-side caching. Millrace sends
// no invalidations, so it refuses every request that would make a client keep a reply.
func trackingLines() []line {
	return []line{
		clientLine("tracking status:(ON|OFF) [REDIRECT client-id:int] [PREFIX prefix]... [BCAST] [OPTIN] [OPTOUT] [NOLOOP]", -3, 0, "6.0.0",
			"Accepted with OPTIN; other modes are refused, since no invalidations are sent.", runClientTracking),
		clientLine("caching mode:(YES|NO)", 3, 0, "6.0.0", "Refused; Millrace sends no invalidations.", runClientCaching),
		clientLine("trackinginfo", 2, 0, "6.2.0", "Tells which mode of tracking this connection asked for.", runClientTrackingInfo),
		clientLine("getredir", 2, 0, "6.0.0", "Answers 0 with tracking on and -1 without: invalidations go nowhere else.", runClientGetRedir),
	}
}

// tracking is the state that CLIENT TRACKING left. The mode is always OPTIN.
type tracking struct {
	on, noloop bool
	// refused: the last command was CLIENT CACHING YES. It was refused, so the command that
	// it was for is refused as well.
	refused bool
}

const (
	textTracking = "ERR CLIENT TRACKING is supported in OPTIN mode only: no invalidations are sent, so nothing may be cached"
	textCaching  = "ERR CLIENT CACHING YES is not supported: no invalidations are sent, so nothing may be cached"
)

// CLIENT TRACKING ON|OFF [REDIRECT id] [PREFIX prefix …] [BCAST] [OPTIN] [OPTOUT] [NOLOOP]
//
// Libraries that can cache send ON OPTIN on every connection, mostly without caching
// anything, so that is accepted. The other modes and CLIENT CACHING YES would make them
// cache, so these are refused, because no invalidations are sent.
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
			// No connection gets invalidations, so none can be redirected to.
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
// A library sends it together with the command, or the transaction, that it wants to
// cache, and may look at the last reply alone. So that command is refused, too.
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

// wasToBeCached reports whether the client wants to cache the reply to cmd, which was just
// read: it is a read, and the first command after CLIENT CACHING YES.
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

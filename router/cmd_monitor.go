package router

import (
	"millrace/resp"
)

// monitorLines is MONITOR.
func monitorLines() []line {
	return []line{serverLine("monitor", 1, operator, "1.0.0",
		"Sends this connection a line for each command that this node's clients send.", runMonitor).inGroup("server")}
}

// MONITOR. From now on, this connection gets a line for each command that a client of this
// node sends. Commands with the flag Admin are left out, and so are passwords. RESET ends
// it.
func runMonitor(c *conn, q *request, _ [][]byte) {
	if q.inExec {
		c.refuse(q, "ERR MONITOR isn't allowed for DENY BLOCKING client")
		return
	}
	c.r.watch(c, func(ok bool) {
		if !ok {
			c.refuse(q, "ERR Too many connections are in MONITOR")
			return
		}
		c.answer(q, resp.OK)
	})
}

package router

// debugLines is DEBUG, which runs only on a node that was started with enable-debug.
func debugLines() []line {
	return []line{serverLine("debug subcommand [arg...]", -2, operator, "1.0.0",
		"Looks at, or disturbs, this node alone, for tests.", runDebug).inGroup("server").costs("As each subcommand says.")}
}

// textNoDebug is Redis's refusal.
const textNoDebug = `ERR DEBUG command not allowed. If the enable-debug-command option is set to "local", you can run it from a local connection, ` +
	`otherwise you need to set this option in the configuration file, and then restart the server.`

// DEBUG subcommand [word …]. The node runs the subcommands. They look at, or disturb, this
// node alone.
func runDebug(c *conn, q *request, argv [][]byte) {
	if c.r.debug == nil {
		c.refuse(q, textNoDebug)
		return
	}
	c.serially(q, func() []byte { return encode(c.r.debug(c.r.ctx, argv[1:]), q.proto) })
}

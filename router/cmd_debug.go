package router

import "millrace/command"

// debugLines is DEBUG, which only a node that was started with enable-debug runs.
func debugLines() []line {
	flags := command.Admin | command.NoScript | command.Loading | command.Stale
	return []line{{cmd: command.Command{
		Name: "debug subcommand [arg...]", Arity: -2, Flags: flags, Categories: categories(flags, ""), Group: "server",
		Since: "1.0.0", Summary: "A container for debugging commands.", Complexity: "Depends on subcommand.",
	}, run: runDebug}}
}

// textNoDebug is Redis's refusal.
const textNoDebug = `ERR DEBUG command not allowed. If the enable-debug-command option is set to "local", you can run it from a local connection, ` +
	`otherwise you need to set this option in the configuration file, and then restart the server.`

// DEBUG subcommand [word …]. The subcommands are the node's: they look at, or disturb,
// this node alone, whatever shards it has.
func runDebug(c *conn, q *request, argv [][]byte) {
	if c.r.debug == nil {
		c.refuse(q, textNoDebug)
		return
	}
	c.serially(q, func() []byte { return encode(c.r.debug(c.r.ctx, argv[1:]), q.proto) })
}

package router

import "testing"

func TestSingleCommands(t *testing.T) {
	g := newRig(t, 4, nil)
	c := g.dial()
	c.want("PING", "+PONG")
	c.want("ping hi", `"hi"`)
	c.want("XADD s 1-1 a b", `"1-1"`)
	c.want("XLEN s", ":1")
	c.want("XRANGE s - +", `[["1-1", ["a", "b"]]]`)
	c.want("XADD s", "-ERR wrong number of arguments for 'xadd' command")
	c.want("FOO", "-ERR unknown command 'FOO'")
	c.want("FOO a b", "-ERR unknown command 'FOO', with args beginning with: 'a' 'b' ")
	c.want("_DBSIZE", "-ERR unknown command '_DBSIZE'")
	c.want("XGROUP FOO", "-ERR unknown subcommand 'FOO'. Try XGROUP HELP.")
	c.want("DBSIZE", ":1")
	c.want("HELLO 3", `{"server", "redis", "version", "8.6.3", "proto", :3, "id", :1, "mode", "cluster", "role", "master", "modules", []}`)
	c.want("XREAD STREAMS s 0", `{"s", [["1-1", ["a", "b"]]]}`)
	c.want("QUIT", "+OK")
	c.ended()
}

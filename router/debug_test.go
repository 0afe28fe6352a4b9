package router

import (
	"context"
	"strings"
	"testing"

	"millrace/resp"
)

// DEBUG is refused as Redis refuses it, unless the node serves it.
func TestDebug(t *testing.T) {
	refused := newRig(t, 1, nil).dial()
	for _, line := range []string{"DEBUG SLEEP 0", "DEBUG HELP"} {
		refused.want(line, "-"+textNoDebug)
	}
	refused.want("DEBUG", "-ERR wrong number of arguments for 'debug' command")

	served := newRig(t, 1, func(c *Config) {
		c.Debug = func(_ context.Context, argv [][]byte) resp.Value {
			var words []string
			for _, w := range argv {
				words = append(words, string(w))
			}
			return resp.Map(resp.BulkString("words"), resp.BulkString(strings.Join(words, " ")))
		}
	}).dial()
	served.want("DEBUG foo bar", `["words", "foo bar"]`)
	served.want("HELLO 3", served.do("HELLO 3"))
	served.want("DEBUG foo", `{"words", "foo"}`)
	served.want("MULTI", "+OK")
	served.want("DEBUG foo", "+QUEUED")
	served.want("EXEC", "[-ERR DEBUG is not allowed in a transaction]")
}

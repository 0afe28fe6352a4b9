package router

import (
	"strings"

	"millrace/call"
)

// metaShard is the shard that keeps the cluster map.
const metaShard = 0

// minIDPrefix is the number of digits of a node ID that name a node, if no other node's ID
// begins with them. `millrace status` shows as many.
const minIDPrefix = 8

// nodeNamed returns the ID that begins with the given digits, and the text of a refusal if
// there is none, or more than one.
func (r *Router) nodeNamed(digits []byte) (id, refusal string) {
	prefix := strings.ToLower(string(cut(digits, maxEcho)))
	unknown := "ERR Unknown node " + string(cut(digits, maxEcho))
	if len(prefix) < minIDPrefix {
		return "", unknown
	}
	for _, n := range r.topology().Nodes() {
		switch {
		case !strings.HasPrefix(n.ID, prefix):
		case id != "":
			return "", "ERR More than one node has an ID that begins with " + prefix
		default:
			id = n.ID
		}
	}
	if id == "" {
		return "", unknown
	}
	return id, ""
}

// CLUSTER FORGET node-id
func runClusterForget(c *conn, q *request, argv [][]byte) {
	id, refusal := c.r.nodeNamed(argv[2])
	switch {
	case id == c.r.self:
		c.refuse(q, "ERR I tried hard but I can't forget myself...")
	case refusal != "":
		c.refuse(q, refusal)
	case q.inExec:
		c.refuse(q, "ERR CLUSTER FORGET is not allowed in a transaction")
	default:
		c.serially(q, func() []byte {
			e := c.errand(metaShard, call.Write, [][]byte{[]byte("NODE.STATE"), []byte(id), []byte("draining")}, forever)
			if reply := c.gather(q, []*errand{e}, forever); reply != nil {
				return reply
			}
			return e.res.Reply
		})
	}
}

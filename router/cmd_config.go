package router

import (
	"slices"
	"strings"

	"millrace/call"
	"millrace/command"
	"millrace/resp"
	"millrace/stream"
)

// configLines are CONFIG and its subcommands.
func configLines() []line {
	return []line{container("config", "server", "2.0.0", "Commands about the settings of the server.",
		serverLine("get parameter:(parameter)...", -3, operator, "2.0.0", "Shows settings whose names match, with their values.", runConfigGet).
			costs("O(N*M) for N settings and M patterns.").history(
			"7.0.0 Takes several patterns in one call."),
		serverLine("set parameter_value:(parameter value)...", -4, operator, "2.0.0", "Changes settings while the server runs.", runConfigSet).
			costs("O(N*M) for N settings and M shards.").history(
			"7.0.0 Takes several settings in one call."),
		serverLine("resetstat", 2, operator, "2.0.0", "Starts the counters of INFO from zero.", runConfigResetStat),
		serverLine("rewrite", 2, operator, "2.8.0", "Refused: Millrace does not write its configuration file.",
			refusal("ERR The server is running without a config file")),
		helpLine("5.0.0", configHelp),
	)}
}

var configHelp = []string{
	"CONFIG <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
	"GET <pattern>",
	"    Shows the settings whose names match the <pattern>, with their values.",
	"SET <directive> <value>",
	"    Changes the setting <directive> to <value>: stream-* in the whole cluster,",
	"    others on this node until it stops.",
	"RESETSTAT",
	"    Starts the counters of INFO from zero.",
	"REWRITE",
	"    Refused.",
	"HELP",
	"    Shows this list.",
}

// CONFIG GET pattern …
//
// The stream-* parameters are in the state of every shard, where CONFIG SET puts them;
// they are read from the first shard.
func runConfigGet(c *conn, q *request, argv [][]byte) {
	// asked reports whether a word asks for the parameter with a name. A word that is the
	// name itself is answered as the client wrote it, as in Redis: PORT stays PORT.
	asked := func(name string) (as resp.Value, ok bool) {
		for _, w := range argv[2:] {
			if command.IsWord(w, name) {
				return resp.Bulk(w), true
			}
			if matches(w, name) {
				return resp.BulkString(name), true
			}
		}
		return as, false
	}
	var out []resp.Value
	for i := range parameters {
		p := &parameters[i]
		if as, ok := asked(p.name); ok {
			out = append(out, as, resp.BulkString(p.get(c.r)))
		}
	}
	isAsked := func(name string) bool {
		_, ok := asked(name)
		return ok
	}
	switch {
	case !slices.ContainsFunc(stream.SettingNames(), isAsked):
		c.answer(q, resp.Map(out...))
		return
	case q.inExec:
		c.refuse(q, textConfigInExec)
		return
	case !c.r.awaitShards():
		c.refuse(q, textNoSlot)
		return
	}
	first := c.r.topology().Shards()[0].ID
	c.spread(q, call.Read, []subcall{{first, [][]byte{[]byte("_SETTINGS")}}}, func(q *request) []byte {
		if reply := failure(call.Read, q.parts[0]); reply != nil {
			return reply
		}
		v, _, err := resp.ParseValue(q.parts[0].reply)
		if err != nil {
			return errorReply(textInternal)
		}
		for i := 0; i+1 < len(v.Elems); i += 2 {
			if as, ok := asked(string(v.Elems[i].Str)); ok {
				out = append(out, as, v.Elems[i+1])
			}
		}
		return encode(resp.Map(out...), q.proto)
	})
}

const textConfigInExec = "ERR CONFIG asks the shards for the stream-* parameters, which is not allowed in a transaction"

// change is a new value for one parameter of this node.
type change struct {
	p *parameter
	n int64 // the number to store
}

// CONFIG SET parameter value …
//
// All values are checked before any is set. The stream-* parameters become one record in
// every shard. If a shard fails, the reply is its error, the other shards keep the new
// values, and the client may send the same command again. The parameters of this node are
// set after that, because setting them cannot fail.
func runConfigSet(c *conn, q *request, argv [][]byte) {
	if len(argv)%2 != 0 {
		c.refuse(q, textSyntax)
		return
	}
	changes, cmds, refusal := c.r.checkChanges(argv[2:])
	switch {
	case refusal != "":
		c.refuse(q, refusal)
	case len(cmds) == 0:
		c.r.apply(changes)
		c.answer(q, resp.OK)
	case q.inExec:
		c.refuse(q, textConfigInExec)
	case !c.r.awaitShards():
		c.refuse(q, textNoSlot)
	default:
		c.setEverywhere(q, changes, cmds)
	}
}

// checkChanges checks the pairs of a CONFIG SET. It returns the changes on this node, and
// the commands for every shard.
func (r *Router) checkChanges(pairs [][]byte) (changes []change, cmds [][][]byte, refusal string) {
	failed := func(name, fault string) string {
		return "ERR CONFIG SET failed (possibly related to argument '" + name + "') - " + fault
	}
	names := make([]string, 0, len(pairs)/2)
	for i := 0; i < len(pairs); i += 2 {
		name := strings.ToLower(string(cut(pairs[i], maxEcho)))
		p := parameterNamed(name)
		switch {
		case p == nil && !slices.Contains(stream.SettingNames(), name):
			return nil, nil, "ERR Unknown option or number of arguments for CONFIG SET - '" + string(cut(pairs[i], maxEcho)) + "'"
		case p != nil && p.immutable:
			return nil, nil, failed(name, "can't set immutable config")
		case slices.Contains(names, name):
			return nil, nil, failed(name, "duplicate parameter")
		}
		names = append(names, name)
	}
	for i, name := range names {
		value := pairs[2*i+1]
		p := parameterNamed(name)
		if p == nil {
			argv := [][]byte{[]byte("_SETTING"), []byte(name), value}
			cmd, _ := stream.Lookup(argv)
			if e := cmd.Check(argv); e != nil {
				return nil, nil, string(e.Str)
			}
			cmds = append(cmds, argv)
			continue
		}
		n, fault := p.check(r, string(value))
		if fault != "" {
			return nil, nil, failed(name, fault)
		}
		changes = append(changes, change{p, n})
	}
	return changes, cmds, ""
}

func (r *Router) apply(changes []change) {
	for _, ch := range changes {
		if ch.p.at != nil {
			ch.p.at(r.settings).Store(ch.n)
		}
	}
}

// setEverywhere sends cmds to every shard as one record, then applies the changes on this
// node.
func (c *conn) setEverywhere(q *request, changes []change, cmds [][][]byte) {
	shards := c.r.topology().Shards()
	q.parts = make([]part, len(shards))
	q.spread = make([]job, len(shards))
	q.build = func(q *request) []byte {
		for _, p := range q.parts {
			if reply := failure(call.Write, p); reply != nil {
				return reply
			}
		}
		c.r.apply(changes)
		return encode(resp.OK, q.proto)
	}
	q.waiting = len(shards)
	for i, s := range shards {
		q.spread[i] = job{part: i, shard: s.ID, kind: call.Write, cmds: cmds, multi: len(cmds) > 1}
	}
	c.launch(q)
}

// CONFIG RESETSTAT
func runConfigResetStat(c *conn, q *request, _ [][]byte) {
	c.r.stats.reset()
	c.answer(q, resp.OK)
}

package stream

import (
	"strings"

	"millrace/resp"
)

// Flags say what kind of command it is, as COMMAND INFO names them.
type Flags uint16

// The flags of a command.
const (
	Write Flags = 1 << iota
	ReadOnly
	DenyOOM
	Fast
	Blocking
	MovableKeys
	Loading
	Stale
	NoScript
	NoAuth
	Admin
	// Internal commands are for the router itself; to a client they do not exist.
	Internal
	// Guard commands decide whether the rest of their EXEC is run: not after null.
	Guard
	// NoMulti commands are refused between MULTI and EXEC.
	NoMulti
)

// Keys says where a command's keys stand. One table of key positions serves
// routing, access rules and COMMAND.
type Keys struct {
	// First, Last and Step are Redis's: 1, -1, 2 is every second word from the first
	// argument to the end. All zero: no keys, or Find knows.
	First, Last, Step int
	// Find returns the indexes of the keys in argv where a rule of positions cannot;
	// nil when argv is malformed.
	Find func(argv [][]byte) []int
	// Keyword is the word after which Find looks for keys, and KeywordFrom the argument from
	// which on that word is sought, for COMMAND INFO. Without it, what Find finds are as many
	// keys as the second argument says.
	Keyword     string
	KeywordFrom int
	// Access is how COMMAND INFO's key specification marks the keys: "RW", "RO", "OW" or
	// "RM", then what the command does with the content of the key, in Redis's words: access,
	// update, insert, delete. "RO access; OW update" is of a first key and of a second one.
	Access string
}

// Command is one line of the table. Commands without Run belong to the router, which
// keeps a table of its own in the same form.
type Command struct {
	Name  string // lower case; a subcommand is "xgroup|create"
	Arity int    // words including the name; negative: at least
	Flags Flags
	Keys  Keys
	// Usage is the words after the name, in the form of package router/usage.
	Usage string
	// History is what later versions of Redis changed: "6.2.0 Added …", oldest first.
	History []string
	// Categories are the ACL categories without "@", in Redis's order.
	Categories []string
	Since      string
	// Deprecated says since which version Redis has something better, and what: "6.2.0 `SET`".
	Deprecated string
	// Tips are COMMAND INFO's tips for clients, in Redis's words. Those on where to send a
	// command are left out: any node answers for all shards.
	Tips       []string
	Summary    string
	Complexity string
	// Group is COMMAND DOCS's group: "stream", "generic", "connection" …
	Group string
	// Subcommands of a container such as XGROUP; a container has no Run.
	Subcommands []*Command
	// Check finds errors that the words alone show, in the order Redis finds them and
	// only where Redis finds them before it looks at the key; nil or a zero error kind
	// means none found. What it refuses never reaches the log.
	Check func(argv [][]byte) *resp.Value
	// Run executes the command. A refusal is a reply and changes nothing; an error is a
	// failing disk or broken state, and stops the shard.
	Run func(tx *Tx, argv [][]byte) (resp.Value, error)
	// Ready reports whether a blocked call of this command, run now, would answer
	// something, data or an error. Only for Blocking commands.
	Ready func(tx *Tx, argv [][]byte) (bool, error)
	// Arrival returns the command to be run for a call that is to wait, for the trace that
	// a first try leaves; nil when there is none. nil where there never is.
	Arrival func(tx *Tx, argv [][]byte) ([][]byte, error)
	// ReadyAt returns when a blocked call becomes ready by the passing of time alone, in
	// milliseconds since the Unix epoch; zero is never. nil where time changes nothing.
	ReadyAt func(tx *Tx, argv [][]byte) (int64, error)
}

// Is reports whether all flags of f are set.
func (c *Command) Is(f Flags) bool { return c.Flags&f == f }

// table is every command that runs on the state of a shard.
var table = buildTable(
	// streams
	&xack,
	&xackdel,
	&xadd,
	&xautoclaim,
	&xcfgset,
	&xclaim,
	&xdel,
	&xdelex,
	&xgroup,
	&xgroupCheck,
	&xgroupAttend,
	&xidmprecord,
	&xinfo,
	&xlen,
	&xnack,
	&xpending,
	&xrange,
	&xread,
	&xreadOn,
	&xreadgroup,
	&xrevrange,
	&xsetid,
	&xtrim,
	// strings
	&appendCmd,
	&decr,
	&decrby,
	&get,
	&getdel,
	&getex,
	&getset,
	&incr,
	&incrby,
	&mget,
	&psetex,
	&set,
	&setex,
	&setnx,
	&strlen,
	// any name
	&copyCmd,
	&dbSize,
	&del,
	&dump,
	&exists,
	&expire,
	&expireat,
	&expireCmd,
	&flushCmd,
	&expiretime,
	&keysCmd,
	&keyspace,
	&lastID,
	&memory,
	&modifiedCmd,
	&object,
	&persist,
	&pexpire,
	&pexpireat,
	&pexpiretime,
	&pttl,
	&randomKey,
	&rename,
	&renamenx,
	&restore,
	&scan,
	&setting,
	&settingsCmd,
	&slotCount,
	&slotNames,
	&touch,
	&ttl,
	&typeCmd,
	&unlink,
	&watched,
)

func buildTable(cmds ...*Command) map[string]*Command {
	t := make(map[string]*Command, len(cmds))
	for _, c := range cmds {
		t[c.Name] = c
	}
	return t
}

// Commands returns every command of the table, in no order.
func Commands() []*Command {
	out := make([]*Command, 0, len(table))
	for _, c := range table {
		out = append(out, c)
	}
	return out
}

// Lookup returns the command that argv names, going into subcommands, or an error
// reply: unknown subcommand or wrong number of arguments. Both results are nil for a
// name that is not in the table.
func Lookup(argv [][]byte) (*Command, *resp.Value) {
	return LookupIn(table, argv)
}

// LookupIn is Lookup in a table keyed by lower-case name.
func LookupIn(t map[string]*Command, argv [][]byte) (*Command, *resp.Value) {
	var buf [32]byte
	c := t[string(lower(buf[:0], argv[0]))]
	if c == nil {
		return nil, nil
	}
	if len(c.Subcommands) > 0 {
		if len(argv) < 2 {
			return c, wrongArity(c.Name)
		}
		sub := c.sub(argv[1])
		if sub == nil {
			e := resp.Err("ERR unknown subcommand '" + printable(argv[1], 128) + "'. Try " + strings.ToUpper(c.Name) + " HELP.")
			return c, &e
		}
		c = sub
	}
	if c.Arity > 0 && len(argv) != c.Arity || len(argv) < -c.Arity {
		return c, wrongArity(c.Name)
	}
	return c, nil
}

func (c *Command) sub(word []byte) *Command {
	var buf [32]byte
	w := lower(buf[:0], word)
	for _, s := range c.Subcommands {
		if s.Name[len(c.Name)+1:] == string(w) {
			return s
		}
	}
	return nil
}

func wrongArity(name string) *resp.Value {
	e := resp.Err("ERR wrong number of arguments for '" + name + "' command")
	return &e
}

// KeyIndexes returns the indexes of the keys in argv, which has passed Lookup; nil
// when there are none.
func (c *Command) KeyIndexes(argv [][]byte) []int {
	k := c.Keys
	if k.Find != nil {
		return k.Find(argv)
	}
	if k.First == 0 {
		return nil
	}
	last := k.Last
	if last < 0 {
		last += len(argv)
	}
	var out []int
	for i := k.First; i <= last && i < len(argv); i += k.Step {
		out = append(out, i)
	}
	return out
}

// lower appends the ASCII lower case of word to dst; words longer than any command
// come back unchanged beyond what fits, and so are not found.
func lower(dst, word []byte) []byte {
	if len(word) > 64 {
		word = word[:64]
	}
	for _, b := range word {
		if 'A' <= b && b <= 'Z' {
			b += 'a' - 'A'
		}
		dst = append(dst, b)
	}
	return dst
}

// printable returns at most max bytes of word with CR and LF replaced by blanks, as
// error texts show a client's words.
func printable(word []byte, max int) string {
	if len(word) > max {
		word = word[:max]
	}
	return strings.Map(func(r rune) rune {
		if r == '\r' || r == '\n' {
			return ' '
		}
		return r
	}, string(word))
}

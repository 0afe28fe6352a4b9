package command

import (
	"strings"

	"millrace/resp"
)

// Flags describe the kind of a command, with the names that COMMAND INFO uses.
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
	// Internal commands are sent by the router and the shard. To a client they do not exist.
	Internal
	// Guard commands protect the commands behind them in the same EXEC: when a guard
	// answers null, the rest is not run.
	Guard
	// NoMulti commands are refused between MULTI and EXEC.
	NoMulti
	// Large commands write, and may answer more than one step is allowed to; see
	// stream/budget.go.
	Large
)

// Keys says where the keys of a command stand among its words. Routing, access rules and
// COMMAND all use it.
type Keys struct {
	// First, Last and Step are Redis's key positions: 1, -1, 2 means every second word
	// from the first argument to the last. All three are zero when the command has no
	// keys, or when Find knows them.
	First, Last, Step int
	// Find returns the indexes of the keys in argv where fixed positions cannot say them.
	// It returns nil when argv is malformed.
	Find func(argv [][]byte) []int
	// Keyword is the word after which Find looks for keys, and KeywordFrom the index of
	// the argument from which on COMMAND INFO says that the word is searched. An empty
	// Keyword means that the second argument is the number of keys.
	Keyword     string
	KeywordFrom int
	// Access describes the keys in COMMAND INFO's key specification. It begins with RW,
	// RO, OW or RM and goes on with access, update, insert or delete. With two
	// specifications, "RO access; OW update" describes a first and a second key.
	Access string
}

// Command is the description of one command. A container such as XGROUP has subcommands
// and cannot be run itself.
type Command struct {
	Name string // in lower case; the name of a subcommand is "xgroup|create"
	// Arity is the number of words, the name included. A negative number is a minimum: -3
	// means three words or more.
	Arity int
	Flags Flags
	Keys  Keys
	// Usage lists the words after the name, in the notation of package command/usage.
	Usage string
	// History lists the changes by later versions of Redis, oldest first: "6.2.0 Added …".
	History []string
	// Categories are the ACL categories without "@", in Redis's order.
	Categories []string
	Since      string // version of Redis that introduced the command
	// Deprecated is the version of Redis that deprecated the command, and its
	// replacement: "6.2.0 `SET`". Empty means that the command is not deprecated.
	Deprecated string
	// Tips are COMMAND INFO's tips for clients. The tips about routing a command to many
	// nodes are left out, because any node answers for all shards.
	Tips       []string
	Summary    string
	Complexity string
	// Group is COMMAND DOCS's group: "stream", "generic", "connection" and so on.
	Group       string
	Subcommands []*Command
	// Check returns the error reply that the arguments alone justify, without a look at the
	// state, or nil. It finds errors in
	// Redis's order, and only those that Redis finds before it looks at the key. A refused
	// command never reaches the log.
	Check func(argv [][]byte) *resp.Value
}

// Is reports whether the command has all flags of f.
func (c *Command) Is(f Flags) bool { return c.Flags&f == f }

// KeyIndexes returns the indexes of the keys in argv, which must have passed
// [Table.Lookup]. It returns nil when there are no keys.
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

// sub returns the subcommand that a word names, or nil.
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

// Table holds commands by their names in lower case. Subcommands are in their containers.
type Table map[string]*Command

// Lookup returns the command that argv names; argv has at least one word. For a container
// it returns the subcommand. The refusal is an error reply: unknown subcommand, or wrong
// number of words. Both results are nil when the table has no command of that name.
func (t Table) Lookup(argv [][]byte) (c *Command, refusal *resp.Value) {
	var buf [32]byte
	c = t[string(lower(buf[:0], argv[0]))]
	if c == nil {
		return nil, nil
	}
	if len(c.Subcommands) > 0 {
		if len(argv) < 2 {
			return c, WrongArity(c.Name)
		}
		sub := c.sub(argv[1])
		if sub == nil {
			e := resp.Err("ERR unknown subcommand '" + Printable(argv[1], 128) + "'. Try " + strings.ToUpper(c.Name) + " HELP.")
			return c, &e
		}
		c = sub
	}
	if c.Arity > 0 && len(argv) != c.Arity || len(argv) < -c.Arity {
		return c, WrongArity(c.Name)
	}
	return c, nil
}

// WrongArity returns the refusal of a command, named in lower case, that has too few or too
// many words.
func WrongArity(name string) *resp.Value {
	e := resp.Err("ERR wrong number of arguments for '" + name + "' command")
	return &e
}

package stream

import (
	"millrace/command"
	"millrace/resp"
)

// Command is one command that runs on the state of a shard: its description, and the
// functions that run it. A container such as XGROUP has Subs and no functions.
type Command struct {
	command.Command
	// Subs are the subcommands of a container.
	Subs []*Command
	// Run executes the command. A refusal is a reply and changes nothing. An error means
	// that the disk failed or the state is broken; it stops the shard.
	Run func(tx *Tx, argv [][]byte) (resp.Value, error)
	// Blocked is set for commands that can wait: XREAD and XREADGROUP.
	Blocked *blocking
}

// blocking holds the functions for calls of a command that wait. They get the words as
// command.ParseRead has read them.
type blocking struct {
	// Ready reports whether the command would answer data or an error if it ran now.
	Ready func(tx *Tx, r *command.Read) (bool, error)
	// Arrival returns the command that records the arrival of a call that is about to
	// wait, or nil when there is nothing to record. The field is nil for commands whose
	// calls leave no trace before they are served.
	Arrival func(tx *Tx, r *command.Read) ([][]byte, error)
	// Read runs the command. The field is nil for commands that write.
	Read func(tx *Tx, r *command.Read) (resp.Value, error)
}

// all lists every command that runs on the state of a shard, one line each.
var all = []*Command{
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
	// hashes
	&hdel,
	&hexists,
	&hget,
	&hgetall,
	&hincrby,
	&hincrbyfloat,
	&hkeys,
	&hlen,
	&hmget,
	&hmset,
	&hscan,
	&hset,
	&hsetnx,
	&hstrlen,
	&hvals,
	// sorted sets
	&zadd,
	&zcard,
	&zcount,
	&zincrby,
	&zmscore,
	&zpopmax,
	&zpopmin,
	&zrange,
	&zrangebylex,
	&zrangebyscore,
	&zrank,
	&zrem,
	&zremrangebyrank,
	&zremrangebyscore,
	&zrevrange,
	&zrevrangebylex,
	&zrevrangebyscore,
	&zrevrank,
	&zscan,
	&zscore,
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
	&getrange,
	&substr,
	&setrange,
	&incrbyfloat,
	&mset,
	&msetnx,
	&lcs,
	// any name
	&cleanupCmd,
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
}

// table finds the description of a command by its words, and byInfo the command of a
// description.
var table, byInfo = buildTable(all)

func buildTable(all []*Command) (command.Table, map[*command.Command]*Command) {
	table := make(command.Table, len(all))
	byInfo := make(map[*command.Command]*Command, len(all))
	for _, c := range all {
		table[c.Name] = &c.Command
		byInfo[&c.Command] = c
		for _, s := range c.Subs {
			c.Subcommands = append(c.Subcommands, &s.Command)
			byInfo[&s.Command] = s
		}
	}
	return table, byInfo
}

// Commands returns every command in the order of the table. The caller must not change
// the slice.
func Commands() []*Command { return all }

// Lookup returns the command that argv names. For a container it returns the subcommand.
// The refusal is an error reply: unknown subcommand, or wrong number of words. Both
// results are nil when the table has no command of that name.
func Lookup(argv [][]byte) (*Command, *resp.Value) {
	c, refusal := table.Lookup(argv)
	return byInfo[c], refusal
}

// Runs reports whether this package runs the command of a description, rather than the
// router. It is false for containers.
func Runs(c *command.Command) bool {
	known := byInfo[c]
	return known != nil && known.Run != nil
}

// RunKeyless runs a command that looks at no state, such as XINFO HELP. c is a description
// from [Commands]; ok is false when this package does not run it.
func RunKeyless(c *command.Command, argv [][]byte) (v resp.Value, ok bool) {
	if !Runs(c) {
		return resp.Value{}, false
	}
	v, err := byInfo[c].Run(&Tx{}, argv)
	return v, err == nil
}

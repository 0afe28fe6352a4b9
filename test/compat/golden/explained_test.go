package golden

import "regexp"

// difference is an intended difference between the replies of Millrace and Redis.
type difference struct {
	session string
	command *regexp.Regexp // matches the line of the session
	ours    *regexp.Regexp // matches Millrace's reply; nil allows any reply, because it describes the server
	reason  string
}

// unplayed has the parts of the sessions, by their headings, that are not sent at all.
var unplayed = map[string]string{
	"keyspace events": "There are no subscriptions and no keyspace events.",
}

// inSlot replaces lines whose keys are in different slots of a cluster. The transcripts of
// a Redis without a cluster use such keys in one command.
var inSlot = map[string]string{
	"RENAME s t": "RENAME s {s}t",
}

// explained are the intended differences. The test fails if no line needs one of them.
var explained = []difference{
	{"p3", regexp.MustCompile(`^(XGROUP|XINFO) HELP$`), regexp.MustCompile(`List the subcommands`), "The sentences of HELP are our own."},
	{"p5", regexp.MustCompile(`^A> CLIENT ID`), regexp.MustCompile(`^:\d+$`), "Connections are counted from one."},
	{"p6", regexp.MustCompile(`^CONFIG GET stream-`), regexp.MustCompile(`stream-node-max-entries`), "The order of the parameters has no meaning."},
	{"p7", regexp.MustCompile(`^XINFO HELP$`), regexp.MustCompile(`List the subcommands`), "The sentences of HELP are our own."},
	{"p7", regexp.MustCompile(`^COMMAND INFO`), regexp.MustCompile(`^.."xadd", :-5, ~?.\+write, \+denyoom, \+fast., :1, :1, :1,`), "Keys have no notes."},
	{"p7", regexp.MustCompile(`^COMMAND COUNT`), regexp.MustCompile(`^:1\d\d$`), "There are fewer commands."},
	{"p7", regexp.MustCompile(`^HELLO 3`), regexp.MustCompile(`"mode": "cluster"`), "It is a cluster, without modules."},
	{"p7", regexp.MustCompile(`^CLIENT INFO`), regexp.MustCompile(`resp=3`), "Other connections; buffers are not told."},
	{"p8", regexp.MustCompile(`^EVAL`), regexp.MustCompile(`runs no scripts`), "There are no scripts."},
	{"p8", regexp.MustCompile(`^A> CLIENT ID`), regexp.MustCompile(`^:\d+$`), "Connections are counted from one."},
	{"p8", regexp.MustCompile(`^CLIENT LIST`), regexp.MustCompile(`cmd=client.list`), "Other connections; buffers are not told."},
	{"p8", regexp.MustCompile(`^INFO clients`), regexp.MustCompile(`blocked_clients:1`), "Other connections; watched and blocking keys are not counted."},
	{"p9", regexp.MustCompile(`^OBJECT HELP$`), regexp.MustCompile(`List the subcommands`), "The sentences of HELP are our own."},
	{"p9", regexp.MustCompile(`^HELLO( [23]|$)`), regexp.MustCompile(`"mode"[,:] "cluster"`), "It is a cluster, without modules."},
	{"p9", regexp.MustCompile(`^SELECT 1`), regexp.MustCompile(`not allowed in cluster mode`), "It is a cluster."},
	{"p9", regexp.MustCompile(`^CLUSTER|^READONLY|^ASKING`), nil, "It is a cluster."},
	{"p9", regexp.MustCompile(`^CONFIG GET`), regexp.MustCompile(`"appendonly", "yes"`), "Every write is on disk."},
	{"p9", regexp.MustCompile(`^WAITAOF`), regexp.MustCompile(`^..1, :0.$`), "Every write is on disk."},
	{"p9", regexp.MustCompile(`^TIME`), nil, "Time goes on."},
	{"p9", regexp.MustCompile(`^DBSIZE`), regexp.MustCompile(`:0`), "The session before left a name behind."},
	{"p9", regexp.MustCompile(`^SCAN 0`), regexp.MustCompile(`^."\d+", ...$`), "The session before left a name behind; a step of SCAN looks at a part of the shards."},
	{"p9", regexp.MustCompile(`^LOLWUT`), regexp.MustCompile(`Millrace|~`), "A picture of our own."},
	{"p9", regexp.MustCompile(`^(UN)?SUBSCRIBE`), regexp.MustCompile(`unknown command`), "There are no subscriptions."},
	{"p9", regexp.MustCompile(`^PING$`), regexp.MustCompile(`^\+PONG$`), "There are no subscriptions, in which a PING is answered otherwise."},
	{"p9", regexp.MustCompile(`^GET x`), regexp.MustCompile(`^\$-1$`), "There are no subscriptions, in which nothing else is allowed."},
	{"p10", regexp.MustCompile(`^CLUSTER (INFO|SLOTS|SHARDS|NODES|MYID)`), nil, "Another cluster, of six shards."},
	{"p10", regexp.MustCompile(`^XREAD STREAMS a b`), regexp.MustCompile(`^\*-1$`), "XREAD over any streams: docs/guide.md, 6."},
}

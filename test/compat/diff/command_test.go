package diff

import (
	"os/exec"
	"slices"
	"strings"
	"testing"

	"millrace/resp"
	"millrace/test/cluster"
)

// tables compares the command tables of one node and of the redis-server in PATH, in RESP3.
type tables struct {
	t            *testing.T
	ours, theirs *client
	met          map[tableDifference]bool
}

// tableDifference is an intended difference in one field of a command.
type tableDifference struct {
	name   string // "client|*" stands for all subcommands, "*" for all commands
	field  string // "*" stands for all fields
	reason string
}

func newTables(t *testing.T) *tables {
	t.Helper()
	path, err := exec.LookPath("redis-server")
	if err != nil {
		t.Skip("there is no redis-server to compare with")
	}
	x := &tables{t: t, theirs: dial(t, startRedis(t, path)), met: map[tableDifference]bool{}}
	if v := versionOf(t, x.theirs); v != v70 {
		t.Skipf("the explained differences are those to Redis 7.0; this is %d.%d", v/100, v%100)
	}
	x.ours = dial(t, cluster.Start(t, cluster.Options{Nodes: 1, Shards: 1}).Addrs()[0])
	x.ours.do("HELLO", "3")
	x.theirs.do("HELLO", "3")
	return x
}

// newCommands are the commands that came after Redis 7.0.
var newCommands = strings.Fields("client|no-touch client|setinfo cluster|myshardid waitaof xackdel xcfgset xdelex xidmprecord xnack")

// same compares one field of a command. A difference must be in list.
func (x *tables) same(list []tableDifference, name, field string, ours, theirs resp.Value) {
	x.t.Helper()
	a, b := ordered(ours).String(), ordered(theirs).String()
	if a == b {
		return
	}
	for _, d := range list {
		within := strings.HasSuffix(d.name, "*") && strings.HasPrefix(name, d.name[:len(d.name)-1])
		if (within || d.name == name) && (d.field == "*" || d.field == field) {
			x.met[d] = true
			return
		}
	}
	x.t.Errorf("%s of %s:\n  Millrace  %s\n  Redis     %s", field, name, a, b)
}

// unmet fails the test for each difference of list that no longer exists, and if hardly
// any commands were compared.

func (x *tables) unmet(list []tableDifference, compared int) {
	x.t.Helper()
	for _, d := range list {
		if !x.met[d] {
			x.t.Errorf("%s of %s no longer differs: %s", d.field, d.name, d.reason)
		}
	}
	if compared < enoughCommands {
		x.t.Errorf("only %d commands were compared", compared)
	}
}

// enoughCommands is the least number of commands and subcommands that both have.
const enoughCommands = 150

// ordered returns a value with the elements of its sets sorted, at any depth.
func ordered(v resp.Value) resp.Value {
	v.Elems = slices.Clone(v.Elems)
	for i := range v.Elems {
		v.Elems[i] = ordered(v.Elems[i])
	}
	if v.Kind == resp.KindSet {
		slices.SortFunc(v.Elems, func(a, b resp.Value) int { return strings.Compare(a.String(), b.String()) })
	}
	return v
}

// without returns a value without the elements for which out is true, at any depth.
func without(v resp.Value, out func(e resp.Value) bool) resp.Value {
	var kept []resp.Value
	for _, e := range v.Elems {
		if !out(e) {
			kept = append(kept, without(e, out))
		}
	}
	v.Elems = kept
	return v
}

// dropFields returns a value with some fields removed from its maps, at any depth.
func dropFields(v resp.Value, names ...string) resp.Value {
	var kept []resp.Value
	for i := 0; i < len(v.Elems); i++ {
		if v.Kind == resp.KindMap && i%2 == 0 && slices.Contains(names, string(v.Elems[i].Str)) {
			i++
			continue
		}
		kept = append(kept, dropFields(v.Elems[i], names...))
	}
	v.Elems = kept
	return v
}

// infoFields are the elements of COMMAND INFO before the subcommands.
var infoFields = strings.Fields("name arity flags first last step categories tips keys")

// infoDifferences are the intended differences in COMMAND INFO.
var infoDifferences = []tableDifference{
	{"command|getkeys", "arity", "Newer releases accept a command of one word, and answer that it has no keys."},
	{"command|getkeysandflags", "arity", "As of COMMAND GETKEYS."},
	{"cluster|bumpepoch", "tips", "It is refused."},
	{"cluster|slots", "flags", "Newer releases answer it while they load."},
	{"cluster|shards", "flags", "Newer releases answer it while they load."},
	{"migrate", "*", "It is refused, whatever its keys."},
	{"zrank", "arity", "WITHSCORE is newer."},
	{"zrevrank", "arity", "WITHSCORE is newer."},
	{"wait", "flags", "It is a blocking command since 7.2."},
	{"wait", "categories", "It is a blocking command since 7.2."},
}

// withoutForeign returns an element of COMMAND INFO without the parts that mean nothing in
// Millrace:
//
//   - flags about scripts, and about a server that is loading
//   - tips about the node to send a command to, because any node answers for all shards
//   - notes on keys, which give Redis's reasons
func withoutForeign(v resp.Value) resp.Value {
	flags := strings.Fields("no_async_loading skip_monitor skip_slowlog allow_busy no_mandatory_keys")
	return dropFields(without(v, func(e resp.Value) bool {
		text := string(e.Str)
		return slices.Contains(flags, text) || strings.HasPrefix(text, "request_policy:") || strings.HasPrefix(text, "response_policy:")
	}), "notes")
}

// TestCommandInfo compares the reply to COMMAND for each command that both have.
func TestCommandInfo(t *testing.T) {
	x := newTables(t)
	compared := 0
	var walk func(ours, theirs resp.Value)
	walk = func(ours, theirs resp.Value) {
		for _, a := range ours.Elems {
			name := string(a.Elems[0].Str)
			i := slices.IndexFunc(theirs.Elems, func(b resp.Value) bool { return string(b.Elems[0].Str) == name })
			if i < 0 {
				if !slices.Contains(newCommands, name) {
					t.Errorf("Redis has no %s", name)
				}
				continue
			}
			compared++
			b := theirs.Elems[i]
			for i, field := range infoFields {
				x.same(infoDifferences, name, field, withoutForeign(a.Elems[i]), withoutForeign(b.Elems[i]))
			}
			walk(a.Elems[len(infoFields)], b.Elems[len(infoFields)])
		}
	}
	walk(x.ours.do("COMMAND"), x.theirs.do("COMMAND"))
	x.unmet(infoDifferences, compared)
}

// docsDifferences are the intended differences in COMMAND DOCS.
var docsDifferences = []tableDifference{
	{"acl|setuser", "history", "It is refused."},
	{"client|kill", "arguments", "MAXAGE is newer."},
	{"cluster|meet", "history", "It is refused."},
	{"command|getkeys", "arguments", "Newer releases list them."},
	{"command|getkeysandflags", "arguments", "Newer releases list them."},
	{"debug", "*", "Its subcommands are Millrace's own."},
	{"hscan", "arguments", "NOVALUES is newer."},
	{"hscan", "arguments", "NOVALUES is newer."},
	{"migrate", "*", "It is refused."},
	{"replconf", "doc_flags", "It is refused."},
	{"set", "arguments", "IFEQ, IFNE and those of digests are newer."},
	{"set", "history", "IFEQ, IFNE and those of digests are newer."},
	{"xadd", "arguments", "KEEPREF, DELREF, ACKED, IDMP and IDMPAUTO are newer."},
	{"xadd", "history", "KEEPREF, DELREF, ACKED, IDMP and IDMPAUTO are newer."},
	{"xinfo|consumers", "history", "The field inactive is newer."},
	{"xinfo|stream", "history", "Some fields are newer."},
	{"xread", "arguments", "MAXCOUNT and MAXSIZE are newer."},
	{"xread", "history", "MAXCOUNT and MAXSIZE are newer."},
	{"xreadgroup", "arguments", "CLAIM, MAXCOUNT and MAXSIZE are newer."},
	{"xreadgroup", "history", "CLAIM, MAXCOUNT and MAXSIZE are newer."},
	{"xtrim", "arguments", "KEEPREF, DELREF and ACKED are newer."},
	{"xtrim", "history", "KEEPREF, DELREF and ACKED are newer."},
	{"zrank", "arguments", "WITHSCORE is newer."},
	{"zrank", "history", "WITHSCORE is newer."},
	{"zrevrank", "arguments", "WITHSCORE is newer."},
	{"zrevrank", "history", "WITHSCORE is newer."},
	{"lcs", "arguments", "Newer releases have another name for the number after MINMATCHLEN."},
}

// TestCommandDocs compares the reply to COMMAND DOCS for each command that both have. The
// sentences in it are Millrace's own, so it leaves out the summary and the complexity, and
// compares the versions in the history alone.
func TestCommandDocs(t *testing.T) {
	x := newTables(t)
	compared := 0
	var walk func(ours, theirs *resp.Value)
	walk = func(ours, theirs *resp.Value) {
		for i := 0; i+1 < len(ours.Elems); i += 2 {
			name, a := string(ours.Elems[i].Str), ours.Elems[i+1]
			b := field(theirs, name)
			if b == nil {
				continue // TestCommandInfo checks that the command is new
			}
			compared++
			for _, f := range []string{"since", "group", "history", "arguments", "doc_flags", "deprecated_since", "replaced_by"} {
				x.same(docsDifferences, name, f, part(&a, f), part(b, f))
			}
			if subs := field(&a, "subcommands"); subs != nil {
				walk(subs, field(b, "subcommands"))
			}
		}
	}
	ours, theirs := x.ours.do("COMMAND", "DOCS"), x.theirs.do("COMMAND", "DOCS")
	walk(&ours, &theirs)
	x.unmet(docsDifferences, compared)
}

// part returns a field of a command's documentation, or null if there is none.
func part(v *resp.Value, name string) resp.Value {
	f := field(v, name)
	switch {
	case f == nil:
		return resp.Null()
	case name == "arguments":
		return dropFields(*f, "since", "deprecated_since", "summary")
	case name == "history":
		versions := resp.Set()
		for _, note := range f.Elems {
			versions.Elems = append(versions.Elems, note.Elems[0])
		}
		return versions
	}
	return *f
}

// TestCommandList compares lists of command names, restricted to commands that both have.
func TestCommandList(t *testing.T) {
	x := newTables(t)
	texts := func(v resp.Value) (out []string) {
		for _, e := range v.Elems {
			out = append(out, string(e.Str))
		}
		slices.Sort(out)
		return out
	}
	names := func(c *client) (out []string) {
		for _, cmd := range c.do("COMMAND").Elems {
			out = append(out, string(cmd.Elems[0].Str))
			for _, sub := range cmd.Elems[len(infoFields)].Elems {
				out = append(out, string(sub.Elems[0].Str))
			}
		}
		return out
	}
	known := map[string]int{}
	for _, c := range []*client{x.ours, x.theirs} {
		for _, n := range names(c) {
			known[n]++
		}
		if count, list := c.do("COMMAND", "COUNT").Int, c.do("COMMAND").Elems; count != int64(len(list)) {
			t.Errorf("COMMAND COUNT is %d, COMMAND lists %d", count, len(list))
		}
	}
	for _, line := range []string{
		"", "FILTERBY ACLCAT stream", "FILTERBY ACLCAT dangerous", "FILTERBY ACLCAT nosuch", "FILTERBY ACLCAT Stream",
		"FILTERBY PATTERN x*", "FILTERBY PATTERN xinfo|*", "FILTERBY PATTERN *R?N*", "FILTERBY PATTERN [a-c]*", "FILTERBY MODULE nosuch",
	} {
		words := append([]string{"COMMAND", "LIST"}, strings.Fields(line)...)
		a, b := x.ours.do(words...), x.theirs.do(words...)
		both := func(v resp.Value) []string {
			return slices.DeleteFunc(texts(v), func(n string) bool { return known[n] < 2 })
		}
		if a.Kind != b.Kind || !slices.Equal(both(a), both(b)) {
			t.Errorf("%s:\n  Millrace  %s %v\n  Redis     %s %v", words, a.String()[:1], both(a), b.String()[:1], both(b))
		}
	}
}

// replyDifferences has the lines of TestCommandReplies that Redis answers differently, with
// the reason.

var replyDifferences = map[string]string{
	"COMMAND GETKEYS get":          "Newer releases accept a command of one word.",
	"COMMAND GETKEYS PING":         "Newer releases accept a command of one word.",
	"COMMAND GETKEYS xinfo":        "Newer releases accept a command of one word.",
	"COMMAND GETKEYSANDFLAGS PING": "Newer releases accept a command of one word.",
}

// TestCommandReplies compares replies of COMMAND's subcommands.
func TestCommandReplies(t *testing.T) {
	x := newTables(t)
	for _, line := range []string{
		"COMMAND INFO nosuch get|x xinfo|nosuch", "COMMAND INFO GET nosuch", "COMMAND INFO XGroup|Create", "COMMAND DOCS nosuch",
		"COMMAND LIST FILTERBY", "COMMAND LIST FILTERBY foo bar", "COMMAND LIST foo", "COMMAND FOO", "COMMAND COUNT x",
		"COMMAND GETKEYS", "COMMAND GETKEYS get", "COMMAND GETKEYS get a", "COMMAND GETKEYS GET a b", "COMMAND GETKEYS nosuch a",
		"COMMAND GETKEYS PING", "COMMAND GETKEYS xinfo", "COMMAND GETKEYS xinfo help", "COMMAND GETKEYS xinfo nosuch k",
		"COMMAND GETKEYS XREAD COUNT 2 STREAMS a b 0 0", "COMMAND GETKEYS XREAD COUNT 2 STREAMS a b 0", "COMMAND GETKEYS XREAD BLOCK 2 a b",
		"COMMAND GETKEYS XREAD foo STREAMS a b", "COMMAND GETKEYS XREAD COUNT STREAMS STREAMS a b", "COMMAND GETKEYS XREAD COUNT 1 STREAMS a",
		"COMMAND GETKEYS XREADGROUP GROUP streams count COUNT 2 NOACK STREAMS block >", "COMMAND GETKEYS XGROUP CREATE a g 0",
		"COMMAND GETKEYS DEL a b c", "COMMAND GETKEYS EVAL code 2 a b c", "COMMAND GETKEYS EVAL code 0", "COMMAND GETKEYS EVAL code 3 a",
		"COMMAND GETKEYS EVAL code x a", "COMMAND GETKEYS RENAME a b", "COMMAND GETKEYS MEMORY USAGE a SAMPLES 5", "COMMAND GETKEYS SET a b EX 5",
		"COMMAND GETKEYSANDFLAGS RENAME a b", "COMMAND GETKEYSANDFLAGS RENAMENX a b", "COMMAND GETKEYSANDFLAGS COPY a b",
		"COMMAND GETKEYSANDFLAGS GET a", "COMMAND GETKEYSANDFLAGS DEL a b", "COMMAND GETKEYSANDFLAGS XADD a * f v",
		"COMMAND GETKEYSANDFLAGS SET a b", "COMMAND GETKEYSANDFLAGS SET a b GET", "COMMAND GETKEYSANDFLAGS PING",
		"COMMAND GETKEYSANDFLAGS XREADGROUP GROUP g c STREAMS a b > >", "COMMAND GETKEYSANDFLAGS EVAL code 2 a b c",
		"COMMAND GETKEYSANDFLAGS EVAL_RO code 2 a b c", "COMMAND GETKEYSANDFLAGS RESTORE a 0 x", "COMMAND GETKEYSANDFLAGS GETEX a",
		"COMMAND GETKEYSANDFLAGS WATCH a b", "COMMAND GETKEYSANDFLAGS MOVE a 1",
	} {
		words := strings.Fields(line)
		a, b := ordered(withoutForeign(x.ours.do(words...))).String(), ordered(withoutForeign(x.theirs.do(words...))).String()
		if explained := replyDifferences[line] != ""; explained != (a != b) {
			t.Errorf("%s (explained: %v)\n  Millrace  %s\n  Redis     %s", line, explained, a, b)
		}
	}
}

package router

import (
	"bufio"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"millrace/command"
	"millrace/command/usage"
)

var rewrite = flag.Bool("rewrite", false, "rewrite docs/commands.md from the command table and testdata/commands.txt")

const commandsPage = "../docs/commands.md"

// TestCommandsPage fails when docs/commands.md differs from the page that is made from the
// command table and the notes in testdata/commands.txt.
func TestCommandsPage(t *testing.T) {
	page := commandsMarkdown(t)
	if *rewrite {
		if err := os.WriteFile(commandsPage, []byte(page), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	have, err := os.ReadFile(commandsPage)
	if err != nil {
		t.Fatal(err)
	}
	if string(have) != page {
		t.Errorf("%s is stale: run make docs", commandsPage)
	}
}

// commandNotes reads testdata/commands.txt: the names of commands, each with notes indented
// under it. "#" begins a comment.
func commandNotes(t *testing.T) map[string]string {
	f, err := os.Open("testdata/commands.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	out := make(map[string]string)
	last := ""
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		l := lines.Text()
		switch {
		case l == "" || l[0] == '#':
		case l[0] == ' ':
			out[last] = strings.TrimSpace(out[last] + " " + strings.TrimSpace(l))
		default:
			if _, twice := out[l]; twice {
				t.Errorf("testdata/commands.txt names %s twice", l)
			}
			out[l] = ""
			last = l
		}
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return out
}

// usageOf returns a command's name in capitals and its arguments.
func usageOf(t *testing.T, cmd *command.Command) string {
	args, err := usage.Parse(cmd.Usage)
	if err != nil {
		t.Errorf("%s: %v", cmd.Name, err)
	}
	return strings.TrimSpace(strings.ToUpper(strings.ReplaceAll(cmd.Name, "|", " ")) + " " + usage.Text(args))
}

// pageGroups are the sections of the page: the groups of COMMAND DOCS.
var pageGroups = []struct{ group, title string }{
	{"stream", "Streams"}, {"generic", "Keys"}, {"string", "Strings"}, {"hash", "Hashes"}, {"sorted-set", "Sorted sets"}, {"transactions", "Transactions"}, {"connection", "Connections"},
	{"cluster", "Cluster"}, {"server", "Server"}, {"scripting", "Scripts"},
}

// absent are commands of Redis that Millrace answers as unknown, with the reason.
var absent = []struct{ names, why string }{
	{"LPUSH RPUSH LPOP RPOP LRANGE LLEN BLPOP BRPOP LMOVE", "no lists: a stream with a group is the queue"},
	{"HRANDFIELD", "no use of it is known; HSCAN and HKEYS name the fields"},
	{"HEXPIRE HPEXPIRE HTTL HPERSIST HGETEX HSETEX HGETDEL", "a field has no time to live of its own"},
	{"SADD SREM SMEMBERS SISMEMBER", "no sets"},
	{"BZPOPMIN BZPOPMAX ZMPOP BZMPOP", "a stream with a group is the queue"},
	{"ZUNION ZINTER ZDIFF ZUNIONSTORE ZINTERSTORE ZDIFFSTORE ZINTERCARD ZRANGESTORE ZRANDMEMBER ZLEXCOUNT ZREMRANGEBYLEX", "sorted sets are kept beside streams, and not computed with"},
	{"SETBIT GETBIT BITCOUNT BITFIELD PFADD PFCOUNT GEOADD GEOSEARCH", "no bitmaps, HyperLogLogs or positions"},
	{"MSETEX DELEX DIGEST", "newer commands on strings; SET has the same conditions"},
	{"SUBSCRIBE UNSUBSCRIBE PSUBSCRIBE PUNSUBSCRIBE PUBLISH PUBSUB SSUBSCRIBE SUNSUBSCRIBE SPUBLISH", "nothing that is lost when nobody listens; XREAD BLOCK with $ is the durable form"},
	{"SORT SORT_RO RESTORE-ASKING PFDEBUG PFSELFTEST SENTINEL", "nothing here to use them on"},
}

func commandsMarkdown(t *testing.T) string {
	t.Helper()
	r := &Router{}
	r.table, r.handlers = buildTable()
	texts := commandNotes(t)
	var b strings.Builder
	b.WriteString("# Commands\n\n<!-- Made by `make docs` from the command table and router/testdata/commands.txt. -->\n\n" +
		"Every command that a client may send, with its differences from Redis " + RedisVersion + " (for newer commands, from the\n" +
		"documentation of Redis). Where the last column is empty, replies and error texts are the same as in Redis; `test/compat`\n" +
		"compares them with live servers. *Since* is the version of Redis that introduced the command.\n")
	seen := make(map[string]bool)
	for _, g := range pageGroups {
		fmt.Fprintf(&b, "\n## %s\n\n| Command | Since | Status | Notes |\n|---|---|---|---|\n", g.title)
		for _, cmd := range r.sorted() {
			if cmd.Group != g.group {
				continue
			}
			list := cmd.Subcommands
			if len(list) == 0 || r.handlers[cmd] != nil {
				list = append([]*command.Command{cmd}, list...)
			}
			for _, one := range list {
				name := one.Name
				notes := texts[name]
				seen[name] = true
				row := usageOf(t, one)
				fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", strings.ReplaceAll(row, "|", `\|`), one.Since, statusOf(one, notes), notesOf(one, notes))
			}
		}
	}
	for name := range texts {
		if !seen[name] {
			t.Errorf("testdata/commands.txt names %s, which is not in the command table", name)
		}
	}
	b.WriteString("\n## Not there\n\nThese, and every other name, are answered with Redis's `ERR unknown command`; the connection lives on.\n\n" +
		"| Commands | Why |\n|---|---|\n")
	for _, a := range absent {
		names := strings.Fields(a.names)
		for _, n := range names {
			if r.table[strings.ToLower(n)] != nil {
				t.Errorf("%s is both in the command table and in the list of absent commands", n)
			}
		}
		fmt.Fprintf(&b, "| `%s` | %s |\n", strings.Join(names, "` `"), a.why)
	}
	return b.String()
}

// statusWords are the first words in the summaries of commands that do less than in Redis.
var statusWords = []string{"Refused", "Accepted", "Answered"}

// statusOf returns the Status of a command: how it compares with the command of Redis.
func statusOf(cmd *command.Command, notes string) string {
	word, _, _ := strings.Cut(cmd.Summary, " ")
	word = strings.TrimRight(word, ":;,")
	switch {
	case slices.Contains(statusWords, word):
		return strings.ToLower(word)
	case notes != "":
		return "differs"
	}
	return "as in Redis"
}

// notesOf returns the Notes on a command. If its summary begins with one of statusWords, the
// rest of the summary gives the reason and comes first.
func notesOf(cmd *command.Command, notes string) string {
	for _, word := range statusWords {
		if rest, ok := strings.CutPrefix(cmd.Summary, word); ok {
			rest = strings.TrimLeft(rest, ":;, ")
			if rest != "" {
				rest = strings.ToUpper(rest[:1]) + rest[1:]
			}
			notes = strings.TrimSpace(rest + " " + notes)
		}
	}
	return strings.ReplaceAll(notes, "|", `\|`)
}

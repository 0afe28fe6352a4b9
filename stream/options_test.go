package stream_test

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"millrace/command/usage"
	"millrace/stream"
)

// option is an option of a command, and the behaviour of a server that accepts the option but
// ignores it.
type option struct {
	command string // with its subcommand
	word    string
	args    int    // number of words that belong to it
	instead string // the words that have the effect of ignoring it; mostly none
	after   int    // number of words of the command before all options, its name included
	refused bool   // whether the command is refused without it, for another reason than its words
}

// options lists the options of stream commands about which a Usage does not say enough.
// allOptions adds those that are neither here nor in unseen.
var options = []option{
	{command: "XACKDEL", word: "DELREF", after: 3},
	{command: "XACKDEL", word: "ACKED", after: 3},
	{command: "XADD", word: "NOMKSTREAM", after: 2},
	{command: "XADD", word: "DELREF", after: 2},
	{command: "XADD", word: "ACKED", after: 2},
	{command: "XADD", word: "IDMPAUTO", args: 1, after: 2},
	{command: "XADD", word: "IDMP", args: 2, after: 2},
	{command: "XADD", word: "MAXLEN", args: 1, after: 2},
	{command: "XADD", word: "MINID", args: 1, after: 2},
	{command: "XADD", word: "~", after: 3},
	{command: "XADD", word: "LIMIT", args: 1, after: 3},
	{command: "XAUTOCLAIM", word: "COUNT", args: 1, after: 6},
	{command: "XAUTOCLAIM", word: "JUSTID", after: 6},
	{command: "XCFGSET", word: "IDMP-DURATION", args: 1, instead: "IDMP-DURATION 100", after: 2},
	{command: "XCFGSET", word: "IDMP-MAXSIZE", args: 1, instead: "IDMP-MAXSIZE 100", after: 2},
	{command: "XCLAIM", word: "IDLE", args: 1, after: 5},
	{command: "XCLAIM", word: "TIME", args: 1, after: 5},
	{command: "XCLAIM", word: "RETRYCOUNT", args: 1, after: 5},
	{command: "XCLAIM", word: "FORCE", after: 5},
	{command: "XCLAIM", word: "JUSTID", after: 5},
	{command: "XCLAIM", word: "LASTID", args: 1, after: 5},
	{command: "XDELEX", word: "DELREF", after: 2},
	{command: "XDELEX", word: "ACKED", after: 2},
	{command: "XGROUP CREATE", word: "MKSTREAM", after: 5, refused: true},
	{command: "XGROUP CREATE", word: "ENTRIESREAD", args: 1, after: 5},
	{command: "XGROUP SETID", word: "ENTRIESREAD", args: 1, after: 5},
	{command: "XINFO STREAM", word: "FULL", after: 3},
	{command: "XINFO STREAM", word: "COUNT", args: 1, after: 4},
	{command: "XNACK", word: "SILENT", instead: "FAIL", after: 3},
	{command: "XNACK", word: "FAIL", instead: "SILENT", after: 3},
	{command: "XNACK", word: "FATAL", instead: "FAIL", after: 3},
	{command: "XNACK", word: "RETRYCOUNT", args: 1, after: 7},
	{command: "XNACK", word: "FORCE", after: 7},
	{command: "XPENDING", word: "IDLE", args: 1, after: 3},
	{command: "XRANGE", word: "COUNT", args: 1, after: 4},
	{command: "XREAD", word: "COUNT", args: 1, after: 1},
	{command: "XREAD", word: "MAXCOUNT", args: 1, after: 1},
	{command: "XREAD", word: "MAXSIZE", args: 1, after: 1},
	{command: "XREADGROUP", word: "COUNT", args: 1, after: 4},
	{command: "XREADGROUP", word: "MAXCOUNT", args: 1, after: 4},
	{command: "XREADGROUP", word: "MAXSIZE", args: 1, after: 4},
	{command: "XREADGROUP", word: "CLAIM", args: 1, after: 4},
	{command: "XREADGROUP", word: "NOACK", after: 4},
	{command: "XREVRANGE", word: "COUNT", args: 1, after: 4},
	{command: "XSETID", word: "ENTRIESADDED", args: 1, after: 3},
	{command: "XSETID", word: "MAXDELETEDID", args: 1, after: 3},
	{command: "XTRIM", word: "MAXLEN", args: 1, instead: "MAXLEN 1000000", after: 2},
	{command: "XTRIM", word: "MINID", args: 1, instead: "MINID 0", after: 2},
	{command: "XTRIM", word: "~", after: 3},
	{command: "XTRIM", word: "LIMIT", args: 1, after: 3},
	{command: "XTRIM", word: "DELREF", after: 2},
	{command: "XTRIM", word: "ACKED", after: 2},
}

// unseen lists options whose absence no reply of a script can show, with the reason.
var unseen = map[string]string{
	"XACKDEL KEEPREF":    "it is what happens without it",
	"XADD KEEPREF":       "it is what happens without it",
	"XADD =":             "it is what happens without it",
	"XADD *":             "it is no option: it stands for an ID",
	"XGROUP CREATE $":    "it is no option: it stands for an ID",
	"XGROUP SETID $":     "it is no option: it stands for an ID",
	"XDELEX KEEPREF":     "it is what happens without it",
	"XTRIM KEEPREF":      "it is what happens without it",
	"XTRIM =":            "it is what happens without it",
	"XREAD BLOCK":        "a script does not wait: TestBlockServed in shard, TestBlockOneShard in router",
	"XREADGROUP BLOCK":   "a script does not wait: TestBlockServed in shard, TestBlockGroupOverShards in router",
	"XREADGROUP GROUP":   "it is no option: without it there is nothing to read",
	"XREADGROUP STREAMS": "it is no option: it says where the keys are",
	"XREAD STREAMS":      "it is no option: it says where the keys are",
	"XACKDEL IDS":        "it is no option: it says where the IDs are",
	"XDELEX IDS":         "it is no option: it says where the IDs are",
	"XNACK IDS":          "it is no option: it says where the IDs are",
}

// at returns the index of the option among the words of a command, or -1.
func (o *option) at(words []string) int {
	name := strings.Fields(o.command)
	if len(words) < len(name) {
		return -1
	}
	for i, w := range name {
		if !strings.EqualFold(words[i], w) {
			return -1
		}
	}
	for i := o.after; i+o.args < len(words); i++ {
		if strings.EqualFold(words[i], o.word) {
			return i
		}
	}
	return -1
}

// ignored returns a command without the option. It returns nil when the command does not
// have the option, or when its words are refused without it.
func (o *option) ignored(argv [][]byte) [][]byte {
	words := make([]string, len(argv))
	for i, w := range argv {
		words[i] = string(w)
	}
	i := o.at(words)
	if i < 0 {
		return nil
	}
	args := o.args
	if (o.word == "MAXLEN" || o.word == "MINID") && (words[i+1] == "~" || words[i+1] == "=") {
		args++
		if o.command == "XADD" && i+4 < len(words) && strings.EqualFold(words[i+3], "LIMIT") {
			args += 2
		}
	}
	out := argvOf(slices.Replace(words, i, i+1+args, strings.Fields(o.instead)...)...)
	c, refusal := stream.Lookup(out)
	if refusal == nil && c.Check != nil {
		refusal = c.Check(out)
	}
	if refusal != nil {
		return nil
	}
	return out
}

// shows reports whether the script at path would fail if a server ignored the option. It
// replays the script without the option, in every command that has it and succeeds. A
// refusal without the option does not count, because a server that ignores an option does
// not refuse the command.
func (o *option) shows(t *testing.T, path string) (shown bool) {
	s := newSession(t, batchKeep)
	defer s.end()
	datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
		if d.Cmd != "run" || shown {
			s.directive(t, d)
			return d.Expected
		}
		want := strings.Split(strings.TrimSuffix(d.Expected, "\n"), "\n")
		proto := 2
		if d.HasArg("proto") {
			d.ScanArgs(t, "proto", &proto)
		}
		if d.HasArg("now") {
			d.ScanArgs(t, "now", &s.rig.nowMS)
		}
		n := 0
		for line := range strings.Lines(d.Input) {
			argv := argvOf(scriptWords(t, line)...)
			changed := o.ignored(argv)
			if changed != nil && !strings.HasPrefix(want[n], "-") {
				argv = changed
			}
			v := s.do(argv)[0]
			got := printReply(v, proto, d.HasArg("hex"))
			if got != want[n] && (!v.IsErr() || o.refused) {
				shown = true
			}
			n++
		}
		return d.Expected
	})
	return shown
}

// TestOptionsAreShown finds a script for every option that fails if it is ignored.
func TestOptionsAreShown(t *testing.T) {
	if testing.Short() {
		t.Skip("it runs the scripts of all commands for each option")
	}
	paths := scripts(t)
	all := allOptions(t)
	for i := range all {
		o := &all[i]
		t.Run(strings.ReplaceAll(o.command+" "+o.word, " ", "_"), func(t *testing.T) {
			for _, path := range paths {
				if o.shows(t, path) {
					t.Logf("shown by %s", filepath.Base(path))
					return
				}
			}
			t.Error("no script would fail if it was ignored")
		})
	}
}

// allOptions returns options, and an entry for every other literal word in the Usage of a
// stream command. So a new option needs no entry, only a script that shows it.
func allOptions(t *testing.T) []option {
	listed := map[string]bool{}
	for _, o := range options {
		listed[o.command+" "+o.word] = true
	}
	for name := range unseen {
		if listed[name] {
			t.Errorf("%s is there twice", name)
		}
		listed[name] = true
	}
	all := slices.Clone(options)
	known := map[string]bool{}
	for _, c := range allCommands() {
		if c.Group != "stream" {
			continue
		}
		name := strings.ReplaceAll(strings.ToUpper(c.Name), "|", " ")
		args, err := usage.Parse(c.Usage)
		if err != nil {
			t.Fatal(err)
		}
		eachToken(args, func(a *usage.Arg) {
			known[name+" "+a.Token] = true
			if !listed[name+" "+a.Token] {
				all = append(all, option{command: name, word: a.Token, args: wordsOf(a), after: len(strings.Fields(name))})
			}
		})
	}
	for name := range listed {
		if !known[name] {
			t.Errorf("%s is no option of the command", name)
		}
	}
	return all
}

// eachToken calls f for every argument that a literal word announces or is.
func eachToken(args []usage.Arg, f func(*usage.Arg)) {
	for i := range args {
		if args[i].HasToken {
			f(&args[i])
		}
		eachToken(args[i].Args, f)
	}
}

// wordsOf returns the number of words after an argument's token.
func wordsOf(a *usage.Arg) int {
	switch a.Type {
	case usage.PureToken:
		return 0
	case usage.Block:
		return len(a.Args)
	}
	return 1
}

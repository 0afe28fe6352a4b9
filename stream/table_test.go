package stream_test

import (
	"slices"
	"strings"
	"testing"

	"millrace/command"
	"millrace/resp"
	"millrace/stream"
)

// allCommands returns every command and subcommand.
func allCommands() []*stream.Command {
	var out []*stream.Command
	for _, c := range stream.Commands() {
		out = append(append(out, c), c.Subs...)
	}
	return out
}

func TestTable(t *testing.T) {
	seen := make(map[string]bool)
	for _, c := range allCommands() {
		if seen[c.Name] {
			t.Errorf("%s is there twice", c.Name)
		}
		seen[c.Name] = true
		if c.Name != strings.ToLower(c.Name) || c.Arity == 0 || c.Group == "" || c.Summary == "" {
			t.Errorf("%s has no arity, group or summary, or is not in lower case: %+v", c.Name, c)
		}
		if (c.Run == nil) != (len(c.Subs) > 0) {
			t.Errorf("%s has to have subcommands or code, not both", c.Name)
		}
		if c.Is(command.Write) && c.Is(command.ReadOnly) {
			t.Errorf("%s has the flags Write and ReadOnly", c.Name)
		}
		if c.Is(command.Blocking) != (c.Blocked != nil) {
			t.Errorf("%s is blocking and has no Blocked, or the reverse", c.Name)
		}
		if c.Is(command.Internal) != strings.HasPrefix(c.Name, "_") {
			t.Errorf("%s is internal only by its flag or only by its name", c.Name)
		}
		if !c.Is(command.Internal) && (c.Since == "" || len(c.Categories) == 0) {
			t.Errorf("%s has no Since or no Categories", c.Name)
		}
	}
}

// flagNames holds Redis's names of the flags.
var flagNames = map[string]command.Flags{
	"write": command.Write, "readonly": command.ReadOnly, "denyoom": command.DenyOOM, "fast": command.Fast,
	"blocking": command.Blocking, "movablekeys": command.MovableKeys, "loading": command.Loading, "stale": command.Stale,
}

// newerArity are the commands that take more words since a version newer than Redis 7.0.
var newerArity = map[string]bool{"zrank": true, "zrevrank": true}

// TestTableAgainstRedis compares the table with the replies of COMMAND INFO of a live Redis.
func TestTableAgainstRedis(t *testing.T) {
	redis, compared := newLiveRedis(t), 0
	for _, c := range allCommands() {
		info := redis.do(argvOf("COMMAND", "INFO", c.Name)).Elems[0]
		if len(info.Elems) < 7 {
			continue // newer than this Redis, or internal
		}
		compared++
		if got := info.Elems[1].Int; got != int64(c.Arity) && !newerArity[c.Name] {
			t.Errorf("%s: arity %d, in Redis %d", c.Name, c.Arity, got)
		}
		texts := func(v resp.Value) (out []string) {
			for _, e := range v.Elems {
				out = append(out, strings.TrimPrefix(string(e.Str), "@"))
			}
			slices.Sort(out)
			return out
		}
		flags := texts(info.Elems[2])
		for name, f := range flagNames {
			if c.Is(f) != slices.Contains(flags, name) {
				t.Errorf("%s: flag %s is %v here; Redis has %v", c.Name, name, c.Is(f), flags)
			}
		}
		if k := [3]int64{int64(c.Keys.First), int64(c.Keys.Last), int64(c.Keys.Step)}; k != [3]int64{info.Elems[3].Int, info.Elems[4].Int, info.Elems[5].Int} {
			t.Errorf("%s: keys %v, in Redis %v", c.Name, k, info.Elems[3:6])
		}
		if ours := slices.Sorted(slices.Values(c.Categories)); !slices.Equal(ours, texts(info.Elems[6])) {
			t.Errorf("%s: categories %v, in Redis %v", c.Name, ours, texts(info.Elems[6]))
		}
	}
	if compared < 30 {
		t.Errorf("only %d commands were compared", compared)
	}
}

func TestLookup(t *testing.T) {
	for _, c := range []struct {
		words []string
		name  string
		err   string
	}{
		{[]string{"XADD", "s", "*", "f", "v"}, "xadd", ""},
		{[]string{"xAdD", "s"}, "xadd", "ERR wrong number of arguments for 'xadd' command"},
		{[]string{"XLEN", "s", "t"}, "xlen", "ERR wrong number of arguments for 'xlen' command"},
		{[]string{"xinfo", "STREAM", "s"}, "xinfo|stream", ""},
		{[]string{"xinfo"}, "xinfo", "ERR wrong number of arguments for 'xinfo' command"},
		{[]string{"XINFO", "stream"}, "xinfo|stream", "ERR wrong number of arguments for 'xinfo|stream' command"},
		{[]string{"XINFO", "a\r\nb", "s"}, "xinfo", "ERR unknown subcommand 'a  b'. Try XINFO HELP."},
		{[]string{"nosuch"}, "", ""},
		{[]string{""}, "", ""},
		{[]string{strings.Repeat("x", 1000)}, "", ""},
	} {
		got, refusal := stream.Lookup(argvOf(c.words...))
		name, text := "", ""
		if got != nil {
			name = got.Name
		}
		if refusal != nil {
			text = string(refusal.Str)
		}
		if name != c.name || text != c.err {
			t.Errorf("%q is %q, %q", c.words, name, text)
		}
	}
}

func TestKeyIndexes(t *testing.T) {
	for _, c := range []struct {
		words string
		want  []int
	}{
		{"XADD s * f v", []int{1}},
		{"DEL a b c", []int{1, 2, 3}},
		{"XINFO STREAM s", []int{2}},
		{"XINFO HELP", nil},
		{"XREAD COUNT 1 STREAMS a b 0 0", []int{4, 5}},
		{"XREAD STREAMS streams 0", []int{2}},
		{"XREADGROUP GROUP streams count COUNT 2 BLOCK 0 CLAIM 3 NOACK STREAMS block > ", []int{12}},
		{"_DBSIZE", nil},
	} {
		argv := argvOf(strings.Fields(c.words)...)
		cmd, refusal := stream.Lookup(argv)
		if cmd == nil || refusal != nil {
			t.Fatalf("%s: %v", c.words, refusal)
		}
		if got := cmd.KeyIndexes(argv); !slices.Equal(got, c.want) {
			t.Errorf("%s has its keys at %v", c.words, got)
		}
	}
}

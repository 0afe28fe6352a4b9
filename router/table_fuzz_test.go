package router

import (
	"bytes"
	"slices"
	"testing"
)

// FuzzTable looks up arbitrary words, separated by zero bytes. For any words, the indexes of
// keys are among them, a refusal is one line, and neither look-up nor check changes a word or
// depends on the case of a name.
func FuzzTable(f *testing.F) {
	table, _ := buildTable()
	for name, c := range table {
		f.Add([]byte(name + "\x00key\x00group\x00\x00$\x00+\x00-1"))
		for _, sub := range c.Subcommands {
			f.Add(append(bytes.ReplaceAll([]byte(sub.Name), []byte("|"), []byte{0}), "\x00key\x00group\x000-0\x00COUNT\x001"...))
		}
	}
	for _, words := range []string{
		"XREAD\x00COUNT\x002\x00BLOCK\x000\x00STREAMS\x00a\x00b\x000\x00$", "XREADGROUP\x00GROUP\x00g\x00c\x00NOACK\x00CLAIM\x005\x00STREAMS\x00a\x00>",
		"XADD\x00s\x00NOMKSTREAM\x00MAXLEN\x00~\x0010\x00LIMIT\x005\x00IDMP\x00p\x00i\x00*\x00f\x00v", "SET\x00k\x00v\x00PX\x009\x00GET",
		"XDELEX\x00s\x00IDS\x002\x001-1\x001-2", "RESTORE\x00k\x000\x00payload\x00REPLACE\x00IDLETIME\x005", "SCAN\x000\x00MATCH\x00*\x00TYPE\x00stream",
	} {
		f.Add([]byte(words))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		argv := bytes.Split(line, []byte{0})
		if len(argv[0]) == 0 {
			return
		}
		before := bytes.Clone(line)
		c, refusal := table.Lookup(argv)
		if c != nil && refusal == nil {
			if keys := c.KeyIndexes(argv); !slices.IsSorted(keys) || len(keys) > 0 && (keys[0] < 1 || keys[len(keys)-1] >= len(argv)) {
				t.Fatalf("%q has its keys at %d", argv, keys)
			}
			if c.Arity > 0 && len(argv) != c.Arity || len(argv) < -c.Arity {
				t.Fatalf("%q is accepted by a command of arity %d", argv, c.Arity)
			}
			if c.Check != nil {
				refusal = c.Check(argv)
			}
		}
		if refusal != nil && (len(refusal.Str) == 0 || bytes.ContainsAny(refusal.Str, "\r\n")) {
			t.Fatalf("%q is refused with %q", argv, refusal.Str)
		}
		upper := slices.Clone(argv)
		upper[0] = bytes.ToUpper(argv[0])
		if same, _ := table.Lookup(upper); same != c && isASCII(argv[0]) {
			t.Fatalf("%q is another command than %q", upper[0], argv[0])
		}
		if !bytes.Equal(before, line) {
			t.Fatalf("%q has become %q", before, line)
		}
	})
}

// isASCII reports whether a word is ASCII, so that a change of case keeps its length.
func isASCII(word []byte) bool {
	return !bytes.ContainsFunc(word, func(r rune) bool { return r >= 0x80 })
}

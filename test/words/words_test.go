// Package words holds the prose of the repository to the rule of CONTRIBUTING.md that a
// concrete noun is the subject of a sentence. Clauses that begin with "what" or "who"
// paraphrase that noun, so their number tells how much of a text a reader has to decode.
package words

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const (
	// maxPerThousand is how many words of 1,000 may begin with "what" or "who".
	maxPerThousand = 3
	// shortText is the number of words below which one such word is always allowed.
	shortText = 300
)

var (
	word       = regexp.MustCompile(`[A-Za-z][A-Za-z'-]*`)
	paraphrase = regexp.MustCompile(`^(what|who)`)
	// quoted matches code and words in quotes: they are mentioned, not used.
	quoted = regexp.MustCompile("(?ms)^```.*?^```$|`[^`]*`|\"[^\"\\n]*\"")
)

// allowed are the words that paraphrase finds although they name no hidden noun.
var allowed = map[string]bool{"whole": true, "wholly": true, "whose": true}

// text counts the words of a package's comments or of a document.
type text struct {
	words int
	found []string // those that begin with "what" or "who"
}

func (t *text) add(s string) {
	for _, w := range word.FindAllString(quoted.ReplaceAllString(s, ""), -1) {
		t.words++
		if w = strings.ToLower(w); paraphrase.MatchString(w) && !allowed[w] {
			t.found = append(t.found, w)
		}
	}
}

// bad reports that the text breaks the rule.
func (t *text) bad() bool {
	if t.words < shortText {
		return len(t.found) > 1
	}
	return 1000*len(t.found) > maxPerThousand*t.words
}

func TestWords(t *testing.T) {
	texts, err := read("../..")
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range texts {
		if text.bad() {
			t.Errorf("%s: %d of %d words begin with what or who, at most %d of 1,000 may: name the thing instead", name, len(text.found), text.words, maxPerThousand)
		}
	}
}

// read returns the texts below root. Their names are paths: that of a document, or of a
// package's directory, with " [test]" for its test files.
func read(root string) (map[string]*text, error) {
	texts := make(map[string]*text)
	err := filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && file != root && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata") {
			return fs.SkipDir
		}
		rel, err := filepath.Rel(root, file)
		if err != nil || d.IsDir() {
			return err
		}
		rel = filepath.ToSlash(rel)
		content := ""
		switch path.Ext(rel) {
		case ".go":
			content, err = comments(file)
			rel = textName(rel)
		case ".md":
			var b []byte
			b, err = os.ReadFile(file)
			content = string(b)
		default:
			return nil
		}
		if err != nil {
			return err
		}
		if texts[rel] == nil {
			texts[rel] = &text{}
		}
		texts[rel].add(content)
		return nil
	})
	return texts, err
}

// textName returns the text to which the comments of a Go file belong: its package, or
// the tests of its package.
func textName(file string) string {
	if strings.HasSuffix(file, "_test.go") {
		return path.Dir(file) + " [test]"
	}
	return path.Dir(file)
}

// comments returns the comments of a Go file.
func comments(file string) (string, error) {
	parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	for _, c := range parsed.Comments {
		b.WriteString(c.Text())
	}
	return b.String(), nil
}

func TestRule(t *testing.T) {
	for _, tc := range []struct {
		name  string
		text  string
		count int
		bad   bool
	}{
		{"clauses", "What waits is had by whoever came first.", 2, true},
		{"quoted", "Of `what` and \"who\", none counts.\n```\nwho\n```\n", 0, false},
		{"one in a short text", "It is clear who owns the lock.", 1, false},
		{"words that name no hidden noun", "The whole shard, whose leader wholly agrees, somewhat late.", 0, false},
		{"three of a thousand", strings.Repeat("record ", 997) + "what who what's", 3, false},
		{"four of a thousand", strings.Repeat("record ", 996) + "what who what's whatever", 4, true},
	} {
		var got text
		got.add(tc.text)
		if len(got.found) != tc.count || got.bad() != tc.bad {
			t.Errorf("%s: %d found, bad %v; want %d, %v", tc.name, len(got.found), got.bad(), tc.count, tc.bad)
		}
	}
}

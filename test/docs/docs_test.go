// Package docs checks that the documents of the repository name only things that exist.
package docs

import (
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// root is the repository, seen from this package.
const root = "../.."

var (
	linkPattern     = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	codePattern     = regexp.MustCompile("`([^`\n]+)`")
	pathPattern     = regexp.MustCompile(`^[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*/?$`)
	testPattern     = regexp.MustCompile(`^Test[A-Z]\w*$`)
	testFuncPattern = regexp.MustCompile(`(?m)^func (Test\w+)\(`)
	makePattern     = regexp.MustCompile(`^make ([a-z-]+)`)
	targetPattern   = regexp.MustCompile(`(?m)^([a-z-]+):`)
	decisionPattern = regexp.MustCompile(`(?i)\bdecision (\d+)\b`)
	decisionName    = regexp.MustCompile(`^0*(\d+)-.*\.md$`)
)

// tree is the part of the repository that documents refer to. Paths are slash-separated
// and relative to root.
type tree struct {
	top       map[string]bool // directories of the root, without those that a build makes
	documents []string        // all *.md
	sources   []string        // all *.go
	tests     map[string]bool // names of test functions
	targets   map[string]bool // of the Makefile
	decisions map[string]bool // numbers, without leading zeros
}

// built are directories that exist only after a build or a run, so nothing in them is
// checked. "make run" keeps its data in data, for example.
var built = map[string]bool{".git": true, "bin": true, "data": true}

func readTree(t *testing.T) *tree {
	t.Helper()
	tr := &tree{top: map[string]bool{}, tests: map[string]bool{}, targets: map[string]bool{}, decisions: map[string]bool{}}
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, p)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		switch {
		case d.IsDir() && built[rel]:
			return filepath.SkipDir
		case d.IsDir():
			if path.Dir(rel) == "." && rel != "." {
				tr.top[rel] = true
			}
		case path.Ext(rel) == ".md":
			tr.documents = append(tr.documents, rel)
		case path.Ext(rel) == ".go":
			tr.sources = append(tr.sources, rel)
			if strings.HasSuffix(rel, "_test.go") {
				for _, m := range testFuncPattern.FindAllStringSubmatch(read(t, rel), -1) {
					tr.tests[m[1]] = true
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range targetPattern.FindAllStringSubmatch(read(t, "Makefile"), -1) {
		tr.targets[m[1]] = true
	}
	pages, err := os.ReadDir(filepath.Join(root, "docs/decisions"))
	if err != nil {
		t.Fatal(err)
	}
	for _, page := range pages {
		if m := decisionName.FindStringSubmatch(page.Name()); m != nil {
			tr.decisions[m[1]] = true
		}
	}
	return tr
}

func read(t *testing.T, rel string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(rel)))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func exists(rel string) bool {
	_, err := os.Stat(filepath.Join(root, filepath.FromSlash(rel)))
	return err == nil
}

// TestDocuments fails when a document links to a file that is not there, or names in
// backticks a path, a test or a Makefile target that is not there.
func TestDocuments(t *testing.T) {
	tr := readTree(t)
	for _, doc := range tr.documents {
		for i, line := range strings.Split(read(t, doc), "\n") {
			for _, m := range linkPattern.FindAllStringSubmatch(line, -1) {
				if bad := brokenLink(doc, m[1]); bad {
					t.Errorf("%s:%d: the link %s leads nowhere", doc, i+1, m[1])
				}
			}
			for _, m := range codePattern.FindAllStringSubmatch(line, -1) {
				for _, missing := range tr.missing(m[1]) {
					t.Errorf("%s:%d: `%s`: %s does not exist", doc, i+1, m[1], missing)
				}
			}
		}
	}
}

// TestDecisions fails when a document or a comment names a decision without a page.
func TestDecisions(t *testing.T) {
	tr := readTree(t)
	for _, file := range append(tr.documents, tr.sources...) {
		for _, m := range decisionPattern.FindAllStringSubmatch(read(t, file), -1) {
			if !tr.decisions[m[1]] {
				t.Errorf("%s: there is no decision %s", file, m[1])
			}
		}
	}
}

// brokenLink reports whether a link in doc is relative and leads nowhere. Links to other
// sites are not followed.
func brokenLink(doc, link string) bool {
	if strings.Contains(link, "://") || strings.HasPrefix(link, "mailto:") {
		return false
	}
	file, _, _ := strings.Cut(link, "#")
	return file != "" && !exists(path.Join(path.Dir(doc), file))
}

// missing returns the things in a piece of code that do not exist. Each word that begins
// with a directory of the repository is a path: in "go test ./stream -bench X" that is
// stream. A test may be named by the start of its name, as with -run.
func (tr *tree) missing(code string) []string {
	var out []string
	if m := makePattern.FindStringSubmatch(code); m != nil && !tr.targets[m[1]] {
		out = append(out, "the target "+m[1])
	}
	for word := range strings.FieldsSeq(code) {
		word = strings.TrimPrefix(word, "./")
		first, _, slash := strings.Cut(word, "/")
		switch {
		case testPattern.MatchString(word):
			if !tr.hasTest(word) {
				out = append(out, word)
			}
		case slash && tr.top[first] && pathPattern.MatchString(word):
			if !exists(word) && !exists(word+".go") {
				out = append(out, word)
			}
		}
	}
	return out
}

func (tr *tree) hasTest(prefix string) bool {
	for name := range tr.tests {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}

// TestMissing shows that the checks see something.
func TestMissing(t *testing.T) {
	tr := readTree(t)
	for _, tt := range []struct {
		code string
		want int
	}{
		{"stream/doc.go", 0},
		{"stream/", 0},
		{"stream/nothing.go", 1},
		{"go test ./stream -bench X", 0},
		{"go test ./stream/nothing", 1},
		{"make test", 0},
		{"make nothing", 1},
		{"TestMissing", 0},
		{"TestNothingLikeThis", 1},
		{"MAXLEN|MINID", 0},
		{"bin/chaos", 0},
	} {
		if got := tr.missing(tt.code); len(got) != tt.want {
			t.Errorf("%q: missing %q, want %d", tt.code, got, tt.want)
		}
	}
	if !brokenLink("docs/guide.md", "../nothing.go") || brokenLink("docs/guide.md", "../README.md#x") {
		t.Error("brokenLink cannot tell a file that is there from one that is not")
	}
}

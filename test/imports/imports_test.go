// Package imports checks the dependencies between packages, so that they keep pointing in
// one direction.

package imports

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// rule forbids a package, and all packages below it, to import others, and gives a reason.
type rule struct {
	pkg    string
	except []string // packages below pkg to which the rule does not apply
	forbid []string // import paths; a trailing "/…" includes all packages below
	allow  []string // packages that match forbid but are allowed
	why    string
}

var rules = []rule{
	{
		pkg:    "millrace/stream",
		except: []string{"millrace/kv/pebblekv"},
		forbid: []string{"time", "math/rand", "math/rand/v2", "crypto/rand", "net/…", "net", "os/…", "os", "context", "sync", "github.com/…", "millrace/shard", "millrace/router", "millrace/node/…"},
		allow:  []string{"github.com/zeebo/xxh3"}, // a hash, which is the same on every replica
		why:    "a command that can see a clock, chance or another goroutine can diverge between replicas",
	},
	{
		pkg:    "millrace/stream/rdb",
		forbid: []string{"millrace/…"},
		why:    "a format is bytes and values; it knows neither commands nor state",
	},
	{
		pkg:    "millrace/internal/tick",
		forbid: []string{"millrace/…"},
		why:    "it only reads the clock",
	},
	{
		pkg:    "millrace/internal/version",
		forbid: []string{"millrace/…"},
		why:    "it only reads the facts that the go command wrote into the binary",
	},
	{
		pkg:    "millrace/resp",
		forbid: []string{"millrace/…"},
		why:    "the protocol knows no command",
	},
	{
		pkg:    "millrace/raftlog",
		forbid: []string{"millrace/shard", "millrace/stream/…", "millrace/kv/…", "millrace/router", "millrace/node/…", "millrace/placement"},
		why:    "the log keeps records and does not read them",
	},
	{
		pkg:    "millrace/kv",
		forbid: []string{"millrace/stream/…", "millrace/shard", "millrace/router", "millrace/node/…", "millrace/placement", "millrace/resp"},
		why:    "the key space does not know the meaning of its keys",
	},
	{
		pkg:    "millrace/command",
		forbid: []string{"millrace/stream/…", "millrace/shard", "millrace/router", "millrace/node/…", "millrace/placement", "millrace/kv/…"},
		why:    "a command's description and its words are the same wherever it runs",
	},
	{
		pkg:    "millrace/call",
		forbid: []string{"millrace/…"},
		why:    "the packages that hand calls to each other share this one only, so it depends on none",
	},
	{
		pkg:    "millrace/shard",
		forbid: []string{"millrace/stream/…", "millrace/router", "millrace/node/…", "millrace/placement", "millrace/cmd/…"},
		why:    "a shard is one Raft group and does not know of other shards or of clients",
	},
	{
		pkg:    "millrace/placement",
		forbid: []string{"millrace/shard", "millrace/stream/…", "millrace/router", "millrace/node/…", "github.com/hashicorp/…", "github.com/cockroachdb/…", "net"},
		why:    "the map and its controller are decided from values; the node acts on them",
	},
	{
		pkg:    "millrace/router",
		forbid: []string{"millrace/node/…", "millrace/shard", "millrace/raftlog/…", "github.com/hashicorp/…", "github.com/cockroachdb/…"},
		why:    "the router knows shards only as something that takes calls",
	},
	{
		pkg:    "millrace/node/peer",
		forbid: []string{"millrace/shard", "millrace/router", "millrace/placement", "millrace/stream/…", "github.com/cockroachdb/…"},
		why:    "the transport carries calls and Raft's messages and reads neither",
	},
	{
		pkg:    "millrace/node/gossip",
		forbid: []string{"millrace/shard", "millrace/router", "millrace/placement", "millrace/node/peer", "github.com/hashicorp/raft"},
		why:    "gossip is a hint; nothing that decides may hang on it",
	},
	{
		pkg:    "millrace/cmd",
		forbid: []string{"millrace/shard", "millrace/router", "millrace/placement", "github.com/hashicorp/…"},
		why:    "the command line sees a node, not its parts",
	},
}

// TestImports parses every file of the module itself, with any build tags. It does not
// ask the go command, because go test repeats a cached result unless the test itself opened
// the file that changed.
func TestImports(t *testing.T) {
	const root = "../.."
	used := make([]bool, len(rules))
	err := filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && file != root && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata") {
			return fs.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(file, ".go") || strings.HasSuffix(file, "_test.go") {
			return nil
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, file)
		if err != nil {
			return err
		}
		pkg := path.Join("millrace", path.Dir(filepath.ToSlash(rel)))
		for i, r := range rules {
			if pkg != r.pkg && !strings.HasPrefix(pkg, r.pkg+"/") || slices.Contains(r.except, pkg) {
				continue
			}
			used[i] = true
			for _, spec := range parsed.Imports {
				imp, err := strconv.Unquote(spec.Path.Value)
				if err != nil {
					return err
				}
				if imp != pkg && !strings.HasPrefix(imp, r.pkg+"/") && !slices.Contains(r.allow, imp) && forbidden(r.forbid, imp) {
					t.Errorf("%s imports %s: %s", rel, imp, r.why)
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range rules {
		if !used[i] {
			t.Errorf("the rule for %s fits no package", r.pkg)
		}
	}
}

func forbidden(patterns []string, imp string) bool {
	for _, p := range patterns {
		if below, ok := strings.CutSuffix(p, "…"); ok {
			if strings.HasPrefix(imp+"/", below) {
				return true
			}
		} else if imp == p {
			return true
		}
	}
	return false
}

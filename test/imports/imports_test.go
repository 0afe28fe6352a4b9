// Package imports keeps the arrows between the packages pointing one way.
package imports

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// rule forbids a package, and what lies below it, to import others, and says why.
type rule struct {
	pkg    string
	except []string // packages below pkg that the rule leaves alone
	forbid []string // import paths; a trailing "/…" takes what lies below as well
	why    string
}

var rules = []rule{
	{
		pkg:    "millrace/stream",
		except: []string{"millrace/stream/pebblekv"},
		forbid: []string{"time", "math/rand", "math/rand/v2", "crypto/rand", "net/…", "net", "os/…", "os", "context", "sync", "github.com/…", "millrace/shard/…", "millrace/router", "millrace/node/…"},
		why:    "a command that can see a clock, chance or another goroutine can diverge between replicas",
	},
	{
		pkg:    "millrace/stream/rdb",
		forbid: []string{"millrace/…"},
		why:    "a format is bytes and values; it knows neither commands nor state",
	},
	{
		pkg:    "millrace/tick",
		forbid: []string{"millrace/…"},
		why:    "it only reads the clock",
	},
	{
		pkg:    "millrace/resp",
		forbid: []string{"millrace/…"},
		why:    "the protocol knows no command",
	},
	{
		pkg:    "millrace/raftlog",
		forbid: []string{"millrace/shard/…", "millrace/stream/…", "millrace/router", "millrace/node/…", "millrace/placement"},
		why:    "the log keeps records, whatever they say",
	},
	{
		pkg:    "millrace/shard",
		forbid: []string{"millrace/router", "millrace/node/…", "millrace/placement", "millrace/cmd/…"},
		why:    "a shard is one Raft group and does not know of other shards or of clients",
	},
	{
		pkg:    "millrace/placement",
		forbid: []string{"millrace/shard/…", "millrace/router", "millrace/node/…", "github.com/hashicorp/…", "github.com/cockroachdb/…", "net"},
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
		forbid: []string{"millrace/shard/…", "millrace/router", "millrace/placement", "millrace/node/peer", "github.com/hashicorp/raft"},
		why:    "gossip is a hint; nothing that decides may hang on it",
	},
	{
		pkg:    "millrace/cmd",
		forbid: []string{"millrace/shard/…", "millrace/router", "millrace/placement", "github.com/hashicorp/…"},
		why:    "the command line sees a node, not its parts",
	},
}

type pkg struct {
	ImportPath string
	Imports    []string
}

func TestImports(t *testing.T) {
	cmd := exec.Command("go", "list", "-json=ImportPath,Imports", "millrace/...")
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	used := make([]bool, len(rules))
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p pkg
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		for i, r := range rules {
			if p.ImportPath != r.pkg && !strings.HasPrefix(p.ImportPath, r.pkg+"/") || slices.Contains(r.except, p.ImportPath) {
				continue
			}
			used[i] = true
			for _, imp := range p.Imports {
				if imp != p.ImportPath && !strings.HasPrefix(imp, r.pkg+"/") && forbidden(r.forbid, imp) {
					t.Errorf("%s imports %s: %s", p.ImportPath, imp, r.why)
				}
			}
		}
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

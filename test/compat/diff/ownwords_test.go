package diff

import (
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"millrace/resp"
	"millrace/test/cluster"
)

// sharedWords is the shortest run of words that a text may not have in common with
// Redis's text about the same command. Shorter runs are unavoidable: "the time to live".
const sharedWords = 5

// wordPattern matches a word, or a formula such as O(N).
var wordPattern = regexp.MustCompile(`o\([^)]*\)|[a-z0-9_'-]+`)

// copied returns the first run of sharedWords words that both texts have, whatever the
// case and the punctuation; empty if there is none. A shorter text may be the same as
// Redis's, such as "O(1)".
func copied(ours, theirs string) string {
	a := wordPattern.FindAllString(strings.ToLower(ours), -1)
	b := wordPattern.FindAllString(strings.ToLower(theirs), -1)
	for i := 0; i+sharedWords <= len(a); i++ {
		run := a[i : i+sharedWords]
		for j := 0; j+sharedWords <= len(b); j++ {
			if slices.Equal(run, b[j:j+sharedWords]) {
				return strings.Join(run, " ")
			}
		}
	}
	return ""
}

// TestCopied shows the rule that TestOwnWords applies.
func TestCopied(t *testing.T) {
	for _, tc := range []struct{ ours, theirs, want string }{
		{"Counts the keys.", "Returns the number of keys in the database.", ""},
		{"Returns the number of names.", "Returns the number of keys.", ""},
		{"Tells, or Returns the Number of keys", "returns the number, of KEYS in the database.", "returns the number of keys"},
		{"O(1)", "O(1)", ""},
	} {
		if got := copied(tc.ours, tc.theirs); got != tc.want {
			t.Errorf("%q and %q share %q, want %q", tc.ours, tc.theirs, got, tc.want)
		}
	}
}

// TestOwnWords fails if Millrace describes a command in Redis's words: in the summary, the
// complexity, the history, or the sentences of a container's HELP.
func TestOwnWords(t *testing.T) {
	var servers []string
	if path, err := exec.LookPath("redis-server"); err == nil {
		servers = append(servers, path)
	}
	if path := os.Getenv(newestEnv); path != "" {
		servers = append(servers, path)
	}
	if len(servers) == 0 {
		t.Skip("there is no redis-server to compare with")
	}
	ours := textsOf(dial(t, cluster.Start(t, cluster.Options{Nodes: 1, Shards: 1}).Addrs()[0]))
	for _, path := range servers {
		theirs := textsOf(dial(t, startRedis(t, path, "--cluster-enabled", "yes")))
		compared := 0
		for about, texts := range theirs {
			for _, our := range ours[about] {
				compared++
				for _, their := range texts {
					if run := copied(our, their); run != "" {
						t.Errorf("the %s of %s has %q from Redis:\n  Millrace  %s\n  Redis     %s", about.kind, about.name, run, our, their)
					}
				}
			}
		}
		if compared < enoughCommands {
			t.Errorf("only %d texts were compared with those of %s", compared, path)
		}
	}
}

// subject is the command that a text is about, and the kind of the text: "summary",
// "complexity", "history" or, for a container, "help".
type subject struct{ name, kind string }

// textsOf returns the texts of every command and subcommand of a server. A history has a
// text for each version.
func textsOf(c *client) map[subject][]string {
	c.do("HELLO", "3")
	out := make(map[subject][]string)
	var walk func(docs *resp.Value)
	walk = func(docs *resp.Value) {
		for i := 0; i+1 < len(docs.Elems); i += 2 {
			name, doc := string(docs.Elems[i].Str), docs.Elems[i+1]
			for _, kind := range []string{"summary", "complexity"} {
				if v := field(&doc, kind); v != nil {
					out[subject{name, kind}] = []string{string(v.Str)}
				}
			}
			if v := field(&doc, "history"); v != nil {
				for _, note := range v.Elems {
					out[subject{name, "history"}] = append(out[subject{name, "history"}], string(note.Elems[1].Str))
				}
			}
			if subs := field(&doc, "subcommands"); subs != nil {
				out[subject{name, "help"}] = helpTexts(c.do(name, "HELP"))
				walk(subs)
			}
		}
	}
	docs := c.do("COMMAND", "DOCS")
	walk(&docs)
	return out
}

// helpTexts returns the descriptions in a reply to HELP: runs of indented lines. The
// other lines are the names and the syntax of subcommands, which have to be Redis's.
func helpTexts(v resp.Value) (out []string) {
	indented := false
	for _, line := range v.Elems {
		text := string(line.Str)
		was := indented
		if indented = strings.HasPrefix(text, " "); !indented {
			continue
		}
		if was {
			out[len(out)-1] += text
		} else {
			out = append(out, text)
		}
	}
	return out
}

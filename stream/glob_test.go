package stream_test

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"millrace/stream"
)

func TestMatch(t *testing.T) {
	for _, c := range []struct {
		pattern, s string
		want       bool
	}{
		{"", "", true},
		{"", "a", false},
		{"*", "", false}, // as in stringmatchlen; KEYS and SCAN do not match "*" at all
		{"*", "a", true},
		{"**", "abc", true},
		{"a*c", "abc", true},
		{"a*c", "ac", true},
		{"a*c", "ab", false},
		{"a*", "a", true},
		{"a**", "a", true},
		{"a?c", "abc", true},
		{"a?c", "ac", false},
		{"*a*b*", "xxaxxbxx", true},
		{"*a*b", "xxaxxbx", false},
		{"*ab*ab", "abab", true},
		{"*ab*ab", "abxb", false},
		{"[a-c]x", "bx", true},
		{"[^a-c]x", "bx", false},
		{"[^a-c]x", "dx", true},
		{"[c-a]", "b", true},
		{"[abc]", "c", true},
		{"[]", "a", false},
		{"[^]", "a", true},
		{"[]a]", "a]", false},
		{"[^", "a", true},
		{"[", "[", false},
		{"[a", "a", true},
		{"[a-]", "]", true}, // the range from a to ]
		{"[a-]", "-", false},
		{"[a-", "-", true},
		{`[\]]`, "]", true},
		{`[\`, `\`, true},
		{`[a\-c]`, "-", true},
		{"[\x01-\xff]", "a", false}, // -1 to 1
		{"[\x80-\xff]", "\x90", true},
		{`\*`, "*", true},
		{`\*`, "a", false},
		{`a\`, `a\`, true},
		{"a\x00b", "a\x00b", true},
		{"h?llo*w[aeiou]rld", "hello, big world", true},
	} {
		if got := stream.Match([]byte(c.pattern), []byte(c.s)); got != c.want {
			t.Errorf("%q matches %q: %v", c.pattern, c.s, got)
		}
	}
}

// TestMatchWork counts the steps of patterns for which a simple matcher needs exponential
// time.
func TestMatchWork(t *testing.T) {
	name := strings.Repeat("a", 20000)
	for _, pattern := range []string{
		strings.Repeat("*a", 1000) + "b", strings.Repeat("a*", 1000) + "b", "*" + strings.Repeat("a", 1000) + "b",
		strings.Repeat("*?", 1000) + "b", strings.Repeat("*[^b]", 800) + "b", strings.Repeat("*", 4000) + "b",
	} {
		ok, work := stream.MatchWork([]byte(pattern), []byte(name))
		if bound := 2 * (len(pattern) + 1) * len(name); ok || work > bound {
			t.Errorf("%.20s… is %v after %d steps, more than %d", pattern, ok, work, bound)
		}
	}
}

// slowMatch follows redis src/util.c literally: it tries every length for every star.
func slowMatch(p, s string) bool {
	if s == "" {
		return p == ""
	}
	for p != "" && s != "" {
		switch p[0] {
		case '*':
			rest := strings.TrimLeft(p, "*")
			if rest == "" {
				return true
			}
			for ; s != ""; s = s[1:] {
				if slowMatch(rest, s) {
					return true
				}
			}
			return false
		case '[':
			members, rest := slowClass(p[1:])
			if !members[s[0]] {
				return false
			}
			p, s = rest, s[1:]
			if s == "" {
				return strings.TrimLeft(p, "*") == ""
			}
			continue
		case '?':
		default:
			if p[0] == '\\' && len(p) > 1 {
				p = p[1:]
			}
			if p[0] != s[0] {
				return false
			}
		}
		p, s = p[1:], s[1:]
		if s == "" {
			p = strings.TrimLeft(p, "*")
		}
	}
	return p == "" && s == ""
}

// slowClass returns all bytes that a class matches, and the pattern after its "]".
func slowClass(p string) (members [256]bool, rest string) {
	not := strings.HasPrefix(p, "^")
	p = strings.TrimPrefix(p, "^")
	for p != "" && p[0] != ']' {
		switch {
		case p[0] == '\\' && len(p) > 1:
			members[p[1]] = true
			p = p[2:]
		case len(p) > 2 && p[1] == '-':
			for b := range 256 {
				lo, hi := int8(p[0]), int8(p[2])
				members[b] = members[b] || lo <= int8(b) && int8(b) <= hi || hi <= int8(b) && int8(b) <= lo
			}
			p = p[3:]
		default:
			members[p[0]] = true
			p = p[1:]
		}
	}
	for b := range members {
		members[b] = members[b] != not
	}
	return members, strings.TrimPrefix(p, "]")
}

func FuzzMatch(f *testing.F) {
	f.Add("a*[^b-c]?", "abcd")
	f.Add(`*a\*b`, "xa*b")
	f.Add("[a-", "-")
	f.Fuzz(func(t *testing.T, pattern, s string) {
		if strings.Count(pattern, "*") > 8 || len(s) > 200 {
			return // the reference is exponential
		}
		if got, want := stream.Match([]byte(pattern), []byte(s)), slowMatch(pattern, s); got != want {
			t.Errorf("%q matches %q: %v, by the rule %v", pattern, s, got, want)
		}
	})
}

// globBytes draws the bytes of patterns and names.
var globBytes = rapid.SampledFrom([]byte("aabbc*?[]^-\\\xff"))

// TestMatchLive compares KEYS of a live Redis with Match, over random names and patterns.
func TestMatchLive(t *testing.T) {
	redis := newLiveRedis(t)
	names := make(map[string]bool)
	gen := rapid.Custom(func(p *rapid.T) string { return string(rapid.SliceOfN(globBytes, 1, 6).Draw(p, "name")) })
	for i := range 3000 {
		name := gen.Example(i)
		names[name] = true
		redis.do(argvOf("SET", name, "v"))
	}
	rapid.Check(t, func(p *rapid.T) {
		pattern := string(rapid.SliceOfN(globBytes, 0, 12).Draw(p, "pattern"))
		var want, got []string
		for name := range names {
			if pattern == "*" || stream.Match([]byte(pattern), []byte(name)) {
				want = append(want, name)
			}
		}
		for _, v := range redis.do(argvOf("KEYS", pattern)).Elems {
			got = append(got, string(v.Str))
		}
		slices.Sort(want)
		slices.Sort(got)
		if !slices.Equal(want, got) {
			p.Fatalf("%q matches %q, in Redis %q", pattern, want, got)
		}
	})
}

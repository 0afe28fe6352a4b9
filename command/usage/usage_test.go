package usage

import (
	"reflect"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	key := Arg{Name: "key", Type: Key}
	token := func(name, word string) Arg { return Arg{Name: name, Type: PureToken, Token: word, HasToken: true} }
	for _, c := range []struct {
		line, text string
		want       []Arg
	}{
		{"", "", nil},
		{"key", "key", []Arg{key}},
		{"key id...", "key id [id ...]", []Arg{key, {Name: "id", Type: String, Multiple: true}}},
		{"from:key ip:port n:int", "from ip:port n", []Arg{
			{Name: "from", Type: Key}, {Name: "ip:port", Type: String}, {Name: "n", Type: Integer},
		}},
		{"[COUNT count:int] [JUSTID]", "[COUNT count] [JUSTID]", []Arg{
			{Name: "count", Type: Integer, Token: "COUNT", HasToken: true, Optional: true},
			{Name: "justid", Type: PureToken, Token: "JUSTID", HasToken: true, Optional: true},
		}},
		{"mode:(ON|OFF)", "ON|OFF", []Arg{{Name: "mode", Type: OneOf, Args: []Arg{token("on", "ON"), token("off", "OFF")}}}},
		{"id:(auto=*|id) op:[eq==]", "*|id [=]", []Arg{
			{Name: "id", Type: OneOf, Args: []Arg{token("auto", "*"), {Name: "id", Type: String}}},
			{Name: "op", Type: Block, Optional: true, Args: []Arg{token("eq", "=")}},
		}},
		{"x:(A a | B)", "<A a | B>", []Arg{{Name: "x", Type: OneOf, Args: []Arg{
			{Name: "a", Type: String, Token: "A", HasToken: true}, token("b", "B"),
		}}}},
		{"IDS ids:(n:int id...)", "IDS n id [id ...]", []Arg{{Name: "ids", Type: Block, Token: "IDS", HasToken: true, Args: []Arg{
			{Name: "n", Type: Integer}, {Name: "id", Type: String, Multiple: true},
		}}}},
		{"fv:(f v)...", "f v [f v ...]", []Arg{{Name: "fv", Type: Block, Multiple: true, Args: []Arg{
			{Name: "f", Type: String}, {Name: "v", Type: String},
		}}}},
		{"[PREFIX p]...", "[PREFIX p [PREFIX p ...]]", []Arg{
			{Name: "p", Type: String, Token: "PREFIX", HasToken: true, Optional: true, Multiple: true, MultipleToken: true},
		}},
		{"[KEYS key...]", "[KEYS key [key ...]]", []Arg{
			{Name: "key", Type: Key, Token: "KEYS", HasToken: true, Optional: true, Multiple: true},
		}},
		{"k:(key|empty=)", `key|""`, []Arg{{Name: "k", Type: OneOf, Args: []Arg{key, token("empty", "")}}}},
		{"f:([A a]|B)...", "[A a] | B ...", []Arg{{Name: "f", Type: OneOf, Multiple: true, Args: []Arg{
			{Name: "a", Type: String, Token: "A", HasToken: true, Optional: true}, token("b", "B"),
		}}}},
		{"no-one:(NO ONE)", "NO ONE", []Arg{{Name: "no-one", Type: Block, Args: []Arg{token("no", "NO"), token("one", "ONE")}}}},
	} {
		got, err := Parse(c.line)
		if err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%q is parsed as\n%+v, %v, want\n%+v", c.line, got, err, c.want)
		}
		if text := Text(got); text != c.text {
			t.Errorf("%q is printed as %q, want %q", c.line, text, c.text)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for line, want := range map[string]string{
		"[a b]":     "a bracket of 2 items needs a name",
		"x:(a b|c)": "a choice of x has 2 items and no name",
		"x:(a":      `")" is missing before ""`,
		"a]":        `unexpected "]"`,
		"|":         `unexpected "|"`,
		"[":         "a bracket of 0 items needs a name",
		"A [B c]":   "", // a word of its own: brackets are not announced
	} {
		_, err := Parse(line)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%q: %v, want %q", line, err, want)
		}
	}
}

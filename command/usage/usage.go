package usage

import (
	"fmt"
	"strings"
)

// Type is the type of an argument, as COMMAND DOCS names it.
type Type string

// The types of arguments.
const (
	String    Type = "string"
	Integer   Type = "integer"
	Double    Type = "double"
	UnixTime  Type = "unix-time"
	Pattern   Type = "pattern"
	Key       Type = "key"
	PureToken Type = "pure-token" // only a token
	OneOf     Type = "oneof"      // one of its Args
	Block     Type = "block"      // all of its Args
)

// typeWords holds the types that a line can name.
var typeWords = map[string]Type{"int": Integer, "string": String, "double": Double, "time": UnixTime, "pattern": Pattern, "key": Key}

// Arg is an argument of a command.
type Arg struct {
	Name string
	Type Type
	// Token is the literal word before the argument. HasToken is true also when that word
	// is empty.
	Token    string
	HasToken bool
	// An Optional argument may be left out. A Multiple one may be repeated, together with
	// its token when MultipleToken is true.
	Optional, Multiple, MultipleToken bool
	Args                              []Arg // of OneOf and Block
}

// Parse returns the arguments that a line describes, or an error that quotes the line.
func Parse(line string) (args []Arg, err error) {
	defer func() {
		if r := recover(); r != nil {
			e, ok := r.(syntaxError)
			if !ok {
				panic(r)
			}
			err = fmt.Errorf("usage %q: %s", line, e)
		}
	}()
	p := &parser{rest: line}
	args = p.sequence()
	p.blanks()
	if p.rest != "" {
		p.fail("unexpected %q", p.rest)
	}
	return args, nil
}

// syntaxError describes the error in a line. The parser panics with it, and Parse recovers.
type syntaxError string

type parser struct{ rest string }

func (p *parser) fail(format string, args ...any) { panic(syntaxError(fmt.Sprintf(format, args...))) }

func (p *parser) blanks() { p.rest = strings.TrimLeft(p.rest, " ") }

// take removes a prefix, and reports whether the rest had it.
func (p *parser) take(prefix string) bool {
	rest, ok := strings.CutPrefix(p.rest, prefix)
	if ok {
		p.rest = rest
	}
	return ok
}

// sequence reads items up to a "|" or a closing bracket.
func (p *parser) sequence() []Arg {
	var out []Arg
	for {
		p.blanks()
		if p.rest == "" || strings.ContainsRune("|)]", rune(p.rest[0])) {
			return out
		}
		out = append(out, p.item())
	}
}

// item reads one item with its token and its repetition mark.
func (p *parser) item() Arg {
	var a Arg
	switch {
	case p.take("["):
		a = p.only("]")
		a.Optional = true
		p.again(&a)
	case p.take("("):
		a = p.only(")")
		p.again(&a)
	default:
		a = p.word()
		if a.Type == PureToken && a.HasToken && p.announces() {
			p.blanks()
			next := p.item()
			if next.HasToken {
				p.fail("%s is announced by two words", next.Name)
			}
			next.Token, next.HasToken = a.Token, true
			return next
		}
		a.Multiple = p.take("...")
	}
	return a
}

// again reads the repetition mark of a bracketed item, which repeats its token too.
func (p *parser) again(a *Arg) {
	if p.take("...") {
		a.Multiple, a.MultipleToken = true, a.HasToken
	}
}

// only reads a bracket without a name, which must hold exactly one item.
func (p *parser) only(end string) Arg {
	args := p.sequence()
	if len(args) != 1 {
		p.fail("a bracket of %d items needs a name", len(args))
	}
	p.close(end)
	return args[0]
}

func (p *parser) close(end string) {
	p.blanks()
	if !p.take(end) {
		p.fail("%q is missing before %q", end, p.rest)
	}
}

// announces reports whether an argument follows for which the word before is the token.
func (p *parser) announces() bool {
	rest := strings.TrimLeft(p.rest, " ")
	return rest != p.rest && rest != "" && isLower(rest[0]) && !p.isToken(rest)
}

// isToken reports whether rest starts with name=WORD.
func (p *parser) isToken(rest string) bool {
	end := strings.IndexAny(rest, " |()[]=")
	return end > 0 && rest[end] == '='
}

// word reads a word, or a name and its bracket.
func (p *parser) word() Arg {
	end := strings.IndexAny(p.rest, " |()[]")
	if end < 0 {
		end = len(p.rest)
	}
	w := p.rest[:end]
	if name, ok := strings.CutSuffix(w, ":"); ok && end < len(p.rest) {
		p.rest = p.rest[end:]
		return p.group(name)
	}
	w = strings.TrimSuffix(w, "...")
	p.rest = p.rest[len(w):]
	switch {
	case w == "":
		p.fail("unexpected %q", p.rest)
	case !isLower(w[0]):
		return Arg{Name: strings.ToLower(w), Type: PureToken, Token: w, HasToken: true}
	case strings.Contains(w, "="):
		name, token, _ := strings.Cut(w, "=")
		return Arg{Name: name, Type: PureToken, Token: token, HasToken: true}
	}
	if at := strings.LastIndexByte(w, ':'); at > 0 && typeWords[w[at+1:]] != "" {
		return Arg{Name: w[:at], Type: typeWords[w[at+1:]]}
	}
	if w == "key" {
		return Arg{Name: w, Type: Key}
	}
	return Arg{Name: w, Type: String}
}

// group reads the bracket that follows a name.
func (p *parser) group(name string) Arg {
	a := Arg{Name: name, Type: Block}
	end := ")"
	if p.rest[0] == '[' {
		end, a.Optional = "]", true
	}
	p.rest = p.rest[1:]
	choices := [][]Arg{p.sequence()}
	for p.take("|") {
		choices = append(choices, p.sequence())
	}
	p.close(end)
	if len(choices) == 1 {
		a.Args = choices[0]
		return a
	}
	a.Type = OneOf
	for _, c := range choices {
		if len(c) != 1 {
			p.fail("a choice of %s has %d items and no name", name, len(c))
		}
		a.Args = append(a.Args, c[0])
	}
	return a
}

func isLower(b byte) bool { return 'a' <= b && b <= 'z' }

package compat

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// shown is a place in a test that shows a behaviour. The fields depend on the kind of test:
//
//	where                       item                         text
//	a script, "xadd":           a command                    a part of its reply
//	stream/testdata/xadd
//	a session of the            a command, or "A<", which    a part of the reply
//	transcripts, "p1"           reads a later reply on A
//	a Go file, its path         a test or table in it        a part of that
type shown struct{ where, item, text string }

const root = "../.."

// find returns an error unless the place exists and has the text.
func (s shown) find() error {
	switch {
	case strings.HasSuffix(s.where, "_test.go"):
		b, err := os.ReadFile(filepath.Join(root, s.where))
		if err != nil {
			return err
		}
		body := regexp.MustCompile(`(?ms)^(func ` + regexp.QuoteMeta(s.item) + `\(|var ` + regexp.QuoteMeta(s.item) + ` = [^\n]*\{$).*?^}$`).FindString(string(b))
		switch {
		case body == "":
			return fmt.Errorf("%s has no %s", s.where, s.item)
		case s.text == "" || !strings.Contains(body, s.text):
			return fmt.Errorf("%s in %s does not have %s", s.item, s.where, s.text)
		}
		return nil
	case transcript.MatchString(s.where):
		lines, err := transcriptLines(s.where)
		if err != nil {
			return err
		}
		return s.in(lines)
	}
	lines, err := scriptLines(s.where)
	if err != nil {
		return err
	}
	return s.in(lines)
}

// line is a command and its reply.
type line struct{ command, reply string }

func (s shown) in(lines []line) error {
	found := false
	for _, l := range lines {
		if l.command != s.item {
			continue
		}
		found = true
		if s.text != "" && strings.Contains(l.reply, s.text) {
			return nil
		}
	}
	if !found {
		return fmt.Errorf("%s has no command %s", s.where, s.item)
	}
	return fmt.Errorf("in %s, no reply to %s has %s", s.where, s.item, s.text)
}

var transcript = regexp.MustCompile(`^p\d+$`)

// transcriptLines returns the commands and replies of one session of the transcripts in
// RESP2.
func transcriptLines(session string) ([]line, error) {
	b, err := os.ReadFile("golden/testdata/golden-resp2.txt")
	if err != nil {
		return nil, err
	}
	_, part, _ := strings.Cut(string(b), "##### "+session+"\n")
	part, _, _ = strings.Cut(part, "\n##### ")
	var out []line
	for l := range strings.Lines(part) {
		if command, reply, ok := strings.Cut(strings.TrimSpace(l), " => "); ok {
			out = append(out, line{strings.TrimSpace(command), reply})
		}
	}
	return out, nil
}

// scriptLines returns the commands of a script of package stream, with their replies.
func scriptLines(name string) ([]line, error) {
	b, err := os.ReadFile(filepath.Join(root, "stream/testdata", name))
	if err != nil {
		return nil, err
	}
	var out []line
	var commands []string
	replies := -1 // number of replies read in this block; -1 while commands are read
	for l := range strings.Lines(string(b)) {
		l = strings.TrimSuffix(l, "\n")
		switch {
		case replies < 0 && l == "----":
			replies = 0
		case replies < 0 && (l == "" || strings.HasPrefix(l, "#") || directive.MatchString(l)):
			commands = nil
		case replies < 0:
			commands = append(commands, l)
		case l == "":
			replies, commands = -1, nil
		default:
			if replies < len(commands) {
				out = append(out, line{commands[replies], l})
			}
			replies++
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%s has no commands", name)
	}
	return out, nil
}

// directive matches the first line of a block of a script.
var directive = regexp.MustCompile(`^(run|exec|type|reset|records|check)\b`)

// TestEvidence shows that find accepts places that exist and refuses others.
func TestEvidence(t *testing.T) {
	for _, c := range []struct {
		shown
		want string
	}{
		{shown{"xadd", "XADD s 8-018 f v", `"8-18"`}, ""},
		{shown{"xadd", "XADD s 8-018 f v", `"8-19"`}, `in xadd, no reply to XADD s 8-018 f v has "8-19"`},
		{shown{"xadd", "XADD s 8-018 f v", ""}, "in xadd, no reply to XADD s 8-018 f v has "},
		{shown{"xadd", "XADD s 8-019 f v", `"8-19"`}, "xadd has no command XADD s 8-019 f v"},
		{shown{"xadd", "XADD s * a 2", `"6000-1"`}, ""}, // in an exec block
		{shown{"p5", "C<", `"2-0"`}, ""},
		{shown{"p5", "C<", `"2-1"`}, `in p5, no reply to C< has "2-1"`},
		{shown{"p99", "C<", `"2-1"`}, "p99 has no command C<"},
		{shown{"test/compat/evidence_test.go", "TestEvidence", "finds itself"}, ""},
		{shown{"test/compat/evidence_test.go", "TestEvidenc", "finds itself"}, "test/compat/evidence_test.go has no TestEvidenc"},
		{shown{"test/compat/evidence_test.go", "directive", "finds itself"}, "test/compat/evidence_test.go has no directive"},
		{shown{"shard/wait_test.go", "TestBlockInOrder", "this is not there"}, "TestBlockInOrder in shard/wait_test.go does not have this is not there"},
	} {
		got := ""
		if err := c.find(); err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("%v: %q, want %q", c.shown, got, c.want)
		}
	}
}

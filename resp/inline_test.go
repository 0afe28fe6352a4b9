package resp

import (
	"bytes"
	"fmt"
	"slices"
	"testing"
)

// TestSplitInline checks blanks, quotes and escapes.
func TestSplitInline(t *testing.T) {
	for _, c := range []struct{ line, want string }{
		{``, `[]`},
		{`  `, `[]`},
		{`a`, `["a"]`},
		{" a\tb\r\nc ", `["a" "b" "c"]`},
		{"a\rb", `["a" "b"]`},
		{"\va\vb\v", `["a\vb\v"]`},
		{`""`, `[""]`},
		{`'' ""`, `["" ""]`},
		{`"a b" c`, `["a b" "c"]`},
		{`a"b c"`, `["ab c"]`},
		{`a'b c'`, `["ab c"]`},
		{`"\x41\n\r\t\b\a\q\"\\"`, `["A\n\r\t\b\aq\"\\"]`},
		{`"\xfF"`, `["\xff"]`},
		{`"\x4"`, `["x4"]`},
		{`"\xg1"`, `["xg1"]`},
		{`'a\'b\n\'`, `refused`},
		{`'a\'b\n'`, `["a'b\\n"]`},
		{`'a"b' "a'b"`, `["a\"b" "a'b"]`},
		{`a\nb`, `["a\\nb"]`},
		{`"a`, `refused`},
		{`'a`, `refused`},
		{`"a\`, `refused`},
		{`"a\"`, `refused`},
		{`"a"b`, `refused`},
		{`"a"'b'`, `refused`},
		{`'a'b`, `refused`},
		{`a"b"c`, `refused`},
		{"\"a\"\vb", `["a" "b"]`},
		{"a\x00b", `["a\x00b"]`},
	} {
		words, ok := SplitInline([]byte(c.line))
		got := "refused"
		if ok {
			got = fmt.Sprintf("%q", words)
		}
		if got != c.want {
			t.Errorf("%q: got %s, want %s", c.line, got, c.want)
		}
	}
}

// FuzzInline checks that words survive quoting and splitting, and that a Reader splits a
// line into the same words.
func FuzzInline(f *testing.F) {
	for _, s := range []string{`a b`, `"\x41" 'b\''`, `a"b`, "\"\\", "\v'a'\v", "*1 a", "a\nb"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		words, ok := SplitInline(line)
		if ok {
			var quoted []byte
			for _, w := range words {
				quoted = append(AppendQuoted(quoted, w), ' ')
			}
			again, ok := SplitInline(quoted)
			if !ok || fmt.Sprintf("%q", again) != fmt.Sprintf("%q", words) {
				t.Fatalf("%q split to %q, whose quoted form %q split to %q", line, words, quoted, again)
			}
		}
		if bytes.IndexByte(line, '\n') >= 0 || bytes.HasPrefix(line, []byte("*")) || ok && len(words) == 0 {
			return
		}
		argv, err := NewReader(bytes.NewReader(append(slices.Clip(line), "\r\n"...)), DefaultLimits).ReadCommand()
		if (err == nil) != ok || fmt.Sprintf("%q", argv) != fmt.Sprintf("%q", words) {
			t.Fatalf("%q: split %q, %v; read %q, %v", line, words, ok, argv, err)
		}
	})
}

package resp

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/tidwall/redcon"
)

// readAll reads commands until an error, and returns them as text, one on each line.
func readAll(r *Reader) (string, error) {
	var out strings.Builder
	for {
		argv, err := r.ReadCommand()
		if err != nil {
			return out.String(), err
		}
		for i, a := range argv {
			if i > 0 {
				out.WriteByte(' ')
			}
			out.Write(AppendQuoted(nil, a))
		}
		out.WriteByte('\n')
	}
}

// commandCases behave like redis-server 7.0.15, except for those with a comment. "|"
// separates commands.
var commandCases = []struct {
	name, in, want string
	err            string
}{
	{"array", "*2\r\n$4\r\nECHO\r\n$2\r\nhi\r\n", `"ECHO" "hi"`, "EOF"},
	{"two commands", "*1\r\n$4\r\nPING\r\n*1\r\n$1\r\nx\r\n", `"PING"|"x"`, "EOF"},
	{"binary word", "*1\r\n$5\r\n\r\n\x00\xff*\r\n", `"\r\n\x00\xff*"`, "EOF"},
	{"empty word", "*2\r\n$0\r\n\r\n$1\r\na\r\n", `"" "a"`, "EOF"},
	{"empty array", "*0\r\nPING\r\n", `"PING"`, "EOF"},
	{"negative array", "*-1\r\nPING\r\n", `"PING"`, "EOF"},
	{"very negative array", "*-1000\r\nPING\r\n", `"PING"`, "EOF"},
	{"leading zero", "*03\r\n", "", "Protocol error: invalid multibulk length"},
	{"plus sign", "*+1\r\n", "", "Protocol error: invalid multibulk length"},
	{"minus zero", "*-0\r\n", "", "Protocol error: invalid multibulk length"},
	{"no count", "*\r\n", "", "Protocol error: invalid multibulk length"},
	{"no number", "*abc\r\n", "", "Protocol error: invalid multibulk length"},
	{"blank after count", "*1 \r\n", "", "Protocol error: invalid multibulk length"},
	{"count over int32", "*2147483648\r\n", "", "Protocol error: invalid multibulk length"},
	{"count over int64", "*9223372036854775808\r\n", "", "Protocol error: invalid multibulk length"},
	{"not a bulk", "*1\r\nXPI\r\n", "", "Protocol error: expected '$', got 'X'"},
	{"not a bulk but a byte", "*1\r\n\xff4\r\n", "", "Protocol error: expected '$', got '\xff'"},
	{"negative bulk", "*1\r\n$-1\r\n", "", "Protocol error: invalid bulk length"},
	{"bulk leading zero", "*1\r\n$04\r\nPING\r\n", "", "Protocol error: invalid bulk length"},
	{"blank after bulk length", "*1\r\n$4 \r\nPING\r\n", "", "Protocol error: invalid bulk length"},
	{"bulk over limit", "*1\r\n$536870913\r\n", "", "Protocol error: invalid bulk length"},
	{"endless count", "*" + strings.Repeat("1", 66000), "", "Protocol error: too big mbulk count string"},
	{"endless bulk length", "*1\r\n$" + strings.Repeat("1", 66000), "", "Protocol error: too big bulk count string"},
	{"endless line", strings.Repeat("a", 66000), "", "Protocol error: too big inline request"},
	// Redis accepts or refuses this one, depending on the pieces in which it arrives.
	{"long line", strings.Repeat("a", 66000) + "\r\n", "", "Protocol error: too big inline request"},
	// Redis does not check these bytes.
	{"bulk not ended", "*1\r\n$4\r\nPINGxx", "", "Protocol error: bulk string does not end with CRLF"},
	{"count line not ended", "*1\rX$4\r\nPING\r\n", "", "Protocol error: invalid multibulk length"},
	{"bulk line not ended", "*1\r\n$4\rXPING\r\n", "", "Protocol error: invalid bulk length"},
	{"good, then bad", "PING\r\n*x\r\n", `"PING"`, "Protocol error: invalid multibulk length"},

	{"inline", "PING hello\r\n", `"PING" "hello"`, "EOF"},
	{"inline without CR", "PING\n", `"PING"`, "EOF"},
	{"blank lines", "\r\n  \r\n\n\r\r\nPING\r\n", `"PING"`, "EOF"},
	{"blanks", " \tPING \x0b\x0ca\x0bb \r\n", `"PING" "a\x0bb"`, "EOF"},
	{"inline after array", "*1\r\n$1\r\na\r\nb\r\n*1\r\n$1\r\nc\r\n", `"a"|"b"|"c"`, "EOF"},
	{"bulk alone is a line", "$4\r\nPING\r\n", `"$4"|"PING"`, "EOF"},
	{"empty quoted command", `""` + "\r\n", `""`, "EOF"},
	{"open quote", "PING \"a\r\n", "", "Protocol error: unbalanced quotes in request"},
	{"text after quote", "PING \"a\"b\r\n", "", "Protocol error: unbalanced quotes in request"},

	{"ends in count", "*1", "", "unexpected EOF"},
	{"ends before LF", "*1\r", "", "unexpected EOF"},
	{"ends in word", "*1\r\n$4\r\nPI", "", "unexpected EOF"},
	{"ends in line", "PING", "", "unexpected EOF"},
	{"nothing", "", "", "EOF"},
	{"nothing but blank lines", "\r\n\r\n", "", "EOF"},
}

// TestReadCommand reads all commandCases whole, byte by byte, and in any two pieces.
func TestReadCommand(t *testing.T) {
	for _, c := range commandCases {
		want := ""
		if c.want != "" {
			want = strings.ReplaceAll(c.want, "|", "\n") + "\n"
		}
		check := func(how string, src io.Reader) {
			t.Helper()
			got, err := readAll(NewReader(src, DefaultLimits))
			if got != want || err.Error() != c.err {
				t.Errorf("%s, %s: got %q, %v; want %q, %s", c.name, how, got, err, want, c.err)
			}
		}
		check("whole", strings.NewReader(c.in))
		check("last bytes with EOF", iotest.DataErrReader(strings.NewReader(c.in)))
		check("byte by byte", iotest.OneByteReader(strings.NewReader(c.in)))
		for i := 1; i < len(c.in) && len(c.in) < 1000; i++ {
			check(fmt.Sprint("split at ", i), io.MultiReader(strings.NewReader(c.in[:i]), strings.NewReader(c.in[i:])))
		}
	}
}

// TestProtocolErrorPersists checks that a protocol error is returned again by later calls,
// and that its reply is the one of Redis.
func TestProtocolErrorPersists(t *testing.T) {
	r := NewReader(strings.NewReader("*1\r\n\r\nPING\r\n"), DefaultLimits)
	for range 3 {
		_, err := r.ReadCommand()
		var pe *ProtocolError
		if !errors.As(err, &pe) {
			t.Fatalf("got %v, want a ProtocolError", err)
		}
		got := string(AppendValue(nil, pe.Reply(), 2))
		if want := "-ERR Protocol error: expected '$', got ' '\r\n"; got != want {
			t.Errorf("got %q, want %q, as from Redis", got, want)
		}
	}
}

// TestLimits sends commands at each limit and above it.
func TestLimits(t *testing.T) {
	small := Limits{MaxArgs: 3, MaxBulk: 10, MaxInline: 20, MaxCommand: 40}
	for _, c := range []struct {
		name string
		lim  Limits
		in   string
		err  string
	}{
		{"args at the limit", small, "*3\r\n$1\r\na\r\n$1\r\nb\r\n$1\r\nc\r\n", "EOF"},
		{"args above", small, "*4\r\n", "Protocol error: invalid multibulk length"},
		{"bulk at the limit", small, "*1\r\n$10\r\n0123456789\r\n", "EOF"},
		{"bulk above", small, "*1\r\n$11\r\n", "Protocol error: invalid bulk length"},
		{"line at the limit", small, "01234567890123456789\n", "EOF"},
		{"line above", small, "012345678901234567890\n", "Protocol error: too big inline request"},
		{"command at the limit", small, "*3\r\n$10\r\n0123456789\r\n$1\r\na\r\n$6\r\n012345\r\n", "EOF"},
		{"command above", small, "*3\r\n$10\r\n0123456789\r\n$1\r\na\r\n$7\r\n", "Protocol error: too big request"},

		{"unauthenticated, 10 words", PreAuthLimits, "*10\r\n" + strings.Repeat("$1\r\na\r\n", 10), "EOF"},
		{"unauthenticated, 11 words", PreAuthLimits, "*11\r\n", "Protocol error: unauthenticated multibulk length"},
		{"unauthenticated, 16 KiB", PreAuthLimits, "*1\r\n$16384\r\n" + strings.Repeat("a", 16384) + "\r\n", "EOF"},
		{"unauthenticated, more", PreAuthLimits, "*10\r\n$16385\r\n", "Protocol error: unauthenticated bulk length"},
		{"unauthenticated, absurd bulk", PreAuthLimits, "*10\r\n$536870913\r\n", "Protocol error: invalid bulk length"},
		{"unauthenticated, absurd count", PreAuthLimits, "*2147483648\r\n", "Protocol error: invalid multibulk length"},
		{"unauthenticated line", PreAuthLimits, "PING " + strings.Repeat("a", 20000) + "\r\n", "EOF"},
	} {
		if _, err := readAll(NewReader(strings.NewReader(c.in), c.lim)); err.Error() != c.err {
			t.Errorf("%s: got %v, want %s", c.name, err, c.err)
		}
	}
}

// TestSetLimitsAppliesToBufferedCommands sends AUTH together with a command that is only
// allowed after AUTH.
func TestSetLimitsAppliesToBufferedCommands(t *testing.T) {
	in := "AUTH x\r\n*11\r\n" + strings.Repeat("$1\r\na\r\n", 11)
	r := NewReader(strings.NewReader(in), PreAuthLimits)
	if argv, err := r.ReadCommand(); err != nil || len(argv) != 2 {
		t.Fatalf("AUTH: %q, %v", argv, err)
	}
	if !r.HasCommand() {
		t.Error("HasCommand is false, but ReadCommand would return an error without a read")
	}
	r.SetLimits(DefaultLimits)
	if argv, err := r.ReadCommand(); err != nil || len(argv) != 11 {
		t.Errorf("after SetLimits: %d words, %v; want 11", len(argv), err)
	}
}

// pieces is a client that sends one piece at a time. An empty piece lets the read deadline
// pass.
type pieces []string

func (p *pieces) Read(b []byte) (int, error) {
	if len(*p) == 0 {
		return 0, io.EOF
	}
	n := copy(b, (*p)[0])
	if n == 0 {
		*p = (*p)[1:]
		return 0, os.ErrDeadlineExceeded
	}
	if (*p)[0] = (*p)[0][n:]; (*p)[0] == "" {
		*p = (*p)[1:]
	}
	return n, nil
}

// TestHasCommand checks HasCommand and Buffered after each command.
func TestHasCommand(t *testing.T) {
	r := NewReader(&pieces{"*1\r\n$4\r\nPING\r\n*1\r\n$4\r\nPI", "NG\r\n\r\n*0\r\n", "A\r\n"}, DefaultLimits)
	if r.HasCommand() {
		t.Error("HasCommand before anything was read")
	}
	for _, want := range []struct {
		has      bool
		buffered int
	}{{false, 10}, {false, 0}} {
		if _, err := r.ReadCommand(); err != nil {
			t.Fatal(err)
		}
		if has, n := r.HasCommand(), r.Buffered(); has != want.has || n != want.buffered {
			t.Errorf("HasCommand %v, Buffered %d; want %+v", has, n, want)
		}
	}
	if _, err := r.Fill(); err != nil || !r.HasCommand() {
		t.Errorf("after Fill brought a line: HasCommand %v, %v", r.HasCommand(), err)
	}
}

// TestDeadlineLosesNothing lets a deadline pass at each byte of a command.
func TestDeadlineLosesNothing(t *testing.T) {
	whole := "*2\r\n$4\r\nECHO\r\n$5\r\nhello\r\n"
	for i := range len(whole) + 1 {
		r := NewReader(&pieces{whole[:i], "", whole[i:], ""}, DefaultLimits)
		var got []string
		timeouts := 0
		for {
			argv, err := r.ReadCommand()
			if errors.Is(err, os.ErrDeadlineExceeded) {
				timeouts++
				continue
			}
			if err != nil {
				break
			}
			got = append(got, fmt.Sprintf("%q", argv))
		}
		if want := `["ECHO" "hello"]`; len(got) != 1 || got[0] != want || timeouts == 0 {
			t.Fatalf("deadline after %d bytes: got %v (%d timeouts)", i, got, timeouts)
		}
	}
}

// TestFill checks that Fill keeps all bytes, also around deadlines, and stops at
// FillLimit.
func TestFill(t *testing.T) {
	r := NewReader(&pieces{"PING 1\r\nPI", "", "NG 2\r\n"}, DefaultLimits)
	if n, err := r.Fill(); n != 10 || err != nil {
		t.Fatalf("first Fill: %d, %v", n, err)
	}
	if n, err := r.Fill(); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("Fill past the deadline: %d, %v", n, err)
	}
	if n, err := r.Fill(); n != 6 || err != nil {
		t.Fatalf("Fill after the deadline: %d, %v", n, err)
	}
	if _, err := r.Fill(); err != io.EOF {
		t.Fatalf("Fill after the client left: %v, want EOF", err)
	}
	if got, err := readAll(r); got != "\"PING\" \"1\"\n\"PING\" \"2\"\n" || err != io.EOF {
		t.Errorf("got %q, %v", got, err)
	}

	r = NewReader(endless{}, DefaultLimits)
	var total int
	for {
		n, err := r.Fill()
		total += n
		if errors.Is(err, ErrBufferFull) {
			break
		}
		if err != nil || n == 0 {
			t.Fatalf("Fill: %d, %v", n, err)
		}
	}
	if total != r.Buffered() || total < FillLimit || total > 2*FillLimit || cap(r.in.data) > 2*FillLimit {
		t.Errorf("Fill stopped at %d bytes, buffer of %d; want about %d", total, cap(r.in.data), FillLimit)
	}
}

// endless is a client that never stops sending.
type endless struct{}

func (endless) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = 'a'
	}
	return len(b), nil
}

// TestWordsAreKept checks that words do not share memory with the buffer, and that an
// append to one does not change the next.
func TestWordsAreKept(t *testing.T) {
	for _, in := range []string{"*2\r\n$2\r\nab\r\n$2\r\ncd\r\n", "ab cd\r\n"} {
		r := NewReader(strings.NewReader(in+strings.Repeat("zzzzzzzzzzzzzz\r\n", 100)), DefaultLimits)
		argv, err := r.ReadCommand()
		if err != nil {
			t.Fatal(err)
		}
		_ = append(argv[0], "XXXX"...)
		if _, err := readAll(r); err != io.EOF {
			t.Fatal(err)
		}
		if got := fmt.Sprintf("%s", argv); got != "[ab cd]" {
			t.Errorf("words changed to %s", got)
		}
	}
}

// TestLargeCommand reads large and small commands in turn. The buffer must shrink again.
func TestLargeCommand(t *testing.T) {
	big := bytes.Repeat([]byte("0123456789abcdef"), 200_000) // 3.2 MB
	var in []byte
	for range 3 {
		in = AppendCommand(in, []byte("SET"), big)
		in = append(in, "PING\r\n"...)
	}
	r := NewReader(iotest.HalfReader(bytes.NewReader(in)), DefaultLimits)
	for range 3 {
		argv, err := r.ReadCommand()
		if err != nil || len(argv) != 2 || !bytes.Equal(argv[1], big) {
			t.Fatalf("large command: %d words, %v", len(argv), err)
		}
		if argv, err = r.ReadCommand(); err != nil || string(argv[0]) != "PING" {
			t.Fatalf("after it: %q, %v", argv, err)
		}
	}
	if _, err := r.ReadCommand(); err != io.EOF {
		t.Error(err)
	}
	if cap(r.in.data) > steadyBuffer {
		t.Errorf("the buffer stays at %d bytes after a large command", cap(r.in.data))
	}
}

// hang is a hostile client that sends s and then nothing more.
type hang struct{ s string }

var errHang = errors.New("the client sends nothing more")

func (h *hang) Read(b []byte) (int, error) {
	if h.s == "" {
		return 0, errHang
	}
	n := copy(b, h.s)
	h.s = h.s[n:]
	return n, nil
}

// TestAnnouncedLengthsAllocateNothing announces large commands and replies, but does not
// send them.
func TestAnnouncedLengthsAllocateNothing(t *testing.T) {
	for _, in := range []string{
		"*1000000\r\n",
		"*1048576\r\n$67108864\r\n",
		"*2\r\n$67000000\r\nabc",
		"*1000000\r\n$1\r\na\r\n",
		strings.Repeat("*1000\r\n", 30),
		"*1\r\n$" + strings.Repeat("9", 2000),
	} {
		got := allocated(func() {
			r := NewReader(&hang{in}, DefaultLimits)
			if argv, err := r.ReadCommand(); err == nil {
				t.Errorf("%.20q: got %q", in, argv)
			}
			r.HasCommand()
		})
		if got > 16<<10 {
			t.Errorf("%.20q: reading it allocated %d bytes", in, got)
		}
		got = allocated(func() {
			if _, err := NewValueReader(&hang{in}, 0).ReadValue(); err == nil {
				t.Errorf("%.20q is a value", in)
			}
			_, _, _ = ParseValue([]byte(in))
		})
		if got > 64<<10 {
			t.Errorf("%.20q: parsing it allocated %d bytes", in, got)
		}
	}
}

// TestMemoryFollowsArrivals sends 1 MiB of a command. The Reader may use a small multiple
// of that.
func TestMemoryFollowsArrivals(t *testing.T) {
	const arrived = 1 << 20
	for name, in := range map[string]string{
		"one word":    "*1\r\n$67108864\r\n" + strings.Repeat("a", arrived),
		"small words": "*1000000\r\n" + strings.Repeat("$1\r\na\r\n", arrived/7),
		"empty words": "*1000000\r\n" + strings.Repeat("$0\r\n\r\n", arrived/6),
	} {
		r := NewReader(&hang{in}, DefaultLimits)
		if _, err := r.ReadCommand(); !errors.Is(err, errHang) {
			t.Fatalf("%s: %v", name, err)
		}
		held := cap(r.in.data) + 16*cap(r.words)
		if held > 7*arrived {
			t.Errorf("%s: %d bytes are held for %d that arrived", name, held, arrived)
		}
	}
}

// allocated returns the number of bytes that f allocates.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// FuzzReader compares the Reader with redcon's, and with itself when it gets the bytes one
// by one.
func FuzzReader(f *testing.F) {
	for _, c := range commandCases {
		if len(c.in) < 1000 {
			f.Add([]byte(c.in))
		}
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		got, err := readAll(NewReader(bytes.NewReader(in), PreAuthLimits))
		slow, slowErr := readAll(NewReader(iotest.OneByteReader(bytes.NewReader(in)), PreAuthLimits))
		if got != slow || err.Error() != slowErr.Error() {
			t.Fatalf("whole: %q, %v\nby bytes: %q, %v", got, err, slow, slowErr)
		}
		// redcon must read the same words from each array that the Reader accepts. Lines
		// and empty arrays are left out, because redcon has other rules for them. Errors
		// are left out too, because redcon accepts some numbers that Redis refuses, and
		// panics at others.
		r := NewReader(bytes.NewReader(in), DefaultLimits)
		rest := in
		for len(rest) > 0 && rest[0] == '*' {
			argv, err := r.ReadCommand()
			if err != nil || bytes.HasPrefix(rest, []byte("*0")) || bytes.HasPrefix(rest, []byte("*-")) {
				return
			}
			done, args, _, left, err := redcon.ReadNextCommand(rest, nil)
			if err != nil || !done || fmt.Sprintf("%q", argv) != fmt.Sprintf("%q", args) {
				t.Fatalf("%q: we read %q, redcon %q, %v, %v", rest, argv, args, done, err)
			}
			rest = left
		}
	})
}

func BenchmarkReadCommand(b *testing.B) {
	cmd := AppendCommand(nil, []byte("XADD"), []byte("bench-1"), []byte("*"), []byte("v"), bytes.Repeat([]byte("x"), 100))
	src := &loop{b: bytes.Repeat(cmd, 16)}
	r := NewReader(src, DefaultLimits)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.ReadCommand(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkReadInline(b *testing.B) {
	r := NewReader(&loop{b: bytes.Repeat([]byte("XADD bench-1 * v \"a b\"\r\n"), 16)}, DefaultLimits)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.ReadCommand(); err != nil {
			b.Fatal(err)
		}
	}
}

// loop sends the same bytes again and again.
type loop struct {
	b  []byte
	at int
}

func (l *loop) Read(b []byte) (int, error) {
	n := copy(b, l.b[l.at:])
	l.at = (l.at + n) % len(l.b)
	return n, nil
}

package resp

import (
	"bytes"
	"errors"
	"io"
	"math"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
)

// valueCases give the bytes and the texts of each kind in both versions.
var valueCases = []struct {
	v                Value
	two, three       string // bytes; three is empty when it is the same as two
	text, text2, tx3 string // String, Print 2 and Print 3; the latter are empty when the same
}{
	{v: Null(), two: "$-1\r\n", three: "_\r\n", text: "$-1", tx3: "_(null)"},
	{v: NullArray(), two: "*-1\r\n", three: "_\r\n", text: "*-1", tx3: "_(null)"},
	{v: Int(0), two: ":0\r\n", text: ":0"},
	{v: Int(12), two: ":12\r\n", text: ":12"},
	{v: Int(-7), two: ":-7\r\n", text: ":-7"},
	{v: Int(math.MinInt64), two: ":-9223372036854775808\r\n", text: ":-9223372036854775808"},
	{v: Bulk(nil), two: "$0\r\n\r\n", text: `""`},
	{v: BulkString("hi"), two: "$2\r\nhi\r\n", text: `"hi"`},
	{v: BulkString("a\r\n\xffé\""), two: "$7\r\na\r\n\xffé\"\r\n", text: `"a\r\n\xffé""`},
	{v: BulkString("0123456789"), two: "$10\r\n0123456789\r\n", text: `"0123456789"`},
	{v: OK, two: "+OK\r\n", text: "+OK"},
	{v: Err("ERR no\r\n+OK"), two: "-ERR no  +OK\r\n", text: "-ERR no\r\n+OK"},
	{v: Err("WRONGTYPE x"), two: "-WRONGTYPE x\r\n", text: "-WRONGTYPE x"},
	{v: Array(), two: "*0\r\n", text: "[]"},
	{v: Array(Int(1), BulkString("b"), Array(Null())), two: "*3\r\n:1\r\n$1\r\nb\r\n*1\r\n$-1\r\n",
		three: "*3\r\n:1\r\n$1\r\nb\r\n*1\r\n_\r\n", text: `[:1, "b", [$-1]]`, tx3: `[:1, "b", [_(null)]]`},
	{v: Map(BulkString("k"), Int(1), BulkString("l"), Null()), two: "*4\r\n$1\r\nk\r\n:1\r\n$1\r\nl\r\n$-1\r\n",
		three: "%2\r\n$1\r\nk\r\n:1\r\n$1\r\nl\r\n_\r\n",
		text:  `{"k": :1, "l": $-1}`, text2: `["k", :1, "l", $-1]`, tx3: `{"k": :1, "l": _(null)}`},
	{v: Map(), two: "*0\r\n", three: "%0\r\n", text: "{}", text2: "[]"},
	{v: Pairs(Int(1), Null(), Int(2), Int(3)), two: "*2\r\n*2\r\n:1\r\n$-1\r\n*2\r\n:2\r\n:3\r\n",
		three: "%2\r\n:1\r\n_\r\n:2\r\n:3\r\n",
		text:  `{:1: $-1, :2: :3}`, text2: `[[:1, $-1], [:2, :3]]`, tx3: `{:1: _(null), :2: :3}`},
	{v: Pairs(), two: "*0\r\n", three: "%0\r\n", text: "{}", text2: "[]"},
	{v: Tuples(Int(1), Double(0.5)), two: "*2\r\n:1\r\n$3\r\n0.5\r\n", three: "*1\r\n*2\r\n:1\r\n,0.5\r\n",
		text: `[[:1, ,0.5]]`, text2: `[:1, "0.5"]`},
	{v: Set(Int(1)), two: "*1\r\n:1\r\n", three: "~1\r\n:1\r\n", text: "~[:1]", text2: "[:1]"},
	{v: Push(Int(1)), two: "*1\r\n:1\r\n", three: ">1\r\n:1\r\n", text: ">[:1]", text2: "[:1]"},
	{v: Double(1.5), two: "$3\r\n1.5\r\n", three: ",1.5\r\n", text: ",1.5", text2: `"1.5"`},
	{v: Double(math.Inf(-1)), two: "$4\r\n-inf\r\n", three: ",-inf\r\n", text: ",-inf", text2: `"-inf"`},
	{v: Bool(true), two: ":1\r\n", three: "#t\r\n", text: "#t", text2: ":1"},
	{v: Bool(false), two: ":0\r\n", three: "#f\r\n", text: "#f", text2: ":0"},
	{v: Verbatim("hi"), two: "$2\r\nhi\r\n", three: "=6\r\ntxt:hi\r\n", text: "=txt:hi", text2: `"hi"`},
}

// TestAppendAndPrint encodes and prints all valueCases.
func TestAppendAndPrint(t *testing.T) {
	or := func(s, def string) string {
		if s == "" {
			return def
		}
		return s
	}
	for _, c := range valueCases {
		if got := string(AppendValue([]byte("x"), c.v, 2)); got != "x"+c.two {
			t.Errorf("%v in 2: got %q, want %q", c.v, got[1:], c.two)
		}
		if got := string(AppendValue(nil, c.v, 3)); got != or(c.three, c.two) {
			t.Errorf("%v in 3: got %q, want %q", c.v, got, or(c.three, c.two))
		}
		if got := c.v.String(); got != c.text {
			t.Errorf("String: got %s, want %s", got, c.text)
		}
		if got := Print(c.v, 2); got != or(c.text2, c.text) {
			t.Errorf("Print 2: got %s, want %s", got, or(c.text2, c.text))
		}
		if got := Print(c.v, 3); got != or(c.tx3, c.text) {
			t.Errorf("Print 3: got %s, want %s", got, or(c.tx3, c.text))
		}
	}
}

// TestAppendOddMapStaysFramed checks that a map's last key without a value is left out,
// because the client would take the next reply for the value.
func TestAppendOddMapStaysFramed(t *testing.T) {
	got := string(AppendValue(nil, Map(Int(1), Int(2), Int(3)), 3))
	if want := "%1\r\n:1\r\n:2\r\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestDouble checks the texts of floating point numbers.
func TestDouble(t *testing.T) {
	for f, want := range map[float64]string{
		0: "0", math.Copysign(0, -1): "-0", 1: "1", -3: "-3", 0.1: "0.1", 1e6: "1000000", 123456.789: "123456.789",
		1e16: "10000000000000000", 1e17: "100000000000000000", 5e18: "5e+18", 1e-4: "0.0001", 1e-5: "0.00001", 1e-7: "1e-7", -1.5e-10: "-1.5e-10", 5e-324: "5e-324", 0.00012345678: "1.2345678e-4", 1.7976931348623157e308: "1.7976931348623157e+308",
		math.Inf(1): "inf",
	} {
		if got := string(AppendDouble(nil, f)); got != want {
			t.Errorf("%g: got %s, want %s", f, got, want)
		}
	}
	if got := string(AppendDouble(nil, math.NaN())); got != "nan" {
		t.Errorf("NaN: got %s", got)
	}
}

// TestAppendAllocatesNothing appends to a buffer with enough room.
func TestAppendAllocatesNothing(t *testing.T) {
	buf := make([]byte, 0, 4096)
	argv := [][]byte{[]byte("XADD"), []byte("s")}
	for _, c := range valueCases {
		for _, proto := range []int{2, 3} {
			if n := testing.AllocsPerRun(20, func() { _ = AppendValue(buf, c.v, proto) }); n != 0 {
				t.Errorf("%v in %d: %v allocations", c.v, proto, n)
			}
		}
	}
	if n := testing.AllocsPerRun(20, func() { _ = AppendCommand(buf, argv...) }); n != 0 {
		t.Errorf("AppendCommand: %v allocations", n)
	}
}

// normal returns v after encoding in protocol version 3 and decoding.
func normal(v Value) Value {
	w, n, err := ParseValue(AppendValue(nil, v, 3))
	if err != nil || n == 0 {
		panic(err)
	}
	return w
}

// parseCases give the text of a decoded value, or that of the error.
var parseCases = []struct{ in, want string }{
	{"+OK\r\n", "+OK"},
	{"-ERR x\r\n", "-ERR x"},
	{":-12\r\n", ":-12"},
	{"$-1\r\n", "$-1"},
	{"*-1\r\n", "*-1"},
	{"_\r\n", "$-1"},
	{"$0\r\n\r\n", `""`},
	{"*2\r\n*0\r\n$1\r\na\r\n", `[[], "a"]`},
	{"%1\r\n+k\r\n:1\r\n", `{+k: :1}`},
	{"~1\r\n#t\r\n", `~[#t]`},
	{">2\r\n+message\r\n#f\r\n", `>[+message, #f]`},
	{",1e3\r\n", ",1000"},
	{",inf\r\n", ",inf"},
	{",nan\r\n", ",nan"},
	{"(123456789012345678901234567890\r\n", `"123456789012345678901234567890"`},
	{"!5\r\nERR x\r\n", "-ERR x"},
	{"=6\r\nmkd:hi\r\n", "=txt:hi"},
	{"|1\r\n+ttl\r\n:10\r\n*1\r\n|1\r\n+a\r\n*1\r\n:1\r\n:5\r\n", "[:5]"},

	{"?x\r\n", "Protocol error: unknown reply type '?'"},
	{"*1\r\n\r\n", "Protocol error: unknown reply type '\r'"},
	{"$-2\r\n", "Protocol error: invalid length in a reply"},
	{"%-1\r\n", "Protocol error: invalid length in a reply"},
	{"=-1\r\n", "Protocol error: invalid length in a reply"},
	{"=3\r\ntxt\r\n", "Protocol error: invalid length in a reply"},
	{"$?\r\n", "Protocol error: invalid length in a reply"},
	{"*01\r\n", "Protocol error: invalid length in a reply"},
	{"*2147483648\r\n", "Protocol error: invalid length in a reply"},
	{":x\r\n", "Protocol error: invalid line in a reply"},
	{":\r\n", "Protocol error: invalid line in a reply"},
	{":9223372036854775808\r\n", "Protocol error: invalid line in a reply"},
	{"#x\r\n", "Protocol error: invalid line in a reply"},
	{"_x\r\n", "Protocol error: invalid line in a reply"},
	{"+a\nb\r\n", "Protocol error: invalid line in a reply"},
	{"+a\rb\r\n", "Protocol error: invalid line in a reply"},
	{"$1\r\nabc", "Protocol error: bulk string does not end with CRLF"},
	{strings.Repeat("*1\r\n", MaxDepth+1) + ":1\r\n", "Protocol error: reply is nested too deep"},
	{strings.Repeat("|1\r\n", 100000), "Protocol error: reply is nested too deep"},
}

// TestParseValue decodes values at once and byte by byte. Every valid value, if cut short
// at any byte, must be incomplete.
func TestParseValue(t *testing.T) {
	show := func(v Value, err error) string {
		if err != nil {
			return err.Error()
		}
		return v.String()
	}
	for _, c := range parseCases {
		v, n, err := ParseValue([]byte(c.in))
		if got := show(v, err); got != c.want || err == nil && n != len(c.in) || err != nil && n != 0 {
			t.Errorf("%.40q: got %s (%d bytes), want %s", c.in, got, n, c.want)
		}
		if len(c.in) < 1000 {
			v, err = NewValueReader(iotest.OneByteReader(strings.NewReader(c.in)), 0).ReadValue()
			if got := show(v, err); got != c.want && (err == nil || !strings.HasPrefix(c.want, "Protocol error")) {
				t.Errorf("%.40q, byte by byte: got %s, want %s", c.in, got, c.want)
			}
		}
		if err != nil {
			continue
		}
		for i := range len(c.in) {
			if v, _, err := ParseValue([]byte(c.in[:i])); !errors.Is(err, ErrIncomplete) {
				t.Errorf("%q: got %v, %v; want ErrIncomplete", c.in[:i], v, err)
			}
			_, err := NewValueReader(strings.NewReader(c.in[:i]), 0).ReadValue()
			if i == 0 && err != io.EOF || i > 0 && err != io.ErrUnexpectedEOF {
				t.Errorf("%q: got %v", c.in[:i], err)
			}
		}
	}
	deep := strings.Repeat("*1\r\n", MaxDepth) + ":1\r\n"
	if _, n, err := ParseValue([]byte(deep)); n != len(deep) || err != nil {
		t.Errorf("nested %d deep: %d, %v", MaxDepth, n, err)
	}
}

// TestValueReader reads all valueCases and a large reply, and keeps every Value until the
// end, because none may share memory with the buffer.
func TestValueReader(t *testing.T) {
	var in []byte
	for _, c := range valueCases {
		in = AppendValue(in, c.v, 3)
	}
	big := BulkString(strings.Repeat("x", 300_000))
	in = AppendValue(in, Array(big, big), 3)
	var kept, want []Value
	r := NewValueReader(iotest.HalfReader(bytes.NewReader(in)), 0)
	for {
		v, err := r.ReadValue()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		kept = append(kept, v)
	}
	for _, c := range valueCases {
		want = append(want, normal(c.v))
	}
	want = append(want, Array(big, big))
	if !reflect.DeepEqual(kept, want) {
		t.Errorf("got %v\nwant %v", kept, want)
	}
	if r.Buffered() != 0 {
		t.Errorf("%d bytes are left", r.Buffered())
	}
}

// TestValueReaderBoundsReplies reads replies of just the bound, and of one byte more.
func TestValueReaderBoundsReplies(t *testing.T) {
	r := NewValueReader(strings.NewReader("$4\r\nabcd\r\n$5\r\nabcde\r\n:1\r\n"), 10)
	if v, err := r.ReadValue(); err != nil || v.String() != `"abcd"` {
		t.Errorf("at the bound: %v, %v", v, err)
	}
	for range 2 {
		var pe *ProtocolError
		if _, err := r.ReadValue(); !errors.As(err, &pe) || pe.Text != "reply of more than 10 bytes" {
			t.Errorf("above the bound: %v", err)
		}
	}
}

// TestValueReaderDeadlineLosesNothing lets a deadline pass at each byte of a reply.
func TestValueReaderDeadlineLosesNothing(t *testing.T) {
	whole := "*2\r\n$3\r\nabc\r\n:1\r\n"
	for i := 1; i < len(whole); i++ {
		r := NewValueReader(&pieces{whole[:i], "", whole[i:]}, 0)
		_, err := r.ReadValue()
		if err == nil {
			t.Fatalf("no deadline after %d bytes", i)
		}
		if v, err := r.ReadValue(); err != nil || v.String() != `["abc", :1]` {
			t.Errorf("deadline after %d bytes: %v, %v", i, v, err)
		}
	}
}

// FuzzParseValue checks that ParseValue and Framer agree on the end of a value, and that
// a value survives encoding and decoding.
func FuzzParseValue(f *testing.F) {
	for _, c := range valueCases {
		f.Add(AppendValue(nil, c.v, 2))
		f.Add(AppendValue(nil, c.v, 3))
	}
	f.Add([]byte("|1\r\n+a\r\n:1\r\n%1\r\n(1\r\n!1\r\nx\r\n"))
	f.Fuzz(func(t *testing.T, in []byte) {
		v, n, err := ParseValue(in)
		var fr Framer
		framed, done, ferr := fr.Next(in)
		if err == nil && (!done || framed != n || ferr != nil) {
			t.Fatalf("%q parses to %v in %d bytes, but is framed as %d, %v, %v", in, v, n, framed, done, ferr)
		}
		if errors.Is(err, ErrIncomplete) && (done || ferr != nil) {
			t.Fatalf("%q is incomplete, but is framed as %d, %v, %v", in, framed, done, ferr)
		}
		var slow Framer
		at, end := 0, 0
		for done := false; !done && end < len(in); {
			end++
			var k int
			var err error
			if k, done, err = slow.Next(in[at:end]); err != nil {
				break
			}
			at += k
			if done && (at != framed || ferr != nil) {
				t.Fatalf("%q is framed as %d bytes, byte by byte as %d", in, framed, at)
			}
		}
		if err != nil {
			return
		}
		for _, proto := range []int{2, 3} {
			once := AppendValue(nil, v, proto)
			again, k, err := ParseValue(once)
			if err != nil || k != len(once) {
				t.Fatalf("%q parses to %v, but its encoding %q does not parse: %v", in, v, once, err)
			}
			if twice := AppendValue(nil, again, proto); !bytes.Equal(once, twice) {
				t.Fatalf("%q is encoded as %q after decoding", once, twice)
			}
			if Print(v, proto) != Print(again, proto) && !bytes.ContainsAny(in, "!,") {
				t.Fatalf("%s prints as %s after encoding and decoding in %d", Print(v, proto), Print(again, proto), proto)
			}
		}
	})
}

func BenchmarkAppendValue(b *testing.B) {
	id := BulkString("1700000000000-0")
	entries := make([]Value, 10)
	for i := range entries {
		entries[i] = Array(id, Array(BulkString("v"), BulkString(strings.Repeat("x", 100))))
	}
	for name, v := range map[string]Value{"id": id, "ok": OK, "int": Int(12345), "xrange10": Array(entries...)} {
		b.Run(name, func(b *testing.B) {
			var buf []byte
			b.ReportAllocs()
			for b.Loop() {
				buf = AppendValue(buf[:0], v, 2)
			}
		})
	}
}

func BenchmarkParseValue(b *testing.B) {
	in := AppendValue(nil, Array(BulkString("1700000000000-0"), Array(BulkString("v"), BulkString("x"))), 2)
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := ParseValue(in); err != nil {
			b.Fatal(err)
		}
	}
}

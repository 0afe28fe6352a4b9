package resp

// Kind is the RESP type of a [Value].
type Kind uint8

// The kinds of a Value, with their first bytes on the wire. Where RESP2 lacks the type,
// the comment gives its form there.
const (
	KindNull      Kind = iota // "$-1" in RESP2, "_" in RESP3
	KindNullArray             // "*-1" in RESP2, "_" in RESP3
	KindInt                   // ":n"
	KindBulk                  // "$n"
	KindSimple                // "+text"
	KindError                 // "-CODE text"
	KindArray                 // "*n"
	KindMap                   // "%n"; RESP2: a flat array of keys and values
	KindSet                   // "~n"; RESP2: an array
	KindPush                  // ">n"; RESP2: an array
	KindDouble                // ",x"; RESP2: a bulk string
	KindBool                  // "#t"; RESP2: 1 or 0
	KindVerbatim              // "=n txt:"; RESP2: a bulk string
	KindPairs                 // "%n"; RESP2: an array of arrays of a key and its value
	KindTuples                // "*n" of arrays of two elements; RESP2: a flat array
)

// Value is one reply, independent of the protocol version. The zero Value is the null
// bulk string. A Value must not be changed once it is built, because it may share memory
// with its source and with other Values.
type Value struct {
	Kind  Kind
	Int   int64   // KindInt, KindBool (0 or 1)
	Float float64 // KindDouble
	Str   []byte  // KindBulk, KindSimple, KindError, KindVerbatim
	Elems []Value // KindArray, KindSet, KindPush; KindMap, KindPairs, KindTuples: key, value, key, value …
}

// OK is the reply "+OK".
var OK = Simple("OK")

// Null returns the null bulk string.
func Null() Value { return Value{Kind: KindNull} }

// NullArray returns the null array.
func NullArray() Value { return Value{Kind: KindNullArray} }

// Int returns an integer reply.
func Int(n int64) Value { return Value{Kind: KindInt, Int: n} }

// Bulk returns a bulk string that shares memory with b.
func Bulk(b []byte) Value { return Value{Kind: KindBulk, Str: b} }

// BulkString returns a bulk string.
func BulkString(s string) Value { return Value{Kind: KindBulk, Str: []byte(s)} }

// Simple returns a simple string. s must contain neither CR nor LF.
func Simple(s string) Value { return Value{Kind: KindSimple, Str: []byte(s)} }

// Err returns an error reply. text starts with its code, as in "ERR no such key".
func Err(text string) Value { return Value{Kind: KindError, Str: []byte(text)} }

// Array returns an array that shares memory with elems.
func Array(elems ...Value) Value { return Value{Kind: KindArray, Elems: elems} }

// Map returns a map. pairs are keys and values in turn, and share memory with it.
func Map(pairs ...Value) Value { return Value{Kind: KindMap, Elems: pairs} }

// Pairs returns a map that is an array of [key, value] in RESP2, as in the replies of
// XREAD. pairs are keys and values in turn, and share memory with it.
func Pairs(pairs ...Value) Value { return Value{Kind: KindPairs, Elems: pairs} }

// Tuples returns an array of [member, score] that is a flat array in RESP2, as in the
// replies of ZRANGE. pairs are members and scores in turn, and share memory with it.
func Tuples(pairs ...Value) Value { return Value{Kind: KindTuples, Elems: pairs} }

// Set returns a set that shares memory with elems.
func Set(elems ...Value) Value { return Value{Kind: KindSet, Elems: elems} }

// Push returns an out-of-band message that shares memory with elems.
func Push(elems ...Value) Value { return Value{Kind: KindPush, Elems: elems} }

// Double returns a floating point number.
func Double(f float64) Value { return Value{Kind: KindDouble, Float: f} }

// Bool returns a boolean.
func Bool(b bool) Value {
	v := Value{Kind: KindBool}
	if b {
		v.Int = 1
	}
	return v
}

// Verbatim returns a verbatim string of the format "txt".
func Verbatim(s string) Value { return Value{Kind: KindVerbatim, Str: []byte(s)} }

// IsErr reports whether v is an error reply.
func (v Value) IsErr() bool { return v.Kind == KindError }

// IsNull reports whether v is one of the two nulls.
func (v Value) IsNull() bool { return v.Kind == KindNull || v.Kind == KindNullArray }

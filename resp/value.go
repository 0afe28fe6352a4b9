package resp

// Kind is the RESP type of a [Value].
type Kind uint8

// The kinds of a Value. Those that only RESP3 has say how RESP2 shows them.
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
)

// Value is one reply, not yet bytes: it does not know the protocol version. The
// zero Value is the null bulk string. A Value is immutable once built and may
// share memory with what it was built from.
type Value struct {
	Kind  Kind
	Int   int64   // KindInt, KindBool (0 or 1)
	Float float64 // KindDouble
	Str   []byte  // KindBulk, KindSimple, KindError, KindVerbatim
	Elems []Value // KindArray, KindSet, KindPush; KindMap, KindPairs: key, value, key, value …
}

// OK is the reply "+OK".
var OK = Simple("OK")

// Null is the null bulk string.
func Null() Value { return Value{Kind: KindNull} }

// NullArray is the null array.
func NullArray() Value { return Value{Kind: KindNullArray} }

// Int is an integer reply.
func Int(n int64) Value { return Value{Kind: KindInt, Int: n} }

// Bulk is a bulk string that shares memory with b.
func Bulk(b []byte) Value { return Value{Kind: KindBulk, Str: b} }

// BulkString is a bulk string.
func BulkString(s string) Value { return Value{Kind: KindBulk, Str: []byte(s)} }

// Simple is a simple string; s must hold neither CR nor LF.
func Simple(s string) Value { return Value{Kind: KindSimple, Str: []byte(s)} }

// Err is an error reply. text starts with its code: "ERR no such key".
func Err(text string) Value { return Value{Kind: KindError, Str: []byte(text)} }

// Array is an array that shares memory with elems.
func Array(elems ...Value) Value { return Value{Kind: KindArray, Elems: elems} }

// Map is a map of keys and values in turn; it shares memory with pairs.
func Map(pairs ...Value) Value { return Value{Kind: KindMap, Elems: pairs} }

// Pairs is a map that RESP2 shows as an array of [key, value], as XREAD answers; it
// shares memory with pairs.
func Pairs(pairs ...Value) Value { return Value{Kind: KindPairs, Elems: pairs} }

// Set is a set that shares memory with elems.
func Set(elems ...Value) Value { return Value{Kind: KindSet, Elems: elems} }

// Push is an out-of-band message that shares memory with elems.
func Push(elems ...Value) Value { return Value{Kind: KindPush, Elems: elems} }

// Double is a floating point number.
func Double(f float64) Value { return Value{Kind: KindDouble, Float: f} }

// Bool is a boolean.
func Bool(b bool) Value {
	v := Value{Kind: KindBool}
	if b {
		v.Int = 1
	}
	return v
}

// Verbatim is a text of format "txt".
func Verbatim(s string) Value { return Value{Kind: KindVerbatim, Str: []byte(s)} }

// IsErr reports whether v is an error reply.
func (v Value) IsErr() bool { return v.Kind == KindError }

// IsNull reports whether v is one of the two nulls.
func (v Value) IsNull() bool { return v.Kind == KindNull || v.Kind == KindNullArray }

package resp

import (
	"errors"
	"fmt"
	"io"
	"strconv"
)

// ParseValue reads the value that b starts with, of either protocol version, and
// returns it with its length. It returns ErrIncomplete when b ends too early, and a
// *ProtocolError when no bytes could complete b to a value, or when it is nested
// deeper than MaxDepth. The Value shares memory with b.
//
// What no Kind stands for becomes the nearest one: big numbers are bulk strings,
// long errors are errors, attributes are dropped, and a verbatim string's format is
// forgotten. Strings and arrays of unannounced length are refused.
func ParseValue(b []byte) (Value, int, error) {
	p := parser{b: b}
	v, err := p.value(0)
	if err != nil {
		return Value{}, 0, err
	}
	return v, p.pos, nil
}

type parser struct {
	b   []byte
	pos int
}

func (p *parser) value(depth int) (Value, error) {
	if depth > MaxDepth {
		return Value{}, &ProtocolError{"reply is nested too deep"}
	}
	for {
		if p.pos == len(p.b) {
			return Value{}, ErrIncomplete
		}
		switch kind := p.b[p.pos]; kind {
		case '+', '-', ':', ',', '#', '_', '(':
			return p.scalar(kind)
		case '$', '=', '!':
			return p.str(kind)
		case '*', '~', '>', '%':
			return p.elems(kind, depth)
		case '|':
			if _, err := p.elems(kind, depth); err != nil {
				return Value{}, err
			}
			// The value it was about comes next.
		default:
			return Value{}, &ProtocolError{"unknown reply type '" + string(p.b[p.pos:p.pos+1]) + "'"}
		}
	}
}

// scalar reads a value that is one line.
func (p *parser) scalar(kind byte) (Value, error) {
	size, err := lineLen(p.b[p.pos:])
	if err != nil {
		return Value{}, err
	}
	if size == 0 {
		return Value{}, ErrIncomplete
	}
	text := p.b[p.pos+1 : p.pos+size-2]
	p.pos += size
	switch kind {
	case '+':
		return Value{Kind: KindSimple, Str: text}, nil
	case '-':
		return Value{Kind: KindError, Str: text}, nil
	case '(':
		return Bulk(text), nil
	case ':':
		if n, err := strconv.ParseInt(string(text), 10, 64); err == nil {
			return Int(n), nil
		}
	case ',':
		if f, err := strconv.ParseFloat(string(text), 64); err == nil {
			return Double(f), nil
		}
	case '#':
		if string(text) == "t" || string(text) == "f" {
			return Bool(text[0] == 't'), nil
		}
	case '_':
		if len(text) == 0 {
			return Null(), nil
		}
	}
	return Value{}, errReplyLine
}

// length reads the line that announces how long a string or an array is.
func (p *parser) length() (int, error) {
	n, size := parseLength(p.b[p.pos:])
	if size == 0 {
		size, err := lineLen(p.b[p.pos:])
		if size == 0 && err == nil {
			return 0, ErrIncomplete
		}
		return 0, errReplyLen
	}
	if n > maxLen || n < -1 {
		return 0, errReplyLen
	}
	p.pos += size
	return int(n), nil
}

func (p *parser) str(kind byte) (Value, error) {
	n, err := p.length()
	switch {
	case err != nil:
		return Value{}, err
	case n < 0 && kind == '$':
		return Null(), nil
	case n < 0 || kind == '=' && n < len(verbatimText):
		return Value{}, errReplyLen
	case len(p.b)-p.pos < n+2:
		return Value{}, ErrIncomplete
	}
	s := p.b[p.pos : p.pos+n : p.pos+n]
	if p.b[p.pos+n] != '\r' || p.b[p.pos+n+1] != '\n' {
		return Value{}, errBulkEnd
	}
	p.pos += n + 2
	switch kind {
	case '=':
		if s[len(verbatimText)-1] != ':' {
			return Value{}, errReplyLine
		}
		return Value{Kind: KindVerbatim, Str: s[len(verbatimText):]}, nil
	case '!':
		return Value{Kind: KindError, Str: s}, nil
	}
	return Bulk(s), nil
}

// elems reads an array, a set, a push, a map, or an attribute as if it were a map.
func (p *parser) elems(kind byte, depth int) (Value, error) {
	n, err := p.length()
	switch {
	case err != nil:
		return Value{}, err
	case n < 0 && kind == '*':
		return NullArray(), nil
	case n < 0:
		return Value{}, errReplyLen
	}
	v := Value{Kind: KindArray}
	switch kind {
	case '~':
		v.Kind = KindSet
	case '>':
		v.Kind = KindPush
	case '%', '|':
		v.Kind = KindMap
		n *= 2
	}
	// Room for what has been announced, as far as that is little; the rest of it has
	// to arrive first.
	const ahead = 16
	v.Elems = make([]Value, 0, min(n, ahead))
	for range n {
		e, err := p.value(depth + 1)
		if err != nil {
			return Value{}, err
		}
		v.Elems = append(v.Elems, e)
	}
	return v, nil
}

// ValueReader reads the replies of one server, for clients. It is not safe for
// concurrent use.
type ValueReader struct {
	in       buffer
	frame    Framer
	pos      int // how many unread bytes frame has taken
	maxBytes int
	err      error // a ProtocolError, for good
}

// DefaultReplyBytes is how large a reply may be where nothing else was asked for.
const DefaultReplyBytes = 256 << 20

// NewValueReader returns a ValueReader of r that refuses replies of more than
// maxBytes; maxBytes of 0 stands for DefaultReplyBytes.
func NewValueReader(r io.Reader, maxBytes int) *ValueReader {
	if maxBytes <= 0 {
		maxBytes = DefaultReplyBytes
	}
	return &ValueReader{in: buffer{src: r}, maxBytes: maxBytes}
}

// Buffered returns how many bytes were read from the server and belong to replies
// not yet returned.
func (r *ValueReader) Buffered() int { return r.in.buffered() }

// ReadValue returns the next reply, in fresh memory. An error reply is a Value, not
// an error. ReadValue returns io.EOF when the server ended between replies,
// io.ErrUnexpectedEOF inside one, a *ProtocolError (for good) when what it sent is no
// reply or too large, and other errors of the read as they are; after a read
// deadline has passed the next call goes on where this one stopped.
func (r *ValueReader) ReadValue() (Value, error) {
	for r.err == nil {
		n, done, err := r.frame.Next(r.in.unread()[r.pos:])
		r.pos += n
		switch {
		case err != nil:
			r.err = err
		case r.pos > r.maxBytes || r.pos+r.frame.skip > r.maxBytes:
			r.err = &ProtocolError{fmt.Sprintf("reply of more than %d bytes", r.maxBytes)}
		case done:
			return r.take()
		default:
			if _, err := r.in.fill(r.pos + r.frame.skip); err != nil {
				if errors.Is(err, io.EOF) && r.in.buffered() > 0 {
					err = io.ErrUnexpectedEOF
				}
				return Value{}, err
			}
		}
	}
	return Value{}, r.err
}

// take copies and parses the reply that ends at pos.
func (r *ValueReader) take() (Value, error) {
	b := append([]byte(nil), r.in.unread()[:r.pos]...)
	v, n, err := ParseValue(b)
	if err == nil && n != len(b) {
		err = errReplyLen
	}
	if err != nil {
		r.err = err
		return Value{}, err
	}
	r.in.consume(r.pos)
	r.pos = 0
	return v, nil
}

package resp

import (
	"errors"
	"fmt"
	"io"
	"strconv"
)

// ParseValue decodes the value at the start of b, in either protocol version, and returns
// it with its encoded length. It returns ErrIncomplete if b ends before the value does,
// and a *ProtocolError if b is not the start of any value, or if the value is nested
// deeper than MaxDepth. The Value shares memory with b.
//
// Types of RESP3 without a Kind of their own become the nearest one: a big number is a
// bulk string, a blob error is an error, attributes are dropped, and a verbatim string
// loses its format. Streamed strings and arrays, whose length is not announced, are
// refused.
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
			// The value that the attributes describe comes next.
		default:
			return Value{}, &ProtocolError{"unknown reply type '" + string(p.b[p.pos:p.pos+1]) + "'"}
		}
	}
}

// scalar parses a value that consists of one line.
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

// length parses the first line of a string or an array, and returns its length.
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

// str parses a bulk string, a verbatim string or a blob error.
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

// elems parses an array, a set, a push or a map. It parses attributes as a map.
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
	// Make room for the announced elements, but for at most 16 of them. The slice grows
	// as more arrive.
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
	pos      int // number of unread bytes that frame has taken
	maxBytes int
	err      error // a ProtocolError, returned by all later calls
}

// DefaultReplyBytes bounds the size of a reply if NewValueReader gets no other bound.
const DefaultReplyBytes = 256 << 20

// NewValueReader returns a ValueReader that reads from r and refuses replies of more than
// maxBytes. A maxBytes of 0 or below means DefaultReplyBytes.
func NewValueReader(r io.Reader, maxBytes int) *ValueReader {
	if maxBytes <= 0 {
		maxBytes = DefaultReplyBytes
	}
	return &ValueReader{in: buffer{src: r}, maxBytes: maxBytes}
}

// Buffered returns the number of bytes that were read from the server and belong to
// replies not returned yet.
func (r *ValueReader) Buffered() int { return r.in.buffered() }

// ReadValue returns the next reply, in memory of its own. An error reply is a Value, not
// an error. ReadValue returns
//
//   - io.EOF if the connection ends between replies, and io.ErrUnexpectedEOF if it ends
//     within one,
//   - a *ProtocolError, at this and all later calls, if the bytes are not a reply or the
//     reply is too large,
//   - any other error of the read unchanged. After a read deadline has passed, the next
//     call continues the reply.
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

// take copies and parses the complete reply, which ends at pos.
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

package resp

import "bytes"

// Framer finds the ends of replies without decoding or storing them. It serves clients
// that only count replies, or that parse a reply once it is complete. The zero Framer is
// ready for the start of a reply. A Framer checks only the parts of a reply that it needs
// to find the end, so it accepts some that ParseValue refuses.
type Framer struct {
	busy bool  // inside a reply
	left int64 // values of the reply whose first line is still to come
	skip int   // bytes of a string, with its CRLF, still to come
}

// maxLine bounds a line in a reply, such as an error, a number or a length, in bytes.
const maxLine = 1 << 20

// Next takes bytes from the start of b, returns their number n, and reports whether they
// complete the reply. If not, call Next again with the bytes after the first n, once more
// have arrived. For example, of "$5\r\nhel" it takes 7 bytes, and then of "lo\r\n+OK\r\n"
// the 4 bytes that complete the reply.
func (f *Framer) Next(b []byte) (n int, done bool, err error) {
	if !f.busy {
		f.busy, f.left = true, 1
	}
	for {
		if f.skip > 0 {
			take := min(f.skip, len(b)-n)
			n += take
			if f.skip -= take; f.skip > 0 {
				return n, false, nil
			}
		}
		if f.left == 0 {
			f.busy = false
			return n, true, nil
		}
		if n == len(b) {
			return n, false, nil
		}
		size, err := f.head(b[n:])
		if size == 0 || err != nil {
			return n, false, err
		}
		n += size
	}
}

// head takes the first line of a value and returns its length, or 0 if the line is not
// complete yet.
func (f *Framer) head(b []byte) (int, error) {
	switch b[0] {
	case '+', '-', ':', ',', '#', '_', '(':
		size, err := lineLen(b)
		if size > 0 {
			f.left--
		}
		return size, err
	case '$', '=', '!', '*', '~', '>', '%', '|':
	default:
		return 0, &ProtocolError{"unknown reply type '" + string(b[:1]) + "'"}
	}
	n, size := parseLength(b)
	if size == 0 {
		if size, err := lineLen(b); size == 0 {
			return 0, err
		}
		return 0, errReplyLen
	}
	if n > maxLen || n < 0 && b[0] != '$' && b[0] != '*' || n < -1 {
		return 0, errReplyLen
	}
	switch b[0] {
	case '$', '=', '!':
		if n >= 0 {
			f.skip = int(n) + 2
		}
		f.left--
	case '*', '~', '>':
		f.left += max(n, 0) - 1
	case '%':
		f.left += 2*n - 1
	case '|': // the value that the attributes describe follows them
		f.left += 2 * n
	}
	return size, nil
}

// lineLen returns the length of the line at the start of b, with its CRLF, or 0 if the
// line is not complete yet.
func lineLen(b []byte) (int, error) {
	i := bytes.IndexByte(b, '\r')
	switch {
	case i < 0 && len(b) > maxLine:
		return 0, errReplyLine
	case i < 0 || i+1 == len(b):
		return 0, nil
	case b[i+1] != '\n' || bytes.IndexByte(b[:i], '\n') >= 0:
		return 0, errReplyLine
	}
	return i + 2, nil
}

var (
	errReplyLen  = &ProtocolError{"invalid length in a reply"}
	errReplyLine = &ProtocolError{"invalid line in a reply"}
)

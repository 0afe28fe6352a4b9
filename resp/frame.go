package resp

import "bytes"

// Framer finds where replies end, without building or keeping them: for a client
// that counts replies, or that must know a reply is whole before it parses it. The
// zero Framer stands before a reply. It checks what it needs to find the end, not
// whether a reply is sound.
type Framer struct {
	busy bool  // inside a reply
	left int64 // values of it whose first line is still to come
	skip int   // bytes of a string and its CRLF still to come
}

// maxLine bounds a line in a reply: an error, a number, a length.
const maxLine = 1 << 20

// Next takes bytes of a reply from the start of b and returns how many it took.
// done says that they end the reply. If not, the next call goes on with the bytes
// after those taken, once more have arrived.
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

// head takes the line a value starts with, and returns its length: 0 when it has
// not wholly arrived.
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
	case '|': // what it says comes before the value it says it of
		f.left += 2 * n
	}
	return size, nil
}

// lineLen returns the length of the line b starts with, CRLF included: 0 when it has
// not ended.
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

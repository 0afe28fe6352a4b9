package resp

import (
	"bytes"
	"errors"
	"io"
)

// Reader reads the commands of one client: arrays of bulk strings, or lines typed
// by hand. It is not safe for concurrent use.
type Reader struct {
	in  buffer
	lim Limits

	// How far the first unread command has been understood. Positions count from its
	// first byte, so that they stay true when the buffer moves; nothing is looked at
	// twice however small the pieces are that it arrives in.
	pos      int    // the next byte to understand
	searched int    // bytes from pos on that hold no line end
	left     int    // words still to come; headless before the line that says how many
	bulk     int    // length of the word at pos; headless before the line that says so
	words    []span // the words understood so far
	bytes    int    // their length in all
	inline   bool   // the command is a line of pos bytes
	ready    bool   // the command is complete, and ends at pos
	err      error  // a ProtocolError, for good
}

// headless marks a length that has not arrived.
const headless = -1

// span is a run of n bytes at a position.
type span struct{ at, n int }

// NewReader returns a Reader of r's commands.
func NewReader(r io.Reader, lim Limits) *Reader {
	return &Reader{in: buffer{src: r}, lim: lim.orDefaults(), left: headless, bulk: headless}
}

// SetLimits changes the limits, for the next command on: what ReadCommand has not
// yet returned is judged by the new ones, even if its bytes came long ago.
func (r *Reader) SetLimits(lim Limits) {
	r.lim = lim.orDefaults()
	r.restart()
	r.err = nil
}

// Buffered returns how many bytes were read from the client and belong to commands
// not yet returned.
func (r *Reader) Buffered() int { return r.in.buffered() }

// HasCommand reports whether ReadCommand would return without reading from the
// client: with a command, or because the client broke the protocol.
func (r *Reader) HasCommand() bool {
	r.scan()
	return r.ready || r.err != nil
}

// Fill reads once from the client and keeps what came for later commands. It serves
// to notice, while a command blocks, that the client has gone: then it returns the
// error of the read. At FillLimit unread bytes it returns ErrBufferFull at once.
// After a read deadline has passed the Reader is as good as before.
func (r *Reader) Fill() (int, error) {
	if r.in.buffered() >= FillLimit {
		return 0, ErrBufferFull
	}
	return r.in.fill(0)
}

// ReadCommand returns the words of the next command, at least one; empty commands
// are skipped. The words are fresh memory that the Reader never touches again, and
// may be kept. It returns io.EOF when the client ended between commands,
// io.ErrUnexpectedEOF inside one, a *ProtocolError (for good) when what it sent
// cannot be a command, and other errors of the read as they are; after a read
// deadline has passed the next call goes on where this one stopped.
func (r *Reader) ReadCommand() ([][]byte, error) {
	for {
		r.scan()
		if r.err != nil {
			return nil, r.err
		}
		if r.ready {
			if r.inline {
				return r.takeInline()
			}
			return r.takeWords(), nil
		}
		want := 0
		if r.bulk > 0 {
			want = r.pos + r.bulk + 2
		}
		if _, err := r.in.fill(want); err != nil {
			if errors.Is(err, io.EOF) && r.in.buffered() > 0 {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
	}
}

// takeWords copies the words of the complete command into one allocation.
func (r *Reader) takeWords() [][]byte {
	data := make([]byte, 0, r.bytes)
	argv := make([][]byte, len(r.words))
	cmd := r.in.unread()
	for i, w := range r.words {
		at := len(data)
		data = append(data, cmd[w.at:w.at+w.n]...)
		argv[i] = data[at:len(data):len(data)]
	}
	r.next()
	return argv
}

// takeInline splits the complete line, which scan has seen is not blank.
func (r *Reader) takeInline() ([][]byte, error) {
	spans, data, ok := splitInline(r.words[:0], r.in.unread()[:r.pos])
	if !ok {
		r.err = errQuotes
		return nil, r.err
	}
	argv := make([][]byte, len(spans))
	for i, w := range spans {
		argv[i] = data[w.at : w.at+w.n : w.at+w.n]
	}
	r.words = spans
	r.next()
	return argv, nil
}

// next drops the command that has been understood up to pos.
func (r *Reader) next() {
	r.in.consume(r.pos)
	r.restart()
}

// restart understands the first unread command from its first byte.
func (r *Reader) restart() {
	r.pos, r.searched, r.left, r.bulk, r.bytes = 0, 0, headless, headless, 0
	r.inline, r.ready = false, false
	if cap(r.words) > steadyWords {
		r.words = nil
	}
	r.words = r.words[:0]
}

// scan understands as much of the first unread command as has arrived. After it the
// command is ready, or broken, or its next part has not arrived.
func (r *Reader) scan() {
	for !r.ready && r.err == nil {
		b := r.in.unread()[r.pos:]
		if len(b) == 0 {
			return
		}
		var more bool
		switch {
		case r.left == headless && b[0] == '*':
			more = r.scanCount(b)
		case r.left == headless:
			more = r.scanLine(b)
		case r.bulk == headless:
			more = r.scanBulkLen(b)
		default:
			more = r.scanBulk(b)
		}
		if !more {
			return
		}
	}
}

// The parts of scan return whether there is more to do with what has arrived.

// scanCount understands "*n\r\n".
func (r *Reader) scanCount(b []byte) bool {
	n, size := r.length(b, errMultibulkLine)
	switch {
	case size == 0:
		return false
	case size < 0 || n > maxLen:
		return r.fail(errMultibulkLen)
	case n > int64(r.lim.MaxArgs) && r.lim.Unauthenticated:
		return r.fail(errUnauthMultibulk)
	case n > int64(r.lim.MaxArgs):
		return r.fail(errMultibulkLen)
	}
	r.pos += size
	if n <= 0 {
		r.next()
		return true
	}
	r.left = int(n)
	return true
}

// scanBulkLen understands "$n\r\n".
func (r *Reader) scanBulkLen(b []byte) bool {
	if b[0] != '$' {
		return r.fail(&ProtocolError{"expected '$', got '" + string(b[:1]) + "'"})
	}
	n, size := r.length(b, errBulkLine)
	switch {
	case size == 0:
		return false
	case size < 0 || n < 0:
		return r.fail(errBulkLen)
	case n > int64(r.lim.MaxBulk):
		if r.lim.Unauthenticated && n <= int64(DefaultLimits.MaxBulk) {
			return r.fail(errUnauthBulk)
		}
		return r.fail(errBulkLen)
	case r.pos+size+int(n)+2 > r.lim.MaxCommand:
		return r.fail(errCommandLen)
	}
	r.pos += size
	r.bulk = int(n)
	return true
}

// scanBulk understands the bytes of a word and the CRLF after them.
func (r *Reader) scanBulk(b []byte) bool {
	if len(b) < r.bulk+2 {
		return false
	}
	if b[r.bulk] != '\r' || b[r.bulk+1] != '\n' {
		return r.fail(errBulkEnd)
	}
	r.words = append(r.words, span{r.pos, r.bulk})
	r.bytes += r.bulk
	r.pos += r.bulk + 2
	r.bulk = headless
	r.left--
	r.ready = r.left == 0
	return true
}

// scanLine understands an inline command as far as its end.
func (r *Reader) scanLine(b []byte) bool {
	i := bytes.IndexByte(b[r.searched:], '\n')
	if i < 0 && len(b) <= r.lim.MaxInline {
		r.searched = len(b)
		return false
	}
	i += r.searched
	if i < r.searched || i > r.lim.MaxInline {
		return r.fail(errInlineLen)
	}
	r.pos += i + 1
	for _, c := range b[:i] {
		if !isSpace(c) {
			r.inline, r.ready = true, true
			return true
		}
	}
	r.next()
	return true
}

// length reads the line b starts with: a type byte, a number as Redis writes it,
// CRLF. size is the length of the line, 0 when it has not ended yet, negative when
// it is no such line. A line over the limit fails with tooLong.
func (r *Reader) length(b []byte, tooLong *ProtocolError) (n int64, size int) {
	if n, size = parseLength(b); size != 0 {
		r.searched = 0
		return n, size
	}
	// Not a short number and its line end. It may be the start of one.
	i := bytes.IndexByte(b[r.searched:], '\r')
	switch {
	case i >= 0 && r.searched+i+1 < len(b): // the line ended, and is not one
		return 0, -1
	case i >= 0:
		return 0, 0
	case len(b) > r.lim.MaxInline:
		r.fail(tooLong)
		return 0, 0
	}
	r.searched = len(b)
	return 0, 0
}

// parseLength reads "?n\r\n" where b starts with the whole of it. size is 0 when b
// is too short to tell or is no such line.
func parseLength(b []byte) (n int64, size int) {
	i, neg := 1, false
	if i < len(b) && b[i] == '-' {
		neg, i = true, 2
	}
	first := i
	for ; i < len(b) && i < first+18 && '0' <= b[i] && b[i] <= '9'; i++ {
		n = n*10 + int64(b[i]-'0')
	}
	if i == first || i+1 >= len(b) || b[i] != '\r' || b[i+1] != '\n' {
		return 0, 0
	}
	if b[first] == '0' && (i > first+1 || neg) { // "007" and "-0" are no numbers to Redis
		return 0, 0
	}
	if neg {
		n = -n
	}
	return n, i + 2
}

func (r *Reader) fail(err *ProtocolError) bool {
	r.err = err
	return false
}

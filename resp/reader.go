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

	// The state of the parser within the first unread command. Positions count from the
	// command's first byte, so that they stay valid when the buffer moves. No byte is
	// parsed twice, even if the command arrives in small pieces.
	//
	// For example, after "*2\r\n$4\r\nECHO\r\n$5\r\nhe": pos 18, left 1, bulk 5,
	// words {8, 4}, bytes 4.
	pos      int    // the next byte to parse
	searched int    // number of bytes from pos on that contain no line end
	left     int    // words still to come, or headless before the line "*n"
	bulk     int    // length of the word at pos, or headless before its line "$n"
	words    []span // the words parsed so far
	bytes    int    // their lengths, added up
	inline   bool   // the command is a line of pos bytes
	ready    bool   // the command is complete and ends at pos
	err      error  // a ProtocolError, returned by all later calls
}

// headless marks a length whose line has not arrived yet.
const headless = -1

// span is a run of n bytes at a position.
type span struct{ at, n int }

// NewReader returns a Reader of the commands from r.
func NewReader(r io.Reader, lim Limits) *Reader {
	return &Reader{in: buffer{src: r}, lim: lim.orDefaults(), left: headless, bulk: headless}
}

// SetLimits changes the limits for all commands that ReadCommand has not returned yet,
// including those whose bytes have arrived already.
func (r *Reader) SetLimits(lim Limits) {
	r.lim = lim.orDefaults()
	r.restart()
	r.err = nil
}

// Buffered returns the number of bytes that were read from the client and belong to
// commands not returned yet.
func (r *Reader) Buffered() int { return r.in.buffered() }

// HasCommand reports whether ReadCommand would return without reading from the client,
// either with a command or with a *ProtocolError.
func (r *Reader) HasCommand() bool {
	r.scan()
	return r.ready || r.err != nil
}

// Fill reads once from the client, keeps the bytes for later calls of ReadCommand, and
// returns their number. It is meant for the time while a command blocks: if the client
// leaves, Fill returns the error of the read. With FillLimit unread bytes, it returns
// ErrBufferFull without a read. The Reader stays usable after a read deadline has passed.
func (r *Reader) Fill() (int, error) {
	if r.in.buffered() >= FillLimit {
		return 0, ErrBufferFull
	}
	return r.in.fill(0)
}

// ReadCommand returns the words of the next command, at least one. It skips empty
// commands. The words have memory of their own, so that the caller may keep and change
// them. ReadCommand returns
//
//   - io.EOF if the connection ends between commands, and io.ErrUnexpectedEOF if it ends
//     within one,
//   - a *ProtocolError, at this and all later calls, if the bytes are not a command or
//     the command exceeds a limit,
//   - any other error of the read unchanged. After a read deadline has passed, the next
//     call continues the command.
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

// takeInline splits the complete line into words. scan has skipped blank lines, so there
// is at least one word.
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

// next consumes the bytes up to pos and prepares for the next command.
func (r *Reader) next() {
	r.in.consume(r.pos)
	r.restart()
}

// restart resets the parser to the first byte of the first unread command.
func (r *Reader) restart() {
	r.pos, r.searched, r.left, r.bulk, r.bytes = 0, 0, headless, headless, 0
	r.inline, r.ready = false, false
	if cap(r.words) > steadyWords {
		r.words = nil
	}
	r.words = r.words[:0]
}

// scan parses the bytes of the first unread command that have arrived. On return, the
// command is ready, or err is set, or the next part of the command has not arrived yet.
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

// The functions below parse one part of a command each. They report whether scan should
// go on with the bytes that have arrived.

// scanCount parses "*n\r\n".
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

// scanBulkLen parses "$n\r\n".
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

// scanBulk parses the bytes of a word and the CRLF after them.
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

// scanLine finds the end of an inline command, and skips a blank line.
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

// length parses the line at the start of b: a type byte, a number as Redis writes it, and
// CRLF. size is the length of the line, 0 if the line is not complete yet, or negative if
// it is malformed. length sets r.err to tooLong if the line is over the limit.
func (r *Reader) length(b []byte, tooLong *ProtocolError) (n int64, size int) {
	if n, size = parseLength(b); size != 0 {
		r.searched = 0
		return n, size
	}
	// The line is malformed, or not complete yet.
	i := bytes.IndexByte(b[r.searched:], '\r')
	switch {
	case i >= 0 && r.searched+i+1 < len(b): // complete, so malformed
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

// parseLength parses a line "?n\r\n" at the start of b, where ? is any byte, and returns n
// and the length of the line. size is 0 if the line is incomplete or malformed.
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
	if b[first] == '0' && (i > first+1 || neg) { // Redis refuses "007" and "-0"
		return 0, 0
	}
	if neg {
		n = -n
	}
	return n, i + 2
}

// fail sets r.err. It returns false, so that scan stops.
func (r *Reader) fail(err *ProtocolError) bool {
	r.err = err
	return false
}

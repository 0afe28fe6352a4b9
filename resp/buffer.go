package resp

import "io"

// buffer holds the bytes that were read from src and are not consumed yet, in
// data[start:]. It grows only when it is full, and at most to twice its size, so that a
// peer cannot make it much larger than the bytes that it has sent.
type buffer struct {
	src   io.Reader
	data  []byte
	start int
	// full is set when the last read filled data, so that src probably has more bytes.
	full bool
}

// maxEmptyReads bounds the reads in a row that return neither bytes nor an error.
const maxEmptyReads = 100

func (b *buffer) buffered() int  { return len(b.data) - b.start }
func (b *buffer) unread() []byte { return b.data[b.start:] }
func (b *buffer) consume(n int)  { b.start += n }

// fill reads once from src and returns the number of bytes that came. It returns an error
// only if no byte came, so that no byte is lost when a deadline passes. want is the total
// number of unread bytes that the caller needs to go on, or 0 if it does not know.
func (b *buffer) fill(want int) (int, error) {
	b.makeRoom(want)
	for range maxEmptyReads {
		n, err := b.src.Read(b.data[len(b.data):cap(b.data)])
		b.data = b.data[:len(b.data)+n]
		b.full = len(b.data) == cap(b.data)
		if n > 0 {
			return n, nil // the next read returns a lasting error again
		}
		if err != nil {
			return 0, err
		}
	}
	return 0, io.ErrNoProgress
}

// makeRoom leaves at least one free byte at the end of data. It moves the unread bytes to
// the start, or to a larger array.
func (b *buffer) makeRoom(want int) {
	n := b.buffered()
	if n == 0 && cap(b.data) > steadyBuffer {
		b.data, b.start, b.full = nil, 0, false // free the array of a large command
	}
	size := cap(b.data)
	switch {
	case size == 0:
		size = firstBuffer
	case b.full && size < steadyBuffer:
		size *= 2
	case n == size && want > n:
		size = min(2*size, roundUp(want, steadyBuffer))
	case n == size:
		size *= 2
	}
	switch {
	case size != cap(b.data):
		grown := make([]byte, n, size)
		copy(grown, b.unread())
		b.data, b.start = grown, 0
	case b.start > 0 && (n == 0 || len(b.data) == size):
		copy(b.data, b.unread())
		b.data, b.start = b.data[:n], 0
	}
}

func roundUp(n, step int) int { return (n + step - 1) / step * step }

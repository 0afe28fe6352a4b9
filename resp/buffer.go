package resp

import "io"

// buffer holds the bytes that were read from src and not yet used: data[start:].
// It grows only once it is full, and never to more than twice its size, so a peer
// has to send what it makes us hold.
type buffer struct {
	src   io.Reader
	data  []byte
	start int
	// full: the last read left no room, so more is likely waiting.
	full bool
}

// maxEmptyReads is how many reads in a row may bring neither bytes nor an error.
const maxEmptyReads = 100

func (b *buffer) buffered() int  { return len(b.data) - b.start }
func (b *buffer) unread() []byte { return b.data[b.start:] }
func (b *buffer) consume(n int)  { b.start += n }

// fill reads once from src. want is how many unread bytes the reader needs in all
// before it can go on, or 0 if it cannot tell. It returns how many bytes came; an
// error only when none did, so that nothing is lost with a deadline that passed.
func (b *buffer) fill(want int) (int, error) {
	b.makeRoom(want)
	for range maxEmptyReads {
		n, err := b.src.Read(b.data[len(b.data):cap(b.data)])
		b.data = b.data[:len(b.data)+n]
		b.full = len(b.data) == cap(b.data)
		if n > 0 {
			return n, nil // src repeats a lasting error at the next read
		}
		if err != nil {
			return 0, err
		}
	}
	return 0, io.ErrNoProgress
}

// makeRoom leaves at least one free byte at the end of data.
func (b *buffer) makeRoom(want int) {
	n := b.buffered()
	if n == 0 && cap(b.data) > steadyBuffer {
		b.data, b.start, b.full = nil, 0, false // a large command has passed
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

package bench

import (
	"fmt"
	"math/rand/v2"
	"strconv"
)

// ring is a cycle of requests in one piece of memory, so that a batch is a slice of
// it. Many connections share it and none writes to it.
type ring struct {
	buf []byte
	// ends has the end of each request; after the cycle come the first requests once
	// more, so that a batch may start anywhere in it.
	ends   []int
	cycle  int
	expect [][]byte // per request: what the first line of its reply starts with
}

// A cycle has at least ringRequests requests, unless they are over ringBytes
// together: equal values would compress to nothing on the server's disk.
const (
	ringRequests = 1 << 10
	ringBytes    = 4 << 20
)

// newRing builds a cycle of a multiple of unit requests, for batches up to depth.
// size is about how long a request is.
func newRing(unit, depth, size int, build func(dst []byte, i int) (request, expect []byte)) (*ring, error) {
	r := &ring{cycle: unit}
	for r.cycle < ringRequests && 2*r.cycle*size <= ringBytes {
		r.cycle *= 2
	}
	if (r.cycle+depth)*size > maxRingBytes {
		return nil, fmt.Errorf("bench: %d requests of about %d bytes are more than %d bytes; use fewer streams, a smaller size or less depth",
			r.cycle+depth, size, maxRingBytes)
	}
	r.buf = make([]byte, 0, (r.cycle+depth)*size)
	for i := range r.cycle + depth {
		var e []byte
		r.buf, e = build(r.buf, i%r.cycle)
		r.ends = append(r.ends, len(r.buf))
		r.expect = append(r.expect, e)
	}
	return r, nil
}

// batch returns n requests from the one at position at on, and what is expected of
// each reply.
func (r *ring) batch(at, n int) (requests []byte, expect [][]byte) {
	start := 0
	if at > 0 {
		start = r.ends[at-1]
	}
	return r.buf[start:r.ends[at+n-1]], r.expect[at : at+n]
}

// What the first line of a good reply starts with.
var expectBulk = []byte("$")

// addRing has an XADD to each of the streams in turn, each with a value of its own.
func (c *Config) addRing(streams []int) (*ring, error) {
	rnd := rand.New(rand.NewPCG(1, 2)) // any values do, and equal runs have equal ones
	value := make([]byte, c.Size)
	return newRing(len(streams), c.Depth, c.Size+120, func(dst []byte, i int) ([]byte, []byte) {
		fillValue(rnd, value)
		words := []string{"XADD", c.stream(streams[i%len(streams)])}
		if c.MaxLen > 0 {
			words = append(words, "MAXLEN", "~", strconv.Itoa(c.MaxLen))
		}
		return request(dst, append(words, "*", valueField, string(value))...), expectBulk
	})
}

// valueField is the name of an entry's only field.
const valueField = "v"

// fillValue fills b with text that compresses about as well as real text of IDs and
// numbers does: 64 different letters at random.
func fillValue(rnd *rand.Rand, b []byte) {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
	for i := 0; i < len(b); {
		for r, n := rnd.Uint64(), 0; n < 10 && i < len(b); n++ {
			b[i] = letters[r&63]
			r >>= 6
			i++
		}
	}
}

// prepareRing has the XADDs that fill one stream, one after another; entry n has the
// ID n-0.
func (c *Config) prepareRing(i int) func(from, n int) (requests []byte, expect [][]byte) {
	rnd := rand.New(rand.NewPCG(3, uint64(i)))
	value := make([]byte, c.Size)
	var buf []byte
	return func(from, n int) ([]byte, [][]byte) {
		buf = buf[:0]
		expect := make([][]byte, n)
		for k := range n {
			fillValue(rnd, value)
			buf = request(buf, "XADD", c.stream(i), strconv.Itoa(from+k)+"-0", valueField, string(value))
			expect[k] = expectBulk
		}
		return buf, expect
	}
}

// readRing has reads of ReadCount entries from random places of the streams, in turn
// XRANGE and XREAD.
func (c *Config) readRing(streams []int) (*ring, error) {
	rnd := rand.New(rand.NewPCG(5, 6))
	count := strconv.Itoa(c.ReadCount)
	whole := []byte("*" + count)
	return newRing(2*len(streams), c.Depth, 150, func(dst []byte, i int) ([]byte, []byte) {
		name := c.stream(streams[i/2%len(streams)])
		from := rnd.IntN(c.Prepare - c.ReadCount + 1) // entries before those to read
		if i%2 == 0 {
			return request(dst, "XRANGE", name, strconv.Itoa(from+1)+"-0", "+", "COUNT", count), whole
		}
		return request(dst, "XREAD", "COUNT", count, "STREAMS", name, strconv.Itoa(from)+"-0"), []byte("*1")
	})
}

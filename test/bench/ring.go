package bench

import (
	"fmt"
	"math/rand/v2"
	"strconv"
)

// ring is a cycle of requests in one piece of memory, so that a batch is a slice of it.
// The connections share it and only read it.
type ring struct {
	buf []byte
	// ends holds the end of each request in buf. The first requests are repeated after
	// the cycle, so that a batch may start at any request of the cycle. With a cycle of
	// 4 and depth 2, buf holds the requests 0 1 2 3 0 1.
	ends   []int
	cycle  int
	expect [][]byte // the first bytes of a good reply to each request
}

// A cycle has at least ringRequests requests, unless these exceed ringBytes together. With
// fewer, the server's disk would hold few different values, which compress too well.
const (
	ringRequests = 1 << 10
	ringBytes    = 4 << 20
)

// newRing builds a ring for batches of up to depth requests. Its cycle is a multiple of
// unit. size is the approximate length of a request. build appends request i, and returns
// the first bytes of a good reply.
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

// batch returns n requests from position at on, and the first bytes of each good reply.
func (r *ring) batch(at, n int) (requests []byte, expect [][]byte) {
	start := 0
	if at > 0 {
		start = r.ends[at-1]
	}
	return r.buf[start:r.ends[at+n-1]], r.expect[at : at+n]
}

// expectBulk is the first byte of a bulk string.
var expectBulk = []byte("$")

// addRing returns a ring of XADDs to each of the streams in turn, with different values.
func (c *Config) addRing(streams []int) (*ring, error) {
	rnd := rand.New(rand.NewPCG(1, 2)) // a fixed seed, so that equal runs have equal values
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

// fillValue fills b with random text of 64 different characters. It compresses about as
// well as real text of IDs and numbers.
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

// prepareRing returns a function that builds the XADDs of entries from to from+n-1 of one
// stream. Entry 7 has the ID 7-0.
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

// readRing returns a ring of XRANGE and XREAD in turn, which read ReadCount entries from
// random positions of the streams.
func (c *Config) readRing(streams []int) (*ring, error) {
	rnd := rand.New(rand.NewPCG(5, 6))
	count := strconv.Itoa(c.ReadCount)
	whole := []byte("*" + count)
	return newRing(2*len(streams), c.Depth, 150, func(dst []byte, i int) ([]byte, []byte) {
		name := c.stream(streams[i/2%len(streams)])
		from := rnd.IntN(c.Prepare - c.ReadCount + 1) // number of entries to skip
		if i%2 == 0 {
			return request(dst, "XRANGE", name, strconv.Itoa(from+1)+"-0", "+", "COUNT", count), whole
		}
		return request(dst, "XREAD", "COUNT", count, "STREAMS", name, strconv.Itoa(from)+"-0"), []byte("*1")
	})
}

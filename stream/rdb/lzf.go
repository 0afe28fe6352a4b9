package rdb

// LZF is a row of runs. The first byte says which of three it is.
//
//	000nnnnn  n+1 bytes                       the bytes themselves
//	nnnooooo  oooooooo                        n+2 bytes from o+1 before the end so far
//	111ooooo  nnnnnnnn oooooooo               n+9 bytes, likewise
const (
	lzfLongest = 255 + 9
	// lzfMaxGrowth is by how much more than the bytes there are LZF can come to: three
	// bytes make lzfLongest at most.
	lzfMaxGrowth = lzfLongest / 3
)

var errLZF = badFormat("LZF is broken")

// lzfDecompress returns the size bytes that in stands for. It allocates as it goes.
func lzfDecompress(in []byte, size int) ([]byte, error) {
	out := make([]byte, 0, min(size, 2*len(in)))
	for len(in) > 0 {
		c := int(in[0])
		in = in[1:]
		if c < 32 {
			if c+1 > len(in) || len(out)+c+1 > size {
				return nil, errLZF
			}
			out = append(out, in[:c+1]...)
			in = in[c+1:]
			continue
		}
		n := c>>5 + 2
		if c>>5 == 7 {
			if len(in) == 0 {
				return nil, errLZF
			}
			n += int(in[0])
			in = in[1:]
		}
		if len(in) == 0 {
			return nil, errLZF
		}
		from := len(out) - (c&31<<8 | int(in[0])) - 1
		in = in[1:]
		if from < 0 || len(out)+n > size {
			return nil, errLZF
		}
		// The run may reach into what it makes, so it is copied byte by byte.
		for i := range n {
			out = append(out, out[from+i])
		}
	}
	if len(out) != size {
		return nil, errLZF
	}
	return out, nil
}

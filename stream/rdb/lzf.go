package rdb

// LZF is a sequence of runs. The top bits of the first byte tell which of three forms a run
// has.
//
//	000nnnnn  n+1 bytes                       these bytes
//	nnnooooo  oooooooo                        a copy of n+2 bytes that start o+1 before the end of the output
//	111ooooo  nnnnnnnn oooooooo               likewise, n+9 bytes
const (
	lzfLongest = 255 + 9
	// lzfMaxGrowth is the greatest ratio of output to input: three bytes of input become at
	// most lzfLongest bytes.
	lzfMaxGrowth = lzfLongest / 3
)

var errLZF = badFormat("LZF is broken")

// lzfDecompress decompresses in, which must become exactly size bytes. Its output grows
// with the input that it has read, so that a wrong size does not cost memory.
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
		// The source may overlap the copy, so the bytes are copied one by one.
		for i := range n {
			out = append(out, out[from+i])
		}
	}
	if len(out) != size {
		return nil, errLZF
	}
	return out, nil
}

package stream_test

import (
	"fmt"
	"testing"

	"millrace/resp"
	"millrace/stream"
)

// TestReadTaken checks that ReadTaken counts the entries and bytes of a reply as the command
// itself did, in either protocol version.
func TestReadTaken(t *testing.T) {
	r := newRig(t)
	for _, line := range []string{"XADD a 1-1 k v", "XADD a 1-2 k vvvvvvvvvvvvvvvvvvvvvvvvv", "XADD b 1-1 field value other value"} {
		if v := r.do(line); v.IsErr() {
			t.Fatal(line, v)
		}
	}
	taken := func(limit string, n int64, proto int) (entries, bytes int64) {
		reply := r.do(fmt.Sprintf("XREAD %s %d STREAMS a b 0 0", limit, n))
		v, _, err := resp.ParseValue(resp.AppendValue(nil, reply, proto))
		if err != nil {
			t.Fatal(err)
		}
		return stream.ReadTaken(v)
	}
	for n := int64(1); n <= 3; n++ {
		entries, bytes := taken("MAXCOUNT", n, 2)
		if entries != n || bytes == 0 {
			t.Errorf("of %d entries it counts %d, %d bytes", n, entries, bytes)
		}
		if e, b := taken("MAXCOUNT", n, 3); e != entries || b != bytes {
			t.Errorf("in RESP3 it takes %d entries and %d bytes, in RESP2 %d and %d", e, b, entries, bytes)
		}
		// MAXSIZE ends the reply at this number of bytes. With one more, an entry follows.
		if e, _ := taken("MAXSIZE", bytes, 2); e != n {
			t.Errorf("with room for %d entries it answers %d", n, e)
		}
		if e, _ := taken("MAXSIZE", bytes+1, 2); e != min(n+1, 3) {
			t.Errorf("with room for a byte more than %d entries it answers %d", n, e)
		}
	}
	if e, b := stream.ReadTaken(resp.NullArray()); e != 0 || b != 0 {
		t.Errorf("of nothing it counts %d entries and %d bytes", e, b)
	}
}

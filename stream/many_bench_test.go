package stream_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"millrace/kv"
	"millrace/kv/pebblekv"
	"millrace/stream"
)

// manyPending returns a rig with a stream s of n entries that each of the groups g0, g1, …
// has delivered. Consumer c of each group owns all of them. Entry 5 has the ID 5-0.
func manyPending(t testing.TB, n, groups int) *rig {
	t.Helper()
	r := nodeRig(t)
	const step = 1000
	for at := 1; at <= n; at += step {
		cmds := make([][][]byte, min(step, n-at+1))
		for i := range cmds {
			cmds[i] = argvOf("XADD", "s", fmt.Sprintf("%d-0", at+i), "field", "some value of an entry")
		}
		r.apply(cmds...)
	}
	for g := range groups {
		r.do(fmt.Sprintf("XGROUP CREATE s g%d 0", g))
		for at := 0; at < n; at += 10 * step {
			r.do(fmt.Sprintf("XREADGROUP GROUP g%d c COUNT %d STREAMS s >", g, 10*step))
		}
	}
	return r
}

// idList returns the IDs of the entries from first on, n of them, with gap between them.
func idList(first, n, gap int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, " %d-0", first+i*gap)
	}
	return b.String()
}

// BenchmarkManyIDs measures commands that touch many entries of a stream of 20,000 with
// two groups, all of them pending in both. Each runs once on a fresh stream.
func BenchmarkManyIDs(b *testing.B) {
	const entries, many = 20_000, 10_000
	ids := idList(1, many, 1)
	var backward strings.Builder
	for i := many; i > 0; i-- {
		fmt.Fprintf(&backward, " %d-0", i)
	}
	for _, bench := range []struct{ name, line string }{
		{"XTRIM-DELREF", "XTRIM s MAXLEN 0 DELREF"},
		{"XTRIM-ACKED", "XTRIM s MAXLEN 0 ACKED"},
		{"XDEL", "XDEL s" + ids},
		{"XDEL-backward", "XDEL s" + backward.String()},
		{"XDEL-every-2nd", "XDEL s" + idList(1, many, 2)},
		{"XDELEX-DELREF", fmt.Sprintf("XDELEX s DELREF IDS %d%s", many, ids)},
		{"XDELEX-ACKED", fmt.Sprintf("XDELEX s ACKED IDS %d%s", many, ids)},
		{"XACK", "XACK s g0" + ids},
		{"XACK-backward", "XACK s g0" + backward.String()},
		{"XACK-every-2nd", "XACK s g0" + idList(1, many, 2)},
		{"XACKDEL-DELREF", fmt.Sprintf("XACKDEL s g0 DELREF IDS %d%s", many, ids)},
		{"XNACK", fmt.Sprintf("XNACK s g0 FAIL IDS %d%s", many, ids)},
		{"XCLAIM", "XCLAIM s g0 d 0" + ids},
		{"XCLAIM-JUSTID", "XCLAIM s g0 d 0" + ids + " JUSTID"},
		{"XAUTOCLAIM", fmt.Sprintf("XAUTOCLAIM s g0 d 0 0 COUNT %d", many)},
		{"XREADGROUP-history", fmt.Sprintf("XREADGROUP GROUP g0 c COUNT %d STREAMS s 0", many)},
		{"XREADGROUP-CLAIM", fmt.Sprintf("XREADGROUP GROUP g0 d COUNT %d CLAIM 0 STREAMS s >", many)},
		{"DELCONSUMER", "XGROUP DELCONSUMER s g0 c"},
	} {
		b.Run(bench.name, func(b *testing.B) {
			argv := argvOf(strings.Fields(bench.line)...)
			var took time.Duration
			for range b.N {
				b.StopTimer()
				r := manyPending(b, entries, 2)
				b.StartTimer()
				start := time.Now()
				if v := r.apply(argv)[0]; v.IsErr() {
					b.Fatal(v)
				}
				took += time.Since(start)
				b.StopTimer()
				if err := stream.Check(pebblekv.Reader{R: r.db}, 0, kv.Slots-1); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
			}
			b.ReportMetric(float64(took.Microseconds())/1000/float64(b.N), "ms/command")
		})
	}
}

package shard

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"millrace/call"
	"millrace/raftlog/disk"
)

// marksAgree compares the digests that replicas took at the same indexes. It returns the
// number of indexes that all of them have.
func (c *testCluster) marksAgree(ids ...string) (common int, err error) {
	c.t.Helper()
	seen := map[uint64]int{}
	sums := map[uint64][32]byte{}
	for _, id := range ids {
		for _, d := range c.nodes[id].shard.Digests() {
			if sum, ok := sums[d.Index]; ok && sum != d.Sum {
				err = errors.Join(err, errors.New("states differ"))
			}
			sums[d.Index] = d.Sum
			seen[d.Index]++
		}
	}
	for _, n := range seen {
		if n == len(ids) {
			common++
		}
	}
	return common, err
}

// Replicas take digests at the same indexes while writes go on, also a replica that came
// by a snapshot. A replica with a wrong state shows it at the next digest.
func TestDigests(t *testing.T) {
	c := newTestCluster(t, "a", "b", "c")
	c.tune = func(id string, cfg *Config) {
		smallLogs(60)(id, cfg)
		cfg.DigestEvery = 4
	}
	c.startAll()
	l := c.leader()
	away := c.others(l.id)[0]
	c.net.isolate(away, c.ids, true, true)
	c.fill(200, 50, c.others(away)...)
	c.truncated(c.leader(c.others(away)...).id, 20)
	c.net.isolate(away, c.ids, false, false)
	compared := func() bool {
		c.fill(32, 50)
		n, err := c.marksAgree(c.ids...)
		if err != nil {
			t.Fatal(err)
		}
		return n > 0
	}
	c.eventually("digests at the same indexes on all", compared)
	c.stop(away)
	c.start(away)
	c.eventually("digests at the same indexes after a restart", compared)

	victim := c.nodes[c.others(c.leader().id)[0]]
	c.eventually("digests that differ", func() bool {
		// It is spoilt each time, because a replica that fell behind is sent a snapshot
		// and is right again.
		if err := victim.state.Set(victim.machine.valueKey([]byte("k0"), 0), []byte("other"), pebble.Sync); err != nil {
			t.Fatal(err)
		}
		c.fill(8, 50)
		_, err := c.marksAgree(c.ids...)
		return err != nil
	})
}

// The digest of a state is read again only when something was applied.
func TestDigestOnDemand(t *testing.T) {
	c := newTestCluster(t, "a")
	c.startAll()
	n := c.leader()
	n.mustDo(t, call.Write, "APPEND", "k", "v")
	i1, h1, err := n.shard.Hash(background(t))
	if err != nil {
		t.Fatal(err)
	}
	// A write is answered just before its index is shown.
	c.eventually("the digest's index is that of the last write", func() bool { return n.shard.Applied() == i1 })
	if i2, h2, err := n.shard.Hash(background(t)); i2 != i1 || h2 != h1 || err != nil {
		t.Fatalf("digest at %d, then at %d: %v", i1, i2, err)
	}
	n.mustDo(t, call.Write, "APPEND", "k", "v")
	c.eventually("the index of another write", func() bool { return n.shard.Applied() > i1 })
	if i2, h2, err := n.shard.Hash(background(t)); i2 <= i1 || h2 == h1 || err != nil {
		t.Fatalf("digest at %d, after a write at %d: %v", i1, i2, err)
	}
	if got := n.shard.Digests(); len(got) != 0 {
		t.Fatalf("%d digests that nobody asked for", len(got))
	}
}

// Digests that take more than their share of the time are taken less often, at multiples
// of the other replicas' strides. The number of digests that are kept is bounded.
func TestDigestStride(t *testing.T) {
	const ms = time.Millisecond
	for _, tc := range []struct {
		name          string
		took, between time.Duration
		before, after uint64
	}{
		{"the first says nothing", 50 * ms, 0, 8, 8},
		{"too long", 21 * ms, 1000 * ms, 8, 16},
		{"its share", 20 * ms, 1000 * ms, 8, 8},
		{"little", 4 * ms, 1000 * ms, 8, 4},
		{"little at the least stride", 1 * ms, 1000 * ms, 4, 4},
	} {
		d := newDigester(newShared(&Config{DigestEvery: 4}))
		d.stride = tc.before
		d.took(Digest{Index: 8}, nil, tc.took, tc.between)
		if d.stride != tc.after {
			t.Errorf("%s: stride %d, want %d", tc.name, d.stride, tc.after)
		}
	}
	d := newDigester(newShared(&Config{DigestEvery: 4}))
	for i := range uint64(digestsKept + 5) {
		d.took(Digest{Index: i}, nil, ms, time.Second)
	}
	if len(d.kept) != digestsKept || d.kept[0].Index != 5 {
		t.Errorf("%d kept, the oldest at %d", len(d.kept), d.kept[0].Index)
	}
}

// BenchmarkDigest digests a state of 64 MiB in values of 100 bytes, mostly on disk.
func BenchmarkDigest(b *testing.B) {
	const size, valueBytes = 64 << 20, 100
	st, err := disk.Open(b.TempDir(), disk.Options{Name: "state"})
	if err != nil {
		b.Fatal(err)
	}
	defer st.Close()
	m := newListMachine(0)
	batch := st.NewBatch()
	for i := range uint64(size / valueBytes) {
		value := fmt.Appendf(make([]byte, 0, valueBytes), "%0*d", valueBytes, i)
		if err := batch.Set(m.valueKey([]byte("k"), i), value, nil); err != nil {
			b.Fatal(err)
		}
		if batch.Len() > 1<<20 {
			st.Commit(batch, pebble.NoSync)
			batch = st.NewBatch()
		}
	}
	st.Commit(batch, pebble.NoSync)
	cfg := &Config{State: st.DB, FirstSlot: 0, LastSlot: 10}
	d := newDigester(newShared(cfg))
	b.SetBytes(size)
	for b.Loop() {
		it, err := d.iterator()
		if err != nil {
			b.Fatal(err)
		}
		if _, err := d.read(b.Context(), it); err != nil {
			b.Fatal(err)
		}
	}
}

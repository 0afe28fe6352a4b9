package shard

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

const (
	// digestsKept bounds the digests of a shard that are kept.
	digestsKept = 64
	// digestShare is the part of the time that digests of a shard may take: one in so
	// many. Where they take longer, they are taken at every other index only. A digest
	// reads some 300 MB/s.
	digestShare = 50
)

// Digest is a digest of all keys and values of a replica's state when it had applied the
// record at Index. All replicas have the same digest at the same index.
type Digest struct {
	Index uint64
	Sum   [sha256.Size]byte
}

// Hash returns the digest of the state as it is now. It reads the whole state, unless
// nothing was applied since the last digest.
func (s *Shard) Hash(ctx context.Context) (index uint64, sum [sha256.Size]byte, err error) {
	d, err := s.digests.now(ctx, s.Applied())
	if err != nil {
		return 0, sum, fmt.Errorf("shard %d: hash: %w", s.cfg.ID, err)
	}
	return d.Index, d.Sum, nil
}

// Digests returns the digests taken at multiples of Config.DigestEvery, oldest first. It
// reads nothing from the state.
func (s *Shard) Digests() []Digest {
	s.digests.mu.Lock()
	defer s.digests.mu.Unlock()
	return slices.Clone(s.digests.kept)
}

// digester takes digests of the state. While records are applied, two replicas that are
// asked at the same moment are never at the same index. So digests are taken at indexes
// that all replicas pass: the multiples of a stride. The applier opens an iterator there,
// which is quick, and a goroutine reads it while the next records are applied.
//
// Where reading takes more than its share of the time, the stride doubles. All strides
// are DigestEvery times a power of two. If one replica uses 1,000 and another 4,000, both
// take a digest at 4,000, 8,000 …
type digester struct {
	*shared

	ctx    context.Context // ends with end
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu      sync.Mutex
	stride  uint64 // guarded by mu, as all below; 0: no digest is taken unasked
	busy    bool   // a digest is being taken
	startNS int64  // when the last one was begun, on the stopwatch
	kept    []Digest
	last    Digest // the newest, asked for or not; Index 0: none
	stopped bool
}

func newDigester(sh *shared) *digester {
	d := &digester{shared: sh, stride: sh.cfg.DigestEvery}
	d.ctx, d.cancel = context.WithCancel(context.Background())
	return d
}

// due reports whether a batch of the state has to end with the record at index.
func (d *digester) due(index uint64) bool {
	return d.cfg.DigestEvery != 0 && index%d.cfg.DigestEvery == 0
}

// applied begins a digest if one is due at index, which the state has just reached. The
// goroutine that applies calls it.
func (d *digester) applied(index uint64) {
	if !d.due(index) {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.stopped || index%d.stride != 0 {
		return
	}
	if d.busy {
		d.stride *= 2
		return
	}
	it, err := d.iterator()
	if err != nil {
		d.fatal(fmt.Errorf("shard %d: digest: %w", d.cfg.ID, err))
		return
	}
	now := d.watch.now()
	between := time.Duration(now - d.startNS)
	if d.startNS == 0 {
		between = 0
	}
	d.busy, d.startNS = true, now
	d.wg.Go(func() { // reads the state once; end waits for it
		got, err := d.read(d.ctx, it)
		if err != nil && d.ctx.Err() == nil {
			d.fatal(fmt.Errorf("shard %d: digest: %w", d.cfg.ID, err))
		}
		d.took(got, err, time.Duration(d.watch.now()-now), between)
	})
}

// took notes the digest got, which took so long and was begun so long after the one
// before.
func (d *digester) took(got Digest, err error, took, between time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.busy = false
	if err != nil {
		return
	}
	if len(d.kept) == digestsKept {
		d.kept = append(d.kept[:0], d.kept[1:]...)
	}
	d.kept = append(d.kept, got)
	d.last = got
	switch {
	case between == 0:
	case took*digestShare > between:
		d.stride *= 2
	case took*digestShare*4 < between && d.stride > d.cfg.DigestEvery:
		d.stride /= 2
	}
}

// now returns the digest of the state, which has applied the record at index or a later
// one.
func (d *digester) now(ctx context.Context, index uint64) (Digest, error) {
	d.mu.Lock()
	if d.last.Index == index && index != 0 {
		defer d.mu.Unlock()
		return d.last, nil
	}
	it, err := d.iterator()
	d.mu.Unlock()
	if err != nil {
		return Digest{}, err
	}
	got, err := d.read(ctx, it)
	if err != nil {
		return Digest{}, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if got.Index > d.last.Index {
		d.last = got
	}
	return got, nil
}

func (d *digester) iterator() (*pebble.Iterator, error) {
	return d.cfg.State.NewIter(&pebble.IterOptions{LowerBound: d.lo, UpperBound: d.hi})
}

// read digests the keys and values that it shows, and closes it.
func (d *digester) read(ctx context.Context, it *pebble.Iterator) (got Digest, err error) {
	defer func() { err = errors.Join(err, it.Close()) }()
	h := sha256.New()
	var length [8]byte
	n := 0
	for ok := it.First(); ok; ok = it.Next() {
		if n++; n%1024 == 0 && ctx.Err() != nil {
			return got, ctx.Err()
		}
		v, err := it.ValueAndErr()
		if err != nil {
			return got, err
		}
		binary.BigEndian.PutUint32(length[:], uint32(len(it.Key())))
		binary.BigEndian.PutUint32(length[4:], uint32(len(v)))
		h.Write(length[:])
		h.Write(it.Key())
		h.Write(v)
		if string(it.Key()) == string(d.appliedKey) {
			at, err := decodeApplied(v)
			if err != nil {
				return got, err
			}
			got.Index = at.index
		}
	}
	if err := it.Error(); err != nil {
		return got, err
	}
	h.Sum(got.Sum[:0])
	return got, nil
}

// end stops a digest that is being taken, and waits for it. Nothing is applied any more.
func (d *digester) end() {
	d.mu.Lock()
	d.stopped = true
	d.mu.Unlock()
	d.cancel()
	d.wg.Wait()
}

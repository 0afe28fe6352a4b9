package raftlog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
	"github.com/hashicorp/raft"

	"millrace/raftlog/disk"
)

const (
	// maxBatchBytes closes a batch, and so does a quarter of a memtable: Pebble turns
	// a batch of half a memtable into a flush of its own, which stalls the log, and
	// Raft may hand us 64 large records at once.
	maxBatchBytes = 4 << 20
	// pointDeletes is how many records are deleted one by one. A range delete costs
	// every later iterator something, a few point deletes do not. Raft drops a few
	// at the tail, and many at the head.
	pointDeletes = 64
)

// ErrOrder: StoreLogs was given records whose indexes do not rise from 1 or above.
// Nothing was written.
var ErrOrder = errors.New("raftlog: indexes do not rise")

// Store is the part of one shard: its log, its vote, its snapshot marker.
type Store struct {
	db    *DB
	shard uint32

	// write is held by whoever changes the log, up to the end of its fsync.
	write sync.Mutex
	floor uint64 // guarded by write: as on disk

	mu          sync.RWMutex
	first, last uint64 // guarded by mu; both 0 when the log is empty

	stable stable

	markerMu sync.Mutex // held while the marker is written
	marker   atomic.Pointer[Marker]
}

var (
	_ raft.LogStore    = (*Store)(nil)
	_ raft.StableStore = (*Store)(nil)
)

// Shard is the shard whose part s is.
func (s *Store) Shard() uint32 { return s.shard }

// load reads what is kept in memory too. It touches a few keys, however long the
// log is and however much of it was deleted.
func (s *Store) load() {
	s.stable.values = make(map[string][]byte)
	if s.db.enter() != nil {
		return // every call will say so
	}
	defer s.db.leave()
	if err := s.loadSmall(); err != nil {
		s.db.fail(s.shard, "load", err)
	}
	first, last, err := s.edges(s.floor, math.MaxUint64)
	if err != nil {
		s.db.fail(s.shard, "find the ends of the log", err)
	}
	s.first, s.last = first, last
}

// loadSmall reads all but the log.
func (s *Store) loadSmall() (err error) {
	if v, ok, err := s.get(kindFloor); err != nil {
		return err
	} else if ok {
		if len(v) != 8 {
			return fmt.Errorf("%w: floor of %d bytes", disk.ErrCorrupt, len(v))
		}
		s.floor = binary.BigEndian.Uint64(v)
	}
	if v, ok, err := s.get(kindVote); err != nil {
		return err
	} else if ok {
		if s.stable.vote, err = decodeVote(v); err != nil {
			return fmt.Errorf("%w: %w", disk.ErrCorrupt, err)
		}
		s.stable.hasVote = true
	}
	if v, ok, err := s.get(kindMarker); err != nil {
		return err
	} else if ok {
		m, err := decodeMarker(v)
		if err != nil {
			return fmt.Errorf("%w: %w", disk.ErrCorrupt, err)
		}
		s.marker.Store(&m)
	}
	it, err := s.db.pebble.NewIter(&pebble.IterOptions{
		LowerBound: appendPrefix(nil, s.shard, kindStable),
		UpperBound: appendPrefix(nil, s.shard, kindStable+1),
	})
	if err != nil {
		return err
	}
	for it.First(); it.Valid(); it.Next() {
		s.stable.values[string(it.Key()[prefixLen:])] = copyBytes(it.Value())
	}
	return errors.Join(it.Error(), it.Close())
}

// get reads a kind that has one key.
func (s *Store) get(kind byte) (v []byte, ok bool, err error) {
	v, closer, err := s.db.pebble.Get(appendPrefix(nil, s.shard, kind))
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	v = copyBytes(v)
	return v, true, closer.Close()
}

// edges finds the first and last record within [lo, hi]; 0 and 0 without one.
func (s *Store) edges(lo, hi uint64) (first, last uint64, err error) {
	it, err := s.db.pebble.NewIter(&pebble.IterOptions{
		LowerBound: recordKey(s.shard, lo),
		UpperBound: recordKeyAfter(s.shard, hi),
	})
	if err != nil {
		return 0, 0, err
	}
	if it.First() {
		first = binary.BigEndian.Uint64(it.Key()[prefixLen:])
	}
	if it.Last() {
		last = binary.BigEndian.Uint64(it.Key()[prefixLen:])
	}
	return first, last, errors.Join(it.Error(), it.Close())
}

// FirstIndex implements raft.LogStore: 0 when the log is empty.
func (s *Store) FirstIndex() (uint64, error) {
	first, _ := s.bounds()
	return first, nil
}

// LastIndex implements raft.LogStore: 0 when the log is empty.
func (s *Store) LastIndex() (uint64, error) {
	_, last := s.bounds()
	return last, nil
}

func (s *Store) bounds() (first, last uint64) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.first, s.last
}

func (s *Store) setBounds(first, last uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.first, s.last = first, last
}

// GetLog implements raft.LogStore. It returns raft.ErrLogNotFound itself, not
// wrapped: Raft compares. The bytes of l are shared with other readers.
func (s *Store) GetLog(index uint64, l *raft.Log) error {
	first, last := s.bounds()
	if index < first || index > last || index == 0 {
		return raft.ErrLogNotFound
	}
	if s.db.cache.get(s.shard, index, l) {
		s.db.stats.cacheHits.Add(1)
		return nil
	}
	if err := s.db.enter(); err != nil {
		return err
	}
	defer s.db.leave()
	s.db.stats.cacheMisses.Add(1)
	var buf [recordKeyLen]byte
	putRecordKey(buf[:], s.shard, index)
	v, closer, err := s.db.pebble.Get(buf[:])
	if errors.Is(err, pebble.ErrNotFound) {
		return raft.ErrLogNotFound
	}
	if err == nil {
		v = copyBytes(v)
		err = closer.Close()
	}
	if err != nil {
		s.db.fail(s.shard, fmt.Sprintf("read record %d", index), err)
	}
	if err := getRecord(v, index, l); err != nil {
		s.db.fail(s.shard, fmt.Sprintf("read record %d", index), fmt.Errorf("%w: %w", disk.ErrCorrupt, err))
	}
	return nil
}

// StoreLog implements raft.LogStore.
func (s *Store) StoreLog(l *raft.Log) error { return s.StoreLogs([]*raft.Log{l}) }

// StoreLogs implements raft.LogStore: on return the records are on disk. Indexes
// must rise; there may be a gap before or among them. A record at an index that
// is taken replaces the one there. After a crash in the middle a part from the
// front may be there. The bytes of the records are kept and must not be changed.
func (s *Store) StoreLogs(logs []*raft.Log) error {
	if len(logs) == 0 {
		return nil
	}
	bytes := 0
	for i, l := range logs {
		if l.Index == 0 || i > 0 && l.Index <= logs[i-1].Index {
			return fmt.Errorf("%w: %d at place %d", ErrOrder, l.Index, i)
		}
		n := recordSize(l)
		if n > maxRecordBytes {
			return fmt.Errorf("%w: %d bytes at index %d", ErrRecordTooLarge, n, l.Index)
		}
		bytes += n
	}
	if err := s.db.enter(); err != nil {
		return err
	}
	defer s.db.leave()
	s.write.Lock()
	defer s.write.Unlock()

	floor := s.floor
	for rest := logs; len(rest) > 0; {
		n, size := fill(rest, s.db.batchBytes)
		b := s.db.pebble.NewBatchWithSize(size)
		if rest[0].Index < s.floor {
			floor = min(floor, rest[0].Index)
			s.putFloor(b, floor)
		}
		for _, l := range rest[:n] {
			op := b.SetDeferred(recordKeyLen, recordSize(l))
			putRecordKey(op.Key, s.shard, l.Index)
			putRecord(op.Value, l)
			if err := op.Finish(); err != nil {
				s.db.fail(s.shard, "build a batch", err)
			}
		}
		rest = rest[n:]
		// The WAL is written in order: the last sync covers the batches before it.
		o := pebble.NoSync
		if len(rest) == 0 {
			o = pebble.Sync
		}
		s.db.commit(b, o)
		_ = b.Close()
	}
	s.floor = floor

	first, last := s.bounds()
	if first == 0 || logs[0].Index < first {
		first = logs[0].Index
	}
	s.db.cache.add(s.shard, logs)
	s.setBounds(first, max(last, logs[len(logs)-1].Index))
	s.db.stats.records.Add(uint64(len(logs)))
	s.db.stats.recordBytes.Add(uint64(bytes))
	return nil
}

// fill returns how many of logs make up the next batch, at least one, and a little
// more than the bytes it needs.
func fill(logs []*raft.Log, most int) (n, size int) {
	size = 64
	for n < len(logs) {
		need := recordSize(logs[n]) + recordKeyLen + 16
		if n > 0 && size+need > most {
			break
		}
		size += need
		n++
	}
	return n, size
}

// DeleteRange implements raft.LogStore: it deletes the records from min to max,
// both included. What is deleted at the tail is gone from disk on return, because
// other records take those places next. What is deleted at the head may come back
// after a crash: it is covered by a snapshot and only takes room.
func (s *Store) DeleteRange(lo, hi uint64) error {
	if err := s.db.enter(); err != nil {
		return err
	}
	defer s.db.leave()
	s.write.Lock()
	defer s.write.Unlock()
	first, last := s.bounds()
	if first == 0 || hi < first || lo > last || lo > hi {
		return nil
	}
	lo, hi = max(lo, first), min(hi, last)

	// Raft may leave gaps, so the new end is looked for rather than computed.
	newFirst, newLast := first, last
	var err error
	switch {
	case lo == first && hi == last:
		newFirst, newLast = 0, 0
	case lo == first:
		newFirst, _, err = s.edges(hi+1, last)
	case hi == last:
		_, newLast, err = s.edges(first, lo-1)
	}
	if err != nil {
		s.db.fail(s.shard, "find the ends of the log", err)
	}

	b := s.db.pebble.NewBatch()
	defer b.Close()
	if hi-lo < pointDeletes {
		for i := lo; i <= hi; i++ {
			err = errors.Join(err, b.Delete(recordKey(s.shard, i), nil))
		}
	} else {
		err = b.DeleteRange(recordKey(s.shard, lo), recordKeyAfter(s.shard, hi), nil)
	}
	if err != nil {
		s.db.fail(s.shard, "build a batch", err)
	}
	floor := s.floor
	if lo == first && hi < math.MaxUint64 {
		floor = hi + 1
		s.putFloor(b, floor)
	}
	o := pebble.NoSync
	if hi == last {
		o = pebble.Sync
	}
	s.db.commit(b, o)
	s.floor = floor
	s.setBounds(newFirst, newLast)
	s.forget(lo, hi, first, last)
	s.db.stats.truncations.Add(1)
	return nil
}

// forget takes deleted records out of the cache: only the part that was deleted,
// when that is the head or the tail.
func (s *Store) forget(lo, hi, first, last uint64) {
	switch {
	case hi == last:
		s.db.cache.dropFrom(s.shard, lo)
	case lo == first:
		s.db.cache.dropTo(s.shard, hi)
	default: // Raft does not do this
		s.db.cache.dropFrom(s.shard, lo)
	}
}

func (s *Store) putFloor(b *pebble.Batch, floor uint64) {
	err := b.Set(appendPrefix(nil, s.shard, kindFloor), binary.BigEndian.AppendUint64(nil, floor), nil)
	if err != nil {
		s.db.fail(s.shard, "build a batch", err)
	}
}

// ResetLog deletes the whole log, but neither vote nor marker. It is on disk on
// return. Only for a log that is known to be covered by a snapshot or to conflict
// with one: it may hold acknowledged records.
func (s *Store) ResetLog() error {
	if err := s.db.enter(); err != nil {
		return err
	}
	defer s.db.leave()
	s.write.Lock()
	defer s.write.Unlock()
	b := s.db.pebble.NewBatch()
	defer b.Close()
	err := errors.Join(
		b.DeleteRange(recordKey(s.shard, 0), recordsEnd(s.shard), nil),
		b.Delete(appendPrefix(nil, s.shard, kindFloor), nil))
	if err != nil {
		s.db.fail(s.shard, "build a batch", err)
	}
	s.db.commit(b, pebble.Sync)
	s.floor = 0
	s.setBounds(0, 0)
	s.db.cache.dropFrom(s.shard, 0)
	return nil
}

// Remove deletes everything of the shard. It is on disk on return. The store is
// then like that of a shard that never was, and may be used as such. Raft must not
// run on it meanwhile.
func (s *Store) Remove() error {
	if err := s.db.enter(); err != nil {
		return err
	}
	defer s.db.leave()
	s.write.Lock()
	defer s.write.Unlock()
	s.markerMu.Lock()
	defer s.markerMu.Unlock()
	b := s.db.pebble.NewBatch()
	defer b.Close()
	if err := b.DeleteRange(shardStart(s.shard), shardEnd(s.shard), nil); err != nil {
		s.db.fail(s.shard, "build a batch", err)
	}
	s.db.commit(b, pebble.Sync)
	s.floor = 0
	s.setBounds(0, 0)
	s.db.cache.dropFrom(s.shard, 0)
	s.stable.forget()
	s.marker.Store(nil)
	return nil
}

// Marker returns the marker of the newest snapshot, and whether there is one.
func (s *Store) Marker() (Marker, bool, error) {
	m := s.marker.Load()
	if m == nil {
		return Marker{}, false, nil
	}
	return m.clone(), true, nil
}

// PutMarker replaces the marker, as one. It is on disk on return.
func (s *Store) PutMarker(m Marker) error {
	v, err := m.encode()
	if err != nil {
		return err
	}
	m = m.clone()
	if err := s.db.enter(); err != nil {
		return err
	}
	defer s.db.leave()
	s.markerMu.Lock()
	defer s.markerMu.Unlock()
	b := s.db.pebble.NewBatch()
	defer b.Close()
	if err := b.Set(appendPrefix(nil, s.shard, kindMarker), v, nil); err != nil {
		s.db.fail(s.shard, "build a batch", err)
	}
	s.db.commit(b, pebble.Sync)
	s.marker.Store(&m)
	return nil
}

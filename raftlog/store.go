package raftlog

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
	"github.com/hashicorp/raft"

	"millrace/raftlog/disk"
)

const (
	// maxBatchBytes bounds a batch, together with a quarter of a memtable: Pebble turns
	// a batch of half a memtable into a flush of its own, which stalls the log. Raft may
	// hand StoreLogs 64 large records at once.
	maxBatchBytes = 4 << 20
	// pointDeletes is the number of indexes below which DeleteRange deletes one by one.
	// A range delete slows every later iterator, and a few point deletes do not. Raft
	// deletes a few records at the tail, and many at the head.
	pointDeletes = 64
)

// ErrOrder is returned by StoreLogs when an index is 0, or not above the one before it.
// Nothing was written.
var ErrOrder = errors.New("raftlog: indexes do not rise")

// Store is one shard's part of a DB: its log, its stable values with the vote, and its
// snapshot marker. Its methods may be called from any goroutine.
type Store struct {
	db    *DB
	shard uint32

	// write is held by calls that change the log, until their fsync has ended.
	write sync.Mutex
	floor uint64 // guarded by write; as on disk

	mu          sync.RWMutex
	first, last uint64 // guarded by mu; both 0 when the log is empty

	stable stable

	markerMu sync.Mutex             // held while the marker is written
	marker   atomic.Pointer[Marker] // as on disk; nil when there is none
}

var (
	_ raft.LogStore    = (*Store)(nil)
	_ raft.StableStore = (*Store)(nil)
)

// Shard returns the number of the shard that s belongs to.
func (s *Store) Shard() uint32 { return s.shard }

// FirstIndex implements raft.LogStore. It returns 0 when the log is empty.
func (s *Store) FirstIndex() (uint64, error) {
	first, _ := s.bounds()
	return first, nil
}

// LastIndex implements raft.LogStore. It returns 0 when the log is empty.
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

// GetLog implements raft.LogStore. It returns raft.ErrLogNotFound unwrapped, because
// Raft compares with ==. The bytes of l are shared with other readers and must not be
// changed.
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

// StoreLog implements raft.LogStore. It is StoreLogs with one record.
func (s *Store) StoreLog(l *raft.Log) error { return s.StoreLogs([]*raft.Log{l}) }

// StoreLogs implements raft.LogStore. On return the records are on disk. Their indexes
// must rise; gaps before or among them are allowed. A record replaces an older one at
// the same index. After a crash during the call, none, some or all of the records are
// there, and those that are there come first: of 5 to 9, for example, 5 to 7. The bytes
// of the records must not be changed after the call, because the cache shares them.
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
		// The WAL is written in order, so that the last batch's sync covers all of them.
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

// fill returns the number n of leading logs that form the next batch, at least one, and
// an upper bound for the batch's size. Apart from a batch of one, size is at most most.
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

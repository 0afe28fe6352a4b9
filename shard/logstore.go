package shard

import (
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
)

// segmentRecords and segmentBytes close a segment of the account of the log's size.
const (
	segmentRecords = 256
	segmentBytes   = 512 << 10
)

// logObserver is told about the log, on Raft's goroutine. It must not block.
type logObserver interface {
	appended() // records were written
	overfull() // the log is over its bound
}

// watchedLog is the log that Raft sees: the shard's own, with an account of the records
// that go through it. It knows which of our records have reached the log, how long a
// write has been under way, and when there is enough to truncate.
//
// Like the store below it, it does not implement raft.MonotonicLogStore.
type watchedLog struct {
	LogStore
	limits   *Limits
	watch    stopwatch
	inflight *inflight
	needs    *retention
	scarce   func() bool // Config.Scarce
	observer logObserver

	writingNS atomic.Int64  // when the write under way began, on the stopwatch; 0 when there is none
	appends   atomic.Uint64 // writes since the instance began

	mu       sync.Mutex
	segments []segment // guarded by mu, as all below; the part of the log that has been seen, oldest first
	bytes    int64     // of the segments
	records  uint64
	unmarked segment // records written since the last snapshot of our own
	replay   uint64  // the record that Raft, while it starts, reads next
}

func newWatchedLog(sh *shared, needs *retention, o logObserver) *watchedLog {
	return &watchedLog{
		LogStore: sh.cfg.Log, limits: &sh.cfg.Limits, watch: sh.watch, inflight: sh.inflight,
		needs: needs, scarce: sh.cfg.Scarce, observer: o,
	}
}

type segment struct {
	last    uint64 // index of its last record
	bytes   int64
	records uint64
}

func (s *segment) add(index uint64, size int64) {
	s.last = index
	s.bytes += size
	s.records++
}

// StoreLog implements raft.LogStore.
func (w *watchedLog) StoreLog(l *raft.Log) error { return w.StoreLogs([]*raft.Log{l}) }

// StoreLogs implements raft.LogStore.
func (w *watchedLog) StoreLogs(logs []*raft.Log) error {
	for _, l := range logs {
		if l.Type == raft.LogCommand {
			w.inflight.markAppended(l.Data)
		}
	}
	w.writingNS.Store(max(1, w.watch.now()))
	err := w.LogStore.StoreLogs(logs)
	w.writingNS.Store(0)
	if err != nil {
		return err
	}
	w.appends.Add(1)
	w.observer.appended()
	if w.account(logs) {
		w.observer.overfull()
	}
	return nil
}

// stalled returns how long the write under way has taken, or 0 when there is none.
func (w *watchedLog) stalled() time.Duration {
	if since := w.writingNS.Load(); since != 0 {
		return time.Duration(w.watch.now() - since)
	}
	return 0
}

// account adds logs to the account, and reports whether the log is over its bound.
func (w *watchedLog) account(logs []*raft.Log) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, l := range logs {
		w.addLocked(l.Index, int64(len(l.Data)+len(l.Extensions)))
	}
	return w.fullLocked()
}

func (w *watchedLog) addLocked(index uint64, size int64) {
	n := len(w.segments)
	if n == 0 || w.segments[n-1].bytes >= segmentBytes || w.segments[n-1].records >= segmentRecords {
		w.segments = append(w.segments, segment{})
		n++
	}
	w.segments[n-1].add(index, size)
	w.unmarked.add(index, size)
	w.bytes += size
	w.records++
}

// fullLocked reports whether the log is over its bound and a snapshot is worth its cost.
// It is when truncating would free something, which is not so while a replica needs the
// records beyond the bound. It is also when much was written since the last snapshot,
// because a start would have to go through all of that.
func (w *watchedLog) fullLocked() bool {
	if w.bytes < w.limits.LogBytes && w.records < w.limits.LogRecords {
		return false
	}
	if w.unmarked.bytes >= w.limits.LogBytes || w.unmarked.records >= w.limits.LogRecords {
		return true
	}
	records, bytes := w.keptLocked()
	return w.records-records >= w.limits.LogRecords/4 || w.bytes-bytes >= w.limits.LogBytes/4
}

// marked notes that a snapshot of our own covers the log up to index.
func (w *watchedLog) marked(index uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.unmarked = segment{}
	for i := len(w.segments) - 1; i >= 0 && w.segments[i].last > index; i-- {
		s := w.segments[i]
		after := min(s.records, s.last-index) // of a segment that the snapshot covers in part
		w.unmarked.records += after
		w.unmarked.bytes += s.bytes / int64(s.records) * int64(after)
	}
}

// full reports whether a snapshot should be taken and the log truncated.
func (w *watchedLog) full() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.fullLocked()
}

// size returns the size of the log, as far as its records have been seen.
func (w *watchedLog) size() (records uint64, bytes int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.records, w.bytes
}

// trailing returns how many records at the end of the log to keep.
func (w *watchedLog) trailing() uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	records, _ := w.keptLocked()
	return records
}

// keptLocked returns the records and bytes that stay at the end of the log when it is
// truncated: some for a replica that is away for a moment, and those that a replica which
// is catching up still needs.
func (w *watchedLog) keptLocked() (records uint64, bytes int64) {
	needed := uint64(math.MaxUint64)
	if !w.scarce() {
		needed = w.needs.needed()
	}
	for i, s := range slices.Backward(w.segments) {
		b, r := bytes+s.bytes, records+s.records
		trails := b <= w.limits.TrailingBytes && r <= w.limits.TrailingRecords
		// The record at a replica's own index is needed too, to show that the logs agree.
		// In the newest segment it stays in any case: see minTrailing.
		owed := (s.last > needed || s.last == needed && i < len(w.segments)-1) &&
			b <= w.limits.HeldBytes && r <= w.limits.HeldRecords
		if !trails && !owed {
			break
		}
		records, bytes = r, b
	}
	return records, bytes
}

// DeleteRange implements raft.LogStore. At the head of the log it may delete less than it
// is told to. Raft was told how many records to keep before the state was synced, and it
// counts them from the end that the log has now. By then a replica may need more.
func (w *watchedLog) DeleteRange(lo, hi uint64) error {
	if keep, head := w.keepsFrom(hi); head && keep <= hi {
		if keep <= lo {
			return nil
		}
		hi = keep - 1
	}
	if err := w.LogStore.DeleteRange(lo, hi); err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if n := len(w.segments); n == 0 || hi < w.segments[n-1].last {
		// The head: segments go that are deleted as a whole.
		n := 0
		for ; n < len(w.segments) && w.segments[n].last <= hi; n++ {
			w.bytes -= w.segments[n].bytes
			w.records -= w.segments[n].records
		}
		w.segments = append(w.segments[:0], w.segments[n:]...)
		return nil
	}
	// The tail, or everything. A segment that is cut in two goes as a whole, because the
	// account need not be exact.
	for n := len(w.segments); n > 0 && w.segments[n-1].last >= lo; n-- {
		w.bytes -= w.segments[n-1].bytes
		w.records -= w.segments[n-1].records
		w.segments = w.segments[:n-1]
	}
	return nil
}

// keepsFrom returns the first record that must stay, according to the account. head
// reports whether deleting up to hi leaves the end of the log.
func (w *watchedLog) keepsFrom(hi uint64) (first uint64, head bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := len(w.segments)
	if n == 0 || hi >= w.segments[n-1].last {
		return 0, false
	}
	records, _ := w.keptLocked()
	return w.segments[n-1].last + 1 - records, true
}

// replayed announces that Raft, which is about to start, will read the log from first to
// its end. That fills the account. Raft reads its last record before that, and others
// later, and these do not count.
func (w *watchedLog) replayed(first uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.replay = first
}

// GetLog implements raft.LogStore.
func (w *watchedLog) GetLog(index uint64, l *raft.Log) error {
	err := w.LogStore.GetLog(index, l)
	if err == nil && w.appends.Load() == 0 {
		w.mu.Lock()
		if index == w.replay {
			w.replay++
			w.addLocked(index, int64(len(l.Data)+len(l.Extensions)))
		}
		w.mu.Unlock()
	}
	return err
}

// ResetLog deletes the whole log and its account.
func (w *watchedLog) ResetLog() error {
	if err := w.LogStore.ResetLog(); err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.segments, w.bytes, w.records, w.unmarked = nil, 0, 0, segment{}
	return nil
}

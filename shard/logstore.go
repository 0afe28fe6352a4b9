package shard

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
)

// segmentRecords and segmentBytes close a segment of the log's account of sizes.
const (
	segmentRecords = 256
	segmentBytes   = 512 << 10
)

// watchedLog is the log that Raft sees: the shard's own, with an account of what goes
// through. It tells which of our records have reached the log, how long a write has
// been under way, and when there is enough to truncate.
//
// Like the store below it, it does not implement raft.MonotonicLogStore.
type watchedLog struct {
	LogStore
	limits   *Limits
	watch    stopwatch
	inflight *inflight
	onAppend func() // records were written
	onFull   func() // the log is over its bound; called on Raft's goroutine, must not block

	writingNS atomic.Int64  // when the write under way began; 0 when there is none
	appends   atomic.Uint64 // writes so far

	mu       sync.Mutex
	segments []segment // guarded by mu; what is known of the log, oldest first
	bytes    int64     // of the segments
	records  uint64
}

type segment struct {
	last    uint64 // index of its last record
	bytes   int64
	records uint64
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
	w.onAppend()
	if w.account(logs) {
		w.onFull()
	}
	return nil
}

// stalled returns how long the write under way has taken.
func (w *watchedLog) stalled() time.Duration {
	if since := w.writingNS.Load(); since != 0 {
		return time.Duration(w.watch.now() - since)
	}
	return 0
}

// account adds logs, and reports whether the log is over its bound.
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
	s := &w.segments[n-1]
	s.last = index
	s.bytes += size
	s.records++
	w.bytes += size
	w.records++
}

func (w *watchedLog) fullLocked() bool {
	return w.bytes >= w.limits.LogBytes || w.records >= w.limits.LogRecords
}

// full reports whether the log should be truncated.
func (w *watchedLog) full() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.fullLocked()
}

// size returns what is known of the log's size.
func (w *watchedLog) size() (records uint64, bytes int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.records, w.bytes
}

// trailing returns how many records at the end of the log to keep.
func (w *watchedLog) trailing() uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	var records uint64
	var bytes int64
	for i := len(w.segments) - 1; i >= 0; i-- {
		s := w.segments[i]
		if bytes+s.bytes > w.limits.TrailingBytes || records+s.records > w.limits.TrailingRecords {
			break
		}
		bytes += s.bytes
		records += s.records
	}
	return records
}

// DeleteRange implements raft.LogStore.
func (w *watchedLog) DeleteRange(lo, hi uint64) error {
	if err := w.LogStore.DeleteRange(lo, hi); err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if n := len(w.segments); n == 0 || hi < w.segments[n-1].last {
		// The head: segments that are gone as a whole.
		n := 0
		for ; n < len(w.segments) && w.segments[n].last <= hi; n++ {
			w.bytes -= w.segments[n].bytes
			w.records -= w.segments[n].records
		}
		w.segments = append(w.segments[:0], w.segments[n:]...)
		return nil
	}
	// The tail, or all. A segment that is cut in two goes as a whole: its size is an
	// account, not a fact.
	for n := len(w.segments); n > 0 && w.segments[n-1].last >= lo; n-- {
		w.bytes -= w.segments[n-1].bytes
		w.records -= w.segments[n-1].records
		w.segments = w.segments[:n-1]
	}
	return nil
}

// GetLog implements raft.LogStore. At its start Raft reads the log from the newest
// snapshot on: that fills the account.
func (w *watchedLog) GetLog(index uint64, l *raft.Log) error {
	err := w.LogStore.GetLog(index, l)
	if err == nil && w.appends.Load() == 0 {
		w.mu.Lock()
		if n := len(w.segments); n == 0 || index > w.segments[n-1].last {
			w.addLocked(index, int64(len(l.Data)+len(l.Extensions)))
		}
		w.mu.Unlock()
	}
	return err
}

// ResetLog deletes the whole log.
func (w *watchedLog) ResetLog() error {
	if err := w.LogStore.ResetLog(); err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.segments, w.bytes, w.records = nil, 0, 0
	return nil
}

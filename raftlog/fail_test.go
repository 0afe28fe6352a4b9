package raftlog

import (
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/hashicorp/raft"

	"millrace/raftlog/disk"
)

// fatalOnce records the first failure and blocks the goroutine of every failure, as if
// the process were about to end.
type fatalOnce struct {
	once sync.Once
	done chan struct{}
	got  fatalPanic
}

func newFatalOnce() *fatalOnce { return &fatalOnce{done: make(chan struct{})} }

func (f *fatalOnce) fatal(class disk.Class, err error) {
	f.once.Do(func() {
		f.got = fatalPanic{class, err}
		close(f.done)
	})
	select {}
}

func (f *fatalOnce) wait(t *testing.T) fatalPanic {
	t.Helper()
	select {
	case <-f.done:
	case <-time.After(20 * time.Second):
		t.Fatal("the failure did not reach Fatal")
	}
	return f.got
}

// TestWriteFailureIsFatal checks that no call returns after a failed write or sync of
// the WAL: the failure goes to Fatal, with its class and cause.
func TestWriteFailureIsFatal(t *testing.T) {
	isWAL := func(op errorfs.Op) bool { return strings.HasSuffix(op.Path, ".log") }
	kinds := map[string]errorfs.OpKind{"write": errorfs.OpFileWrite, "sync": errorfs.OpFileSyncData}
	calls := map[string]func(*Store) error{
		"StoreLogs":   func(s *Store) error { return s.StoreLogs(commands(11, 12, 1)) },
		"DeleteRange": func(s *Store) error { return s.DeleteRange(5, 10) },
		"vote":        func(s *Store) error { setVoteOnly(s); return nil },
		"term":        func(s *Store) error { return s.SetUint64([]byte("CurrentTerm"), 1) },
		"PutMarker":   func(s *Store) error { return s.PutMarker(Marker{Index: 1}) },
		"ResetLog":    (*Store).ResetLog,
		"Remove":      (*Store).Remove,
	}
	classes := map[syscall.Errno]disk.Class{syscall.ENOSPC: disk.Full, syscall.EIO: disk.Failing, syscall.EROFS: disk.Failing}
	for kindName, kind := range kinds {
		for callName, call := range calls {
			for errno, class := range classes {
				t.Run(kindName+"/"+callName+"/"+errno.Error(), func(t *testing.T) {
					var on atomic.Bool
					fs := errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
						if on.Load() && op.Kind == kind && isWAL(op) {
							return &wrappedErrno{errno}
						}
						return nil
					}))
					f := newFatalOnce()
					db := mustOpen(t, fs, Options{Fatal: f.fatal})
					s := db.Store(1)
					storeLogs(t, s, commands(1, 10, 1))
					on.Store(true)
					back := make(chan error, 1)
					go func() { back <- call(s) }()
					got := f.wait(t)
					if got.class != class {
						t.Errorf("class %v, want %v: %v", got.class, class, got.err)
					}
					if !errors.Is(got.err, errno) {
						t.Errorf("the cause is lost: %v", got.err)
					}
					select {
					case err := <-back:
						t.Errorf("the call returned: %v", err)
					default:
					}
				})
			}
		}
	}
}

type wrappedErrno struct{ errno syscall.Errno }

func (w *wrappedErrno) Error() string { return "write: " + w.errno.Error() }
func (w *wrappedErrno) Unwrap() error { return w.errno }

func setVoteOnly(s *Store) {
	_ = s.SetUint64(nameVoteTerm, 3)
	_ = s.Set(nameVoteCandidate, []byte("x"))
}

// TestReadFailureIsFatal checks that failed reads and undecodable values go to Fatal as
// well.
func TestReadFailureIsFatal(t *testing.T) {
	t.Run("corrupt record", func(t *testing.T) {
		db := mustOpen(t, vfs.NewMem(), Options{Fatal: panicFatal, CacheBytes: -1})
		defer closeDB(t, db)
		s := db.Store(1)
		storeLogs(t, s, commands(1, 3, 1))
		if err := db.pebble.Set(recordKey(1, 2), []byte{1, 2, 3}, pebble.Sync); err != nil {
			t.Fatal(err)
		}
		got := catchFatal(func() { _ = s.GetLog(2, new(raft.Log)) })
		if got == nil || got.class != disk.Corrupt {
			t.Fatalf("%+v", got)
		}
	})
	for _, kind := range []byte{kindFloor, kindVote, kindMarker} {
		t.Run("corrupt "+string(rune(kind)), func(t *testing.T) {
			db := mustOpen(t, vfs.NewMem(), Options{Fatal: panicFatal})
			defer closeDB(t, db)
			if err := db.pebble.Set(appendPrefix(nil, 1, kind), []byte{1, 2, 3}, pebble.Sync); err != nil {
				t.Fatal(err)
			}
			if got := catchFatal(func() { db.Store(1) }); got == nil || got.class != disk.Corrupt {
				t.Fatalf("%+v", got)
			}
		})
	}
	t.Run("failing read", func(t *testing.T) {
		var on atomic.Bool
		fs := errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
			if on.Load() && op.Kind == errorfs.OpFileReadAt {
				return syscall.EIO
			}
			return nil
		}))
		f := newFatalOnce()
		db := mustOpen(t, fs, Options{Fatal: f.fatal, CacheBytes: -1})
		s := db.Store(1)
		storeLogs(t, s, commands(1, 3000, 1))
		if err := db.pebble.Flush(); err != nil {
			t.Fatal(err)
		}
		on.Store(true)
		go func() { _ = s.GetLog(1500, new(raft.Log)) }()
		if got := f.wait(t); got.class != disk.Failing || !errors.Is(got.err, syscall.EIO) {
			t.Fatalf("%v: %v", got.class, got.err)
		}
	})
}

// TestFullDiskUnderFlush checks that a full disk during a flush is not fatal. It is
// reported, and Pebble retries.
func TestFullDiskUnderFlush(t *testing.T) {
	var full atomic.Bool
	fs := errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
		if full.Load() && op.Kind == errorfs.OpCreate && strings.HasSuffix(op.Path, ".sst") {
			return syscall.ENOSPC
		}
		return nil
	}))
	told := make(chan error, 1)
	db := mustOpen(t, fs, Options{Fatal: panicFatal, Events: disk.Events{BackgroundError: func(err error) {
		select {
		case told <- err:
		default:
		}
	}}})
	defer closeDB(t, db)
	s := db.Store(1)
	storeLogs(t, s, commands(1, 10, 1))
	full.Store(true)
	flushed, err := db.pebble.AsyncFlush()
	if err != nil {
		t.Fatal(err)
	}
	if err := <-told; disk.Classify(err) != disk.Full {
		t.Fatalf("%v", err)
	}
	storeLogs(t, s, commands(11, 12, 1)) // the log itself still has room
	full.Store(false)
	<-flushed
	wantBounds(t, s, 1, 12)
}

// TestDamagedTable checks that damage in an sstable is found when it is read, and is
// fatal.
func TestDamagedTable(t *testing.T) {
	mem := vfs.NewMem()
	db := mustOpen(t, mem, Options{})
	s := db.Store(1)
	storeLogs(t, s, commands(1, 3000, 1))
	if err := db.pebble.Flush(); err != nil {
		t.Fatal(err)
	}
	closeDB(t, db)
	damageTables(t, mem)
	f := newFatalOnce()
	db, err := Open("log", Options{FS: mem, Fatal: f.fatal, CacheBytes: -1})
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		s := db.Store(1)
		for i := uint64(1); i <= 3000; i++ {
			var l raft.Log
			if err := s.GetLog(i, &l); err != nil || string(l.Data) != string(command(i, 1).Data) {
				t.Errorf("record %d reads as %q, %v", i, l.Data, err)
				return
			}
		}
		t.Error("all records were read past the damage")
	}()
	if got := f.wait(t); got.class != disk.Corrupt {
		t.Fatalf("%v: %v", got.class, got.err)
	}
}

// damageTables overwrites some bytes in the middle of each table over 20,000 bytes.
func damageTables(t *testing.T, fs vfs.FS) {
	t.Helper()
	names, err := fs.List("log")
	if err != nil {
		t.Fatal(err)
	}
	damaged := 0
	for _, n := range names {
		if !strings.HasSuffix(n, ".sst") {
			continue
		}
		f, err := fs.OpenReadWrite("log/"+n, vfs.WriteCategoryUnspecified)
		if err != nil {
			t.Fatal(err)
		}
		if fi, err := f.Stat(); err == nil && fi.Size() > 20_000 {
			if _, err := f.WriteAt([]byte("damage"), fi.Size()/2); err != nil {
				t.Fatal(err)
			}
			damaged++
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if damaged == 0 {
		t.Fatal("no table was long enough to damage")
	}
}

// TestSyncPending checks that SyncPending is the age of a hanging sync, even if others
// began after it, and 0 once all have ended.
func TestSyncPending(t *testing.T) {
	var hang atomic.Bool
	entered, release := make(chan struct{}), make(chan struct{})
	var once sync.Once
	fs := errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
		if hang.Load() && op.Kind == errorfs.OpFileSyncData && strings.HasSuffix(op.Path, ".log") {
			once.Do(func() { close(entered) })
			<-release
		}
		return nil
	}))
	var heard atomic.Int64
	db := mustOpen(t, fs, Options{OnSync: func(d time.Duration) { heard.Store(int64(d)) }})
	defer closeDB(t, db)
	s := db.Store(1)
	storeLogs(t, s, commands(1, 1, 1))
	if d := db.SyncPending(); d != 0 {
		t.Fatalf("pending %v with nothing under way", d)
	}
	hang.Store(true)
	var wg sync.WaitGroup
	wg.Go(func() { storeLogs(t, s, commands(2, 2, 1)) })
	<-entered
	start := time.Now()
	wg.Go(func() { storeLogs(t, db.Store(2), commands(1, 1, 1)) })
	for time.Since(start) < 20*time.Millisecond {
		time.Sleep(time.Millisecond)
	}
	before := time.Since(start)
	if d := db.SyncPending(); d < before {
		t.Errorf("pending %v, but a sync has hung for at least %v", d, before)
	}
	hang.Store(false)
	close(release)
	wg.Wait()
	if d := db.SyncPending(); d != 0 {
		t.Errorf("pending %v after the end", d)
	}
	m := db.Metrics()
	if m.Syncs != 3 || m.SyncTime < before || heard.Load() == 0 {
		t.Errorf("%d syncs took %v", m.Syncs, m.SyncTime)
	}
}

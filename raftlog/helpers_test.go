package raftlog

import (
	"errors"
	"fmt"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft"

	"millrace/raftlog/disk"
)

// mustOpen opens the database "log" in fs, with a small memtable unless o says otherwise.
func mustOpen(t testing.TB, fs vfs.FS, o Options) *DB {
	t.Helper()
	o.FS = fs
	if o.MemTableBytes == 0 {
		o.MemTableBytes = 1 << 20
	}
	db, err := Open("log", o)
	if err != nil {
		t.Fatal(err)
	}
	return db
}

// openMem opens a database in memory that is closed with the test.
func openMem(t testing.TB, o Options) *DB {
	t.Helper()
	db := mustOpen(t, vfs.NewMem(), o)
	t.Cleanup(func() { closeDB(t, db) })
	return db
}

func closeDB(t testing.TB, db *DB) {
	t.Helper()
	if err := db.Close(); err != nil && !errors.Is(err, ErrClosed) {
		t.Fatal(err)
	}
}

// command returns the one record that tests store at index in term.
func command(index, term uint64) *raft.Log {
	return &raft.Log{Index: index, Term: term, Type: raft.LogCommand, Data: fmt.Appendf(nil, "command %d of term %d", index, term)}
}

// commands returns the commands from first to last, both included.
func commands(first, last, term uint64) []*raft.Log {
	var logs []*raft.Log
	for i := first; i <= last; i++ {
		logs = append(logs, command(i, term))
	}
	return logs
}

func storeLogs(t testing.TB, s *Store, logs []*raft.Log) {
	t.Helper()
	if err := s.StoreLogs(logs); err != nil {
		t.Fatal(err)
	}
}

func deleteRange(t testing.TB, s *Store, lo, hi uint64) {
	t.Helper()
	if err := s.DeleteRange(lo, hi); err != nil {
		t.Fatal(err)
	}
}

func wantBounds(t testing.TB, s *Store, first, last uint64) {
	t.Helper()
	f, err := s.FirstIndex()
	if err != nil {
		t.Fatal(err)
	}
	l, err := s.LastIndex()
	if err != nil {
		t.Fatal(err)
	}
	if f != first || l != last {
		t.Fatalf("log is [%d, %d], want [%d, %d]", f, l, first, last)
	}
}

// fatalPanic is the value that panicFatal panics with.
type fatalPanic struct {
	class disk.Class
	err   error
}

// panicFatal is an Options.Fatal that a test can catch.
func panicFatal(class disk.Class, err error) { panic(fatalPanic{class, err}) }

// catchFatal runs f and returns the failure that f gave to panicFatal, or nil when f
// returned.
func catchFatal(f func()) (got *fatalPanic) {
	defer func() {
		if p := recover(); p != nil {
			fp, ok := p.(fatalPanic)
			if !ok {
				panic(p)
			}
			got = &fp
		}
	}()
	f()
	return nil
}

package disk

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"go.uber.org/goleak"
)

// TestClassify classifies errors of the system, of Pebble and of ours.
func TestClassify(t *testing.T) {
	for _, c := range []struct {
		err  error
		want Class
	}{
		{syscall.ENOSPC, Full},
		{&os.PathError{Op: "write", Path: "x", Err: syscall.ENOSPC}, Full},
		{fmt.Errorf("a: %w", fmt.Errorf("b: %w", syscall.EDQUOT)), Full},
		{&fatalError{"pebble: fatal commit error", syscall.ENOSPC}, Full},
		{syscall.EIO, Failing},
		{&os.PathError{Op: "open", Path: "x", Err: syscall.EMFILE}, Starved},
		{syscall.ENFILE, Starved},
		{syscall.ENOMEM, Starved},
		{syscall.EROFS, Failing},
		{errors.New("anything"), Failing},
		{ErrCorrupt, Corrupt},
		{fmt.Errorf("%w: record", ErrCorrupt), Corrupt},
		{fmt.Errorf("open: %w", pebble.ErrCorruption), Corrupt},
		// Corruption takes precedence over a full disk.
		{fmt.Errorf("%w and %w", syscall.ENOSPC, ErrCorrupt), Corrupt},
	} {
		if got := Classify(c.err); got != c.want {
			t.Errorf("%v is %v, want %v", c.err, got, c.want)
		}
	}
	for class, code := range map[Class]int{Full: 10, Failing: 11, Corrupt: 12} {
		if class.ExitCode() != code || strings.Contains(class.String(), "Class") {
			t.Errorf("%v ends the process with %d, want %d", class, class.ExitCode(), code)
		}
	}
}

// mustOpen opens the database in the directory "db" of o.FS.
func mustOpen(t *testing.T, o Options) *DB {
	t.Helper()
	return mustOpenIn(t, "db", o)
}

func mustOpenIn(t *testing.T, dir string, o Options) *DB {
	t.Helper()
	db, err := Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	return db
}

// TestOpenClose checks that a database has the named format from its first opening on,
// and that no goroutine runs after Close.
func TestOpenClose(t *testing.T) {
	defer goleak.VerifyNone(t)
	mem := vfs.NewMem()
	var slow Events
	slow.Slow = func(string, time.Duration) {}
	for range 3 {
		db := mustOpen(t, Options{FS: mem, Events: slow})
		if got := db.FormatMajorVersion(); got != Format {
			t.Fatalf("format %v, want %v", got, Format)
		}
		if got := db.TableFormat(); got != Format.MaxTableFormat() {
			t.Fatalf("table format %v, want %v", got, Format.MaxTableFormat())
		}
		if err := db.Set([]byte("k"), []byte("v"), pebble.Sync); err != nil {
			t.Fatal(err)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestDirectoryIsDurable checks that new directories survive a power cut.
func TestDirectoryIsDurable(t *testing.T) {
	mem := vfs.NewCrashableMem()
	db := mustOpenIn(t, "a/b/c", Options{FS: mem})
	defer db.Close()
	if err := db.Set([]byte("k"), []byte("v"), pebble.Sync); err != nil {
		t.Fatal(err)
	}
	clone := mustOpenIn(t, "a/b/c", Options{FS: mem.CrashClone(vfs.CrashCloneCfg{}), ReadOnly: true})
	defer clone.Close()
	v, closer, err := clone.Get([]byte("k"))
	if err != nil || string(v) != "v" {
		t.Fatalf("%q, %v", v, err)
	}
	_ = closer.Close()
}

// TestOpenErrors checks that a directory or a lock file that cannot be created is not
// reported as a held lock.
func TestOpenErrors(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(filepath.Join(file, "db"), Options{Name: "x"}); err == nil || errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), "open x database") {
		t.Errorf("below a file: %v", err)
	}
	denied := errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind == errorfs.OpLock {
			return &os.PathError{Op: "open", Path: op.Path, Err: syscall.EACCES}
		}
		return nil
	}))
	if _, err := Open("db", Options{FS: denied}); !errors.Is(err, fs.ErrPermission) || errors.Is(err, ErrLocked) {
		t.Errorf("the lock file cannot be created: %v", err)
	}
}

// TestOpenDamagedTable checks that a table that was cut short or is missing is corruption
// to Open, also to a read-only one.
func TestOpenDamagedTable(t *testing.T) {
	for name, harm := range map[string]func(path string) error{
		"cut short": func(path string) error { return os.Truncate(path, 100) },
		"gone":      os.Remove,
	} {
		dir := t.TempDir()
		db := mustOpenIn(t, dir, Options{})
		if err := errors.Join(db.Set([]byte("k"), []byte("v"), pebble.Sync), db.Flush(), db.Close()); err != nil {
			t.Fatal(err)
		}
		if err := harm(onlyTable(t, dir)); err != nil {
			t.Fatal(err)
		}
		for _, readOnly := range []bool{true, false} {
			if _, err := Open(dir, Options{ReadOnly: readOnly}); err == nil || Classify(err) != Corrupt {
				t.Errorf("%s, read only %v: %v", name, readOnly, err)
			}
		}
	}
}

// onlyTable returns the path of the one table in dir.
func onlyTable(t *testing.T, dir string) string {
	t.Helper()
	tables, err := filepath.Glob(filepath.Join(dir, "*.sst"))
	if err != nil || len(tables) != 1 {
		t.Fatalf("tables %q, %v", tables, err)
	}
	return tables[0]
}

// TestVerifyTables damages a block that has only deleted keys. No iterator reads it, but
// VerifyTables does.
func TestVerifyTables(t *testing.T) {
	dir := t.TempDir()
	db := mustOpenIn(t, dir, Options{})
	for i := range 1000 {
		if err := db.Set(fmt.Appendf(nil, "key%04d", i), bytes.Repeat([]byte{byte(i)}, 500), pebble.NoSync); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Flush(); err != nil {
		t.Fatal(err)
	}
	if err := db.DeleteRange([]byte("key"), []byte("key0999"), pebble.Sync); err != nil {
		t.Fatal(err)
	}
	if err := db.VerifyTables(); err != nil {
		t.Errorf("before the damage: %v", err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	table := onlyTable(t, dir)
	b, err := os.ReadFile(table)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)/4] ^= 1
	if err := os.WriteFile(table, b, 0o600); err != nil {
		t.Fatal(err)
	}

	db = mustOpenIn(t, dir, Options{ReadOnly: true})
	it, err := db.NewIter(nil)
	if err != nil {
		t.Fatal(err)
	}
	keys := 0
	for ok := it.First(); ok; ok = it.Next() {
		keys++
	}
	if err := it.Close(); err != nil || keys != 1 {
		t.Errorf("%d keys, %v: the iterator has read the damaged block", keys, err)
	}
	if err := db.VerifyTables(); err == nil || Classify(err) != Corrupt || !strings.Contains(err.Error(), filepath.Base(table)) {
		t.Errorf("after the damage: %v", err)
	}
	if err := db.Close(); err != nil {
		t.Error(err)
	}
}

// failure holds the arguments of a call of Fatal.
type failure struct {
	class Class
	err   error
}

// TestFail checks that Pebble's fatal errors and events reach Fatal with the right class,
// and that the caller does not go on even if Fatal returns.
func TestFail(t *testing.T) {
	var got []failure
	record := func(c Class, err error) { got = append(got, failure{c, err}) }
	db := mustOpen(t, Options{FS: vfs.NewMem(), Name: "x", Fatal: record})
	defer db.Close()
	logger := pebbleLogger{log: slog.New(slog.DiscardHandler), fail: db.Fail}
	o := Options{Logger: logger.log}
	opened := true
	events := o.eventListener(db.Fail, func() bool { return opened })
	for _, c := range []struct {
		name string
		do   func()
		want Class
		text string
	}{
		{"Fail", func() { db.Fail(syscall.EIO) }, Failing, "x database"},
		{"Fatalf with an error", func() { logger.Fatalf("commit: %v", error(syscall.ENOSPC)) }, Full, "commit: no space"},
		{"Fatalf without", func() { logger.Fatalf("odd: %d", 1) }, Failing, "odd: 1"},
		{"corruption event", func() {
			events.DataCorruption(pebble.DataCorruptionInfo{Path: "p.sst", Details: errors.New("checksum")})
		}, Corrupt, "p.sst: checksum"},
		{"background error", func() { events.BackgroundError(syscall.EIO) }, Failing, "in the background"},
		{"corruption in the background", func() { events.BackgroundError(pebble.ErrCorruption) }, Corrupt, ""},
		{"full while it opens", func() { opened = false; events.BackgroundError(syscall.ENOSPC) }, Full, "in the background"},
	} {
		got = nil
		panicked := func() (p any) {
			defer func() { p = recover() }()
			c.do()
			return nil
		}()
		if panicked == nil {
			t.Errorf("%s returned", c.name)
		}
		if len(got) != 1 || got[0].class != c.want || !strings.Contains(got[0].err.Error(), c.text) {
			t.Errorf("%s: %v, want %v with %q", c.name, got, c.want, c.text)
		}
	}
	got, opened = nil, true
	events.BackgroundError(syscall.EMFILE)
	events.BackgroundError(pebble.ErrCancelledCompaction)
	events.BackgroundError(syscall.ENOSPC)
	if len(got) != 0 {
		t.Errorf("an error after which Pebble retries was fatal: %v", got)
	}
}

// TestWALFailureIsFatal fails operations on the WAL, including its rotation. Each failure
// must reach Fatal with its class, even though the commits do not wait for a sync, as
// those of the state do not.
func TestWALFailureIsFatal(t *testing.T) {
	for kind, name := range map[errorfs.OpKind]string{
		errorfs.OpCreate: "create", errorfs.OpFileWrite: "write",
		errorfs.OpFileSyncData: "sync",
	} {
		t.Run(name, func(t *testing.T) {
			var on atomic.Bool
			fsys := errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
				if on.Load() && op.Kind == kind && isWAL(op.Path) {
					return syscall.ENOSPC
				}
				return nil
			}))
			got := make(chan failure, 1)
			db := mustOpen(t, Options{FS: fsys, MemTableBytes: 256 << 10, Fatal: func(c Class, err error) {
				select {
				case got <- failure{c, err}:
				default:
				}
				select {} // as if the process had ended
			}})
			on.Store(true)
			go func() {
				for range 200 {
					b := db.NewBatch()
					_ = b.Set([]byte("k"), make([]byte, 16<<10), nil)
					db.Commit(b, pebble.NoSync)
				}
				_ = db.LogData(nil, pebble.Sync)
			}()
			select {
			case f := <-got:
				if f.class != Full || !strings.Contains(f.err.Error(), name) {
					t.Errorf("%v: %v", f.class, f.err)
				}
			case <-time.After(20 * time.Second):
				t.Fatal("Fatal was not called")
			}
		})
	}
}

// TestSlow checks that a hanging sync is reported while it hangs.
func TestSlow(t *testing.T) {
	release := make(chan struct{})
	var hang atomic.Bool
	fsys := errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
		if hang.Load() && op.Kind == errorfs.OpFileSyncData && strings.HasSuffix(op.Path, ".log") {
			<-release
		}
		return nil
	}))
	heard := make(chan string, 1)
	db := mustOpen(t, Options{FS: fsys, SlowAfter: 10 * time.Millisecond, Events: Events{Slow: func(op string, d time.Duration) {
		select {
		case heard <- op:
		default:
		}
	}}})
	defer db.Close()
	hang.Store(true)
	done := make(chan error, 1)
	go func() { done <- db.Set([]byte("k"), nil, pebble.Sync) }()
	select {
	case op := <-heard:
		if !strings.Contains(op, ".log") {
			t.Errorf("the slow operation is %q", op)
		}
	case <-time.After(20 * time.Second):
		t.Error("no slow operation was reported")
	}
	hang.Store(false)
	close(release)
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// TestLogIsQuiet checks that Pebble's info messages are not logged by default.
func TestLogIsQuiet(t *testing.T) {
	var out bytes.Buffer
	db := mustOpen(t, Options{FS: vfs.NewMem(), Name: "x", Logger: slog.New(slog.NewTextHandler(&out, nil))})
	for i := range 100 {
		if err := db.Set(fmt.Append(nil, i), make([]byte, 1000), pebble.Sync); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(db.Flush(), db.Close()); err != nil {
		t.Fatal(err)
	}
	if out.Len() > 0 {
		t.Errorf("logged %s", &out)
	}
}

// TestOpenOnFullDisk checks that an open that has to write tables fails when there is no
// room, instead of waiting for it.
func TestOpenOnFullDisk(t *testing.T) {
	mem := vfs.NewMem()
	db := mustOpen(t, Options{FS: mem})
	if err := errors.Join(db.Set([]byte("k"), []byte("v"), pebble.Sync), db.Close()); err != nil {
		t.Fatal(err)
	}
	full := errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if strings.HasSuffix(op.Path, ".sst") && op.Kind.ReadOrWrite() == errorfs.OpIsWrite {
			return syscall.ENOSPC
		}
		return nil
	}))
	failed := make(chan Class, 1)
	ended := make(chan error, 1)
	go func() {
		_, err := Open("db", Options{FS: full, Fatal: func(c Class, _ error) {
			failed <- c
			select {} // as if the process ended
		}})
		ended <- err
	}()
	select {
	case c := <-failed:
		if c != Full {
			t.Errorf("it failed with %v", c)
		}
	case err := <-ended:
		if Classify(err) != Full {
			t.Errorf("Open returned %v", err)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("Open still waits after 30 s")
	}
}

// TestRepeatLimit checks that one message in five seconds is let through, and the others
// are counted.
func TestRepeatLimit(t *testing.T) {
	var l repeatLimit
	start := time.Unix(1000, 0)
	for i, want := range []struct {
		after   time.Duration
		ok      bool
		skipped int
	}{{0, true, 0}, {time.Second, false, 0}, {4 * time.Second, false, 0}, {5 * time.Second, true, 2}, {11 * time.Second, true, 0}} {
		if skipped, ok := l.allow(start.Add(want.after)); ok != want.ok || skipped != want.skipped {
			t.Errorf("%d: %v, %d", i, ok, skipped)
		}
	}
}

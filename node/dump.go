package node

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/cockroachdb/pebble/v2"

	"millrace/placement"
	"millrace/raftlog"
	"millrace/raftlog/disk"
	"millrace/shard"
	"millrace/stream"
)

// DumpOptions selects the parts of a data directory that Dump prints.
type DumpOptions struct {
	Log   bool // Raft logs, votes and snapshot markers
	State bool // streams, groups, pending entries, the cluster map
	// Limit is the most lines printed of each part; zero means all.
	Limit int
	// Progress, if set, is called now and then with the number of lines printed of the
	// present part.
	Progress func(lines int)
}

// progressEvery is the number of lines or keys between two reports of progress.
const progressEvery = 50_000

// errDumpLimit ends a part after Limit lines.
var errDumpLimit = errors.New("limit reached")

// Dump prints the data directory of a node that is not running. It changes nothing.
func Dump(dir string, w io.Writer, o DumpOptions) error {
	b, err := os.ReadFile(filepath.Join(dir, identityFile))
	if err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	lock, err := lockDir(dir)
	if err != nil {
		return err
	}
	defer lock.Close()
	out := bufio.NewWriter(w)
	fmt.Fprintf(out, "# %s\n%s", identityFile, b)
	lines := 0
	line := func(text string) error {
		if o.Limit > 0 && lines >= o.Limit {
			return errDumpLimit
		}
		lines++
		if o.Progress != nil && lines%progressEvery == 0 {
			o.Progress(lines)
		}
		_, err := out.WriteString(text + "\n")
		return err
	}
	if o.Log {
		fmt.Fprintf(out, "# %s\n", raftlogDir)
		err = dumpLog(dir, line)
	}
	if lines = 0; o.State && (err == nil || errors.Is(err, errDumpLimit)) {
		fmt.Fprintf(out, "# %s\n", stateDir)
		err = dumpState(dir, line)
	}
	if errors.Is(err, errDumpLimit) {
		fmt.Fprintln(out, "# … and more")
		err = nil
	}
	return errors.Join(err, out.Flush())
}

// dumpLog passes every line about the Raft logs to line, until line returns an error.
func dumpLog(dir string, line func(string) error) error {
	db, err := raftlog.OpenReadOnly(filepath.Join(dir, raftlogDir), raftlog.Options{RenderCommand: shard.PrintRecord})
	if err != nil {
		return diskFailure(err)
	}
	defer db.Close()
	var failed error
	err = db.Dump(func(id uint32, kind, text string) bool {
		failed = line(fmt.Sprintf("shard %d %s %s", id, kind, text))
		return failed == nil
	})
	return errors.Join(failed, err)
}

// dumpState passes every line about the state to line, until line returns an error.
func dumpState(dir string, line func(string) error) (err error) {
	db, err := disk.Open(filepath.Join(dir, stateDir), disk.Options{Name: "state", ReadOnly: true})
	if err != nil {
		return diskFailure(err)
	}
	defer db.Close()
	it, err := db.NewIter(&pebble.IterOptions{})
	if err != nil {
		return err
	}
	defer it.Close()
	for ok := it.First(); ok; ok = it.Next() {
		if err := line(printState(it.Key(), it.Value())); err != nil {
			return err
		}
	}
	return it.Error()
}

// printState returns a readable line for one key and value of the state.
func printState(key, value []byte) string {
	if string(key) == string(placement.MapKey()) {
		m, err := placement.DecodeMap(value)
		if err != nil {
			return fmt.Sprintf("map: %v", err)
		}
		return "map " + m.String()
	}
	if text, ok := shard.PrintSystem(key, value); ok {
		return text
	}
	return stream.PrintRecord(key, value)
}

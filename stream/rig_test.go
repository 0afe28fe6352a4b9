package stream_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"millrace/command"
	"millrace/kv"
	"millrace/kv/pebblekv"
	"millrace/resp"
	"millrace/stream"
)

// rig is the state of one shard on a Pebble in memory. Each command is a batch of its own.
type rig struct {
	t     failer
	db    *pebble.DB
	state *stream.State
	nowMS int64
}

// failer has the methods of *testing.T, *testing.B, *testing.F and *rapid.T that a rig uses.
type failer interface {
	Helper()
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

// newRig returns a rig that is closed when the test ends.
func newRig(t testing.TB) *rig {
	t.Helper()
	r := openRig(t)
	t.Cleanup(r.close)
	return r
}

// openRig returns a rig that the caller closes.
func openRig(t failer) *rig {
	t.Helper()
	db, err := pebble.Open("", &pebble.Options{FS: vfs.NewMem(), Logger: quiet{}})
	if err != nil {
		t.Fatal(err)
	}
	return &rig{t: t, db: db, state: stream.NewState(0, kv.Slots-1), nowMS: 1_000_000}
}

func (r *rig) close() {
	if err := r.db.Close(); err != nil {
		r.t.Fatal(err)
	}
}

// quiet is a pebble.Logger that logs only fatal errors.
type quiet struct{}

func (quiet) Infof(string, ...any)        {}
func (quiet) Errorf(string, ...any)       {}
func (quiet) Fatalf(f string, arg ...any) { pebble.DefaultLogger.Fatalf(f, arg...) }

// do runs a command, given as words without blanks.
func (r *rig) do(line string) resp.Value {
	r.t.Helper()
	return r.run(argvOf(strings.Fields(line)...))
}

// show runs a command and prints its reply as RESP2.
func (r *rig) show(line string) string {
	r.t.Helper()
	return resp.Print(r.do(line), 2)
}

// run returns the reply that a client would see. It refuses wrong words, runs a reading
// command on the database, and applies a writing command as a record of its own.
func (r *rig) run(argv [][]byte) resp.Value {
	r.t.Helper()
	c, refusal := stream.Lookup(argv)
	if refusal != nil {
		return *refusal
	}
	if c == nil {
		r.t.Fatalf("%q is not in the table", argv[0])
	}
	if c.Check != nil {
		if refusal := c.Check(argv); refusal != nil {
			return *refusal
		}
	}
	if c.Is(command.Write) {
		return r.apply(argv)[0]
	}
	return r.read(argv)[0]
}

// read runs the reading commands of one call on one view. It expects no refusal.
func (r *rig) read(cmds ...[][]byte) []resp.Value {
	r.t.Helper()
	replies, refusal, err := r.state.Read(pebblekv.Reader{R: r.db}, r.nowMS, cmds)
	if err != nil || refusal != nil {
		r.t.Fatalf("%s: refusal %v, error %v", cmds, refusal, err)
	}
	return replies
}

// apply commits commands as one record.
func (r *rig) apply(cmds ...[][]byte) []resp.Value {
	r.t.Helper()
	b := r.db.NewIndexedBatch()
	defer b.Close()
	kv := pebblekv.NewBatch(b)
	replies, refusal, err := r.state.Apply(kv, r.nowMS, cmds)
	if err == nil {
		err = r.state.Flush(kv)
	}
	if err == nil {
		err = b.Commit(pebble.NoSync)
	}
	if err != nil {
		r.t.Fatalf("%s: %v", cmds, err)
	}
	r.state.Committed()
	if refusal != nil {
		return slices.Repeat([]resp.Value{*refusal}, len(cmds))
	}
	return replies
}

// putString makes name a string, so that it is not a stream.
func (r *rig) putString(name string) {
	r.t.Helper()
	if v := r.apply(argvOf("SET", name, "x"))[0]; v.IsErr() {
		r.t.Fatalf("SET %s: %v", name, v)
	}
}

func argvOf(words ...string) [][]byte {
	argv := make([][]byte, len(words))
	for i, w := range words {
		argv[i] = []byte(w)
	}
	return argv
}

// reader reads the committed records.
func (r *rig) reader() kv.Reader { return pebblekv.Reader{R: r.db} }

package replay

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"millrace/kv"
	"millrace/kv/pebblekv"
	"millrace/resp"
	server "millrace/stream"
	"millrace/test/chaos/client"
)

// machine is the server's state machine of a shard, over a database in memory.
type machine struct {
	t     *testing.T
	db    *pebble.DB
	state *server.State
}

func newMachine(t *testing.T) *machine {
	db, err := pebble.Open("", &pebble.Options{FS: vfs.NewMem(), Logger: quiet{}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return &machine{t, db, server.NewState(0, kv.Slots-1)}
}

type quiet struct{}

func (quiet) Infof(string, ...any)        {}
func (quiet) Errorf(string, ...any)       {}
func (quiet) Fatalf(f string, arg ...any) { pebble.DefaultLogger.Fatalf(f, arg...) }

// do runs commands as one record.
func (s *machine) do(nowMS int64, commands [][]string) []resp.Value {
	s.t.Helper()
	cmds := make([][][]byte, len(commands))
	for i, words := range commands {
		for _, w := range words {
			cmds[i] = append(cmds[i], []byte(w))
		}
	}
	b := s.db.NewIndexedBatch()
	defer b.Close()
	kv := pebblekv.NewBatch(b)
	replies, refusal, err := s.state.Apply(kv, nowMS, cmds)
	if err == nil {
		err = s.state.Flush(kv)
	}
	if err == nil {
		err = b.Commit(pebble.NoSync)
	}
	if err != nil || refusal != nil {
		s.t.Fatal(refusal, err)
	}
	s.state.Committed()
	return replies
}

// TestModel runs the operations of a Player in the server's state machine and in the model,
// and compares every reply.
func TestModel(t *testing.T) {
	const operations = 3000
	for seed := range uint64(4) {
		srv, m := newMachine(t), NewModel()
		m.NowMS = 1_000_000
		p := &Player{History: &History{}, Streams: []string{"a", "b"}, Rand: rand.New(rand.NewPCG(seed, 1))}
		compare := func(commands [][]string) (last []resp.Value) {
			t.Helper()
			last = srv.do(m.NowMS, commands)
			for i, words := range commands {
				v, err := m.Do(words)
				if err != nil {
					t.Fatal(err)
				}
				got := last[i]
				if words[0] == "XINFO" && words[1] == "STREAM" {
					got = without(got, unmodelled)
				}
				if shown(got) != shown(v) {
					t.Fatalf("seed %d: %q\nserver %s\nmodel  %s", seed, words, shown(got), shown(v))
				}
			}
			return last
		}
		for _, st := range p.Streams {
			for _, words := range Setup(st) {
				compare([][]string{words})
			}
		}
		for range operations {
			m.NowMS += int64(p.Rand.IntN(30))
			op := p.Next()
			replies := compare(op.Commands)
			op.Reply = resp.Array(replies...)
			if p.Rand.IntN(50) == 0 {
				op.Outcome = client.Unknown // so that the Player begins a new session
			}
			p.Ended(op)
			if p.Rand.IntN(40) == 0 {
				compare([][]string{{"XINFO", "STREAM", op.Stream, "FULL", "COUNT", "0"}})
			}
		}
	}
}

// story is a history of two clients on one stream, and its log.
type story struct {
	Shard
}

func (s *story) op(n int) *Op { return &s.Ops[n] }

// tell returns a story without any problem.
func tell(t *testing.T) *story {
	s := &story{Shard: Shard{ClockMS: 1000, Finals: map[string]map[string]resp.Value{}}}
	m := NewModel()
	index := uint64(1)
	logged := func(commands [][]string) resp.Value {
		m.NowMS = max(m.NowMS, 1000+int64(index))
		s.Log = append(s.Log, Record{Index: index, NowMS: m.NowMS, Calls: []Call{{len(commands) > 1, commands}}})
		index++
		var replies []resp.Value
		for _, words := range commands {
			v, err := m.Do(words)
			if err != nil {
				t.Fatal(err)
			}
			replies = append(replies, v)
		}
		if len(replies) > 1 {
			return resp.Array(replies...)
		}
		return replies[0]
	}
	for _, words := range Setup("a") {
		s.Setup = append(s.Setup, words)
		logged([][]string{words})
	}
	at := time.Duration(0)
	do := func(o Op, commands ...[]string) {
		o.Stream, o.Commands, o.Invoked, o.Returned = "a", commands, at, at+5
		at += 10
		switch {
		case o.Outcome == client.Refused:
		case o.Reads:
			var err error
			if o.Reply, err = m.Do(commands[0]); err != nil {
				t.Fatal(err)
			}
		default:
			o.Reply = logged(commands)
		}
		s.Ops = append(s.Ops, o)
	}
	one, two := Op{Session: 1}, Op{Session: 2}
	do(one, []string{"XADD", "a", "*", "p", "s1.1"})                                                                   // 0
	do(two, []string{"XADD", "a", "IDMP", "s2", "1", "*", "p", "s2.1"})                                                // 1
	do(one, []string{"XREADGROUP", "GROUP", "g", "s1", "COUNT", "1", "STREAMS", "a", ">"})                             // 2
	do(Op{Session: 1, Reads: true}, []string{"XLEN", "a"})                                                             // 3
	do(Op{Session: 2, Outcome: client.Refused}, []string{"XADD", "a", "*", "p", "s2.2"})                               // 4
	do(one, []string{"XADD", "a", "*", "p", "s1.3"}, []string{"XLEN", "a"})                                            // 5
	do(Op{Session: 2, Outcome: client.Unknown}, []string{"XADD", "a", "*", "p", "s2.3"})                               // 6
	do(Op{Session: 1, Blocks: true}, []string{"XREADGROUP", "GROUP", "g", "s1", "COUNT", "1001", "STREAMS", "a", ">"}) // 7
	do(Op{Session: 1, Reads: true}, []string{"XRANGE", "a", "-", "+"})                                                 // 8
	final, err := m.Do([]string{"XINFO", "STREAM", "a", "FULL", "COUNT", "0"})
	if err != nil {
		t.Fatal(err)
	}
	s.Finals["a"] = map[string]resp.Value{"node 1": final, "node 2": final}
	return s
}

// log returns the log without its setup.
func (s *story) log() []Record { return s.Log[len(s.Setup):] }

// drop removes the n-th record after the setup from the log.
func (s *story) drop(n int) { s.Log = slices.Delete(s.Log, len(s.Setup)+n, len(s.Setup)+n+1) }

// retell sets all replies to those of the log as it is now.
func (s *story) retell() {
	m := NewModel()
	m.NowMS = s.ClockMS
	for _, r := range s.Log {
		m.NowMS = max(m.NowMS, r.NowMS)
		var replies []resp.Value
		for _, words := range r.Calls[0].Commands {
			v, _ := m.Do(words)
			replies = append(replies, v)
		}
		i := slices.IndexFunc(s.Ops, func(o Op) bool { return sameCommands(o.Commands, r.Calls[0].Commands) })
		if i >= 0 {
			s.Ops[i].Reply = replies[0]
			if len(replies) > 1 {
				s.Ops[i].Reply = resp.Array(replies...)
			}
		}
	}
	for i := range s.Ops {
		if s.Ops[i].Reads && i > 3 { // the last one
			s.Ops[i].Reply, _ = m.Do(s.Ops[i].Commands[0])
		}
	}
	final, _ := m.Do([]string{"XINFO", "STREAM", "a", "FULL", "COUNT", "0"})
	s.Finals["a"] = map[string]resp.Value{"node 1": final}
}

// record returns a record with a sum, and with one call if there are words.
func record(index, sum uint64, words ...string) Record {
	r := Record{Index: index, Sum: sum}
	if len(words) > 0 {
		r.Calls = []Call{{Commands: [][]string{words}}}
	}
	return r
}

func TestMerge(t *testing.T) {
	begin, mid, end := record(3, 1, "XADD", "m", "*", "b"), record(4, 1), record(5, 1, "XADD", "m", "*", "e")
	for _, tc := range []struct {
		name    string
		logs    []Log
		records int
		wrong   bool
	}{
		{"whole", []Log{{"1", []Record{begin, mid, end}}, {"2", []Record{begin, mid, end}}}, 3, false},
		{"in two parts", []Log{{"1", []Record{begin, mid}}, {"2", []Record{mid, end}}, {"3", []Record{record(2, 9), begin, mid, end, record(6, 2)}}}, 3, false},
		{"other records before, and after", []Log{{"1", []Record{record(2, 3), begin, mid, end, record(6, 3)}}, {"2", []Record{record(2, 33), begin, mid, end, record(6, 33)}}}, 3, false},
		{"they differ", []Log{{"1", []Record{begin, mid, end}}, {"2", []Record{begin, record(4, 22), end}}}, 3, true},
		{"one is missing", []Log{{"1", []Record{begin, end}}, {"2", []Record{begin, end}}}, 0, true},
		{"the end is missing", []Log{{"1", []Record{begin, mid}}, {"2", []Record{begin, mid}}}, 0, true},
		{"the begin is missing", []Log{{"1", []Record{mid, end}}, {"2", []Record{mid, end}}}, 0, true},
		{"the end has no majority", []Log{{"1", []Record{begin, mid, end}}, {"2", []Record{begin, mid}}, {"3", []Record{begin}}}, 3, true},
	} {
		var problems []string
		got := Merge(tc.logs, len(tc.logs), "b", "e", func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) })
		if len(got) != tc.records || len(problems) > 0 != tc.wrong {
			t.Errorf("%s: %d records, %q", tc.name, len(got), problems)
		}
	}
}

// changes are changes to the story of tell, and whether Check must report a problem then.
var changes = []struct {
	name  string
	tell  func(s *story)
	wrong bool
}{
	{"all is well", func(*story) {}, false},
	{"an unknown write that was not done", func(s *story) {
		s.drop(4)
		s.retell()
	}, false},
	{"operations that overlap, in either order", func(s *story) {
		s.op(0).Returned = 100
		s.op(1).Invoked = 0
	}, false},
	{"a read of a state while it ran", func(s *story) {
		s.op(8).Invoked = 0
		s.op(8).Reply = resp.Array()
	}, false},
	{"a wrong reply", func(s *story) { s.op(0).Reply = resp.BulkString("1-1") }, true},
	{"a wrong value within a reply", func(s *story) {
		s.op(5).Reply = resp.Array(s.op(5).Reply.Elems[0], resp.Int(7))
	}, true},
	{"a write with a reply, not in the log", func(s *story) { s.drop(0) }, true},
	{"entries of a blocking call, not in the log", func(s *story) { s.drop(5) }, true},
	{"a write, twice in the log", func(s *story) { s.Log = append(s.Log, s.log()[0]) }, true},
	{"an unknown write, twice in the log", func(s *story) { s.Log = append(s.Log, s.log()[4]) }, true},
	{"a refused write, in the log", func(s *story) {
		s.Log = append(s.Log, Record{NowMS: 2000, Calls: []Call{{false, s.op(4).Commands}}})
	}, true},
	{"a command that no client sent", func(s *story) {
		s.Log = append(s.Log, Record{NowMS: 2000, Calls: []Call{{false, [][]string{{"XTRIM", "a", "MAXLEN", "=", "0"}}}}})
	}, true},
	{"an order that contradicts the clients", func(s *story) {
		l := s.log()
		l[0], l[1] = l[1], l[0]
		s.retell()
	}, true},
	{"another order of two that overlap", func(s *story) {
		l := s.log()
		l[0], l[1] = l[1], l[0]
		s.op(0).Returned = 100
		s.retell()
	}, false},
	{"another order of one client's operations", func(s *story) {
		s.op(0).Returned, s.op(2).Invoked, s.op(2).Returned, s.op(1).Returned = 100, 0, 100, 100
		l := s.log()
		l[0], l[2] = l[2], l[0]
		s.retell()
	}, true},
	{"a read of a state before it began", func(s *story) { s.op(8).Reply = resp.Array() }, true},
	{"a read of a state after it ended", func(s *story) { s.op(3).Reply = resp.Int(4) }, true},
	{"a read of a state that never was", func(s *story) { s.op(3).Reply = resp.Int(9) }, true},
	{"a read that goes back", func(s *story) {
		a, b := *s.op(3), *s.op(3)
		a.Invoked, a.Returned, a.Reply = 1, 100, resp.Int(4)
		b.Invoked, b.Returned, b.Reply = 101, 200, resp.Int(1)
		for i := range s.Ops {
			s.Ops[i].Invoked, s.Ops[i].Returned = 1, 200 // all at once
		}
		s.Ops = append(s.Ops, a, b)
	}, true},
	{"a blocking call, refused and served", func(s *story) { s.op(7).Outcome = client.Refused }, true},
	{"a blocking call with the reply of another", func(s *story) { s.op(7).Reply = s.op(2).Reply }, true},
	{"a blocking call, served by a leader that was lost", func(s *story) {
		s.op(7).Reply = resp.NullArray()
	}, false},
	{"a replica with another state in the end", func(s *story) { s.Finals["a"]["node 2"] = resp.Array() }, true},
	{"a clock unlike the record's", func(s *story) { s.ClockMS = 5000 }, true},
}

func TestCheck(t *testing.T) {
	for _, tc := range changes {
		t.Run(tc.name, func(t *testing.T) {
			s := tell(t)
			tc.tell(s)
			var problems []string
			n := Check(&s.Shard, func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) })
			if len(problems) > 0 != tc.wrong {
				t.Errorf("problems %q, %+v", problems, n)
			}
		})
	}
}

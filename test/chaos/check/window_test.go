package check

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// at is an operation of a window, with the times of its call and its reply.
type at struct {
	client       int
	began, ended time.Duration
	op           Op
}

// The entries of the histories, and their operations.
var (
	one, two, three = ID{1, 0}, ID{2, 0}, ID{3, 0}

	final = []Item{{ID: one, Payload: "a"}, {ID: two, Payload: "b"}, {ID: three, Payload: "c"}}
)

func add(p string, id ID) Op   { return Op{Kind: AddOne, Payload: []string{p}, IDs: []ID{id}} }
func last(ids ...ID) Op        { return Op{Kind: ReadLast, IDs: ids} }
func take(n int, ids ...ID) Op { return Op{Kind: Take, Count: n, IDs: ids} }

// histories are short windows with the entries that are there in the end, and the verdict.
var histories = []struct {
	name  string
	ops   []at
	final []Item
	want  Verdict
}{
	{"one after another", []at{
		{0, 1, 2, last()}, {0, 3, 4, add("a", one)}, {1, 5, 6, last(one)}, {1, 7, 8, Op{Kind: Length, N: 1}},
	}, final[:1], Linearizable},
	{"a stale read", []at{{0, 1, 2, add("a", one)}, {1, 3, 4, last()}}, final[:1], NotLinearizable},
	{"a read beside an add", []at{{0, 1, 5, add("a", one)}, {1, 3, 4, last()}}, final[:1], Linearizable},
	{"a read that goes back", []at{{0, 1, 9, add("a", one)}, {1, 2, 3, last(one)}, {1, 4, 5, last()}}, final[:1], NotLinearizable},
	{"IDs against time", []at{{0, 1, 2, add("b", two)}, {0, 3, 4, add("a", one)}}, final[:2], NotLinearizable},

	{"an unknown add that was done later", []at{
		{0, 1, 2, Op{Kind: AddOne, Payload: []string{"a"}, Unknown: true}}, {1, 3, 4, last()}, {1, 5, 6, last(one)},
	}, final[:1], Linearizable},
	{"an unknown add that was never done", []at{
		{0, 1, 2, Op{Kind: AddOne, Payload: []string{"a"}, Unknown: true}}, {1, 3, 4, last()},
	}, nil, Linearizable},
	{"an unknown add that comes and goes", []at{
		{0, 1, 2, Op{Kind: AddOne, Payload: []string{"a"}, Unknown: true}}, {1, 3, 4, last(one)}, {1, 5, 6, last()},
	}, final[:1], NotLinearizable},

	{"a transaction", []at{
		{0, 1, 2, Op{Kind: AddTwo, Payload: []string{"a", "b"}, IDs: []ID{one, two}, N: 2}}, {0, 3, 4, last(two)},
	}, final[:2], Linearizable},
	{"a transaction that is seen by half", []at{
		{0, 1, 9, Op{Kind: AddTwo, Payload: []string{"a", "b"}, IDs: []ID{one, two}, N: 2}}, {1, 2, 3, last(one)},
	}, final[:2], NotLinearizable},
	{"a length within a transaction", []at{
		{0, 1, 2, Op{Kind: AddTwo, Payload: []string{"a", "b"}, IDs: []ID{one, two}, N: 3}},
	}, final[:2], NotLinearizable},

	{"a range", []at{
		{0, 1, 2, add("a", one)}, {0, 3, 4, add("b", two)}, {0, 5, 6, add("c", three)},
		{0, 7, 8, Op{Kind: ReadFrom, After: one, Count: 1, IDs: []ID{two}}},
		{0, 9, 10, Op{Kind: ReadFrom, After: one, Count: 9, IDs: []ID{two, three}}},
	}, final, Linearizable},
	{"a range with a gap", []at{
		{0, 1, 2, add("a", one)}, {0, 3, 4, add("b", two)}, {0, 5, 6, add("c", three)},
		{0, 7, 8, Op{Kind: ReadFrom, Count: 9, IDs: []ID{one, three}}},
	}, final, NotLinearizable},
	{"a delete", []at{
		{0, 1, 2, add("a", one)}, {0, 3, 4, add("b", two)}, {0, 5, 6, Op{Kind: Delete, Target: two, N: 1}},
		{0, 7, 8, last(one)}, {0, 9, 10, Op{Kind: Delete, Target: two, N: 0}}, {0, 11, 12, Op{Kind: Length, N: 1}},
	}, final[:1], Linearizable},
	{"a delete that does not last", []at{
		{0, 1, 2, add("a", one)}, {0, 3, 4, Op{Kind: Delete, Target: one, N: 1}}, {0, 5, 6, last(one)},
	}, nil, NotLinearizable},

	{"a group", []at{
		{0, 1, 2, add("a", one)}, {0, 3, 4, add("b", two)}, {1, 5, 6, take(1, one)}, {2, 7, 8, take(4, two)}, {1, 9, 10, take(4)},
		{1, 11, 12, Op{Kind: Ack, Target: one, N: 1}}, {1, 13, 14, Op{Kind: Pending, N: 1}}, {1, 15, 16, Op{Kind: Ack, Target: one, N: 0}},
	}, final[:2], Linearizable},
	{"an entry for two", []at{
		{0, 1, 2, add("a", one)}, {1, 3, 5, take(1, one)}, {2, 3, 5, take(1, one)},
	}, final[:1], NotLinearizable},
	{"an entry left out", []at{
		{0, 1, 2, add("a", one)}, {0, 3, 4, add("b", two)}, {1, 5, 6, take(1, two)},
	}, final[:2], NotLinearizable},
	{"taken by an unknown call", []at{
		{0, 1, 2, add("a", one)}, {1, 3, 4, Op{Kind: Take, Count: 1, Unknown: true}}, {2, 5, 6, take(1)}, {2, 7, 8, Op{Kind: Pending, N: 1}},
	}, final[:1], Linearizable},
	{"an XACK that does not last", []at{
		{0, 1, 2, add("a", one)}, {1, 3, 4, take(1, one)}, {1, 5, 6, Op{Kind: Ack, Target: one, N: 1}}, {2, 7, 8, Op{Kind: Pending, N: 1}},
	}, final[:1], NotLinearizable},
}

func TestWindow(t *testing.T) {
	for _, tc := range histories {
		t.Run(tc.name, func(t *testing.T) {
			w := &Window{Name: "w"}
			for _, o := range tc.ops {
				w.Record(o.client, o.op, o.began, o.ended)
			}
			page := filepath.Join(t.TempDir(), "w.html")
			got, err := w.Check(tc.final, time.Minute, page)
			if err != nil || got != tc.want {
				t.Errorf("%v, want %v: %v", got, tc.want, err)
			}
			b, err := os.ReadFile(page)
			if written := err == nil && strings.Contains(string(b), "<html"); written != (tc.want == NotLinearizable) {
				t.Errorf("a page was written: %v: %v", written, err)
			}
		})
	}
}

func TestWindowTooLarge(t *testing.T) {
	w := &Window{}
	for i := range maxWindow + 1 {
		w.Record(0, Op{Kind: Length}, time.Duration(2*i), time.Duration(2*i+1))
	}
	if got, err := w.Check(nil, time.Minute, ""); got != NotChecked || err != nil {
		t.Errorf("%v, %v", got, err)
	}
}

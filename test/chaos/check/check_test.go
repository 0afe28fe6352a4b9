package check

import (
	"slices"
	"strings"
	"testing"
	"time"
)

// story is a book with one stream. A test tells it call by call.
type story struct {
	*Stream
	p *Problems
}

func newStory(o StreamOptions) *story {
	p := NewProblems()
	return &story{NewBook(p).NewStream("s", o), p}
}

// add adds an entry that is acknowledged with the ID ms-0.
func (s *story) add(ms uint64) (Ticket, Item) {
	t := s.Begin()
	s.Added(t, ID{ms, 0}, nil)
	return t, item(t, ms)
}

func item(t Ticket, ms uint64) Item {
	return Item{ID: ID{ms, 0}, Payload: t.Payload, Filler: Filler(t.Payload)}
}

// replica compares a replica that holds items and whose XINFO STREAM is info.
func (s *story) replica(info Info, drained bool, items ...Item) {
	r := s.NewReplica("node 1")
	r.Items(items)
	r.Done(info, drained)
}

// holds returns the Info of a stream with n entries, the last one ms-0, none ever deleted.
func holds(n int64, ms uint64) Info {
	return Info{Length: n, LastGenerated: ID{ms, 0}, EntriesAdded: n}
}

const grouped = "g"

func fresh(consumer string, began, ended time.Duration) Delivery {
	return Delivery{Consumer: consumer, How: Fresh, Began: began, Ended: ended}
}

func claimed(consumer string, minIdle, began, ended time.Duration) Delivery {
	return Delivery{Consumer: consumer, How: Claimed, MinIdle: minIdle, Began: began, Ended: ended}
}

func claimedID(consumer string, minIdle, began, ended time.Duration) Delivery {
	return Delivery{Consumer: consumer, How: ClaimedID, MinIdle: minIdle, Began: began, Ended: ended}
}

func claimedSet(consumer string, count int32, began, ended time.Duration) Delivery {
	return Delivery{Consumer: consumer, How: Claimed, Sets: true, Count: count, Began: began, Ended: ended}
}

// told is one story: tell makes the calls, and want names the violations that they must
// cause, each once.
type told struct {
	name string
	opt  StreamOptions
	tell func(s *story)
	want []string
}

const sec = time.Second

// entryStories break the invariants of entries and replicas, S1 to S8.
var entryStories = []told{
	{"all is well", StreamOptions{}, func(s *story) {
		_, a := s.add(1)
		lost := s.Begin()
		s.Refused(lost)
		maybe := s.Begin()
		s.Unknown(maybe)
		_, b := s.add(3)
		s.replica(holds(3, 3), false, a, item(maybe, 2), b)
		s.replica(holds(3, 3), false, a, item(maybe, 2), b)
	}, nil},
	{"an unknown XADD that was not done", StreamOptions{}, func(s *story) {
		s.Unknown(s.Begin())
		_, a := s.add(3)
		s.replica(holds(1, 3), false, a)
	}, nil},

	{"S1: an acknowledged entry is missing", StreamOptions{}, func(s *story) {
		_, a := s.add(1)
		s.add(2)
		s.replica(Info{1, ID{2, 0}, 2, ID{}}, false, a)
	}, []string{"S1"}},
	{"S1: an entry seen on one replica is missing on another", StreamOptions{}, func(s *story) {
		maybe := s.Begin()
		s.Unknown(maybe)
		s.replica(holds(1, 2), false, item(maybe, 2))
		s.replica(Info{0, ID{2, 0}, 1, ID{}}, false)
	}, []string{"S1"}},
	{"S1: an entry that may be deleted is not missing", StreamOptions{}, func(s *story) {
		t, _ := s.add(1)
		s.Gone(t.Payload)
		s.replica(Info{0, ID{1, 0}, 1, ID{1, 0}}, false)
	}, nil},
	{"S1: a trimmed entry is not missing", StreamOptions{MaxLen: 1}, func(s *story) {
		s.add(1)
		_, b := s.add(2)
		s.replica(Info{1, ID{2, 0}, 2, ID{}}, false, b)
	}, nil},
	{"S1: an entry is missing after the trimmed ones", StreamOptions{MaxLen: 5}, func(s *story) {
		_, a := s.add(1)
		s.add(2)
		_, c := s.add(3)
		s.replica(Info{2, ID{3, 0}, 3, ID{}}, false, a, c)
	}, []string{"S1"}},

	{"S2: an entry that nobody sent", StreamOptions{}, func(s *story) {
		s.replica(holds(1, 1), false, Item{ID{1, 0}, "x", Filler("x")})
	}, []string{"S2", "S7"}},
	{"S2: an entry of another stream", StreamOptions{}, func(s *story) {
		_, a := (&story{s.book.NewStream("t", StreamOptions{}), s.p}).add(1)
		s.replica(holds(1, 1), false, a)
	}, []string{"S2", "S7"}},
	{"S2: an entry that was refused", StreamOptions{}, func(s *story) {
		lost := s.Begin()
		s.Refused(lost)
		s.replica(holds(1, 1), false, item(lost, 1))
	}, []string{"S2", "S7"}},
	{"S2: seen before it was refused", StreamOptions{}, func(s *story) {
		lost := s.Begin()
		s.NewTail().Read([]Item{item(lost, 1)}, true, ID{})
		s.Refused(lost)
	}, []string{"S2"}},

	{"S3: an ID not above one acknowledged before", StreamOptions{}, func(s *story) {
		s.add(2)
		s.add(1)
	}, []string{"S3"}},
	{"S3: side by side in any order", StreamOptions{}, func(s *story) {
		a, b := s.Begin(), s.Begin()
		s.Added(b, ID{2, 0}, nil)
		s.Added(a, ID{1, 0}, nil)
	}, nil},
	{"S3: a replica out of order", StreamOptions{}, func(s *story) {
		_, a := s.add(1)
		_, b := s.add(2)
		s.replica(holds(2, 2), false, b, a)
	}, []string{"S3"}},

	{"S4: another ID than was acknowledged", StreamOptions{}, func(s *story) {
		t, _ := s.add(1)
		s.replica(holds(1, 2), false, item(t, 2))
	}, []string{"S4"}},
	{"S4: two IDs on two replicas", StreamOptions{}, func(s *story) {
		maybe := s.Begin()
		s.Unknown(maybe)
		s.replica(holds(1, 2), false, item(maybe, 2))
		s.replica(holds(1, 3), false, item(maybe, 3))
	}, []string{"S4"}},
	{"S4: another value", StreamOptions{}, func(s *story) {
		_, a := s.add(1)
		a.Filler = strings.ToUpper(a.Filler)
		s.replica(holds(1, 1), false, a)
	}, []string{"S4"}},
	{"S4: half a transaction", StreamOptions{}, func(s *story) {
		a, b := s.BeginTwins()
		s.Unknown(a)
		s.Unknown(b)
		s.replica(holds(1, 1), false, item(a, 1))
	}, []string{"S4"}},
	{"S4: something within a transaction", StreamOptions{}, func(s *story) {
		a, b := s.BeginTwins()
		s.Unknown(a)
		s.Unknown(b)
		_, c := s.add(2)
		s.replica(holds(3, 3), false, item(a, 1), c, item(b, 3))
	}, []string{"S4"}},

	{"S5: twice", StreamOptions{}, func(s *story) {
		t, a := s.add(1)
		s.replica(holds(2, 2), false, a, item(t, 2))
	}, []string{"S4", "S5", "S7"}},

	{"S6: an older last entry", StreamOptions{}, func(s *story) {
		s.add(5)
		s.Last(ID{4, 0}, s.Floor(), "XREVRANGE")
	}, []string{"S6"}},
	{"S6: the end too early", StreamOptions{}, func(s *story) {
		_, a := s.add(1)
		s.add(2)
		s.NewTail().Read([]Item{a}, true, s.Floor())
	}, []string{"S6"}},
	{"S6: backwards", StreamOptions{}, func(s *story) {
		_, a := s.add(1)
		_, b := s.add(2)
		s.NewTail().Read([]Item{b, a}, false, ID{})
	}, []string{"S6"}},
	{"S6: a gap", StreamOptions{}, func(s *story) {
		_, a := s.add(1)
		_, b := s.add(2)
		_, c := s.add(3)
		s.NewTail().Read([]Item{a, c}, false, ID{})
		s.replica(holds(3, 3), false, a, b, c)
	}, []string{"S6"}},
	{"S6: a reader that is not at the end", StreamOptions{}, func(s *story) {
		_, a := s.add(1)
		_, b := s.add(2)
		s.NewTail().Read([]Item{a}, false, ID{})
		s.replica(holds(2, 2), false, a, b)
	}, nil},

	{"S7: the length", StreamOptions{}, func(s *story) {
		_, a := s.add(1)
		s.replica(Info{2, ID{1, 0}, 1, ID{}}, false, a)
	}, []string{"S7"}},
	{"S7: entries-added", StreamOptions{}, func(s *story) {
		_, a := s.add(1)
		s.replica(Info{1, ID{1, 0}, 2, ID{}}, false, a)
	}, []string{"S7"}},
	{"S7: the last generated ID", StreamOptions{}, func(s *story) {
		_, a := s.add(2)
		s.replica(Info{1, ID{1, 0}, 1, ID{}}, false, a)
	}, []string{"S7"}},
	{"S7: not trimmed", StreamOptions{MaxLen: 1}, func(s *story) {
		_, a := s.add(1)
		_, b := s.add(2)
		s.replica(holds(2, 2), false, a, b)
	}, []string{"S7"}},

	{"S8: two on one connection", StreamOptions{}, func(s *story) {
		a, b, prev := s.Begin(), s.Begin(), ID{}
		s.Added(a, ID{2, 0}, &prev)
		s.Added(b, ID{1, 0}, &prev)
	}, []string{"S8"}},
}

// groupStories break the invariants of groups, G1 to G10.
var groupStories = []told{
	{"G1: never handed out", StreamOptions{Group: grouped}, func(s *story) {
		_, a := s.add(1)
		s.replica(holds(1, 1), true, a)
	}, []string{"G1"}},
	{"G1: of an unknown XADD, never handed out", StreamOptions{Group: grouped}, func(s *story) {
		t := s.Begin()
		s.Unknown(t)
		s.Drained(ID{1, 0})
		s.replica(holds(1, 1), true, item(t, 1))
	}, []string{"G1"}},
	{"G1: of an unknown XADD, done after the group was drained", StreamOptions{Group: grouped}, func(s *story) {
		t := s.Begin()
		s.Unknown(t)
		s.Drained(ID{1, 0})
		s.replica(holds(1, 2), true, item(t, 2))
	}, nil},
	{"G2: new, twice", StreamOptions{Group: grouped}, func(s *story) {
		_, a := s.add(1)
		s.Delivered(fresh("x", 0, sec), a, true)
		s.Delivered(fresh("y", 0, sec), a, true)
	}, []string{"G2"}},
	{"G2: given back in between", StreamOptions{Group: grouped}, func(s *story) {
		t, a := s.add(1)
		s.Delivered(fresh("x", 0, sec), a, true)
		s.Nacking(t.Payload)
		s.Delivered(fresh("y", sec, sec), a, true)
	}, nil},
	{"G3: after its XACK", StreamOptions{Group: grouped}, func(s *story) {
		t, a := s.add(1)
		s.Delivered(fresh("x", 0, sec), a, true)
		s.Finished(t.Payload, a.ID, "x", 2*sec)
		s.Delivered(claimed("y", 0, 3*sec, 4*sec), a, true)
	}, []string{"G3"}},
	{"G3: while its XACK ran", StreamOptions{Group: grouped}, func(s *story) {
		t, a := s.add(1)
		s.Delivered(fresh("x", 0, sec), a, true)
		s.Finished(t.Payload, a.ID, "x", 4*sec)
		s.Delivered(claimed("y", 0, 3*sec, 5*sec), a, true)
	}, nil},
	{"G3: acknowledged twice", StreamOptions{Group: grouped}, func(s *story) {
		t, a := s.add(1)
		s.Finished(t.Payload, a.ID, "x", sec)
		s.Finished(t.Payload, a.ID, "y", sec)
	}, []string{"G3"}},
	{"G3: pending after its XACK", StreamOptions{Group: grouped}, func(s *story) {
		t, a := s.add(1)
		s.Delivered(fresh("x", 0, sec), a, true)
		s.Finished(t.Payload, a.ID, "x", sec)
		s.CheckGroup(GroupState{Summary: 1, Pending: []PendingEntry{{a.ID, "x", 0, 1}}})
	}, []string{"G3"}},
	{"G4: handed out more often than was seen", StreamOptions{Group: grouped}, func(s *story) {
		_, a := s.add(1)
		s.Delivered(fresh("x", 0, sec), a, true)
		s.CheckGroup(GroupState{Summary: 1, Pending: []PendingEntry{{a.ID, "x", 0, 2}}})
	}, []string{"G4"}},
	{"G4: by a call with an unknown outcome", StreamOptions{Group: grouped}, func(s *story) {
		_, a := s.add(1)
		s.Delivered(fresh("x", 0, sec), a, true)
		s.GroupUnknown()
		s.CheckGroup(GroupState{Summary: 1, Pending: []PendingEntry{{a.ID, "x", 0, 2}}})
	}, nil},
	{"G4: a claim with JUSTID has counted", StreamOptions{Group: grouped}, func(s *story) {
		_, a := s.add(1)
		s.Delivered(fresh("x", 0, sec), a, true)
		s.Delivered(claimedID("y", 0, sec, 2*sec), Item{ID: a.ID}, true)
		s.CheckGroup(GroupState{Summary: 1, Pending: []PendingEntry{{a.ID, "y", 0, 2}}})
	}, []string{"G4"}},
	{"G4: a claim with JUSTID does not count", StreamOptions{Group: grouped}, func(s *story) {
		_, a := s.add(1)
		s.Delivered(fresh("x", 0, sec), a, true)
		s.Delivered(claimedID("y", 0, sec, 2*sec), Item{ID: a.ID}, true)
		s.CheckGroup(GroupState{Summary: 1, Pending: []PendingEntry{{a.ID, "y", 0, 1}}})
	}, nil},
	{"G4: another count than a claim has set", StreamOptions{Group: grouped}, func(s *story) {
		_, a := s.add(1)
		s.Delivered(fresh("x", 0, sec), a, true)
		s.Delivered(claimedSet("y", 7, 2*sec, 3*sec), a, true)
		s.Delivered(claimed("z", 0, 4*sec, 5*sec), a, true)
		s.CheckGroup(GroupState{Summary: 1, Pending: []PendingEntry{{a.ID, "z", 0, 7}}})
	}, []string{"G4"}},
	{"G4: the count that a claim has set, and one more", StreamOptions{Group: grouped}, func(s *story) {
		_, a := s.add(1)
		s.Delivered(fresh("x", 0, sec), a, true)
		s.Delivered(claimedSet("y", 7, 2*sec, 3*sec), a, true)
		s.Delivered(claimed("z", 0, 4*sec, 5*sec), a, true)
		s.CheckGroup(GroupState{Summary: 1, Pending: []PendingEntry{{a.ID, "z", 0, 8}}})
	}, nil},
	{"G4: a claim that sets the count, and one beside it", StreamOptions{Group: grouped}, func(s *story) {
		_, a := s.add(1)
		s.Delivered(fresh("x", 0, sec), a, true)
		s.Delivered(claimedSet("y", 7, 2*sec, 4*sec), a, true)
		s.Delivered(claimed("z", 0, 3*sec, 5*sec), a, true)
		s.CheckGroup(GroupState{Summary: 1, Pending: []PendingEntry{{a.ID, "y", 0, 7}}})
	}, nil},
	{"G4: a claim that may have set the count", StreamOptions{Group: grouped}, func(s *story) {
		_, a := s.add(1)
		s.Delivered(fresh("x", 0, sec), a, true)
		s.SetUnknown([]ID{a.ID})
		s.CheckGroup(GroupState{Summary: 1, Pending: []PendingEntry{{a.ID, "x", 0, 9}}})
	}, nil},
	{"G5: the position goes back", StreamOptions{Group: grouped}, func(s *story) {
		s.ReadPosition(ID{2, 0}, s.Position())
		s.ReadPosition(ID{1, 0}, s.Position())
	}, []string{"G5"}},
	{"G6: pending twice", StreamOptions{Group: grouped}, func(s *story) {
		_, a := s.add(1)
		s.Delivered(fresh("x", 0, sec), a, true)
		s.CheckGroup(GroupState{Summary: 2, Pending: []PendingEntry{{a.ID, "x", 0, 1}, {a.ID, "x", 0, 1}}})
	}, []string{"G6"}},
	{"G6: counts that differ", StreamOptions{Group: grouped}, func(s *story) {
		_, a := s.add(1)
		s.Delivered(fresh("x", 0, sec), a, true)
		s.CheckGroup(GroupState{Summary: 1, Consumers: map[string]int64{"x": 2}, Pending: []PendingEntry{{a.ID, "x", 0, 1}}})
	}, []string{"G6"}},
	{"G7: handed out and forgotten", StreamOptions{Group: grouped}, func(s *story) {
		_, a := s.add(1)
		s.Delivered(fresh("x", 0, sec), a, true)
		s.CheckGroup(GroupState{})
	}, []string{"G7"}},
	{"G8: claimed too soon", StreamOptions{Group: grouped}, func(s *story) {
		_, a := s.add(1)
		s.Delivered(fresh("x", 10*sec, 11*sec), a, true)
		s.Delivered(claimed("y", 3*sec, 11*sec, 12*sec), a, true)
	}, []string{"G8"}},
	{"G8: claimed in time", StreamOptions{Group: grouped}, func(s *story) {
		_, a := s.add(1)
		s.Delivered(fresh("x", 10*sec, 11*sec), a, true)
		s.Delivered(claimed("y", 3*sec, 11*sec, 13*sec), a, true)
	}, nil},
	{"G8: claimed too soon after a claim with JUSTID", StreamOptions{Group: grouped}, func(s *story) {
		_, a := s.add(1)
		s.Delivered(fresh("x", 0, sec), a, true)
		s.Delivered(claimedID("y", 3*sec, 10*sec, 11*sec), Item{ID: a.ID}, true)
		s.Delivered(claimedID("z", 3*sec, 11*sec, 12*sec), Item{ID: a.ID}, true)
	}, []string{"G8"}},
	{"G3: claimed with JUSTID after its XACK", StreamOptions{Group: grouped}, func(s *story) {
		t, a := s.add(1)
		s.Delivered(fresh("x", 0, sec), a, true)
		s.Finished(t.Payload, a.ID, "x", 2*sec)
		s.Delivered(claimedID("y", 0, 3*sec, 4*sec), Item{ID: a.ID}, true)
	}, []string{"G3"}},
	{"G8: a clock jumped", StreamOptions{Group: grouped}, func(s *story) {
		_, a := s.add(1)
		s.Delivered(fresh("x", 10*sec, 11*sec), a, true)
		s.Delivered(claimed("y", 3*sec, 11*sec, 12*sec), a, false)
	}, nil},
	{"G10: a lag unlike the number of entries ahead", StreamOptions{Group: grouped}, func(s *story) {
		s.CheckLag(Progress{Length: 3, Added: 3, First: ID{1, 0}, Last: ID{3, 0}, Position: ID{1, 0}, Read: 1, Lag: 2, Ahead: 1})
	}, []string{"G10"}},
	{"G10: a lag where Redis says null", StreamOptions{Group: grouped}, func(s *story) {
		s.CheckLag(Progress{Length: 2, Added: 3, First: ID{1, 0}, Last: ID{3, 0}, MaxDeleted: ID{2, 0}, Position: ID{1, 0}, Read: 1, Lag: 1, Ahead: 1})
	}, []string{"G10"}},
	{"G10: null where Redis knows", StreamOptions{Group: grouped}, func(s *story) {
		s.CheckLag(Progress{Length: 3, Added: 3, First: ID{1, 0}, Last: ID{3, 0}, Position: ID{1, 0}, Read: 1, Lag: -1, Ahead: 2})
	}, []string{"G10"}},
	{"G10: as it is", StreamOptions{Group: grouped}, func(s *story) {
		s.CheckLag(Progress{})
		s.CheckLag(Progress{Length: 3, Added: 3, First: ID{1, 0}, Last: ID{3, 0}, Position: ID{1, 0}, Read: 1, Lag: 2, Ahead: 2})
		s.CheckLag(Progress{Length: 2, Added: 3, First: ID{1, 0}, Last: ID{3, 0}, MaxDeleted: ID{2, 0}, Position: ID{1, 0}, Read: 1, Lag: -1, Ahead: 1})
		s.CheckLag(Progress{Length: 2, Added: 4, First: ID{3, 0}, Last: ID{4, 0}, MaxDeleted: ID{2, 0}, Position: ID{1, 0}, Read: 1, Lag: 2, Ahead: 2})
		s.CheckLag(Progress{Length: 2, Added: 4, First: ID{1, 0}, Last: ID{4, 0}, MaxDeleted: ID{3, 0}, Position: ID{4, 0}, Read: -1, Lag: 0})
	}, nil},
	{"G8: idle for less than nothing", StreamOptions{Group: grouped}, func(s *story) {
		_, a := s.add(1)
		s.Delivered(fresh("x", 0, sec), a, true)
		s.CheckGroup(GroupState{Summary: 1, Pending: []PendingEntry{{a.ID, "x", -5, 1}}})
	}, []string{"G8"}},
}

// TestStories checks the checks: each invariant has a story in which it is broken, and one
// close by in which it is not. A check that sees nothing would report that all is well.
func TestStories(t *testing.T) {
	for _, tc := range slices.Concat(entryStories, groupStories) {
		t.Run(tc.name, func(t *testing.T) {
			s := newStory(tc.opt)
			tc.tell(s)
			kept, n := s.p.All()
			var got []string
			for _, p := range kept {
				got = append(got, p.Invariant)
			}
			slices.Sort(got)
			if !slices.Equal(got, tc.want) || n != len(got) {
				t.Errorf("found %v, want %v: %+v", got, tc.want, kept)
			}
		})
	}
}

func TestProblemsAreBounded(t *testing.T) {
	p := NewProblems()
	told := 0
	p.Notify = func(Problem) { told++ }
	for range MaxProblems + 5 {
		p.Add("S1", "x")
	}
	if kept, n := p.All(); len(kept) != MaxProblems || n != MaxProblems+5 || told != MaxProblems {
		t.Errorf("%d kept of %d, told %d", len(kept), n, told)
	}
}

func TestParseID(t *testing.T) {
	for _, tc := range []struct {
		text string
		id   ID
		ok   bool
	}{
		{"0-0", ID{}, true}, {"12-3", ID{12, 3}, true}, {"18446744073709551615-1", ID{1<<64 - 1, 1}, true},
		{"", ID{}, false}, {"1", ID{}, false}, {"1-", ID{}, false}, {"-1", ID{}, false}, {"1-x", ID{}, false},
	} {
		if id, ok := ParseID(tc.text); ok != tc.ok || ok && id != tc.id || ok && id.String() != tc.text {
			t.Errorf("%q: %v, %v", tc.text, id, ok)
		}
	}
}

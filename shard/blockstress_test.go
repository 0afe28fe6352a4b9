package shard

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"millrace/call"
)

// Everything at random: appends, takers that time out or are canceled, moving leaderships,
// replaced instances, a partition. Every call is answered once, and no value is taken
// twice. A value may be missing only if a taker was told that it is in doubt.
func TestBlockStress(t *testing.T) {
	c := newTestCluster(t, "a", "b", "c")
	c.startAll()
	c.leader()
	length := 3 * time.Second
	if testing.Short() {
		length = time.Second
	}
	s := &blockStress{t: t, c: c, appended: map[string]bool{}, maybe: map[string]bool{}, taken: map[string]int{}, outcomes: map[string]int{}}
	var wg sync.WaitGroup
	for w := range 3 {
		wg.Go(func() { s.append(w) })
	}
	for w := range 24 {
		wg.Go(func() { s.take(rand.New(rand.NewPCG(uint64(w), 7))) })
	}
	s.faults(length)
	s.stop.Store(true)
	wg.Wait()
	if s.pending.Load() != s.answered.Load() {
		t.Fatalf("%d calls, %d answers", s.pending.Load(), s.answered.Load())
	}
	c.leader()
	c.converge()
	s.checkValues()
	s.checkOutcomes()
}

// blockStressKeys is the number of keys that values are appended to and taken from.
const blockStressKeys = 3

// blockStress is a run of TestBlockStress.
type blockStress struct {
	t                 *testing.T
	c                 *testCluster
	stop              atomic.Bool
	pending, answered atomic.Int64 // calls of takers

	mu       sync.Mutex
	appended map[string]bool // guarded by mu, as all below; acknowledged
	maybe    map[string]bool // in doubt
	taken    map[string]int  // by value: how many times it was handed out
	doubts   int             // takers whose outcome is in doubt
	outcomes map[string]int  // of takers
}

// append appends values until the run stops; no two of all appenders are the same.
func (s *blockStress) append(appender int) {
	for i := 0; !s.stop.Load(); i++ {
		v := fmt.Sprint(appender, ".", i)
		_, err := s.c.leaderNow().do(s.t, call.Write, "APPEND", fmt.Sprint("k", i%blockStressKeys), v)
		s.mu.Lock()
		switch {
		case err == nil:
			s.appended[v] = true
		case !call.NotDone(err):
			s.maybe[v] = true
		}
		s.mu.Unlock()
		time.Sleep(time.Duration(rand.IntN(3)) * time.Millisecond) // a rate, not a wait
	}
}

// take makes one blocked call after the other until the run stops. Most of them take a
// value; some only read or wait, and some are canceled.
func (s *blockStress) take(rng *rand.Rand) {
	for !s.stop.Load() {
		n := s.c.leaderNow()
		kind := call.Block
		argv := words("TAKE", fmt.Sprint("k", rng.IntN(blockStressKeys)))
		if rng.IntN(8) == 0 {
			argv = append(words("AFTER"), argv[1], []byte("1000000"))
		} else if rng.IntN(10) == 0 {
			kind = call.Wait
		} else if rng.IntN(2) == 0 {
			argv = append(argv, []byte("arrives"))
		}
		var times atomic.Int64
		done := make(chan call.Result, 4)
		k := &call.Call{
			Shard: testShard, Term: n.shard.lead.leads(), Kind: kind, Cmds: [][][]byte{argv}, Proto: 2,
			TimeoutMS: 5000, BlockMS: uint64(1 + rng.IntN(30)),
			Done: func(r call.Result) {
				times.Add(1)
				s.answered.Add(1)
				done <- r
			},
		}
		s.pending.Add(1)
		n.shard.Submit(k)
		if rng.IntN(3) == 0 {
			if d := rng.IntN(20); d > 0 {
				time.Sleep(time.Duration(d) * 500 * time.Microsecond)
			}
			n.shard.Cancel(k)
		}
		reply, err := await(s.t, done)
		s.note(kind == call.Block && string(argv[0]) == "TAKE", reply, err)
		if k := times.Load(); k != 1 {
			s.t.Errorf("answered %d times", k)
		}
	}
}

// note counts a taker's answer. takes says that its call would take a value.
func (s *blockStress) note(takes bool, reply string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case err == nil && takes && reply != "*-1\r\n":
		s.taken[values(reply)[0]]++
		s.outcomes["taken"]++
	case err == nil:
		s.outcomes["null"]++
	case call.NotDone(err):
		s.outcomes["refused"]++
		if errors.Is(err, call.ErrCanceled) {
			s.outcomes["canceled"]++
		}
	default:
		s.doubts++
	}
}

// faults moves the leadership, replaces instances and cuts leaders off, for length.
func (s *blockStress) faults(length time.Duration) {
	c := s.c
	until := time.Now().Add(length)
	rng := rand.New(rand.NewPCG(3, 9))
	for time.Now().Before(until) {
		n := c.leader()
		switch rng.IntN(4) {
		case 0:
			_ = n.shard.Transfer(background(s.t), c.others(n.id)[rng.IntN(2)])
		case 1:
			n.shard.Restart()
		case 2:
			c.net.isolate(n.id, c.ids, true, true)
			c.leader(c.others(n.id)...)
			c.net.isolate(n.id, c.ids, false, true)
		}
		time.Sleep(time.Duration(rng.IntN(200)) * time.Millisecond) // calm between faults
	}
}

// checkValues compares the values that were appended, taken and left.
func (s *blockStress) checkValues() {
	t := s.t
	left := map[string]bool{}
	for k := range blockStressKeys {
		for _, v := range values(s.c.leader().mustDo(t, call.Read, "RANGE", fmt.Sprint("k", k))) {
			left[v] = true
		}
	}
	missing := 0
	for v := range s.appended {
		if s.taken[v] == 0 && !left[v] {
			missing++
		}
	}
	for v, times := range s.taken {
		if times > 1 {
			t.Errorf("%s was taken %d times", v, times)
		}
		if left[v] {
			t.Errorf("%s was taken and is there", v)
		}
		if !s.appended[v] && !s.maybe[v] {
			t.Errorf("%s was taken, and nobody appended it", v)
		}
	}
	if missing > s.doubts {
		t.Errorf("%d values are missing, %d takers are in doubt", missing, s.doubts)
	}
	t.Logf("appended %d (%d in doubt), taken %d, left %d, missing %d of %d in doubt, %v",
		len(s.appended), len(s.maybe), len(s.taken), len(left), missing, s.doubts, s.outcomes)
}

// checkOutcomes makes sure that every outcome has occurred, and that nothing is left on
// the replicas.
func (s *blockStress) checkOutcomes() {
	for _, outcome := range []string{"taken", "null", "refused", "canceled"} {
		if s.outcomes[outcome] == 0 {
			s.t.Errorf("no call was %s: the test shows little", outcome)
		}
	}
	for _, id := range s.c.ids {
		if st := s.c.nodes[id].shard.Status(); st.Waiters != 0 || st.InFlight != 0 || st.QueueReads != 0 {
			s.t.Errorf("%s is left with %+v", id, st)
		}
	}
}

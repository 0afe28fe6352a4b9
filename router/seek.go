package router

import (
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"millrace/call"
)

// A seeker finds the leader of one shard for everybody of this router who waits for
// one: however many connections are refused, replicas are asked by one goroutine,
// which runs only while somebody waits.
type seeker struct {
	r     *Router
	shard uint32
	kick  chan struct{} // of one: somebody was added

	mu       sync.Mutex
	searches []*search
	running  bool

	asking atomic.Int32 // hint calls without an answer
	next   int          // the replica to ask next; of the goroutine
}

// search is one lane or errand that waits for a leader. The seeker calls found once,
// without locks held: with a leader, or with term zero when the deadline has passed or the
// router stops.
type search struct {
	node     string // the leader that refused; term zero: none was known
	term     uint64
	hops     int  // refusals in a row; the pause grows with it
	overload bool // the node does lead, but has no room
	deadline int64
	found    func(node string, term uint64)

	at int64 // when the same leader may be tried again
}

const (
	pauseMin = 5 * time.Millisecond
	pauseMax = 100 * time.Millisecond

	// askMin is the pause between the first questions to replicas; it doubles up to
	// askMax. maxAsking is how many may be without an answer, askTimeout how long one
	// may take.
	askMin     = 10 * time.Millisecond
	askMax     = 160 * time.Millisecond
	maxAsking  = 3
	askTimeout = 200 * time.Millisecond
)

// pause returns how long to leave a leader alone that refused n times in a row, with
// some chance in it, so that those refused together do not come back together.
func pause(n int) time.Duration {
	d := pauseMax
	if n < 6 {
		d = min(pauseMin<<max(n-1, 0), pauseMax)
	}
	return d/2 + rand.N(d)
}

// add has the seeker wake w. The caller may hold a conn's mutex.
func (s *seeker) add(w *search) {
	w.at = s.r.now() + int64(pause(w.hops))
	s.mu.Lock()
	s.searches = append(s.searches, w)
	start := !s.running
	s.running = true
	s.mu.Unlock()
	if start {
		s.r.wg.Go(s.run) // ends when nobody waits any more, or with the router
		return
	}
	select {
	case s.kick <- struct{}{}:
	default:
	}
}

// remove forgets w, whose owner gave up. fire may be running or have run.
func (s *seeker) remove(w *search) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, o := range s.searches {
		if o == w {
			s.searches = append(s.searches[:i], s.searches[i+1:]...)
			return
		}
	}
}

// run wakes waiters until there are none.
func (s *seeker) run() {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	var nextAsk int64
	every := askMin
	for {
		changed := s.r.leaders.Watch(s.shard)
		node, term := s.r.leader(s.shard)
		now := s.r.now()
		stopping := s.r.ctx.Err() != nil

		var late, found []*search
		until := now + int64(pauseMax)
		curious := false
		s.mu.Lock()
		kept := s.searches[:0]
		for _, w := range s.searches {
			moved := !w.overload && (w.term != term || w.node != node)
			switch {
			case stopping || w.deadline <= now:
				late = append(late, w)
			case term != 0 && (moved || w.at <= now):
				found = append(found, w)
			default:
				kept = append(kept, w)
				curious = curious || !w.overload
				until = min(until, w.deadline)
				if term != 0 {
					until = min(until, w.at)
				}
			}
		}
		clear(s.searches[len(kept):])
		s.searches = kept
		idle := len(kept) == 0
		s.running = !idle
		s.mu.Unlock()

		for _, w := range late {
			w.found("", 0)
		}
		for _, w := range found {
			w.found(node, term)
		}
		if idle {
			return
		}
		if curious {
			if nextAsk <= now {
				s.ask()
				nextAsk = now + int64(every)
				every = min(2*every, askMax)
			}
			until = min(until, nextAsk)
		}
		timer.Reset(max(time.Duration(until-now), time.Millisecond))
		select {
		case <-changed:
		case <-s.kick:
		case <-timer.C:
		case <-s.r.ctx.Done():
		}
	}
}

// ask asks the next replica who leads the shard. What it answers goes to Leaders,
// which wakes the seeker.
func (s *seeker) ask() {
	info, ok := s.r.topology().Shard(s.shard)
	if !ok || len(info.Replicas) == 0 || s.asking.Load() >= maxAsking {
		return
	}
	node := info.Replicas[s.next%len(info.Replicas)]
	s.next++
	s.asking.Add(1)
	s.r.backend.Submit(node, &call.Call{
		Shard: s.shard, Kind: call.Read, Cmds: hintCmds, Proto: 2, TimeoutMS: uint32(askTimeout / time.Millisecond),
		Done: func(res call.Result) {
			s.r.learn(s.shard, res.Err)
			s.asking.Add(-1)
		},
	})
}

// hintCmds is what a call for a hint carries. It is refused before it is looked at,
// since no leader leads in term zero.
var hintCmds = [][][]byte{{[]byte("ping")}}

// seeker returns the seeker of a shard.
func (r *Router) seeker(shard uint32) *seeker {
	r.seekMu.Lock()
	defer r.seekMu.Unlock()
	s := r.seekers[shard]
	if s == nil {
		s = &seeker{r: r, shard: shard, kick: make(chan struct{}, 1)}
		r.seekers[shard] = s
	}
	return s
}

// leader returns the believed leader of a shard, and the term it leads in; zero when
// there is no such belief.
func (r *Router) leader(shard uint32) (node string, term uint64) {
	node, term = r.leaders.Get(shard)
	if node == "" {
		term = 0
	}
	return node, term
}

// learn passes on the hint in a refusal.
func (r *Router) learn(shard uint32, err error) {
	if err == nil {
		return
	}
	var moved *call.NotLeader
	if errors.As(err, &moved) && moved.Leader != "" && moved.Term != 0 {
		r.leaders.Learn(shard, moved.Leader, moved.Term)
	}
}

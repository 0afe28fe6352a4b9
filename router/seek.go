package router

import (
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"millrace/call"
)

// A seeker finds the leader of one shard for all lanes and errands of this router. One
// goroutine asks the replicas, however many connections are refused. It runs only while
// there are searches.
type seeker struct {
	r     *Router
	shard uint32
	kick  chan struct{} // of one: a search was added

	mu       sync.Mutex
	searches []*search // guarded by mu
	running  bool      // guarded by mu

	asking atomic.Int32 // hint calls without an answer

	// The rest belongs to the goroutine.
	next     int           // the replica to ask next
	nextAsk  int64         // in r.now() time: when a replica may be asked again
	askPause time.Duration // from that question to the one after it
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

// pause returns how long to leave a leader alone after n refusals in a row: on average
// 5, 10, 20, 40, 80, 100 ms. It is random, so that calls refused together do not return
// together.
func pause(n int) time.Duration {
	d := pauseMax
	if n < 6 {
		d = min(pauseMin<<max(n-1, 0), pauseMax)
	}
	return d/2 + rand.N(d)
}

// add begins the search w. The caller may hold a conn's mutex.
func (s *seeker) add(w *search) {
	w.at = s.r.now() + int64(pause(w.hops))
	s.mu.Lock()
	s.searches = append(s.searches, w)
	start := !s.running
	s.running = true
	s.mu.Unlock()
	if start {
		s.r.wg.Go(s.run) // ends when there are no searches any more, or with the router
		return
	}
	select {
	case s.kick <- struct{}{}:
	default:
	}
}

// remove ends the search w, whose owner gave up. found may be running, or have run.
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

// run ends searches until there are none. It looks at them again when Leaders reports a
// change, when a search is added, and when the first of them is due.
func (s *seeker) run() {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	s.nextAsk, s.askPause = 0, askMin
	for {
		changed := s.r.leaders.Watch(s.shard)
		node, term := s.r.leader(s.shard)
		now := s.r.now()
		l := s.sort(node, term, now)
		for _, w := range l.late {
			w.found("", 0)
		}
		for _, w := range l.found {
			w.found(node, term)
		}
		if l.none {
			return
		}
		until := l.until
		if l.curious {
			until = min(until, s.askAt(now))
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

// look is the result of one look at the searches.
type look struct {
	late    []*search // ended without a leader
	found   []*search // ended with the leader
	none    bool      // no search is left, and the goroutine must end
	curious bool      // a search that is left waits for another leader, not for room
	until   int64     // when to look again
}

// sort takes the searches that end out of the list, given the believed leader. A search
// ends with the leader if that is another one than refused, or if its pause is over.
func (s *seeker) sort(node string, term uint64, now int64) look {
	stopping := s.r.ctx.Err() != nil
	l := look{until: now + int64(pauseMax)}
	s.mu.Lock()
	defer s.mu.Unlock()
	kept := s.searches[:0]
	for _, w := range s.searches {
		moved := !w.overload && (w.term != term || w.node != node)
		switch {
		case stopping || w.deadline <= now:
			l.late = append(l.late, w)
		case term != 0 && (moved || w.at <= now):
			l.found = append(l.found, w)
		default:
			kept = append(kept, w)
			l.curious = l.curious || !w.overload
			l.until = min(l.until, w.deadline)
			if term != 0 {
				l.until = min(l.until, w.at)
			}
		}
	}
	clear(s.searches[len(kept):])
	s.searches = kept
	l.none = len(kept) == 0
	s.running = !l.none
	return l
}

// askAt asks a replica if it is time, and returns when the next may be asked.
func (s *seeker) askAt(now int64) int64 {
	if s.nextAsk <= now {
		s.ask()
		s.nextAsk = now + int64(s.askPause)
		s.askPause = min(2*s.askPause, askMax)
	}
	return s.nextAsk
}

// ask asks the next replica for the shard's leader. Its answer goes to Leaders, and the
// change there wakes the seeker.
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

// hintCmds are the commands of a call for a hint. They never run: the call has term zero,
// in which nobody leads, so it is refused with the name of the leader.
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

// leader returns the believed leader of a shard, and the term it leads in; zero when no
// leader is known.
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

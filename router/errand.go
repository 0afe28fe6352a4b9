package router

import (
	"errors"
	"math"
	"sync"
	"time"

	"millrace/call"
	"millrace/internal/mutant"
)

// An errand is one call that a serial request waits for. It is sent to the leader, and if
// it is refused to the next leader, until it is answered or its deadline passes. Its
// fields belong to the goroutine that runs the errands.
type errand struct {
	route
	kind     call.Kind
	cmds     [][][]byte
	multi    bool
	deadline int64 // when patience, or the wait of Block and Wait, ends

	cur    *call.Call // on its way
	search *search    // for a leader
	since  int64      // when the present run of overload refusals began; zero: there is none
	doubt  bool       // a Block: an earlier call of it may have delivered entries

	done bool
	res  call.Result
}

func (e *errand) blocks() bool { return e.kind == call.Block || e.kind == call.Wait }

// patience returns the time until which e is tried. Even with a short BLOCK time, a shard
// looks at the streams once. So a null means that there were no entries, and not that the
// shard was busy or had no leader.
func (e *errand) patience() int64 {
	if e.blocks() {
		return graced(e.deadline)
	}
	return e.deadline
}

// errands runs the errands of one serial request, all at the same time.
type errands struct {
	c     *conn
	proto uint8
	list  []*errand

	notify chan struct{} // of one
	mu     sync.Mutex
	mail   []letter // guarded by mu
}

// letter is the answer to a call, or the end of a search for a leader.
type letter struct {
	e      *errand
	call   *call.Call
	res    call.Result
	search *search
	node   string
	term   uint64
}

func newErrands(c *conn, proto uint8, list ...*errand) *errands {
	return &errands{c: c, proto: proto, list: list, notify: make(chan struct{}, 1)}
}

func (es *errands) post(l letter) {
	es.mu.Lock()
	es.mail = append(es.mail, l)
	es.mu.Unlock()
	select {
	case es.notify <- struct{}{}:
	default:
	}
}

// ending is the reason why run returned.
type ending uint8

const (
	endDone      ending = iota // enough errands are done
	endGone                    // the client has left, or the router closes
	endTime                    // until passed
	endUnblocked               // CLIENT UNBLOCK
)

// run runs the errands until all are done, or, with anyOne, until one is done. It ends
// before that if the client leaves, if until passes, or if a mode arrives on unblock.
// Errands that are not done are cancelled then. run does not wait for their answers;
// settle does.
func (es *errands) run(anyOne bool, until int64, unblock <-chan unblockMode) (ending, unblockMode) {
	for _, e := range es.list {
		es.start(e)
	}
	r := es.c.r
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		es.open()
		if es.enough(anyOne) {
			es.cancel()
			return endDone, 0
		}
		wait := time.Duration(math.MaxInt64)
		if until != forever {
			wait = time.Duration(until - r.now())
			if wait <= 0 {
				es.cancel()
				return endTime, 0
			}
		}
		timer.Reset(wait)
		select {
		case <-es.notify:
		case <-timer.C:
		case <-es.c.gone:
			es.cancel()
			return endGone, 0
		case mode := <-unblock:
			es.cancel()
			return endUnblocked, mode
		}
	}
}

// forever is a deadline that never comes.
const forever = math.MaxInt64

// enough reports whether run may end.
func (es *errands) enough(anyOne bool) bool {
	left := 0
	for _, e := range es.list {
		if !e.done {
			left++
		}
	}
	return left == 0 || anyOne && left < len(es.list)
}

// start sends e to the leader, or waits for one.
func (es *errands) start(e *errand) {
	if e.refresh() {
		es.submit(e)
		return
	}
	es.await(e, nil)
}

// submit sends e where its route leads.
func (es *errands) submit(e *errand) {
	r := es.c.r
	now := r.now()
	if e.kind == call.Write || e.kind == call.Block {
		es.c.mu.Lock()
		es.c.wrote[e.shard] = struct{}{}
		es.c.mu.Unlock()
	}
	c := &call.Call{
		Shard: e.shard, Term: e.term, Kind: e.kind, Cmds: e.cmds, Multi: e.multi, Proto: es.proto,
		TimeoutMS: millis(min(e.patience()-now, int64(r.lim.Patience))),
	}
	if e.blocks() && e.deadline != forever {
		c.BlockMS = uint64(max(e.deadline-now, 0)+1e6-1) / 1e6 // up: never answered early
		c.BlockMS = max(c.BlockMS, 1)
	}
	c.Done = func(res call.Result) {
		r.learn(e.shard, res.Err)
		es.post(letter{e: e, call: c, res: res})
	}
	e.cur = c
	r.backend.Submit(e.node, c)
}

// await begins a search for another leader, or for the time when the one that refused
// because of why may be tried again.
func (es *errands) await(e *errand, why error) {
	s := e.newSearch(why, e.patience())
	s.found = func(node string, term uint64) { es.post(letter{e: e, search: s, node: node, term: term}) }
	e.search = s
	e.begin(s)
}

// open reads the mail.
func (es *errands) open() {
	es.mu.Lock()
	mail := es.mail
	es.mail = nil
	es.mu.Unlock()
	for _, l := range mail {
		e := l.e
		switch {
		case e.done:
		case l.call != nil && l.call == e.cur:
			e.cur = nil
			es.answered(e, l.res)
		case l.search != nil && l.search == e.search:
			e.search = nil
			if l.term == 0 {
				es.finish(e, call.Result{Err: orNoLeader(e.res.Err)})
				continue
			}
			e.node, e.term = l.node, l.term
			es.submit(e)
		}
	}
}

func orNoLeader(err error) error {
	if err == nil {
		return errNoLeader
	}
	return err
}

// answered takes the answer of e's call. A Block or Wait whose connection broke is sent
// again. If the shard had delivered entries to an XREADGROUP just before, they are in the
// pending list of the same consumer, which can read them there. But if such a call ends
// with an error later, the error must not say that nothing was done.
func (es *errands) answered(e *errand, res call.Result) {
	out := judge(e.kind, res.Err)
	if out != outcomeRefused {
		es.finish(e, res)
		return
	}
	e.res.Err = res.Err
	e.doubt = e.doubt || errors.Is(res.Err, call.ErrInDoubt)
	if mutant.BlockedForgotten && e.blocks() {
		return
	}
	r := es.c.r
	if !busy(res.Err) {
		e.since = 0
	} else if e.since == 0 {
		e.since = r.now()
	} else if r.now()-e.since > int64(r.lim.Patience) {
		es.finish(e, res)
		return
	}
	if e.follow(res.Err) {
		es.submit(e)
		return
	}
	es.await(e, res.Err)
}

func (es *errands) finish(e *errand, res call.Result) {
	e.done = true
	e.res = res
	if res.Err != nil {
		es.c.r.stats.callFailed(e.kind, res.Err)
	}
}

// cancel withdraws the errands that are not done.
func (es *errands) cancel() {
	r := es.c.r
	for _, e := range es.list {
		if e.done {
			continue
		}
		if e.search != nil {
			r.seeker(e.shard).remove(e.search)
			e.search = nil
		}
		if e.cur != nil && e.blocks() {
			r.backend.Cancel(e.node, e.cur)
		}
	}
}

// settle waits for the answer of a cancelled Block, at most for settleTime, so that
// entries that it delivered before are not thrown away.
func (es *errands) settle(e *errand) {
	timer := time.NewTimer(settleTime)
	defer timer.Stop()
	for {
		es.mu.Lock()
		mail := es.mail
		es.mail = nil
		es.mu.Unlock()
		for _, l := range mail {
			if l.call != nil && l.call == e.cur {
				e.cur = nil
				if l.res.Err == nil {
					es.finish(e, l.res)
				}
			}
		}
		if e.cur == nil {
			return
		}
		select {
		case <-es.notify:
		case <-timer.C:
			return
		}
	}
}

// settleTime bounds settle. With blockGrace it keeps a blocked call within its BLOCK
// time plus two seconds.
const (
	settleTime = 500 * time.Millisecond
	blockGrace = time.Second
)

package router

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"millrace/call"
	"millrace/kv"
	"millrace/kv/pebblekv"
	"millrace/resp"
	"millrace/stream"
)

// cluster is a Backend and a Topology for tests. Its shards apply commands to the real state
// machine, on a Pebble in memory. Tests move leaders with move. One goroutine per node handles
// the calls to that node in their order, as over one connection.
type cluster struct {
	t      testing.TB
	nodes  []string
	shards []*fakeShard
	hints  *fakeLeaders

	mu    sync.Mutex
	boxes map[string]*mailbox
	wg    sync.WaitGroup

	// fault, if set, decides about each call before the shard does. Guarded by mu.
	fault func(node string, c *call.Call) fault
}

// fault replaces the answer of a shard to a call.
type fault struct {
	err    error // answered instead of the shard's answer
	done   bool  // the shard does the call all the same
	silent bool  // the call is never answered
}

// mailbox holds the calls on their way to one node.
type mailbox struct {
	mu    sync.Mutex
	cond  *sync.Cond
	calls []*call.Call
	busy  *call.Call // taken from calls, and not yet answered or kept
	ended bool
	hold  bool // nothing is handled while it is set
}

// fakeShard is one shard: state, leader and blocked calls.
type fakeShard struct {
	id    uint32
	slots SlotRange

	mu      sync.Mutex
	leader  string // empty while there is none
	term    uint64
	db      *pebble.DB
	state   *stream.State
	nowMS   int64
	blocked []*fakeWait
	records [][][][]byte // every Write that was applied, in order
	reads   int
}

type fakeWait struct {
	blocked *stream.Blocked
	call    *call.Call
	timer   *time.Timer
}

func nodeID(i int) string { return fmt.Sprintf("%040d", i) }

// newCluster returns a cluster of n shards on three nodes. Node 0 leads all shards at first.
func newCluster(t testing.TB, n int) *cluster {
	t.Helper()
	cl := &cluster{t: t, hints: newFakeLeaders(), boxes: make(map[string]*mailbox)}
	for i := range 3 {
		id := nodeID(i)
		cl.nodes = append(cl.nodes, id)
		box := &mailbox{}
		box.cond = sync.NewCond(&box.mu)
		cl.boxes[id] = box
		cl.wg.Go(func() { cl.handle(id, box) })
	}
	for i := range n {
		db, err := pebble.Open("", &pebble.Options{FS: vfs.NewMem(), Logger: quiet{}})
		if err != nil {
			t.Fatal(err)
		}
		first, last := i*kv.Slots/n, (i+1)*kv.Slots/n-1
		cl.shards = append(cl.shards, &fakeShard{
			id: uint32(i + 1), slots: SlotRange{uint16(first), uint16(last)}, leader: cl.nodes[0], term: 1,
			db: db, state: stream.NewState(uint16(first), uint16(last)), nowMS: 1_000_000,
		})
	}
	t.Cleanup(cl.close)
	return cl
}

func (cl *cluster) close() {
	for _, box := range cl.boxes {
		box.mu.Lock()
		box.ended = true
		box.cond.Broadcast()
		box.mu.Unlock()
	}
	cl.wg.Wait()
	for _, s := range cl.shards {
		s.mu.Lock()
		for _, w := range s.blocked {
			w.stop()
		}
		if err := s.db.Close(); err != nil {
			cl.t.Error(err)
		}
		s.mu.Unlock()
	}
}

type quiet struct{}

func (quiet) Infof(string, ...any)        {}
func (quiet) Errorf(string, ...any)       {}
func (quiet) Fatalf(f string, arg ...any) { pebble.DefaultLogger.Fatalf(f, arg...) }

// setFault sets the function that decides about each call.
func (cl *cluster) setFault(f func(node string, c *call.Call) fault) {
	cl.mu.Lock()
	cl.fault = f
	cl.mu.Unlock()
}

// hold stops or resumes the handling of calls at a node.
func (cl *cluster) hold(node int, on bool) {
	box := cl.boxes[cl.nodes[node]]
	box.mu.Lock()
	box.hold = on
	box.cond.Broadcast()
	box.mu.Unlock()
}

// Submit implements Backend.
func (cl *cluster) Submit(node string, c *call.Call) {
	box := cl.boxes[node]
	if box == nil {
		c.Done(call.Result{Err: call.ErrNotSent})
		return
	}
	box.mu.Lock()
	box.calls = append(box.calls, c)
	box.cond.Broadcast()
	box.mu.Unlock()
}

// Cancel implements Backend.
func (cl *cluster) Cancel(node string, c *call.Call) {
	if cl.boxes[node].take(c) || cl.shards[c.Shard-1].release(c) {
		c.Done(call.Result{Err: call.ErrCanceled})
	}
}

// take removes a call that is not handled yet. It returns false when handling has begun, and
// then first waits until the call is answered or kept by the shard.
func (b *mailbox) take(c *call.Call) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if i := slices.Index(b.calls, c); i >= 0 {
		b.calls = slices.Delete(b.calls, i, i+1)
		return true
	}
	for b.busy == c {
		b.cond.Wait()
	}
	return false
}

// release forgets a blocked call, and reports whether the shard kept it.
func (s *fakeShard) release(c *call.Call) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.IndexFunc(s.blocked, func(w *fakeWait) bool { return w.call == c })
	if i < 0 {
		return false
	}
	s.blocked[i].stop()
	s.blocked = slices.Delete(s.blocked, i, i+1)
	return true
}

// handle answers the calls to a node.
func (cl *cluster) handle(node string, box *mailbox) {
	for c := box.next(); c != nil; c = box.next() {
		cl.answer(node, c)
	}
}

// next returns the next call, or nil once the cluster is closed. It ends the call before.
func (b *mailbox) next() *call.Call {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.busy = nil
	b.cond.Broadcast()
	for !b.ended && (len(b.calls) == 0 || b.hold) {
		b.cond.Wait()
	}
	if b.ended {
		return nil
	}
	b.busy, b.calls = b.calls[0], b.calls[1:]
	return b.busy
}

// answer passes a call to its shard, unless a fault replaces the shard's answer.
func (cl *cluster) answer(node string, c *call.Call) {
	cl.mu.Lock()
	f := cl.fault
	cl.mu.Unlock()
	var bad fault
	if f != nil && c.Term != 0 {
		bad = f(node, c)
	}
	if bad.silent {
		return
	}
	if bad.err != nil && !bad.done {
		c.Done(call.Result{Err: bad.err})
		return
	}
	res, later := cl.shards[c.Shard-1].serve(node, c)
	if bad.err != nil {
		res.Err = bad.err
	}
	if !later {
		c.Done(res)
	}
}

// serve does one call. If later is true, the shard keeps the call and answers it later.
func (s *fakeShard) serve(node string, c *call.Call) (res call.Result, later bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.Kind != call.ReadStale && (node != s.leader || c.Term != s.term) {
		e := &call.NotLeader{Leader: s.leader, Term: s.term}
		if s.leader == "" {
			e.Term = 0
		}
		return call.Result{Err: e}, false
	}
	switch c.Kind {
	case call.Read, call.ReadStale:
		s.reads++
		return call.Result{Reply: s.read(c)}, false
	case call.Write:
		reply := s.write(c)
		s.wake()
		return call.Result{Reply: reply}, false
	case call.Block, call.Wait:
		b := s.state.Block(c.Cmds[0])
		if c.Kind == call.Block && !b.Writes() { // the first look is a read
			if reply := s.read(c); !isNull(reply) {
				return call.Result{Reply: reply}, false
			}
		} else if res, ok := s.try(c, b); ok {
			return res, false
		}
		if argv, err := b.Arrival(pebblekv.Reader{R: s.db}, s.nowMS); err == nil && argv != nil && c.Kind == call.Block {
			s.write(&call.Call{Cmds: [][][]byte{argv}})
		}
		w := &fakeWait{call: c, blocked: b}
		if c.BlockMS > 0 {
			w.timer = time.AfterFunc(time.Duration(c.BlockMS)*time.Millisecond, func() { s.expire(w) })
		}
		s.blocked = append(s.blocked, w)
		return call.Result{}, true
	}
	return call.Result{Err: call.ErrNoShard}, false
}

func (s *fakeShard) read(c *call.Call) []byte {
	replies, refusal, err := s.state.Read(pebblekv.Reader{R: s.db}, s.nowMS, c.Cmds)
	switch {
	case err != nil:
		return fakeReply(c, resp.Value{}, err)
	case refusal != nil:
		return fakeReply(c, *refusal, nil)
	case c.Multi:
		return fakeReply(c, resp.Array(replies...), nil)
	}
	return fakeReply(c, replies[0], nil)
}

func fakeReply(c *call.Call, v resp.Value, err error) []byte {
	if err != nil {
		v = resp.Err("ERR fake: " + err.Error())
	}
	return encode(v, c.Proto)
}

// write applies a record. s.mu is held.
func (s *fakeShard) write(c *call.Call) []byte {
	b := s.db.NewIndexedBatch()
	defer b.Close()
	kv := pebblekv.NewBatch(b)
	s.nowMS++
	replies, refusal, err := s.state.Apply(kv, s.nowMS, c.Cmds)
	if err == nil {
		err = s.state.Flush(kv)
	}
	if err == nil {
		err = b.Commit(pebble.NoSync)
	}
	if err != nil {
		return encode(resp.Err("ERR fake: "+err.Error()), 2)
	}
	s.state.Committed()
	s.records = append(s.records, c.Cmds)
	switch {
	case refusal != nil:
		return encode(*refusal, c.Proto)
	case c.Multi:
		return encode(resp.Array(replies...), c.Proto)
	}
	return encode(replies[0], c.Proto)
}

// try serves a blocking call if an entry or an error is ready for it. s.mu is held.
func (s *fakeShard) try(c *call.Call, b *stream.Blocked) (call.Result, bool) {
	ready, err := b.Ready(pebblekv.Reader{R: s.db}, s.nowMS)
	switch {
	case err != nil:
		return call.Result{Err: err}, true
	case !ready:
		return call.Result{}, false
	case c.Kind == call.Wait:
		return call.Result{Reply: encode(resp.OK, c.Proto)}, true
	case b.Writes():
		return call.Result{Reply: s.write(c)}, true
	}
	v, err := b.Read(pebblekv.Reader{R: s.db}, s.nowMS)
	return call.Result{Reply: fakeReply(c, v, err)}, true
}

// wake serves the blocked calls that are ready. s.mu may be held, because Done does not block.
func (s *fakeShard) wake() {
	for i := 0; i < len(s.blocked); {
		w := s.blocked[i]
		res, ok := s.try(w.call, w.blocked)
		if !ok {
			i++
			continue
		}
		w.stop()
		s.blocked = slices.Delete(s.blocked, i, i+1)
		w.call.Done(res)
	}
}

func (w *fakeWait) stop() {
	if w.timer != nil {
		w.timer.Stop()
	}
}

// expire answers a blocked call when its time is over.
func (s *fakeShard) expire(w *fakeWait) {
	if s.release(w.call) {
		w.call.Done(call.Result{Reply: encode(resp.NullArray(), w.call.Proto)})
	}
}

// move makes a node the leader of a shard in the next term, or none if node is -1. Blocked
// calls are refused, as by a leader that steps down.
func (cl *cluster) move(shard, node int) {
	s := cl.shards[shard]
	s.mu.Lock()
	s.term++
	s.leader = ""
	if node >= 0 {
		s.leader = cl.nodes[node]
	}
	blocked := s.blocked
	s.blocked = nil
	e := &call.NotLeader{Leader: s.leader, Term: s.term}
	if s.leader == "" {
		e.Term = 0
	}
	s.mu.Unlock()
	for _, w := range blocked {
		w.stop()
		w.call.Done(call.Result{Err: e})
	}
}

// blockedCalls returns how many calls a shard keeps.
func (cl *cluster) blockedCalls(shard int) int {
	s := cl.shards[shard]
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.blocked)
}

// put applies a command at a shard without the router.
func (cl *cluster) put(shard int, line string) {
	s := cl.shards[shard]
	s.mu.Lock()
	defer s.mu.Unlock()
	s.write(&call.Call{Cmds: [][][]byte{argvOf(line)}, Proto: 2})
	s.wake()
}

// applied returns the records of a shard as lines.
func (cl *cluster) applied(shard int) []string {
	s := cl.shards[shard]
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []string
	for _, rec := range s.records {
		var cmds []string
		for _, argv := range rec {
			words := make([]string, len(argv))
			for i, w := range argv {
				words[i] = string(w)
			}
			cmds = append(cmds, strings.Join(words, " "))
		}
		out = append(out, strings.Join(cmds, "; "))
	}
	return out
}

// key returns a key of a shard: "s" and a number.
func (cl *cluster) key(shard int, n int) string {
	for i := 0; ; i++ {
		k := fmt.Sprintf("s%d", i)
		slot := kv.Slot([]byte(k))
		if r := cl.shards[shard].slots; r.First <= slot && slot <= r.Last {
			if n == 0 {
				return k
			}
			n--
		}
	}
}

// The Topology of the cluster, which does not change.

func (cl *cluster) Version() uint64 { return 7 }

func (cl *cluster) ShardOf(slot uint16) (uint32, bool) {
	for _, s := range cl.shards {
		if s.slots.First <= slot && slot <= s.slots.Last {
			return s.id, true
		}
	}
	return 0, false
}

func (cl *cluster) Shards() []ShardInfo {
	var out []ShardInfo
	for _, s := range cl.shards {
		out = append(out, ShardInfo{ID: s.id, Slots: []SlotRange{s.slots}, Replicas: cl.nodes})
	}
	return out
}

func (cl *cluster) Shard(id uint32) (ShardInfo, bool) {
	if id == 0 || int(id) > len(cl.shards) {
		return ShardInfo{}, false
	}
	return cl.Shards()[id-1], true
}

func (cl *cluster) Nodes() []NodeInfo {
	var out []NodeInfo
	for i, id := range cl.nodes {
		out = append(out, NodeInfo{ID: id, Host: "127.0.0.1", Port: 7000 + i, PeerPort: 17000 + i, Alive: true})
	}
	return out
}

// fakeLeaders implements Leaders. As in placement, a hint of a later term replaces the last one.
type fakeLeaders struct {
	mu      sync.Mutex
	known   map[uint32]hint
	changed chan struct{}
}

type hint struct {
	node string
	term uint64
}

func newFakeLeaders() *fakeLeaders {
	return &fakeLeaders{known: make(map[uint32]hint), changed: make(chan struct{})}
}

func (l *fakeLeaders) Get(shard uint32) (string, uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	h := l.known[shard]
	return h.node, h.term
}

func (l *fakeLeaders) Learn(shard uint32, node string, term uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if term > l.known[shard].term {
		l.known[shard] = hint{node, term}
		close(l.changed)
		l.changed = make(chan struct{})
	}
}

func (l *fakeLeaders) Watch(uint32) <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.changed
}

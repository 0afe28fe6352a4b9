package workload

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"millrace/test/chaos/check"
	"millrace/test/chaos/client"
)

// groupName is the name of every group.
const groupName = "g"

// The pauses of the clients whose rate is not part of the Load.
const (
	probeEvery  = 100 * time.Millisecond
	insistEvery = 4 * time.Millisecond
	twinsEvery  = 8 * time.Millisecond
	tailEvery   = 50 * time.Millisecond
	lookEvery   = 15 * time.Millisecond
	lagEvery    = 60 * time.Millisecond
)

// The settings for idempotency tokens. A stream must remember a token for long, because a
// paused node may carry out a request that it had read when it goes on, long after the
// client has repeated the request elsewhere. The default, the last hundred tokens of each
// producer, is too few.
const (
	idmpSeconds = "3600"
	idmpTokens  = "10000"
)

// Bounds of the steps before and after an era.
const (
	createPatience  = 30 * time.Second
	drainPatience   = 90 * time.Second
	replicaPatience = 60 * time.Second
	levelPatience   = 5 * time.Second // for one replica of a cluster at rest to become level
	pageCount       = 1000            // entries in one reply of a final read
)

// Load is the number of clients and streams, and the pace of the writers.
type Load struct {
	Writers     int     // clients that pipeline: half of them to few hot streams, half to many streams
	Depth       int     // commands in each of their pipelines
	Rate        float64 // entries a second of all writers together
	Consumers   int
	ManyStreams int
	Recorded    int // clients whose every reply is compared with the shards' logs
}

// Era is a part of a run with streams of its own.
type Era struct {
	env      *Env
	number   int
	load     Load
	verdicts *Verdicts

	probes  []*check.Stream // one in each shard, for probe
	hot     []*check.Stream // few, with a group, for half of the writers
	insists []*check.Stream // one in each shard, with a group, for insist
	many    []*check.Stream // for the other half of the writers
	trims   []*check.Stream // for trim and lag
	pairs   []*check.Stream // one in each shard, for twins

	recorded *Recorded // nil: no history is recorded

	stopWriting context.CancelFunc
	stopReading context.CancelFunc
	writers     sync.WaitGroup
	readers     sync.WaitGroup
	checks      sync.WaitGroup // running verdicts of windows
}

// ErrNotQuiet reports that the cluster does not come to rest or does not answer.
var ErrNotQuiet = errors.New("workload: the cluster does not come to rest")

// Start begins an era: it creates the streams and starts the clients.
func Start(env *Env, number int, load Load, verdicts *Verdicts) (*Era, error) {
	e := &Era{env: env, number: number, load: load, verdicts: verdicts}
	named := func(kind string, i int, o check.StreamOptions) *check.Stream {
		sh := env.Slots[i%len(env.Slots)]
		o.Shard = sh.Shard
		return env.Book.NewStream(env.name(fmt.Sprintf("%s-%d-%d", kind, number, i), sh), o)
	}
	for i := range env.Slots {
		e.probes = append(e.probes, named("probe", i, check.StreamOptions{}))
		e.insists = append(e.insists, named("insist", i, check.StreamOptions{Group: groupName}))
		e.pairs = append(e.pairs, named("pair", i, check.StreamOptions{}))
	}
	for i := range max(2, len(env.Slots)/3) {
		e.hot = append(e.hot, named("hot", i*3+1, check.StreamOptions{Group: groupName}))
		e.trims = append(e.trims, named("trim", i*3, check.StreamOptions{MaxLen: 500}))
	}
	for i := range load.ManyStreams {
		e.many = append(e.many, named("many", i, check.StreamOptions{}))
	}
	ctx, cancel := context.WithTimeout(context.Background(), createPatience)
	defer cancel()
	for _, st := range append(e.grouped(), e.trims...) {
		if !e.createGroup(ctx, st.Name) {
			return nil, fmt.Errorf("%w: no node answered XGROUP CREATE %s within %v", ErrNotQuiet, st.Name, createPatience)
		}
	}
	s := env.session(4, number)
	defer s.drop()
	for _, st := range e.insists {
		if _, err := e.ask(ctx, s, "XCFGSET", st.Name, "IDMP-DURATION", idmpSeconds, "IDMP-MAXSIZE", idmpTokens); err != nil {
			return nil, err
		}
	}
	if load.Recorded > 0 {
		if err := e.record(ctx); err != nil {
			return nil, err
		}
	}
	e.run()
	return e, nil
}

// grouped returns the streams whose group is read by consumers.
func (e *Era) grouped() []*check.Stream {
	return append(append([]*check.Stream(nil), e.hot...), e.insists...)
}

func (e *Era) all() []*check.Stream {
	var all []*check.Stream
	for _, some := range [][]*check.Stream{e.probes, e.hot, e.insists, e.many, e.trims, e.pairs} {
		all = append(all, some...)
	}
	return all
}

// run starts the clients. Each one has a number of its own, from which its random choices
// and its names follow.
func (e *Era) run() {
	var write, read context.Context
	write, e.stopWriting = context.WithCancel(context.Background())
	read, e.stopReading = context.WithCancel(context.Background())
	id := uint64(e.number) << 32
	writer := func(f func(context.Context, uint64)) {
		id++
		n := id
		e.writers.Go(func() { f(write, n) })
	}
	reader := func(f func(context.Context, uint64)) {
		id++
		n := id
		e.readers.Go(func() { f(read, n) })
	}
	for node := range e.env.Addrs {
		for _, st := range e.probes {
			writer(func(ctx context.Context, id uint64) { e.probe(ctx, id, node, st) })
		}
		reader(func(ctx context.Context, id uint64) {
			e.look(ctx, id, node, append(append([]*check.Stream(nil), e.hot...), e.probes...))
		})
	}
	for i := range e.load.Writers {
		writer(func(ctx context.Context, id uint64) {
			rate := e.load.Rate / float64(e.load.Writers)
			if i%2 == 0 {
				e.pour(ctx, id, e.hot, e.load.Depth, 4, rate)
			} else {
				e.pour(ctx, id, e.many, e.load.Depth, 1, rate)
			}
		})
	}
	for range 2 {
		writer(func(ctx context.Context, id uint64) { e.insist(ctx, id, e.insists) })
	}
	writer(func(ctx context.Context, id uint64) { e.trim(ctx, id, e.trims) })
	writer(func(ctx context.Context, id uint64) { e.twins(ctx, id, e.pairs) })
	for range e.load.Recorded {
		writer(e.play)
	}
	for i := range 2 {
		sh := e.env.Slots[(e.number+i)%len(e.env.Slots)]
		id += 1 << 20
		n := id
		e.writers.Go(func() { e.windows(write, n, sh) })
	}
	id += 1 << 20
	for range e.load.Consumers {
		reader(func(ctx context.Context, id uint64) { e.consumer(id, e.grouped()).run(ctx) })
	}
	reader(func(ctx context.Context, id uint64) { e.lag(ctx, id, e.trims) })
	reader(func(ctx context.Context, id uint64) { e.tail(ctx, id, e.hot) })
	reader(func(ctx context.Context, id uint64) { e.tail(ctx, id, e.probes) })
}

// Stop stops the writers and then the readers, and waits until their calls have ended.
func (e *Era) Stop() {
	e.stopWriting()
	e.writers.Wait()
	e.stopReading()
	e.readers.Wait()
}

// createGroup creates a stream with a group. It returns false when ctx ended first.
func (e *Era) createGroup(ctx context.Context, name string) bool {
	s := e.env.session(0, e.number)
	defer s.drop()
	for {
		c := s.get(ctx)
		if c == nil {
			return false
		}
		r, o, _ := s.do(c, "XGROUP", "CREATE", name, groupName, "0", "MKSTREAM")
		if o == client.Replied && (!r.isError() || len(r.text()) > 9 && r.text()[:9] == "BUSYGROUP") {
			return true
		}
		s.fail(ctx)
	}
}

// Finish checks all groups and replicas, and then deletes the era's streams. It is called
// at a quiet point: all clients have stopped, and the cluster is healthy. hosts returns
// the nodes that have a replica of a shard.
func (e *Era) Finish(hosts func(shard uint32) []int) error {
	for _, st := range e.grouped() {
		if err := e.checkGroup(st); err != nil {
			return err
		}
	}
	if err := e.drain(); err != nil {
		return err
	}
	for _, st := range e.all() {
		for _, node := range hosts(st.Shard) {
			if err := e.checkReplica(st, node); err != nil {
				return err
			}
		}
	}
	e.checks.Wait()
	s := e.env.session(1, 0)
	defer s.drop()
	ctx, cancel := context.WithTimeout(context.Background(), drainPatience)
	defer cancel()
	for _, st := range e.all() {
		e.env.Book.Forget(st)
		if _, err := e.ask(ctx, s, "DEL", st.Name); err != nil {
			return err
		}
	}
	return nil
}

// ask repeats a command until a node replies. An error reply is returned as an error.
func (e *Era) ask(ctx context.Context, s *session, words ...string) (reply, error) {
	for {
		c := s.get(ctx)
		if c == nil {
			return reply{}, fmt.Errorf("%w: no node answered %v", ErrNotQuiet, words)
		}
		r, o, _ := s.do(c, words...)
		if o == client.Replied {
			if r.isError() {
				return r, fmt.Errorf("%v: %s", words, r.text())
			}
			return r, nil
		}
		s.fail(ctx)
	}
}

// checkGroup reads the whole state of a stream's group and checks it, and then its lag.
func (e *Era) checkGroup(st *check.Stream) error {
	ctx, cancel := context.WithTimeout(context.Background(), drainPatience)
	defer cancel()
	s := e.env.session(2, 0)
	defer s.drop()
	g := check.GroupState{Where: "at rest", Consumers: map[string]int64{}}
	r, err := e.ask(ctx, s, "XPENDING", st.Name, groupName)
	if err != nil {
		return err
	}
	g.Summary = r.at(0).int()
	if r, err = e.ask(ctx, s, "XINFO", "CONSUMERS", st.Name, groupName); err != nil {
		return err
	}
	for i := range r.len() {
		g.Consumers[r.at(i).field("name").text()] = r.at(i).field("pending").int()
	}
	for from := "-"; ; {
		if r, err = e.ask(ctx, s, "XPENDING", st.Name, groupName, from, "+", strconv.Itoa(pageCount)); err != nil {
			return err
		}
		for i := range r.len() {
			p := r.at(i)
			g.Pending = append(g.Pending, check.PendingEntry{ID: p.at(0).id(), Consumer: p.at(1).text(), IdleMS: p.at(2).int(), Count: p.at(3).int()})
		}
		if r.len() < pageCount {
			break
		}
		from = "(" + r.at(r.len()-1).at(0).text()
	}
	st.CheckGroup(g)
	return e.checkLag(ctx, s, st)
}

// checkLag counts the entries ahead of a stream's group, and checks its lag. Nothing
// changes meanwhile.
func (e *Era) checkLag(ctx context.Context, s *session, st *check.Stream) error {
	info, err := e.ask(ctx, s, "XINFO", "STREAM", st.Name)
	if err != nil {
		return err
	}
	groups, err := e.ask(ctx, s, "XINFO", "GROUPS", st.Name)
	if err != nil {
		return err
	}
	p := progress("at rest", info, groups.at(0))
	for from := p.Position; ; {
		page, err := e.ask(ctx, s, "XRANGE", st.Name, "("+from.String(), "+", "COUNT", strconv.Itoa(pageCount))
		if err != nil {
			return err
		}
		p.Ahead += int64(page.len())
		if page.len() < pageCount {
			break
		}
		from = page.at(page.len() - 1).at(0).id()
	}
	st.CheckLag(p)
	return nil
}

// drain consumes and acknowledges until every group has neither pending nor new entries.
func (e *Era) drain() error {
	ctx, cancel := context.WithTimeout(context.Background(), drainPatience)
	defer cancel()
	var wg sync.WaitGroup
	errs := make([]error, len(e.grouped()))
	for i, st := range e.grouped() {
		wg.Go(func() { errs[i] = e.drainStream(ctx, i, st) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

func (e *Era) drainStream(ctx context.Context, i int, st *check.Stream) error {
	k := e.consumer(uint64(e.number)<<32+1<<31+uint64(i), []*check.Stream{st})
	k.drain = true
	defer k.session.drop()
	for {
		c := k.get(ctx)
		if c == nil {
			return fmt.Errorf("%w: the group of %s was not drained within %v", ErrNotQuiet, st.Name, drainPatience)
		}
		if !k.autoclaim(c, st) || !k.taken(c, check.Fresh, 0, 0, k.streams, []string{"XREADGROUP", "GROUP", groupName, k.name, "COUNT", "200", "STREAMS", st.Name, ">"}) {
			k.fail(ctx)
			continue
		}
		r, err := e.ask(ctx, k.session, "XINFO", "GROUPS", st.Name)
		if err != nil {
			return err
		}
		if g := r.at(0); g.field("pending").int() == 0 && g.field("lag").int() == 0 {
			st.Drained(g.field("last-delivered-id").id())
			return nil
		}
	}
}

// checkReplica waits until one node's own replica of a stream is level with the leader's,
// and then reads all entries from it and checks them.
func (e *Era) checkReplica(st *check.Stream, node int) error {
	ctx, cancel := context.WithTimeout(context.Background(), replicaPatience)
	defer cancel()
	leader, own := e.env.session(3, node), e.env.session(3, node)
	own.only, own.opt.ReadOnly = true, true
	defer leader.drop()
	defer own.drop()
	where := fmt.Sprintf("node %d", node+1)
	var info reply
	for {
		// The leader is asked each time, because an old XADD can still arrive: see
		// check.Stream.Drained.
		want, err := e.ask(ctx, leader, "XINFO", "STREAM", st.Name)
		if err != nil {
			if st.Acked() == 0 {
				return nil // the stream was never created
			}
			return err
		}
		if info, err = e.ask(ctx, own, "XINFO", "STREAM", st.Name); err == nil && info.v.String() == want.v.String() {
			break
		}
		if ctx.Err() != nil {
			e.env.Book.Add("S4", "%s: XINFO STREAM of %s is %v, but of the leader %v", st.Name, where, info.v, want.v)
			return nil
		}
		sleep(ctx, 20*time.Millisecond)
	}
	r := st.NewReplica(where)
	last := info.field("last-generated-id").id()
	for from := "-"; ; {
		page, err := e.ask(ctx, own, "XRANGE", st.Name, from, last.String(), "COUNT", strconv.Itoa(pageCount))
		if err != nil {
			return err
		}
		items := page.items()
		r.Items(items)
		if len(items) < pageCount {
			break
		}
		from = "(" + items[len(items)-1].ID.String()
	}
	r.Done(check.Info{
		Length: info.field("length").int(), LastGenerated: last,
		EntriesAdded: info.field("entries-added").int(), MaxDeleted: info.field("max-deleted-entry-id").id(),
	}, st.Group != "")
	return nil
}

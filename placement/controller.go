package placement

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

const (
	// busyInterval is how long the controller waits to look again when something is
	// not as it should be.
	busyInterval = time.Second
	// settledInterval is the same when all is well and nobody wakes it: a look asks
	// every shard's leader, which an idle cluster should not spend much on.
	settledInterval = 5 * time.Second
	// progressPause is the wait after a step that worked, or a wake-up: the next step is
	// likely due, but the map the last one made may take a moment to arrive here.
	progressPause = 50 * time.Millisecond

	// PreferredSteady is how long a preferred leader must have been caught up, seen at
	// every look, before the leadership goes back to it.
	PreferredSteady = 4 * time.Second
	// transferPause is the least time between two transfers of one shard to the same
	// node, and after one that failed: a shard that keeps losing its leader is not
	// helped by being moved about.
	transferPause = 20 * time.Second

	// statusTimeout bounds asking one leader for its shard's status.
	statusTimeout = 2 * time.Second
	// stepTimeout bounds one step. What it does may still happen later: the next look
	// sees what has.
	stepTimeout = 5 * time.Second
	// parallel bounds how many shards are asked, or stepped, at a time.
	parallel = 8
)

// Member is what gossip says of a node: a hint.
type Member struct {
	ID    string
	Alive bool
}

// World is what the controller sees and moves. Its methods return by the time ctx
// ends, and may be called from several goroutines at once. An error of a step says no
// more than that it is not known to have been taken.
type World interface {
	// Map returns the newest map known here, nil before the founding.
	Map() *Map
	// Members returns what gossip says, this node included.
	Members() []Member
	// ShardStatus asks the leader of the shard, MetaShard included.
	ShardStatus(ctx context.Context, shard uint32) (ShardStatus, error)
	// Propose runs a command on the meta group; a refusal is an error.
	Propose(ctx context.Context, argv []string) error
	// AddNonvoter, AddVoter and Remove change the shard's Raft configuration if it is
	// still the one at configIndex, and return when the change is committed. AddVoter
	// should refuse a node that the leader does not reach: the plan may be seconds old.
	AddNonvoter(ctx context.Context, shard uint32, node string, configIndex uint64) error
	AddVoter(ctx context.Context, shard uint32, node string, configIndex uint64) error
	Remove(ctx context.Context, shard uint32, node string, configIndex uint64) error
	// Transfer hands the leadership of the shard to node, and returns when that is
	// done or has failed: no transfer is under way after.
	Transfer(ctx context.Context, shard uint32, node string) error
}

// Controller brings the cluster towards its map. It runs on the node that leads the
// meta group, while it does.
type Controller struct {
	world World
	log   *slog.Logger
	wake  chan struct{}

	// Owned by Run.
	steady    map[uint32]steadiness
	transfers map[uint32]transfer // the last of each shard
	failures  map[uint32]string   // the last failure logged of each shard
}

// steadiness is since when a preferred leader has been seen caught up.
type steadiness struct {
	node  string
	since time.Time
}

// transfer is a leadership transfer that was tried.
type transfer struct {
	to     string
	at     time.Time
	failed bool
}

// NewController returns a controller of world. log may be nil.
func NewController(world World, log *slog.Logger) *Controller {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Controller{world: world, log: log, wake: make(chan struct{}, 1)}
}

// Wake makes the controller look now: the map, a member or a leader has changed. It
// never blocks; it may be called whether or not the controller runs.
func (c *Controller) Wake() {
	select {
	case c.wake <- struct{}{}:
	default: // a look is due already
	}
}

// Run looks and steps until ctx ends, and returns once all its goroutines are done.
// What it knew of an earlier Run is forgotten. One Run at a time.
func (c *Controller) Run(ctx context.Context) {
	c.steady = make(map[uint32]steadiness)
	c.transfers = make(map[uint32]transfer)
	c.failures = make(map[uint32]string)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.wake:
			// What comes together is looked at together.
			select {
			case <-ctx.Done():
				return
			case <-time.After(progressPause):
			}
		case <-timer.C:
		}
		timer.Reset(c.round(ctx))
	}
}

// round looks, plans and steps once, and returns how long to wait for the next.
func (c *Controller) round(ctx context.Context) time.Duration {
	m := c.world.Map()
	if m == nil {
		return busyInterval
	}
	w := c.observe(ctx, m)
	plan := Plan(m, w)
	if c.execute(ctx, plan) {
		return progressPause
	}
	if len(plan) == 0 && isWell(m, w) {
		return settledInterval
	}
	return busyInterval
}

// observe asks the leaders of all shards.
func (c *Controller) observe(ctx context.Context, m *Map) Observed {
	w := Observed{Shards: make(map[uint32]ShardView, len(m.Shards)+1), Alive: make(map[string]bool)}
	for _, member := range c.world.Members() {
		w.Alive[member.ID] = member.Alive
	}
	statuses := make([]*ShardStatus, len(m.Shards)+1)
	c.each(len(statuses), func(i int) {
		ctx, cancel := context.WithTimeout(ctx, statusTimeout)
		defer cancel()
		st, err := c.world.ShardStatus(ctx, uint32(i))
		if err != nil {
			c.log.Debug("no status of a shard", "shard", i, "error", err)
			return
		}
		statuses[i] = &st
	})
	now := time.Now()
	for i, st := range statuses {
		if st == nil {
			delete(c.steady, uint32(i))
			continue
		}
		w.Shards[uint32(i)] = c.view(m, uint32(i), st, now)
	}
	return w
}

// view adds to a status what only time tells.
func (c *Controller) view(m *Map, shard uint32, st *ShardStatus, now time.Time) ShardView {
	v := ShardView{Status: *st, Rested: true}
	s := m.Shard(shard)
	if last, ok := c.transfers[shard]; ok && now.Sub(last.at) < transferPause {
		// Another node is preferred now than the one that got it: that is no coming back.
		v.Rested = !last.failed && s != nil && s.Preferred != last.to
	}
	if s == nil || s.Preferred == "" || !st.upTo(st.Server(s.Preferred), TransferWithin) {
		delete(c.steady, shard)
		return v
	}
	seen, ok := c.steady[shard]
	if !ok || seen.node != s.Preferred {
		seen = steadiness{node: s.Preferred, since: now}
		c.steady[shard] = seen
	}
	v.PreferredSteady = now.Sub(seen.since) >= PreferredSteady
	return v
}

// execute takes the steps, of different shards at the same time, and reports whether
// one is known to have been taken.
func (c *Controller) execute(ctx context.Context, plan []Step) (progress bool) {
	errs := make([]error, len(plan))
	c.each(len(plan), func(i int) {
		ctx, cancel := context.WithTimeout(ctx, stepTimeout)
		defer cancel()
		errs[i] = c.take(ctx, plan[i])
	})
	for i, s := range plan {
		log := c.log.With("shard", s.Shard, "step", s.Kind.String(), "node", shortID(s.Node), "args", s.Argv, "why", s.Why)
		if s.Kind == StepTransfer {
			c.transfers[s.Shard] = transfer{to: s.Node, at: time.Now(), failed: errs[i] != nil}
		}
		if errs[i] == nil {
			progress = true
			delete(c.failures, s.Shard)
			log.Info("placement step taken")
			continue
		}
		if ctx.Err() != nil {
			continue // the controller was told to stop: nobody failed
		}
		level := slog.LevelWarn
		if text := errs[i].Error(); c.failures[s.Shard] == text {
			level = slog.LevelDebug // said already, and tried again each second
		} else {
			c.failures[s.Shard] = text
		}
		log.Log(ctx, level, "placement step failed", "error", errs[i])
	}
	return progress
}

func (c *Controller) take(ctx context.Context, s Step) error {
	switch s.Kind {
	case StepPropose:
		return c.world.Propose(ctx, s.Argv)
	case StepAddNonvoter:
		return c.world.AddNonvoter(ctx, s.Shard, s.Node, s.ConfigIndex)
	case StepAddVoter:
		return c.world.AddVoter(ctx, s.Shard, s.Node, s.ConfigIndex)
	case StepRemove:
		return c.world.Remove(ctx, s.Shard, s.Node, s.ConfigIndex)
	default: // StepTransfer
		return c.world.Transfer(ctx, s.Shard, s.Node)
	}
}

// each calls f with 0 to n-1, at most parallel at a time, and returns when all are done.
func (c *Controller) each(n int, f func(int)) {
	var wg sync.WaitGroup
	slots := make(chan struct{}, parallel)
	for i := range n {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			f(i)
		})
	}
	wg.Wait()
}

// isWell reports whether all shards are as the map wants them and led where it wants,
// and every replica answers.
func isWell(m *Map, w Observed) bool {
	if len(m.Shards) == 0 || len(w.Shards) != len(m.Shards)+1 {
		return false
	}
	for id, v := range w.Shards {
		for i := range v.Status.Servers {
			if !v.Status.upTo(&v.Status.Servers[i], TransferWithin) {
				return false
			}
		}
		if s := m.Shard(id); s != nil && (s.Preferred != v.Status.Leader || !isSettled(s, &v.Status)) {
			return false
		}
	}
	return true
}

package placement

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

const (
	// busyInterval is the time from one round to the next while the cluster differs from
	// the map.
	busyInterval = time.Second
	// settledInterval is the time from one round to the next when the cluster matches the
	// map. It is longer because a round asks the leader of every shard, and an idle cluster
	// should not spend much on that.
	settledInterval = 5 * time.Second
	// progressPause is the wait after a successful step or a Wake. The next step is likely
	// due, but the changed map may take a moment to arrive on this node.
	progressPause = 50 * time.Millisecond

	// PreferredSteady is how long a preferred leader must have been caught up in every
	// round before the leadership returns to it.
	PreferredSteady = 4 * time.Second
	// transferPause is the least time between two transfers of a shard to the same node,
	// and after a failed transfer. More transfers would not help a shard that keeps losing
	// its leader.
	transferPause = 20 * time.Second

	// statusTimeout limits the request for one shard's status.
	statusTimeout = 2 * time.Second
	// stepTimeout limits one step. A step may take effect after its time-out; the next
	// round then sees the effect.
	stepTimeout = 5 * time.Second
	// parallel limits how many requests or steps run at the same time.
	parallel = 8
)

// Member is gossip's view of a node. It is a hint.
type Member struct {
	ID    string
	Alive bool
}

// World gives the controller its view of the cluster and carries out its steps. Methods
// return by the time ctx ends and may be called from several goroutines at once. If a
// step returns an error, it may still have taken effect.
type World interface {
	// Map returns the newest map known on this node, or nil until the cluster is created.
	Map() *Map
	// Members returns gossip's view of all nodes, this node included.
	Members() []Member
	// ShardStatus asks the leader of the shard, which may be MetaShard.
	ShardStatus(ctx context.Context, shard uint32) (ShardStatus, error)
	// Propose runs a command on the meta group. A refusal is returned as an error.
	Propose(ctx context.Context, argv []string) error
	// AddNonvoter, AddVoter and Remove change the shard's Raft configuration if its index is
	// still configIndex, and return once the change is committed. AddVoter should refuse a
	// node that the leader does not reach, because the plan may be seconds old.
	AddNonvoter(ctx context.Context, shard uint32, node string, configIndex uint64) error
	AddVoter(ctx context.Context, shard uint32, node string, configIndex uint64) error
	Remove(ctx context.Context, shard uint32, node string, configIndex uint64) error
	// Transfer hands the leadership of the shard to node. It returns when the transfer has
	// succeeded or failed, so that no transfer is under way afterwards.
	Transfer(ctx context.Context, shard uint32, node string) error
}

// Controller changes the cluster until it matches its map. It runs on the node that leads
// the meta group, for as long as that node leads.
type Controller struct {
	world World
	log   *slog.Logger
	wake  chan struct{}

	// Owned by Run.
	steady    map[uint32]steadiness
	transfers map[uint32]transfer // the last transfer of each shard
	failures  map[uint32]string   // the last logged failure of each shard
}

// steadiness says since when a preferred leader has been caught up in every round.
type steadiness struct {
	node  string
	since time.Time
}

// transfer describes an attempted leadership transfer.
type transfer struct {
	to     string
	at     time.Time
	failed bool
}

// NewController returns a controller of world. A nil log discards all messages.
func NewController(world World, log *slog.Logger) *Controller {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Controller{world: world, log: log, wake: make(chan struct{}, 1)}
}

// Wake starts a round soon, because the map, a member or a leader has changed. It never
// blocks and may be called at any time, also while the controller does not run.
func (c *Controller) Wake() {
	select {
	case c.wake <- struct{}{}:
	default: // a round is due already
	}
}

// Run works in rounds until ctx ends, and returns once all its goroutines have ended. It
// starts without any memory of an earlier Run. Only one Run may be active at a time.
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
			// Wait a moment, so that several changes at once lead to one round.
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

// round observes, plans and takes steps once. It returns the time until the next round.
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

// observe asks the leaders of all shards for their status.
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
			c.log.Debug("shard status not available", "shard", i, "error", err)
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

// view adds to a status the facts that depend on earlier rounds.
func (c *Controller) view(m *Map, shard uint32, st *ShardStatus, now time.Time) ShardView {
	v := ShardView{Status: *st, Rested: true}
	s := m.Shard(shard)
	if last, ok := c.transfers[shard]; ok && now.Sub(last.at) < transferPause {
		// A transfer to another node than the last one is no move back and forth, so it
		// need not wait.
		v.Rested = !last.failed && s != nil && s.Preferred != last.to
	}
	if s == nil || s.Preferred == "" || !st.caughtUp(st.Server(s.Preferred), TransferWithin) {
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

// execute takes the steps of a plan at the same time, each for a different shard. It
// reports whether at least one step has certainly been taken.
func (c *Controller) execute(ctx context.Context, plan []Step) (progress bool) {
	errs := make([]error, len(plan))
	c.each(len(plan), func(i int) {
		ctx, cancel := context.WithTimeout(ctx, stepTimeout)
		defer cancel()
		errs[i] = c.take(ctx, plan[i])
	})
	for i, s := range plan {
		log := c.log.With("shard", s.Shard, "step", s.Kind.String(), "on", shortID(s.Node), "args", s.Argv, "why", s.Why)
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
			continue // the controller is stopping: this is no failure of the step
		}
		level := slog.LevelWarn
		if text := errs[i].Error(); c.failures[s.Shard] == text {
			level = slog.LevelDebug // the same failure is logged already, and the step is tried every second
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

// each calls f with 0 to n-1, at most parallel calls at a time, and returns when all are
// done.
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

// isWell reports whether every shard matches the map in its replicas and its leader, and
// every replica has answered.
func isWell(m *Map, w Observed) bool {
	if len(m.Shards) == 0 || len(w.Shards) != len(m.Shards)+1 {
		return false
	}
	for id, v := range w.Shards {
		for i := range v.Status.Servers {
			if !v.Status.caughtUp(&v.Status.Servers[i], TransferWithin) {
				return false
			}
		}
		if s := m.Shard(id); s != nil && (s.Preferred != v.Status.Leader || !isSettled(s, &v.Status)) {
			return false
		}
	}
	return true
}

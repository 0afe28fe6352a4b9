package node

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"millrace/call"
	"millrace/kv"
	"millrace/kv/pebblekv"
	"millrace/node/peer"
	"millrace/placement"
	"millrace/raftlog/disk"
	"millrace/shard"
)

const (
	// mapCommitTimeout is how soon nodes learn of a change of the map after which nothing
	// else changes: every one of them routes by its own replica.
	mapCommitTimeout = 250 * time.Millisecond
	// metaEager is how often a node that is in no cluster yet looks for one;
	// metaSettled is how often one that is looks whether its place in the map is right.
	metaEager   = 250 * time.Millisecond
	metaSettled = 5 * time.Second
	// helloTimeout bounds asking one node who it is.
	helloTimeout = time.Second
	// strangerCheck is for how long after its start a node ends when it meets, where it
	// was told to join, a node of another cluster.
	strangerCheck = 15 * time.Second
)

// metaGroup is this node's part in the meta group: its replica of shard 0, how it
// comes to be in a cluster, and the controller where this node leads.
type metaGroup struct {
	n          *Node
	machine    *placement.Machine
	controller *placement.Controller
	wake       chan struct{} // room for one: the map or the leader has changed
	lastWhy    string        // why the last decision was to wait; owned by run
	founded    bool          // this process has started the group; owned by run
}

// openMeta starts this node's replica of the meta group with what is on disk. One
// that was never in a cluster waits to be founded or to be added.
func openMeta(n *Node) error {
	m := &metaGroup{n: n, wake: make(chan struct{}, 1)}
	m.machine = placement.NewMachine(func(read func(kv.Reader) error) error {
		return read(pebblekv.Reader{R: n.disks.state.DB})
	})
	if err := m.machine.Load(); err != nil {
		return &diskError{disk.Corrupt, err}
	}
	m.controller = placement.NewController(world{n}, n.log)
	n.meta = m // before the replica runs, which calls it
	m.machine.OnChange(func(cur *placement.Map) {
		n.maps.Publish(cur)
		n.host.notify()
		m.controller.Wake()
		m.notify()
	})
	return m.open(false)
}

// open starts the replica; found makes it the only voter of a new group if it has no
// state yet.
func (m *metaGroup) open(found bool) error {
	cfg := m.n.host.config(placement.MetaShard, placement.MetaSlot, placement.MetaSlot, m.machine)
	cfg.Timing.CommitTimeout = mapCommitTimeout
	if found {
		cfg.Founders = []string{m.n.id}
	}
	s, err := shard.Open(cfg)
	if err != nil {
		return fmt.Errorf("open the meta group: %w", err)
	}
	m.n.replicas.put(placement.MetaShard, s)
	return nil
}

func (m *metaGroup) notify() {
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// leads reports whether this node leads the meta group, as far as it knows.
func (m *metaGroup) leads() bool {
	s := m.n.replicas.get(placement.MetaShard)
	return s != nil && s.Status().Leader == m.n.id
}

// run joins or founds a cluster, keeps this node's addresses in the map right, and
// runs the controller while this node leads the meta group.
func (m *metaGroup) run(ctx context.Context) error {
	var (
		stop context.CancelFunc
		done chan struct{}
	)
	halt := func() {
		if stop != nil {
			stop()
			<-done
			stop = nil
		}
	}
	defer halt()
	t := time.NewTimer(0)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-m.wake:
		case <-t.C:
		}
		if m.leads() && stop == nil {
			cctx, cancel := context.WithCancel(ctx)
			stop, done = cancel, make(chan struct{})
			ended := done
			go func() { // ends when this node no longer leads, or run ends
				defer close(ended)
				m.controller.Run(cctx)
			}()
		} else if !m.leads() {
			halt()
		}
		settled, err := m.step(ctx)
		if err != nil {
			return err
		}
		wait := metaEager
		if settled {
			wait = metaSettled
		}
		t.Reset(wait)
	}
}

// step does the next thing on the way into a cluster. It reports whether this node is
// where it should be; an error ends the node.
func (m *metaGroup) step(ctx context.Context) (settled bool, err error) {
	cur := m.machine.Map()
	switch {
	case cur != nil:
		if err := m.n.adopt(cur.ClusterID); err != nil {
			return false, err
		}
		m.n.gossip.SetMeta(m.n.gossipMeta())
		if m.placed(cur) {
			return true, nil
		}
		m.attempt(m.join(ctx, cur.ClusterID))
	case m.n.clusterID() != "":
		// It was in a cluster: the map is in its log, or comes from the others.
		return false, m.missing()
	case m.leads():
		// Founded, and not yet written down: this process, or the one before it, was
		// on the way.
		m.attempt(m.propose(ctx, m.foundArgv()))
	case !m.founding():
		return false, m.decide(ctx)
	}
	return false, nil
}

// missing reports that there is no map where there must be one: this node was in a
// cluster, leads the meta group, and has applied all of its log.
func (m *metaGroup) missing() error {
	st := m.n.replicas.get(placement.MetaShard).Status()
	if !st.Ready || st.Leader != m.n.id || m.machine.Map() != nil {
		return nil
	}
	return &diskError{disk.Corrupt, fmt.Errorf("%s is of a node of cluster %.8s, and the cluster's map is gone", m.n.cfg.DataDir, m.n.clusterID())}
}

// founding reports whether the group has been started here, and only has to elect its
// one voter: by this process, or by one that was killed before it could go on.
func (m *metaGroup) founding() bool {
	s := m.n.replicas.get(placement.MetaShard)
	return m.founded || s != nil && slices.Contains(s.Status().Voters, m.n.id)
}

// attempt logs why something that is tried again soon has failed, once.
func (m *metaGroup) attempt(err error) {
	if err == nil {
		m.lastWhy = ""
		return
	}
	m.waiting(err.Error())
}

func (m *metaGroup) waiting(why string) {
	if why != m.lastWhy {
		m.lastWhy = why
		m.n.log.Info("not in a cluster yet", "why", why)
	}
}

// placed reports whether the map knows this node under its addresses.
func (m *metaGroup) placed(cur *placement.Map) bool {
	node, a := cur.Node(m.n.id), m.n.addrs
	return node != nil && node.PeerAddr == a.Peer && node.ClientAddr == a.Client && node.GossipAddr == a.Gossip && node.HTTPAddr == a.HTTP
}

// decide asks every node in sight who it is, and founds, joins or waits.
func (m *metaGroup) decide(ctx context.Context) error {
	g := m.greeting()
	for _, member := range m.n.gossip.Members() {
		if member.ID == m.n.id || !member.Alive {
			continue
		}
		info, err := m.hello(ctx, member.PeerAddr())
		if err != nil {
			continue // it is not there: Decide counts those that are
		}
		g.Answers = append(g.Answers, placement.Answer{NodeID: info.NodeID, ClusterID: info.ClusterID, Expect: int(info.Expect), Lowest: info.Lowest})
	}
	m.n.lowest.Store(g.Lowest())
	switch d := placement.Decide(g); d.Verdict {
	case placement.CreateCluster:
		m.n.log.Info("founding a cluster", "why", d.Why)
		return m.found()
	case placement.JoinCluster:
		m.attempt(m.join(ctx, d.ClusterID))
	default:
		m.waiting(d.Why)
	}
	return nil
}

// found starts the meta group with this node as its only voter.
func (m *metaGroup) found() error {
	s := m.n.replicas.get(placement.MetaShard)
	m.n.replicas.put(placement.MetaShard, nil)
	if err := s.Close(); err != nil {
		return err
	}
	m.founded = true
	return m.open(true)
}

// greeting is what this node knows of itself when it asks others, or is asked.
func (m *metaGroup) greeting() placement.Greeting {
	return placement.Greeting{Self: m.n.id, Expect: m.n.cfg.BootstrapExpect, Seeds: len(m.n.cfg.Join) > 0}
}

func (m *metaGroup) hello(ctx context.Context, addr string) (peer.HelloInfo, error) {
	ctx, cancel := context.WithTimeout(ctx, helloTimeout)
	defer cancel()
	return m.n.peers.Hello(ctx, addr)
}

// foundArgv is the command that writes a new cluster down.
func (m *metaGroup) foundArgv() []string {
	c := m.n.cfg
	return append([]string{"FOUND", randomID(), fmt.Sprint(c.Shards), fmt.Sprint(c.Replicas), fmt.Sprint(c.BootstrapExpect)}, m.self()...)
}

// self is how commands of the meta group name this node and its addresses.
func (m *metaGroup) self() []string {
	a := m.n.addrs
	return []string{m.n.id, a.Peer, a.Client, a.Gossip, a.HTTP}
}

// join asks the cluster to know this node under its addresses.
func (m *metaGroup) join(ctx context.Context, clusterID string) error {
	return m.propose(ctx, append([]string{"NODE.JOIN", clusterID}, m.self()...))
}

// propose runs a command on the meta group, wherever it is led.
func (m *metaGroup) propose(ctx context.Context, argv []string) error {
	w := words(argv)
	if refusal, ok := placement.Check(w); !ok {
		return errors.New(string(refusal.Str))
	}
	_, err := m.n.caller.do(ctx, placement.MetaShard, call.Write, w...)
	return err
}

func words(argv []string) [][]byte {
	out := make([][]byte, len(argv))
	for i, w := range argv {
		out[i] = []byte(w)
	}
	return out
}

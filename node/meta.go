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
	// mapCommitTimeout is the time in which followers learn that a change of the map is
	// committed, if no other change follows. It is short, because every node routes by its
	// own replica of the map.
	mapCommitTimeout = 250 * time.Millisecond
	// metaEager is the time between two attempts to join or create a cluster. metaSettled is
	// the time between two checks of this node's addresses in the map.
	metaEager   = 250 * time.Millisecond
	metaSettled = 5 * time.Second
	// helloTimeout limits the greeting of one node.
	helloTimeout = time.Second
)

// metaGroup is this node's part in the meta group. It owns the replica of shard 0, brings
// this node into a cluster, and runs the controller while this node leads the group.
type metaGroup struct {
	n          *Node
	machine    *placement.Machine
	controller *placement.Controller
	wake       chan struct{} // signalled when the map or the leader has changed; room for one
	lastWhy    string        // the last logged reason for being in no cluster; owned by run
	created    bool          // this process has started the group; owned by run
}

// openMeta starts this node's replica of the meta group from its state on disk. The
// replica of an empty node has no voters: it waits until this node creates a cluster or
// is added to one.
func openMeta(n *Node) error {
	m := &metaGroup{n: n, wake: make(chan struct{}, 1)}
	m.machine = placement.NewMachine(func(read func(kv.Reader) error) error {
		return read(pebblekv.Reader{R: n.disks.state.DB})
	})
	if err := m.machine.Load(); err != nil {
		return &diskError{disk.Corrupt, err}
	}
	m.controller = placement.NewController(world{n}, n.log)
	n.meta = m // before the replica runs, because it calls n.meta
	m.machine.OnChange(func(cur *placement.Map) {
		n.maps.Publish(cur)
		n.hosting.notify()
		m.controller.Wake()
		m.notify()
	})
	return m.open(false)
}

// open starts the replica. If create is set and the replica has no state yet, it becomes
// the only voter of a new group.
func (m *metaGroup) open(create bool) error {
	cfg := m.n.hosting.config(placement.MetaShard, placement.MetaSlot, placement.MetaSlot, m.machine)
	cfg.Timing.CommitTimeout = mapCommitTimeout
	if create {
		cfg.Founders = []string{m.n.id}
	}
	s, err := shard.Open(cfg)
	if err != nil {
		return fmt.Errorf("open the meta group: %w", err)
	}
	m.n.replicas.put(placement.MetaShard, s)
	return nil
}

// notify makes run take its next step soon. It does not block.
func (m *metaGroup) notify() {
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// leads reports whether this node believes that it leads the meta group.
func (m *metaGroup) leads() bool {
	s := m.n.replicas.get(placement.MetaShard)
	return s != nil && s.Status().Leader == m.n.id
}

// run joins or creates a cluster, keeps this node's addresses in the map up to date, and
// runs the controller while this node leads the meta group. It returns an error if this
// node cannot go on, and nil when ctx ends.
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
			go func() { // halt waits for it
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

// step takes the next step towards a cluster:
//
//  1. A node with a map makes sure that the map has its addresses, and is settled.
//  2. A node that was in a cluster, but has no map, waits for its log or the other nodes.
//  3. A node that leads a meta group without a map creates the cluster in it.
//  4. A node that is about to lead a new meta group waits for its own election.
//  5. Any other node asks around, and creates or joins a cluster, or waits.
//
// settled reports whether the node is in the map under its addresses. An error ends the
// node.
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
		return false, m.checkLost()
	case m.leads():
		// This process, or an earlier one that was killed here, has started the meta group,
		// but no cluster is in it yet.
		m.attempt(m.propose(ctx, m.foundArgv()))
	case !m.creating():
		return false, m.decide(ctx)
	}
	return false, nil
}

// checkLost returns an error if the cluster's map is lost: this node was in a cluster,
// leads the meta group, and has applied all of its log, but has no map.
func (m *metaGroup) checkLost() error {
	st := m.n.replicas.get(placement.MetaShard).Status()
	if !st.Ready || st.Leader != m.n.id || m.machine.Map() != nil {
		return nil
	}
	return &diskError{disk.Corrupt, fmt.Errorf("%s belongs to a node of cluster %.8s, but the cluster's map is gone", m.n.cfg.DataDir, m.n.clusterID())}
}

// creating reports whether this node has started the meta group, and only has to be elected
// as its one voter. An earlier process may have started it and been killed.
func (m *metaGroup) creating() bool {
	s := m.n.replicas.get(placement.MetaShard)
	return m.created || s != nil && slices.Contains(s.Status().Voters, m.n.id)
}

// attempt logs err, the result of a step that is repeated soon, if it is not nil.
func (m *metaGroup) attempt(err error) {
	if err == nil {
		m.lastWhy = ""
		return
	}
	m.waiting(err.Error())
}

// waiting logs why this node is in no cluster yet. It logs the same reason only once.
func (m *metaGroup) waiting(why string) {
	m.n.waitsFor.Store(&why)
	if why != m.lastWhy {
		m.lastWhy = why
		m.n.log.Info("not in a cluster yet", "why", why)
	}
}

// placed reports whether the map has this node with its present addresses.
func (m *metaGroup) placed(cur *placement.Map) bool {
	node, a := cur.Node(m.n.id), m.n.addrs
	return node != nil && node.PeerAddr == a.Peer && node.ClientAddr == a.Client && node.GossipAddr == a.Gossip && node.HTTPAddr == a.HTTP
}

// decide greets every node that gossip reaches. From their answers, placement.Decide tells
// whether this node creates a cluster, joins one or waits.
func (m *metaGroup) decide(ctx context.Context) error {
	g := m.greeting()
	for _, member := range m.n.gossip.Members() {
		if member.ID == m.n.id || !member.Alive {
			continue
		}
		info, err := m.hello(ctx, member.PeerAddr())
		if err != nil {
			continue // Decide counts only the nodes that answer
		}
		g.Answers = append(g.Answers, placement.Answer{NodeID: info.NodeID, ClusterID: info.ClusterID, Expect: int(info.Expect), Lowest: info.Lowest})
	}
	m.n.lowest.Store(g.Lowest())
	switch d := placement.Decide(g); d.Verdict {
	case placement.CreateCluster:
		m.n.log.Info("creating a cluster", "why", d.Why)
		return m.create()
	case placement.JoinCluster:
		m.attempt(m.join(ctx, d.ClusterID))
	default:
		m.waiting(d.Why)
	}
	return nil
}

// create starts the meta group with this node as its only voter. Once this node is elected,
// step proposes the cluster itself.
func (m *metaGroup) create() error {
	s := m.n.replicas.get(placement.MetaShard)
	m.n.replicas.put(placement.MetaShard, nil)
	if err := s.Close(); err != nil {
		return err
	}
	m.created = true
	return m.open(true)
}

// greeting returns this node's own part of the input of placement.Decide.
func (m *metaGroup) greeting() placement.Greeting {
	return placement.Greeting{Self: m.n.id, Expect: m.n.cfg.BootstrapExpect, Seeds: m.n.namesOthers()}
}

// hello greets the node at addr and returns its answer.
func (m *metaGroup) hello(ctx context.Context, addr string) (peer.HelloInfo, error) {
	ctx, cancel := context.WithTimeout(ctx, helloTimeout)
	defer cancel()
	return m.n.peers.Hello(ctx, addr)
}

// foundArgv returns the command that creates the cluster in the meta group.
func (m *metaGroup) foundArgv() []string {
	c := m.n.cfg
	return append([]string{"FOUND", randomID(), fmt.Sprint(c.Shards), fmt.Sprint(c.Replicas), fmt.Sprint(c.BootstrapExpect)}, m.self()...)
}

// self returns this node's ID and addresses, in the order that FOUND and NODE.JOIN expect.
func (m *metaGroup) self() []string {
	a := m.n.addrs
	return []string{m.n.id, a.Peer, a.Client, a.Gossip, a.HTTP}
}

// join adds this node to the cluster's map, or changes its addresses there.
func (m *metaGroup) join(ctx context.Context, clusterID string) error {
	return m.propose(ctx, append([]string{"NODE.JOIN", clusterID}, m.self()...))
}

// propose runs a command on the leader of the meta group. It returns a refusal as an error.
func (m *metaGroup) propose(ctx context.Context, argv []string) error {
	w := words(argv)
	if refusal, ok := placement.Check(w); !ok {
		return errors.New(string(refusal.Str))
	}
	_, err := m.n.caller.do(ctx, placement.MetaShard, call.Write, w...)
	return err
}

// words returns argv as the words of a call.
func words(argv []string) [][]byte {
	out := make([][]byte, len(argv))
	for i, w := range argv {
		out[i] = []byte(w)
	}
	return out
}

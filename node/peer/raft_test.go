package peer

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
)

// listFSM keeps every record that it applied, and the index of the last.
type listFSM struct {
	mu       sync.Mutex
	records  []string
	applied  uint64
	restores int
}

func (f *listFSM) Apply(l *raft.Log) any {
	f.mu.Lock()
	defer f.mu.Unlock()
	if l.Index > f.applied {
		f.records = append(f.records, string(l.Data))
		f.applied = l.Index
	}
	return nil
}

func (f *listFSM) Snapshot() (raft.FSMSnapshot, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	b := binary.BigEndian.AppendUint64(nil, f.applied)
	for _, r := range f.records {
		b = binary.BigEndian.AppendUint32(b, uint32(len(r)))
		b = append(b, r...)
	}
	return bytesSnapshot(b), nil
}

// Restore keeps a state that is newer than the snapshot, as a shard does.
func (f *listFSM) Restore(rc io.ReadCloser) error {
	b, err := io.ReadAll(rc)
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.restores++
	r := &reader{b: b}
	applied := r.u64()
	if applied <= f.applied {
		return nil
	}
	f.applied, f.records = applied, nil
	for len(r.b) > 0 && !r.bad {
		f.records = append(f.records, string(r.bytes32()))
	}
	return r.done("a test snapshot")
}

func (f *listFSM) Applied() uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.applied
}

func (f *listFSM) list() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]string(nil), f.records...)
}

type bytesSnapshot []byte

func (s bytesSnapshot) Persist(sink raft.SnapshotSink) error {
	if _, err := sink.Write(s); err != nil {
		_ = sink.Cancel()
		return err
	}
	return sink.Close()
}

func (bytesSnapshot) Release() {}

// replica is a real Raft instance over a node's transport. It can be restarted.
type replica struct {
	node  *testNode
	shard uint32
	fsm   *listFSM
	log   *raft.InmemStore
	snaps *raft.InmemSnapshotStore
	trans *Transport
	logs  *logBuffer
	*raft.Raft
}

func (r *replica) start(t testing.TB, edit func(*raft.Config)) {
	t.Helper()
	conf := raft.DefaultConfig()
	conf.LocalID = raft.ServerID(r.node.id)
	conf.HeartbeatTimeout, conf.ElectionTimeout, conf.LeaderLeaseTimeout = 400*time.Millisecond, 400*time.Millisecond, 400*time.Millisecond
	conf.CommitTimeout = 20 * time.Millisecond
	conf.SnapshotThreshold, conf.SnapshotInterval = 1<<40, time.Hour
	conf.TrailingLogs = 3
	conf.Logger = hclog.New(&hclog.LoggerOptions{Output: r.logs, Level: hclog.Info})
	if edit != nil {
		edit(conf)
	}
	r.trans = r.node.Transport(r.shard, TransportOptions{Applied: r.fsm.Applied})
	var err error
	if r.Raft, err = raft.NewRaft(conf, r.fsm, r.log, r.log, r.snaps, r.trans); err != nil {
		t.Fatal(err)
	}
}

// stop ends the instance as a shard's supervisor does: the transport first.
func (r *replica) stop(t testing.TB) {
	t.Helper()
	if r.Raft == nil {
		return
	}
	_ = r.trans.Close()
	if err := r.Shutdown().Error(); err != nil {
		t.Error(err)
	}
	r.Raft = nil
}

type group []*replica

func newGroup(t testing.TB, n *testNet, shard uint32, edit func(*raft.Config)) group {
	t.Helper()
	var g group
	var conf raft.Configuration
	for _, node := range n.nodes {
		g = append(g, &replica{node: node, shard: shard, fsm: &listFSM{}, log: raft.NewInmemStore(), snaps: raft.NewInmemSnapshotStore(), logs: &logBuffer{}})
		conf.Servers = append(conf.Servers, raft.Server{ID: raft.ServerID(node.id), Address: raft.ServerAddress(node.id)})
	}
	t.Cleanup(func() {
		for _, r := range g {
			r.stop(t)
		}
		if t.Failed() {
			for _, r := range g {
				s := r.logs.String()
				t.Logf("raft of %.1s, shard %d:\n%s\n%s", r.node.id, shard, s[max(0, len(s)-3000):], r.node.logs)
			}
		}
	})
	for _, r := range g {
		r.start(t, edit)
		if err := r.BootstrapCluster(conf).Error(); err != nil {
			t.Fatal(err)
		}
	}
	return g
}

func (g group) leader(t testing.TB) *replica {
	t.Helper()
	var l *replica
	eventually(t, "a leader", func() bool {
		for _, r := range g {
			if r.Raft != nil && r.State() == raft.Leader {
				l = r
				return true
			}
		}
		return false
	})
	return l
}

// put proposes a record until it is known to be applied. A record may therefore appear
// twice.
func (g group) put(t testing.TB, record string) {
	t.Helper()
	eventually(t, "applied: "+record, func() bool {
		for _, r := range g {
			if r.Raft != nil && r.State() == raft.Leader && r.Apply([]byte(record), time.Second).Error() == nil {
				return true
			}
		}
		return false
	})
}

func (g group) same(t testing.TB) []string {
	t.Helper()
	var want []string
	eventually(t, "the replicas are equal", func() bool {
		want = g[0].fsm.list()
		for _, r := range g {
			if r.fsm.Applied() != g[0].fsm.Applied() || strings.Join(r.fsm.list(), "\n") != strings.Join(want, "\n") {
				return false
			}
		}
		return true
	})
	return want
}

// Several shards share connections that are cut again and again.
func TestRaftGroups(t *testing.T) {
	n := newNet(t, 3, nil)
	var proxies []*proxy
	for _, node := range n.nodes {
		p := newProxy(t, node.Addr().String())
		n.setAddr(node.id, p.addr())
		proxies = append(proxies, p)
	}
	var groups []group
	for shard := range uint32(4) {
		groups = append(groups, newGroup(t, n, shard, nil))
	}
	var wg sync.WaitGroup
	const records = 60
	for i, g := range groups {
		wg.Go(func() {
			for r := range records {
				g.put(t, fmt.Sprintf("shard %d record %d", i, r))
				if r%20 == 10 {
					proxies[(i+r)%3].cut()
				}
			}
		})
	}
	wg.Wait()
	for i, g := range groups {
		g.checkRecords(t, i, records)
		g.checkPreVote(t)
	}
	// Two nodes have at most one connection at a time, for all shards together.
	for _, node := range n.nodes {
		node.mu.Lock()
		open := len(node.conns)
		node.mu.Unlock()
		if open > 2 {
			t.Errorf("%d connections at %.1s", open, node.id)
		}
	}
	// A leadership transfer reaches the chosen replica.
	l := groups[1].leader(t)
	to := groups[1][0]
	if to == l {
		to = groups[1][1]
	}
	if err := l.LeadershipTransferToServer(raft.ServerID(to.node.id), raft.ServerAddress(to.node.id)).Error(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the transfer took effect", func() bool { return to.State() == raft.Leader })
}

// checkRecords checks that every replica has all records of its shard and none of
// another shard.
func (g group) checkRecords(t *testing.T, shard, records int) {
	t.Helper()
	got := g.same(t)
	for _, s := range got {
		if !strings.HasPrefix(s, fmt.Sprintf("shard %d ", shard)) {
			t.Fatalf("shard %d applied %q", shard, s)
		}
	}
	for r := range records {
		if want := fmt.Sprintf("shard %d record %d", shard, r); !slices.Contains(got, want) {
			t.Errorf("%q is lost", want)
		}
	}
}

// checkPreVote checks by Raft's logs that a leader was elected with a pre-vote.
func (g group) checkPreVote(t *testing.T) {
	t.Helper()
	elected := false
	for _, r := range g {
		elected = elected || strings.Contains(r.logs.String(), "pre-vote successful")
		if strings.Contains(r.logs.String(), "pre-vote is disabled") {
			t.Error("raft runs without pre-vote")
		}
	}
	if !elected {
		t.Error("no pre-vote was held")
	}
}

// While a leader's log syncs hang, it sends nothing, and another leader is elected.
func TestStalledLeaderIsReplaced(t *testing.T) {
	var mu sync.Mutex
	stalled := map[string]bool{}
	n := newNet(t, 3, func(_ int, c *Config) {
		id := c.NodeID
		c.Stalled = func() bool { mu.Lock(); defer mu.Unlock(); return stalled[id] }
	})
	g := newGroup(t, n, 1, nil)
	g.put(t, "before")
	l := g.leader(t)
	mu.Lock()
	stalled[l.node.id] = true
	mu.Unlock()
	eventually(t, "another leads", func() bool { x := g.leader(t); return x != l && l.State() != raft.Leader })
	g.put(t, "after")
	mu.Lock()
	stalled[l.node.id] = false
	mu.Unlock()
	if got := g.same(t); got[0] != "before" || got[len(got)-1] != "after" {
		t.Errorf("got %q", got)
	}
	var resp raft.AppendEntriesResponse
	mu.Lock()
	stalled[l.node.id] = true
	mu.Unlock()
	if err := l.trans.AppendEntries(raft.ServerID(nodeID(0)), "", &raft.AppendEntriesRequest{}, &resp); err != ErrStalled {
		t.Errorf("a heartbeat while stalled: %v", err)
	}
	if err := l.trans.InstallSnapshot(raft.ServerID(nodeID(0)), "", &raft.InstallSnapshotRequest{}, nil, nil); err != ErrStalled {
		t.Errorf("a snapshot while stalled: %v", err)
	}
}

// The Raft instance of one replica is replaced while the other shards keep working.
func TestReplicaRestart(t *testing.T) {
	n := newNet(t, 3, nil)
	g := newGroup(t, n, 1, nil)
	other := newGroup(t, n, 2, nil)
	for i := range 6 {
		g.put(t, fmt.Sprint("record ", i))
		r := g[i%3]
		began := time.Now()
		r.stop(t)
		if d := time.Since(began); d > 2*time.Second {
			t.Errorf("stopping took %v", d)
		}
		r.start(t, nil)
		other.put(t, fmt.Sprint("other ", i))
	}
	g.same(t)
	if got := other.same(t); len(got) < 6 {
		t.Errorf("the other shard has %q", got)
	}
}

// A follower that was away needs more records than one AppendEntries may hold, and gets
// them in several.
func TestLargeBacklog(t *testing.T) {
	n := newNet(t, 3, nil)
	g := newGroup(t, n, 1, nil)
	l := g.leader(t)
	var away *replica
	for _, r := range g {
		if r != l {
			away = r
		}
	}
	away.stop(t)
	for i := range 20 {
		g.put(t, strings.Repeat(string(rune('a'+i)), 300_000))
	}
	away.start(t, nil)
	if got := g.same(t); len(got) < 20 {
		t.Errorf("%d records", len(got))
	}
}

func pairOfTransports(t *testing.T, edit func(int, *Config)) (from, to *Transport, toID raft.ServerID, n *testNet) {
	n = newNet(t, 2, edit)
	a, b := n.nodes[0], n.nodes[1]
	connect(t, a, b)
	from, to = a.Transport(1, TransportOptions{}), b.Transport(1, TransportOptions{})
	return from, to, raft.ServerID(b.id), n
}

func headOf(n *testNode) raft.RPCHeader {
	return raft.RPCHeader{ProtocolVersion: 3, ID: []byte(n.id), Addr: []byte(n.id)}
}

// A heartbeat goes through Consumer like every other request.
func TestHeartbeatsGoThroughConsumer(t *testing.T) {
	from, to, id, n := pairOfTransports(t, nil)
	to.SetHeartbeatHandler(func(raft.RPC) { t.Error("the fast path was taken") })
	go func() {
		rpc := <-to.Consumer()
		rpc.Respond(&raft.AppendEntriesResponse{Term: rpc.Command.(*raft.AppendEntriesRequest).Term + 1, Success: true}, nil)
	}()
	var resp raft.AppendEntriesResponse
	if err := from.AppendEntries(id, "", &raft.AppendEntriesRequest{RPCHeader: headOf(n.nodes[0]), Term: 4}, &resp); err != nil || resp.Term != 5 || !resp.Success {
		t.Errorf("got %+v, %v", resp, err)
	}
	if _, err := from.AppendEntriesPipeline(id, ""); err != raft.ErrPipelineReplicationNotSupported {
		t.Errorf("a pipeline: %v", err)
	}
}

// An announcement and its answer are written at once, where a heartbeat would wait an hour.
func TestAnnouncementsDoNotWait(t *testing.T) {
	from, to, id, n := pairOfTransports(t, func(_ int, c *Config) { c.Limits.LazyFor, c.Limits.PingEvery = time.Hour, time.Hour })
	fakeRaft(t, to, raft.AppendEntriesResponse{Term: 4, Success: true}, nil)
	var resp raft.AppendEntriesResponse
	if err := from.Announce(id, &raft.AppendEntriesRequest{RPCHeader: headOf(n.nodes[0]), Term: 4}, &resp); err != nil || !resp.Success {
		t.Errorf("got %+v, %v", resp, err)
	}
}

// Heartbeats of many shards share writes. Any other frame takes the waiting heartbeats
// along.
func TestHeartbeatsWaitForCompany(t *testing.T) {
	n := newNet(t, 2, func(_ int, c *Config) { c.Limits.PingEvery = time.Hour })
	a, b := n.nodes[0], n.nodes[1]
	connect(t, a, b)
	writes := func() uint64 { return a.Stats()[0].Writes + b.Stats()[0].Writes }
	const shards = 200
	var from []*Transport
	for s := range uint32(shards) {
		from = append(from, a.Transport(s, TransportOptions{}))
		fakeRaft(t, b.Transport(s, TransportOptions{}), raft.AppendEntriesResponse{Success: true}, nil)
	}
	before := writes()
	began := time.Now()
	ended := make(chan error, shards)
	for _, f := range from {
		go func() {
			var resp raft.AppendEntriesResponse
			ended <- f.AppendEntries(raft.ServerID(b.id), "", &raft.AppendEntriesRequest{RPCHeader: headOf(a)}, &resp)
		}()
	}
	for range from {
		if err := wait(t, "answer", ended); err != nil {
			t.Error(err)
		}
	}
	d, lazyFor := time.Since(began), a.cfg.Limits.LazyFor
	if got, most := writes()-before, uint64(2*(d/lazyFor+2)); got > most {
		t.Errorf("%d heartbeats in %v took %d writes, at most %d were expected", shards, d, got, most)
	}
	if d < lazyFor {
		t.Errorf("they took only %v", d)
	}

	c := a.link(b.id).conn.Load()
	c.mu.Lock()
	c.send(raftQueue, outFrame{typ: typePing, lazy: true})
	if c.flush || !c.idling {
		t.Error("a lazy frame is written at once")
	}
	c.send(callQueue, outFrame{typ: typePing})
	if !c.flush {
		t.Error("another frame waits")
	}
	c.mu.Unlock()
	eventually(t, "both are written", func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.queues[raftQueue].waiting()+c.queues[callQueue].waiting() == 0
	})
}

func TestAppendIsCut(t *testing.T) {
	from, to, id, n := pairOfTransports(t, nil)
	received := make(chan int, 1)
	go func() {
		for rpc := range to.Consumer() {
			received <- len(rpc.Command.(*raft.AppendEntriesRequest).Entries)
			rpc.Respond(&raft.AppendEntriesResponse{Success: true}, nil)
		}
	}()
	t.Cleanup(func() { close(to.requests) })
	record := func(size int) *raft.Log { return &raft.Log{Index: 1, Data: bytes.Repeat([]byte("x"), size)} }
	for _, tc := range []struct {
		name  string
		sizes []int
		want  int
	}{
		{"all fit", []int{1 << 20, 1 << 20, 1 << 20}, 3},
		{"the fourth does not", []int{1 << 20, 1 << 20, 1 << 20, 1 << 20, 10}, 3},
		{"one larger than the bound goes alone", []int{6 << 20, 10}, 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			args := &raft.AppendEntriesRequest{RPCHeader: headOf(n.nodes[0])}
			for _, s := range tc.sizes {
				args.Entries = append(args.Entries, record(s))
			}
			var resp raft.AppendEntriesResponse
			if err := from.AppendEntries(id, "", args, &resp); err != nil {
				t.Fatal(err)
			}
			if got := <-received; got != tc.want || len(args.Entries) != tc.want {
				t.Errorf("%d records arrived, raft is told of %d, want %d", got, len(args.Entries), tc.want)
			}
		})
	}
	err := from.AppendEntries(id, "", &raft.AppendEntriesRequest{Entries: []*raft.Log{record(maxAppendPayload)}}, &raft.AppendEntriesResponse{})
	if !errors.Is(err, ErrFrameTooLarge) {
		t.Errorf("a record over the frame's limit: %v", err)
	}
}

// A shard whose Raft takes no requests harms neither other shards nor the connection.
func TestShardThatTakesNothing(t *testing.T) {
	from, _, id, n := pairOfTransports(t, nil)
	a, b := n.nodes[0], n.nodes[1]
	from2, to2 := a.Transport(2, TransportOptions{}), b.Transport(2, TransportOptions{})
	go func() {
		for rpc := range to2.Consumer() {
			rpc.Respond(&raft.RequestVoteResponse{Granted: true}, nil)
		}
	}()
	t.Cleanup(func() { close(to2.requests) })
	ask := func(t *Transport) error {
		return t.RequestVote(id, "", &raft.RequestVoteRequest{RPCHeader: headOf(a)}, &raft.RequestVoteResponse{})
	}
	stuck := make(chan error, 2*maxRPCsWaiting)
	for range maxRPCsWaiting + 10 {
		go func() { stuck <- ask(from) }()
	}
	for range 10 {
		if err := wait(t, "refusal", stuck); err == nil || !strings.Contains(err.Error(), ErrRaftBusy.Error()) {
			t.Errorf("got %v", err)
		}
	}
	if err := ask(from2); err != nil {
		t.Errorf("the other shard: %v", err)
	}
	if err := ask(a.Transport(3, TransportOptions{})); !errors.Is(err, ErrNoReplica) || !from.Absent(err) || !strings.Contains(err.Error(), "shard 3") {
		t.Errorf("a shard that is not there: %v", err)
	}
	// Closing the sender's transport ends its waiting RPCs.
	_ = from.Close()
	for range maxRPCsWaiting {
		if err := wait(t, "end", stuck); err != ErrTransportClosed {
			t.Errorf("got %v", err)
		}
	}
	if err := ask(from); err != ErrTransportClosed {
		t.Errorf("after Close: %v", err)
	}
}

func TestRPCFailures(t *testing.T) {
	from, to, id, n := pairOfTransports(t, func(_ int, c *Config) { c.Limits.RPC = 50 * time.Millisecond })
	a := n.nodes[0]
	ask := func(h raft.RPCHeader) error {
		return from.RequestVote(id, "", &raft.RequestVoteRequest{RPCHeader: h}, &raft.RequestVoteResponse{})
	}
	if err := ask(headOf(a)); err != ErrRPCTimeout {
		t.Errorf("no answer: %v", err)
	}
	late := <-to.Consumer()
	late.Respond(&raft.RequestVoteResponse{}, nil) // its request was given up
	forged := headOf(a)
	forged.ID = []byte(nodeID(7))
	if err := ask(forged); err == nil || !strings.Contains(err.Error(), ErrSender.Error()) {
		t.Errorf("in another's name: %v", err)
	}
	if err := from.TimeoutNow(id, "", &raft.TimeoutNowRequest{}, &raft.TimeoutNowResponse{}); err == nil || !strings.Contains(err.Error(), ErrSender.Error()) {
		t.Errorf("in nobody's name: %v", err)
	}
	if err := from.RequestVote(raft.ServerID(a.id), "", &raft.RequestVoteRequest{}, nil); !errors.Is(err, ErrSameNode) {
		t.Errorf("to itself: %v", err)
	}
	if err := from.RequestVote(raft.ServerID(nodeID(8)), "", &raft.RequestVoteRequest{}, nil); err != ErrNotConnected {
		t.Errorf("to a stranger: %v", err)
	}
	go func() {
		rpc := <-to.Consumer()
		rpc.Respond(nil, errors.New("raft is out"))
	}()
	if err := ask(headOf(a)); err != RemoteError("raft is out") {
		t.Errorf("its error: %v", err)
	}
	// During an RPC, the receiver's transport closes, or the connection breaks.
	slow := make(chan error, 2)
	a.cfg.Limits.RPC = time.Minute
	go func() { slow <- ask(headOf(a)) }()
	<-to.Consumer()
	_ = to.Close()
	if err := wait(t, "failure", slow); err == nil || !strings.Contains(err.Error(), ErrTransportClosed.Error()) {
		t.Errorf("closed there: %v", err)
	}
	to = n.nodes[1].Transport(1, TransportOptions{})
	go func() { slow <- ask(headOf(a)) }()
	<-to.Consumer()
	a.link(string(id)).conn.Load().fail(io.ErrClosedPipe)
	if err := wait(t, "failure", slow); !errors.Is(err, ErrNotConnected) {
		t.Errorf("broken: %v", err)
	}
}

// A new transport replaces the shard's old one, which is closed only afterwards.
func TestTransportReplaced(t *testing.T) {
	from, old, id, n := pairOfTransports(t, nil)
	now := n.nodes[1].Transport(1, TransportOptions{})
	_ = old.Close()
	go func() {
		rpc := <-now.Consumer()
		rpc.Respond(&raft.TimeoutNowResponse{}, nil)
	}()
	if err := from.TimeoutNow(id, "", &raft.TimeoutNowRequest{RPCHeader: headOf(n.nodes[0])}, &raft.TimeoutNowResponse{}); err != nil {
		t.Error(err)
	}
	if old.LocalAddr() != raft.ServerAddress(id) || string(old.EncodePeer("x", "y")) != "y" || old.DecodePeer([]byte("z")) != "z" {
		t.Error("addresses are not node IDs")
	}
}

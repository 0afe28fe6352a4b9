package shard

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"millrace/call"
)

var errCut = errors.New("test network: cut")

// testNet joins the replicas of one shard in memory. Links can be cut in one direction,
// for Raft's messages and for probes apart.
type testNet struct {
	mu        sync.Mutex
	endpoints map[string]*testEndpoint // guarded by mu
	shards    map[string]*Shard
	cut       map[[2]string]bool // raft messages from, to
	cutProbe  map[[2]string]bool
	installs  int
	// onInstall, if set, may change or refuse a snapshot on its way.
	onInstall func(to string, req *raft.InstallSnapshotRequest, data io.Reader) (io.Reader, error)
	noStale   bool // lets stale snapshots through, which a transport must answer itself
	timeout   time.Duration
}

func newTestNet() *testNet {
	return &testNet{
		endpoints: map[string]*testEndpoint{}, shards: map[string]*Shard{},
		cut: map[[2]string]bool{}, cutProbe: map[[2]string]bool{}, timeout: 2 * time.Second,
	}
}

func (n *testNet) setCut(from, to string, cut bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cut[[2]string{from, to}] = cut
}

// isolate cuts or joins a node's links in both directions: those for Raft's messages, and
// with probes also those for probes.
func (n *testNet) isolate(id string, others []string, cut, probes bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, o := range others {
		if o == id {
			continue
		}
		n.cut[[2]string{id, o}], n.cut[[2]string{o, id}] = cut, cut
		if probes || !cut {
			n.cutProbe[[2]string{id, o}], n.cutProbe[[2]string{o, id}] = cut, cut
		}
	}
}

func (n *testNet) endpoint(id string) raft.Transport {
	e := &testEndpoint{net: n, id: id, rpcs: make(chan raft.RPC, 64), closed: make(chan struct{})}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.endpoints[id] = e
	return e
}

func (n *testNet) register(id string, s *Shard) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.shards[id] = s
}

func (n *testNet) isCut(from, to string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.cut[[2]string{from, to}]
}

// prober asks in the name of one node.
type prober struct {
	net  *testNet
	self string
}

func (p prober) Probe(ctx context.Context, node string, shard uint32) (call.Probe, error) {
	p.net.mu.Lock()
	s := p.net.shards[node]
	cut := p.net.cutProbe[[2]string{p.self, node}]
	p.net.mu.Unlock()
	if cut {
		return call.Probe{}, call.ErrNotSent
	}
	if s == nil {
		return call.Probe{}, nil
	}
	return s.Probe(), nil
}

type testEndpoint struct {
	net    *testNet
	id     string
	rpcs   chan raft.RPC
	closed chan struct{}
	once   sync.Once
}

func (e *testEndpoint) Close() error {
	e.once.Do(func() { close(e.closed) })
	return nil
}
func (e *testEndpoint) Consumer() <-chan raft.RPC                               { return e.rpcs }
func (e *testEndpoint) LocalAddr() raft.ServerAddress                           { return raft.ServerAddress(e.id) }
func (e *testEndpoint) EncodePeer(_ raft.ServerID, a raft.ServerAddress) []byte { return []byte(a) }
func (e *testEndpoint) DecodePeer(b []byte) raft.ServerAddress                  { return raft.ServerAddress(b) }
func (e *testEndpoint) SetHeartbeatHandler(func(raft.RPC))                      { panic("the fast path is on") }
func (e *testEndpoint) AppendEntriesPipeline(raft.ServerID, raft.ServerAddress) (raft.AppendPipeline, error) {
	return nil, raft.ErrPipelineReplicationNotSupported
}

func (e *testEndpoint) rpc(target raft.ServerAddress, args any, r io.Reader, timeout time.Duration) (any, error) {
	to := string(target)
	e.net.mu.Lock()
	t := e.net.endpoints[to]
	e.net.mu.Unlock()
	if t == nil || e.net.isCut(e.id, to) {
		return nil, errCut
	}
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	answer := make(chan raft.RPCResponse, 1)
	select {
	case t.rpcs <- raft.RPC{Command: args, Reader: r, RespChan: answer}:
	case <-t.closed:
		return nil, errCut
	case <-e.closed:
		return nil, errCut
	case <-timer.C:
		return nil, errCut
	}
	select {
	case a := <-answer:
		if e.net.isCut(to, e.id) {
			return nil, errCut
		}
		return a.Response, a.Error
	case <-t.closed:
		return nil, errCut
	case <-e.closed:
		return nil, errCut
	case <-timer.C:
		return nil, errCut
	}
}

func (e *testEndpoint) AppendEntries(_ raft.ServerID, t raft.ServerAddress, a *raft.AppendEntriesRequest, r *raft.AppendEntriesResponse) error {
	copied := *a // the sender reuses it
	out, err := e.rpc(t, &copied, nil, e.net.timeout)
	if err != nil {
		return err
	}
	*r = *out.(*raft.AppendEntriesResponse)
	return nil
}

func (e *testEndpoint) RequestVote(_ raft.ServerID, t raft.ServerAddress, a *raft.RequestVoteRequest, r *raft.RequestVoteResponse) error {
	out, err := e.rpc(t, a, nil, e.net.timeout)
	if err != nil {
		return err
	}
	*r = *out.(*raft.RequestVoteResponse)
	return nil
}

func (e *testEndpoint) RequestPreVote(_ raft.ServerID, t raft.ServerAddress, a *raft.RequestPreVoteRequest, r *raft.RequestPreVoteResponse) error {
	out, err := e.rpc(t, a, nil, e.net.timeout)
	if err != nil {
		return err
	}
	*r = *out.(*raft.RequestPreVoteResponse)
	return nil
}

func (e *testEndpoint) TimeoutNow(_ raft.ServerID, t raft.ServerAddress, a *raft.TimeoutNowRequest, r *raft.TimeoutNowResponse) error {
	_, err := e.rpc(t, a, nil, e.net.timeout)
	return err
}

// InstallSnapshot answers by itself when the receiver has applied everything that the
// snapshot holds, as the transport must. Data goes through a pipe, so that the receiver
// never reads from a snapshot that its sender has closed.
func (e *testEndpoint) InstallSnapshot(_ raft.ServerID, t raft.ServerAddress, a *raft.InstallSnapshotRequest, r *raft.InstallSnapshotResponse, data io.Reader) error {
	to := string(t)
	e.net.mu.Lock()
	s, hook, noStale := e.net.shards[to], e.net.onInstall, e.net.noStale
	e.net.installs++
	e.net.mu.Unlock()
	if e.net.isCut(e.id, to) {
		return errCut
	}
	if s != nil && !noStale && a.LastLogIndex <= s.Applied() && s.Probe().Term == a.Term {
		*r = raft.InstallSnapshotResponse{Term: a.Term, Success: true}
		return nil
	}
	if hook != nil {
		var err error
		if data, err = hook(to, a, data); err != nil {
			return err
		}
	}
	pr, pw := io.Pipe()
	copied := make(chan struct{})
	go func() {
		defer close(copied)
		_, err := io.Copy(pw, data)
		_ = pw.CloseWithError(err)
	}()
	out, err := e.rpc(t, a, pr, 30*time.Second)
	_ = pr.CloseWithError(errCut)
	<-copied
	if err != nil {
		return err
	}
	*r = *out.(*raft.InstallSnapshotResponse)
	return nil
}

package peer

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"time"

	"github.com/hashicorp/raft"
)

// fallBehind stops a follower, writes records, and truncates the others' logs, so
// that it needs a snapshot when it starts again.
func (g group) fallBehind(t *testing.T, records, size int) *replica {
	t.Helper()
	l := g.leader(t)
	term := l.CurrentTerm()
	var away *replica
	for _, r := range g {
		if r != l {
			away = r
		}
	}
	away.stop(t)
	for i := range records {
		g.put(t, fmt.Sprint(i, strings.Repeat("x", size)))
	}
	for _, r := range g {
		if r != away {
			eventually(t, "all applied", func() bool { return r.fsm.Applied() == g.leader(t).fsm.Applied() })
			if err := r.Raft.Snapshot().Error(); err != nil {
				t.Fatal(err)
			}
		}
	}
	// An AppendEntries with all records may still be on its way. The leader of a later term
	// sends none, and tries no snapshot either until it has heard from the follower.
	eventually(t, "a snapshot was tried", func() bool {
		l := g.leader(t)
		return strings.Contains(l.logs.String(), "failed to send snapshot") || l.CurrentTerm() > term
	})
	return away
}

func TestSnapshotInstall(t *testing.T) {
	n := newNet(t, 3, nil)
	g := newGroup(t, n, 1, nil)
	away := g.fallBehind(t, 20, 50_000)
	away.start(t, nil)
	g.put(t, "last")
	if got := g.same(t); len(got) < 21 || away.fsm.restores == 0 {
		t.Errorf("%d records, %d restores", len(got), away.fsm.restores)
	}
}

// A connection that breaks during a snapshot leaves no partial state, and a later
// attempt succeeds.
func TestSnapshotBreaks(t *testing.T) {
	n := newNet(t, 3, nil)
	g := newGroup(t, n, 1, nil)
	away := g.fallBehind(t, 20, 50_000)
	p := newProxy(t, away.node.Addr().String())
	n.setAddr(away.node.id, p.addr())
	p.setLimit(500_000)
	away.start(t, nil)
	eventually(t, "one attempt failed", func() bool { return strings.Contains(away.logs.String(), "failed to copy snapshot") })
	if len(away.fsm.list()) != 0 || away.fsm.restores != 0 {
		t.Errorf("half a snapshot was installed")
	}
	p.setLimit(0)
	g.put(t, "last")
	g.same(t)
}

// A stopped replica does not wait for the rest of a snapshot.
func TestReplicaStopsInSnapshot(t *testing.T) {
	n := newNet(t, 3, func(_ int, c *Config) { c.Limits.SnapshotRate = 64 << 10 })
	g := newGroup(t, n, 1, nil)
	away := g.fallBehind(t, 20, 50_000) // 15 s at that rate
	away.start(t, nil)
	eventually(t, "a snapshot is on its way", func() bool {
		return strings.Contains(g.leader(t).logs.String(), "installing snapshot") && len(away.node.snapIn) == 1
	})
	began := time.Now()
	away.stop(t)
	if d := time.Since(began); d > 3*time.Second {
		t.Errorf("it took %v", d)
	}
	eventually(t, "its place is free", func() bool { return len(away.node.snapIn) == 0 })
}

// ledReplica is one replica with long timeouts. The test sends it requests as its leader.
type ledReplica struct {
	*replica
	leader *testNode
	from   *Transport // of leader
	conf   raft.Configuration
}

func newLedReplica(t *testing.T) ledReplica {
	t.Helper()
	n := newNet(t, 2, nil)
	a, b := n.nodes[0], n.nodes[1]
	connect(t, a, b)
	r := ledReplica{leader: a, from: a.Transport(1, TransportOptions{})}
	r.replica = &replica{node: b, shard: 1, fsm: &listFSM{}, log: raft.NewInmemStore(), snaps: raft.NewInmemSnapshotStore(), logs: &logBuffer{}}
	r.conf = raft.Configuration{Servers: []raft.Server{{ID: raft.ServerID(a.id), Address: raft.ServerAddress(a.id)}, {ID: raft.ServerID(b.id), Address: raft.ServerAddress(b.id)}, {ID: "c", Address: "c"}}}
	r.start(t, func(c *raft.Config) { c.HeartbeatTimeout, c.ElectionTimeout = time.Minute, time.Minute })
	t.Cleanup(func() { r.stop(t) })
	if err := r.BootstrapCluster(r.conf).Error(); err != nil {
		t.Fatal(err)
	}
	return r
}

// append sends the records first to last, of term 3.
func (r ledReplica) append(t *testing.T, first, last, commit uint64) {
	t.Helper()
	prev := &raft.Log{}
	if err := r.log.GetLog(first-1, prev); err != nil {
		t.Fatal(err)
	}
	args := &raft.AppendEntriesRequest{RPCHeader: headOf(r.leader), Term: 3, PrevLogEntry: prev.Index, PrevLogTerm: prev.Term, LeaderCommitIndex: commit}
	for i := first; i <= last; i++ {
		args.Entries = append(args.Entries, &raft.Log{Index: i, Term: 3, Data: fmt.Append(nil, i)})
	}
	var resp raft.AppendEntriesResponse
	if err := r.from.AppendEntries(raft.ServerID(r.node.id), "", args, &resp); err != nil || !resp.Success {
		t.Fatalf("append: %+v, %v", resp, err)
	}
}

// install sends a snapshot whose last record has an index and a term.
func (r ledReplica) install(term, index, logTerm uint64) (raft.InstallSnapshotResponse, error) {
	data := binary.BigEndian.AppendUint64(nil, index)
	var resp raft.InstallSnapshotResponse
	err := r.from.InstallSnapshot(raft.ServerID(r.node.id), "", &raft.InstallSnapshotRequest{RPCHeader: headOf(r.leader), SnapshotVersion: 1, Term: term,
		LastLogIndex: index, LastLogTerm: logTerm, Configuration: raft.EncodeConfiguration(r.conf), ConfigurationIndex: 1, Size: int64(len(data))}, &resp, bytes.NewReader(data))
	return resp, err
}

// A late duplicate of a snapshot does not throw back a replica that is past it.
func TestStaleSnapshot(t *testing.T) {
	r := newLedReplica(t)
	r.append(t, 2, 200, 190)
	eventually(t, "applied", func() bool { return r.fsm.Applied() == 190 })
	untouched := func() {
		t.Helper()
		last, _ := r.log.LastIndex()
		if r.fsm.restores != 0 || r.fsm.Applied() != 190 || len(r.fsm.list()) != 189 || last != 200 || r.AppliedIndex() != 190 {
			t.Errorf("after a stale snapshot: %d restores, applied %d and %d, log to %d", r.fsm.restores, r.fsm.Applied(), r.AppliedIndex(), last)
		}
	}
	if resp, err := r.install(3, 150, 3); err != nil || !resp.Success || resp.Term != 3 {
		t.Errorf("a duplicate: %+v, %v", resp, err)
	}
	untouched()
	r.append(t, 201, 201, 190) // the leader continues
	if err := r.log.DeleteRange(201, 201); err != nil {
		t.Fatal(err)
	}
	if resp, err := r.install(2, 150, 3); err != nil || resp.Success || resp.Term != 3 {
		t.Errorf("of an older term: %+v, %v", resp, err)
	}
	untouched()
	if _, err := r.install(3, 150, 2); err == nil || !strings.Contains(err.Error(), ErrStaleSnapshot.Error()) {
		t.Errorf("of a record that the log contradicts: %v", err)
	}
	untouched()
	if resp, err := r.install(4, 150, 3); err != nil || !resp.Success || resp.Term != 4 {
		t.Errorf("of a newer term: %+v, %v", resp, err)
	}
	untouched()
	if term := r.CurrentTerm(); term != 4 {
		t.Errorf("the replica's term is %d", term)
	}
	// A snapshot that the replica needs is installed.
	if resp, err := r.install(4, 500, 4); err != nil || !resp.Success || r.fsm.Applied() != 500 {
		t.Errorf("a needed one: %+v, %v, applied %d", resp, err, r.fsm.Applied())
	}
}

// fakeRaft answers a transport's requests in place of Raft: with past, or, for a
// snapshot, by install.
func fakeRaft(t *testing.T, tr *Transport, past raft.AppendEntriesResponse, install func(raft.RPC)) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case rpc := <-tr.Consumer():
				if _, ok := rpc.Command.(*raft.InstallSnapshotRequest); ok {
					install(rpc)
				} else {
					rpc.Respond(&past, nil)
				}
			case <-tr.ctx.Done():
				return
			}
		}
	}()
	t.Cleanup(func() { _ = tr.Close(); <-done })
}

func installArgs(n *testNode, index uint64, size int) *raft.InstallSnapshotRequest {
	return &raft.InstallSnapshotRequest{RPCHeader: headOf(n), Term: 5, LastLogIndex: index, LastLogTerm: 4, Size: int64(size)}
}

// Each case is a state of the replica and the decision about a snapshot that it leads to.
func TestSnapshotDecision(t *testing.T) {
	for _, tc := range []struct {
		name    string
		applied uint64
		past    raft.AppendEntriesResponse
		to      string // raft, success, refused, stale
	}{
		{"needed", 99, raft.AppendEntriesResponse{Term: 5, LastLog: 50}, "raft"},
		{"log holds it, state not yet", 99, raft.AppendEntriesResponse{Term: 5, LastLog: 100, Success: true}, "raft"},
		{"state and log hold it", 100, raft.AppendEntriesResponse{Term: 5, LastLog: 100, Success: true}, "success"},
		{"state holds it, log is empty", 100, raft.AppendEntriesResponse{Term: 5, LastLog: 0}, "raft"},
		{"state holds it, log ends before", 200, raft.AppendEntriesResponse{Term: 5, LastLog: 99}, "raft"},
		{"state holds it, log conflicts or was cut", 200, raft.AppendEntriesResponse{Term: 5, LastLog: 100}, "stale"},
		{"older term, needed", 0, raft.AppendEntriesResponse{Term: 6}, "refused"},
		{"older term, not needed", 200, raft.AppendEntriesResponse{Term: 6, LastLog: 200}, "refused"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			n := newNet(t, 2, nil)
			a, b := n.nodes[0], n.nodes[1]
			var told atomic.Uint64
			to := b.Transport(1, TransportOptions{Applied: func() uint64 { return tc.applied }, StaleSnapshot: func(i, _ uint64) { told.Store(i) }})
			installed := false
			fakeRaft(t, to, tc.past, func(rpc raft.RPC) {
				installed = true
				_, err := io.Copy(io.Discard, rpc.Reader)
				rpc.Respond(&raft.InstallSnapshotResponse{Term: 5, Success: true}, err)
			})
			var resp raft.InstallSnapshotResponse
			data := bytes.Repeat([]byte("x"), 1000)
			err := a.Transport(1, TransportOptions{}).InstallSnapshot(raft.ServerID(b.id), "", installArgs(a, 100, len(data)), &resp, bytes.NewReader(data))
			got := "refused"
			switch {
			case err != nil && strings.Contains(err.Error(), ErrStaleSnapshot.Error()):
				got = "stale"
			case err != nil:
				t.Fatal(err)
			case installed:
				got = "raft"
			case resp.Success:
				got = "success"
			}
			if got != tc.to || resp.Success && resp.Term != 5 || got == "refused" && resp.Term != 6 || (told.Load() == 100) != (tc.to == "stale") {
				t.Errorf("%s, %+v, told %d; want %s", got, resp, told.Load(), tc.to)
			}
		})
	}
}

// A replica that passes the snapshot while it waits for Raft is not thrown back.
func TestSnapshotGoesStale(t *testing.T) {
	n := newNet(t, 2, nil)
	a, b := n.nodes[0], n.nodes[1]
	var applied atomic.Uint64
	to := b.Transport(1, TransportOptions{Applied: applied.Load})
	fakeRaft(t, to, raft.AppendEntriesResponse{Term: 5}, func(rpc raft.RPC) {
		applied.Store(100)
		_, err := io.Copy(io.Discard, rpc.Reader)
		rpc.Respond(&raft.InstallSnapshotResponse{Term: 5}, err)
	})
	err := a.Transport(1, TransportOptions{}).InstallSnapshot(raft.ServerID(b.id), "", installArgs(a, 100, 10), &raft.InstallSnapshotResponse{}, bytes.NewReader(make([]byte, 10)))
	if err == nil || !strings.Contains(err.Error(), ErrStaleSnapshot.Error()) {
		t.Errorf("got %v", err)
	}
}

func TestSnapshotContent(t *testing.T) {
	n := newNet(t, 2, nil)
	a, b := n.nodes[0], n.nodes[1]
	from, to := a.Transport(1, TransportOptions{}), b.Transport(1, TransportOptions{})
	var got []byte
	fakeRaft(t, to, raft.AppendEntriesResponse{Term: 5}, func(rpc raft.RPC) {
		var err error
		got, err = io.ReadAll(iotest.HalfReader(rpc.Reader))
		rpc.Respond(&raft.InstallSnapshotResponse{Term: 5, Success: err == nil}, err)
	})
	for _, size := range []int{0, 1, chunkData - 1, chunkData, chunkData + 1, 5*chunkData + 17} {
		data := make([]byte, size)
		for i := range data {
			data[i] = byte(i * 31 / 7)
		}
		got = nil
		var resp raft.InstallSnapshotResponse
		// If the source holds more than the announced size, only that size is sent.
		src := io.MultiReader(iotest.OneByteReader(bytes.NewReader(data)), strings.NewReader("more"))
		if err := from.InstallSnapshot(raft.ServerID(b.id), "", installArgs(a, 9, size), &resp, src); err != nil || !resp.Success || !bytes.Equal(got, data) {
			t.Errorf("%d bytes: %d arrived, %+v, %v", size, len(got), resp, err)
		}
	}
	// If the source ends early or fails, both sides get an error.
	for _, src := range []io.Reader{bytes.NewReader(make([]byte, 90_000)), io.MultiReader(bytes.NewReader(make([]byte, 90_000)), iotest.ErrReader(errors.New("disk")))} {
		err := from.InstallSnapshot(raft.ServerID(b.id), "", installArgs(a, 9, 100_000), &raft.InstallSnapshotResponse{}, src)
		if err == nil || !strings.Contains(err.Error(), "read the snapshot") {
			t.Errorf("a short source: %v", err)
		}
	}
	eventually(t, "the receiver noticed", func() bool { return strings.Count(b.logs.String(), "unexpected EOF") == 2 })
	// Snapshots in the name of another node, for an unknown shard, and to an unknown node
	// are refused.
	forged := installArgs(a, 9, 0)
	forged.ID = []byte("x")
	for want, err := range map[string]error{
		ErrSender.Error():    from.InstallSnapshot(raft.ServerID(b.id), "", forged, &raft.InstallSnapshotResponse{}, nil),
		ErrNoReplica.Error(): a.Transport(7, TransportOptions{}).InstallSnapshot(raft.ServerID(b.id), "", installArgs(a, 9, 0), &raft.InstallSnapshotResponse{}, nil),
		ErrNoAddress.Error(): from.InstallSnapshot(raft.ServerID(nodeID(8)), "", installArgs(a, 9, 0), &raft.InstallSnapshotResponse{}, nil),
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

// Bytes that changed on the way, or exceed the announced size, are not installed.
func TestSnapshotCorrupt(t *testing.T) {
	chunk := appendChunk(nil, 1, []byte("0123456789"))
	flipped := bytes.Clone(chunk)
	flipped[len(flipped)-1] ^= 1
	for _, tc := range []struct {
		name string
		sent []byte
		want error
	}{
		{"a flipped bit", flipped, ErrSnapshotCorrupt},
		{"too long", append(appendChunk(nil, 1, make([]byte, 90)), appendChunk(nil, 1, make([]byte, 11))...), ErrMalformed},
		{"of another shard", appendChunk(nil, 2, make([]byte, 100)), ErrMalformed},
		{"no chunk", appendHead(nil, typePing, 1, 0, 0), ErrMalformed},
		{"an empty chunk", appendChunk(nil, 1, nil), ErrMalformed},
	} {
		t.Run(tc.name, func(t *testing.T) {
			n := newNet(t, 2, nil)
			a, b := n.nodes[0], n.nodes[1]
			to := b.Transport(1, TransportOptions{})
			failed := make(chan error, 1)
			fakeRaft(t, to, raft.AppendEntriesResponse{Term: 5}, func(rpc raft.RPC) {
				_, err := io.Copy(io.Discard, rpc.Reader)
				_, again := io.Copy(io.Discard, rpc.Reader) // as Raft does to drain the reader
				if again != err {
					t.Errorf("failed with %v, then %v", err, again)
				}
				failed <- err
				rpc.Respond(nil, err)
			})
			nc, _, err := a.dial(context.Background(), b.Addr().String(), purposeBulk, b.id)
			if err != nil {
				t.Fatal(err)
			}
			defer a.drop(nc)
			payload := appendInstall(nil, installArgs(a, 9, 100))
			_ = a.writeFrame(nc, append(appendHead(nil, typeInstall, 1, 0, len(payload)), payload...))
			_ = a.writeFrame(nc, tc.sent)
			if err := wait(t, "failure", failed); !errors.Is(err, tc.want) {
				t.Errorf("got %v, want %v", err, tc.want)
			}
			fr := newFrameReader(nc)
			if f, err := fr.next(); err != nil || f.typ != typeInstallGo {
				t.Fatalf("got %+v, %v", f, err)
			}
			if f, err := fr.next(); err != nil || !strings.Contains(fmt.Sprint(decodeRPCAnswer(f.payload, &raft.InstallSnapshotResponse{})), tc.want.Error()) {
				t.Errorf("the answer: %+v, %v", f, err)
			}
		})
	}
}

// A node sends and receives two snapshots at a time. Others wait for their turn.
func TestSnapshotTurns(t *testing.T) {
	n := newNet(t, 2, func(_ int, c *Config) {
		c.Limits.SnapshotProgress = 200 * time.Millisecond // far less than the time they wait
	})
	a, b := n.nodes[0], n.nodes[1]
	var inside, most atomic.Int32
	gate := make(chan struct{})
	const count = 6
	ended := make(chan error, count)
	for shard := range uint32(count) {
		to := b.Transport(shard, TransportOptions{})
		fakeRaft(t, to, raft.AppendEntriesResponse{Term: 5}, func(rpc raft.RPC) {
			now := inside.Add(1)
			for m := most.Load(); now > m && !most.CompareAndSwap(m, now); m = most.Load() {
			}
			_, err := io.Copy(io.Discard, rpc.Reader)
			<-gate
			inside.Add(-1)
			rpc.Respond(&raft.InstallSnapshotResponse{Success: true}, err)
		})
		from := a.Transport(shard, TransportOptions{})
		go func() {
			ended <- from.InstallSnapshot(raft.ServerID(b.id), "", installArgs(a, 9, 10), &raft.InstallSnapshotResponse{}, strings.NewReader("0123456789"))
		}()
	}
	eventually(t, "two are inside", func() bool { return inside.Load() == maxSnapshots })
	time.Sleep(3 * n.nodes[0].cfg.Limits.SnapshotProgress) // a silent connection would be given up by then
	close(gate)
	for range count {
		if err := wait(t, "end", ended); err != nil {
			t.Error(err)
		}
	}
	if most.Load() != maxSnapshots {
		t.Errorf("%d at once", most.Load())
	}
}

// A sender that falls silent is given up, and so is a silent receiver.
func TestSnapshotProgress(t *testing.T) {
	n := newNet(t, 2, func(_ int, c *Config) { c.Limits.SnapshotProgress = 100 * time.Millisecond })
	a, b := n.nodes[0], n.nodes[1]
	failed := make(chan error, 1)
	fakeRaft(t, b.Transport(1, TransportOptions{}), raft.AppendEntriesResponse{Term: 5}, func(rpc raft.RPC) {
		_, err := io.Copy(io.Discard, rpc.Reader)
		failed <- err
		rpc.Respond(nil, err)
	})
	p := newProxy(t, b.Addr().String())
	n.setAddr(b.id, p.addr())
	freezing := readerFunc(func(b []byte) (int, error) { p.freeze(true); return len(b), nil })
	err := a.Transport(1, TransportOptions{}).InstallSnapshot(raft.ServerID(b.id), "", installArgs(a, 9, 1<<20), &raft.InstallSnapshotResponse{}, freezing)
	if err == nil || !strings.Contains(err.Error(), "timeout") {
		t.Errorf("the sender: %v", err)
	}
	if err := wait(t, "the receiver's end", failed); err == nil {
		t.Error("the receiver took it")
	}
	p.freeze(false)
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(b []byte) (int, error) { return f(b) }

func FuzzSnapshotStream(f *testing.F) {
	f.Add(appendChunk(appendChunk(nil, 1, []byte("01234")), 1, []byte("56789")), int64(10))
	f.Add(appendChunk(nil, 1, []byte("0123456789")), int64(9))
	f.Fuzz(func(t *testing.T, stream []byte, size int64) {
		if size < 0 || size > 1<<20 {
			return
		}
		p := &Peers{}
		in := &snapshotReceiver{p: p, shard: 1, left: size, begun: true, args: &raft.InstallSnapshotRequest{Size: size}, frames: newFrameReader(bytes.NewReader(stream)),
			t: &Transport{ctx: context.Background()}}
		got, err := io.ReadAll(in)
		if err == nil && int64(len(got)) != size || int64(len(got)) > size {
			t.Fatalf("%d bytes of %d, %v", len(got), size, err)
		}
	})
}

package peer

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"millrace/call"
)

func TestMain(m *testing.M) {
	flag.Parse()
	if f := flag.Lookup("test.fuzz"); f != nil && f.Value.String() != "" {
		os.Exit(m.Run()) // the fuzzer does not end its own goroutines
	}
	goleak.VerifyTestMain(m)
}

// testHandler answers with the functions that were last set.
type testHandler struct {
	submit, cancel atomic.Pointer[func(*call.Call)]
	probe          atomic.Pointer[func(uint32) call.Probe]
}

func (h *testHandler) onSubmit(f func(*call.Call))       { h.submit.Store(&f) }
func (h *testHandler) onCancel(f func(*call.Call))       { h.cancel.Store(&f) }
func (h *testHandler) onProbe(f func(uint32) call.Probe) { h.probe.Store(&f) }

func (h *testHandler) Submit(c *call.Call) {
	if f := h.submit.Load(); f != nil {
		(*f)(c)
		return
	}
	c.Done(call.Result{Reply: echo(c)})
}

func (h *testHandler) Cancel(c *call.Call) {
	if f := h.cancel.Load(); f != nil {
		(*f)(c)
	}
}

func (h *testHandler) Probe(shard uint32) call.Probe {
	if f := h.probe.Load(); f != nil {
		return (*f)(shard)
	}
	return call.Probe{Hosted: true, Term: uint64(shard) + 1, LastIndex: 2, Applied: 3, Leader: nodeID(0)}
}

func (h *testHandler) Hello() HelloInfo { return HelloInfo{Version: "v-test"} }

// echo returns a reply that shows all fields of the call.
func echo(c *call.Call) []byte {
	return fmt.Appendf(nil, "%d/%d/%d %q multi=%v proto=%d %d %d", c.Shard, c.Term, c.Kind, c.Cmds, c.Multi, c.Proto, c.TimeoutMS, c.BlockMS)
}

func nodeID(i int) string { return strings.Repeat(string(rune('a'+i)), 40) }

// testNode is a Peers on which Serve is running.
type testNode struct {
	*Peers
	id      string
	handler *testHandler
	logs    *logBuffer
}

type logBuffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// testNet is a group of nodes. They find each other by its resolve method.
type testNet struct {
	mu    sync.Mutex
	addrs map[string]string // node ID → address to dial
	nodes []*testNode
}

func (n *testNet) resolve(id string) (string, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	a, ok := n.addrs[id]
	return a, ok
}

func (n *testNet) setAddr(id, addr string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if addr == "" {
		delete(n.addrs, id)
		return
	}
	n.addrs[id] = addr
}

// newNet starts nodes a, b, c …; edit may change the configuration of each.
func newNet(t testing.TB, count int, edit func(i int, c *Config)) *testNet {
	t.Helper()
	n := &testNet{addrs: map[string]string{}}
	for i := range count {
		n.add(t, i, edit)
	}
	return n
}

func (n *testNet) add(t testing.TB, i int, edit func(i int, c *Config)) *testNode {
	t.Helper()
	tn := &testNode{id: nodeID(i), handler: &testHandler{}, logs: &logBuffer{}}
	cfg := Config{
		NodeID: tn.id, ClusterID: func() string { return "cluster-1" }, Secret: []byte("open sesame"),
		ListenAddr: "127.0.0.1:0", Resolve: n.resolve, Handler: tn.handler,
		Logger: slog.New(slog.NewTextHandler(tn.logs, nil)),
	}
	if edit != nil {
		edit(i, &cfg)
		tn.id = cfg.NodeID
	}
	p, err := Listen(cfg)
	if err != nil {
		t.Fatal(err)
	}
	tn.Peers = p
	n.setAddr(tn.id, p.Addr().String())
	served := make(chan error, 1)
	go func() { served <- p.Serve(context.Background()) }()
	t.Cleanup(func() {
		p.Close()
		if err := <-served; err != nil {
			t.Errorf("Serve of %.1s: %v", tn.id, err)
		}
	})
	n.nodes = append(n.nodes, tn)
	return tn
}

// eventually waits until ok holds, and fails the test if it does not for 10 s.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("after 10 s: not %s", what)
		}
		time.Sleep(time.Millisecond)
	}
}

func connect(t testing.TB, from, to *testNode) {
	t.Helper()
	from.Connect(to.id)
	eventually(t, fmt.Sprintf("%.1s connected to %.1s", from.id, to.id), func() bool {
		return from.Connected(to.id) && to.Connected(from.id)
	})
}

// send submits a call and returns the channel of its result.
func send(p *Peers, node string, c *call.Call) <-chan call.Result {
	got := make(chan call.Result, 2) // 2, so that a second answer would be noticed
	c.Done = func(r call.Result) { got <- r }
	p.Submit(node, c)
	return got
}

func wait[T any](t testing.TB, what string, ch <-chan T) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(10 * time.Second):
		t.Fatalf("after 10 s: no %s", what)
		panic("unreachable")
	}
}

func writeCall(shard uint32, words ...string) *call.Call {
	c := &call.Call{Shard: shard, Term: 7, Kind: call.Write, Proto: 2, TimeoutMS: 1000}
	var cmd [][]byte
	for _, w := range words {
		cmd = append(cmd, []byte(w))
	}
	c.Cmds = [][][]byte{cmd}
	return c
}

// proxy forwards connections to a node. It can freeze, slow down or cut them.
type proxy struct {
	ln     net.Listener
	target string

	mu      sync.Mutex
	frozen  bool
	thaw    *sync.Cond
	closed  bool
	pairs   map[net.Conn]struct{}
	wg      sync.WaitGroup
	delay   time.Duration
	limit   int64 // cut each connection after so many bytes towards the target; 0 for never
	carried int64
}

func newProxy(t testing.TB, target string) *proxy {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{ln: ln, target: target, pairs: map[net.Conn]struct{}{}}
	p.thaw = sync.NewCond(&p.mu)
	p.wg.Go(p.accept)
	t.Cleanup(p.close)
	return p
}

func (p *proxy) addr() string { return p.ln.Addr().String() }

func (p *proxy) close() {
	p.mu.Lock()
	p.closed = true
	p.thaw.Broadcast()
	p.mu.Unlock()
	p.ln.Close()
	p.cut()
	p.wg.Wait()
}

// cut closes every connection.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.pairs {
		c.Close()
	}
}

// freeze holds all bytes back and keeps the connections open, like an unplugged cable.
func (p *proxy) freeze(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.frozen = on
	p.thaw.Broadcast()
}

// slow delays the bytes of each read by d.
func (p *proxy) slow(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.delay = d
}

func (p *proxy) setLimit(n int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.limit = n
}

func (p *proxy) accept() {
	for {
		in, err := p.ln.Accept()
		if err != nil {
			return
		}
		out, err := net.Dial("tcp", p.target)
		if err != nil {
			in.Close()
			continue
		}
		p.mu.Lock()
		if p.closed {
			in.Close()
			out.Close()
		}
		p.pairs[in], p.pairs[out] = struct{}{}, struct{}{}
		p.mu.Unlock()
		p.wg.Go(func() { p.copy(out, in, true) })
		p.wg.Go(func() { p.copy(in, out, false) })
	}
}

func (p *proxy) copy(dst, src net.Conn, up bool) {
	defer dst.Close()
	defer src.Close()
	buf := make([]byte, 16<<10)
	var sum int64
	for {
		n, err := src.Read(buf)
		p.mu.Lock()
		for p.frozen && !p.closed { // the end of a connection is held back too
			p.thaw.Wait()
		}
		if err != nil && err != io.EOF || n == 0 {
			p.mu.Unlock()
			return
		}
		if up && p.limit > 0 && sum+int64(n) > p.limit {
			p.mu.Unlock()
			return
		}
		sum += int64(n)
		delay := p.delay
		if up {
			p.carried += int64(n)
		}
		p.mu.Unlock()
		time.Sleep(delay)
		if _, err := dst.Write(buf[:n]); err != nil {
			return
		}
	}
}

package peer

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"io"
	"math/big"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"millrace/call"
)

// Each case runs a handshake between two nodes whose configurations differ in one field.
func TestHandshakeMatrix(t *testing.T) {
	for _, tc := range []struct {
		name string
		edit func(i int, c *Config)
		want error // of a's Hello to b; nil for success
		logs []string
	}{
		{"alike", nil, nil, nil},
		{"no secret, both", func(_ int, c *Config) { c.Secret = nil }, nil, nil},
		{"no secret here", func(i int, c *Config) { c.Secret = map[int][]byte{1: []byte("s")}[i] }, ErrBadProof, []string{"same cluster secret"}},
		{"no secret there", func(i int, c *Config) { c.Secret = map[int][]byte{0: []byte("s")}[i] }, ErrBadProof, []string{"same cluster secret"}},
		{"another secret", func(i int, c *Config) { c.Secret = []byte{byte(i)} }, ErrBadProof, []string{"same cluster secret"}},
		{"other clusters", func(i int, c *Config) { c.ClusterID = func() string { return string(rune('x' + i)) } }, ErrOtherCluster, []string{"another cluster", `\"x\"`, `\"y\"`}},
		{"no cluster here", func(i int, c *Config) { c.ClusterID = func() string { return []string{"", "y"}[i] } }, nil, nil},
		{"no cluster there", func(i int, c *Config) { c.ClusterID = func() string { return []string{"x", ""}[i] } }, nil, nil},
		{"the same node ID", func(_ int, c *Config) { c.NodeID = nodeID(0) }, ErrSameNode, []string{"our own node ID"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			n := newNet(t, 2, tc.edit)
			a, b := n.nodes[0], n.nodes[1]
			h, err := a.Hello(context.Background(), b.Addr().String())
			if !errors.Is(err, tc.want) {
				t.Fatalf("got %v, want %v", err, tc.want)
			}
			if tc.want == nil {
				if want := (HelloInfo{NodeID: b.id, ClusterID: b.cfg.ClusterID(), Version: "v-test"}); h != want {
					t.Errorf("got %+v, want %+v", h, want)
				}
				connect(t, a, b)
				return
			}
			for _, text := range tc.logs {
				eventually(t, "logged: "+text, func() bool { return strings.Contains(b.logs.String(), text) })
			}
			if tc.want == ErrSameNode {
				return // a node with this node's own ID is never dialled by ID
			}
			if r := wait(t, "answer", send(a.Peers, b.id, writeCall(1, "X"))); r.Err != call.ErrNotSent {
				t.Errorf("a call: %v", r.Err)
			}
			for _, text := range tc.logs { // on both sides
				eventually(t, "logged here: "+text, func() bool { return strings.Contains(a.logs.String(), text) })
			}
		})
	}
}

func TestListenNeedsSecret(t *testing.T) {
	cfg := Config{NodeID: nodeID(0), ClusterID: func() string { return "" }, Resolve: func(string) (string, bool) { return "", false }, Handler: &testHandler{}}
	for addr, ok := range map[string]bool{"127.0.0.1:0": true, "127.9.9.9:0": true, "localhost:0": true, "0.0.0.0:0": false, ":0": false, "192.0.2.1:0": false} {
		cfg.ListenAddr = addr
		p, err := Listen(cfg)
		if err == nil {
			p.Close()
		}
		if ok != (err == nil) || !ok && !errors.Is(err, ErrNoSecret) {
			t.Errorf("%s: %v", addr, err)
		}
	}
	cfg.ListenAddr, cfg.Secret = "0.0.0.0:0", []byte("s")
	p, err := Listen(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(Config{NodeID: nodeID(0), ClusterID: cfg.ClusterID, Resolve: cfg.Resolve, Handler: cfg.Handler, ListenAddr: p.Addr().String(), Secret: cfg.Secret}); err == nil {
		t.Error("a port in use was listened on")
	}
	p.Close()
}

// A node that answers at the address of another node is not taken for that node.
func TestWrongNode(t *testing.T) {
	n := newNet(t, 3, nil)
	a, b, c := n.nodes[0], n.nodes[1], n.nodes[2]
	n.setAddr(b.id, c.Addr().String())
	a.Connect(b.id)
	eventually(t, "refused", func() bool { return strings.Contains(a.logs.String(), ErrWrongNode.Error()) })
	if a.Connected(b.id) || c.Connected(a.id) {
		t.Error("connected")
	}
	n.setAddr(b.id, b.Addr().String())
	connect(t, a, b)
}

// rawHello returns the hello of node z, as a correct dialler sends it, and its shaker.
func rawHello(p purpose, target string) ([]byte, *shaker) {
	s := &shaker{node: nodeID(25), cluster: func() string { return "cluster-1" }, address: func() string { return "" },
		key: DeriveKey([]byte("open sesame"), "peer handshake"), timeout: 5 * time.Second}
	g := s.self(uint8(p))
	g.target = target
	return appendGreeting(nil, g, true), s
}

func dialRaw(t *testing.T, n *testNode) net.Conn {
	t.Helper()
	nc, err := net.Dial("tcp", n.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	if err := nc.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return nc
}

// refusedWith reads the accepter's last message and returns the refusal in it.
func refusedWith(t *testing.T, nc net.Conn) error {
	t.Helper()
	m, err := readMessage(nc)
	if err != nil {
		return err
	}
	if len(m) != 1 {
		t.Fatalf("the accepter proved itself: %x", m)
	}
	return verdicts[m[0]]
}

// beginHandshake dials a as node z, sends a hello and reads the challenge.
func beginHandshake(t *testing.T, a *testNode) (nc net.Conn, hello, challenge []byte, s *shaker) {
	t.Helper()
	nc = dialRaw(t, a)
	hello, s = rawHello(purposePeer, a.id)
	if err := writeMessage(nc, hello); err != nil {
		t.Fatal(err)
	}
	challenge, err := readMessage(nc)
	if err != nil {
		t.Fatal(err)
	}
	return nc, hello, challenge, s
}

// TestForgedProofs first makes a good connection, and then replays its proof and sends
// others that are wrong in one point.
func TestForgedProofs(t *testing.T) {
	n := newNet(t, 1, func(_ int, c *Config) { c.NodeID = nodeID(25) + "z" })
	a := n.nodes[0]
	nc, hello, challenge, s := beginHandshake(t, a)
	good := proof(s.key, labelDialler, hello, challenge, nil)
	if err := writeMessage(nc, good); err != nil {
		t.Fatal(err)
	}
	m, err := readMessage(nc)
	if err != nil || m[0] != 0 || !bytes.Equal(m[1:], proof(s.key, labelAccepter, hello, challenge, nil)) {
		t.Fatalf("got %x, %v", m, err)
	}
	nc.Close()
	eventually(t, "disconnected", func() bool { return !a.Connected(nodeID(25)) })

	t.Run("replayed", func(t *testing.T) {
		nc := dialRaw(t, a)
		_ = writeMessage(nc, hello)
		if _, err := readMessage(nc); err != nil {
			t.Fatal(err)
		}
		_ = writeMessage(nc, good)
		if err := refusedWith(t, nc); err != ErrBadProof {
			t.Errorf("got %v", err)
		}
	})
	for _, tc := range []struct {
		name  string
		proof func(key, hello, challenge []byte) []byte
	}{
		{"reflected", func(key, hello, challenge []byte) []byte { return proof(key, labelAccepter, hello, challenge, nil) }},
		{"for another purpose", func(key, hello, challenge []byte) []byte {
			other := bytes.Clone(hello)
			other[len(magic)+2] = byte(purposeBulk)
			return proof(key, labelDialler, other, challenge, nil)
		}},
		{"empty", func(_, _, _ []byte) []byte { return nil }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			nc, hello, challenge, s := beginHandshake(t, a)
			_ = writeMessage(nc, tc.proof(s.key, hello, challenge))
			if err := refusedWith(t, nc); err != ErrBadProof {
				t.Errorf("got %v", err)
			}
		})
	}
	t.Run("frames before the proof", func(t *testing.T) {
		nc, _, _, _ := beginHandshake(t, a)
		_, _ = nc.Write(appendHead(nil, typePing, 0, 0, 0)) // the frame has not the length of a proof
		if err := refusedWith(t, nc); err == nil {
			t.Error("the frame was accepted")
		}
	})
	if a.Connected(nodeID(25)) {
		t.Error("a forger is connected")
	}
}

func TestRefusedGreetings(t *testing.T) {
	n := newNet(t, 1, nil)
	a := n.nodes[0]
	change := func(f func(b []byte) []byte) []byte {
		h, _ := rawHello(purposePeer, a.id)
		return f(h)
	}
	for _, tc := range []struct {
		name    string
		hello   []byte
		verdict error // nil if the connection is closed without an answer
	}{
		{"another version", change(func(b []byte) []byte { b[len(magic)+1] = 9; return b }), ErrVersion},
		{"another version's longer hello", change(func(b []byte) []byte { b[len(magic)] = 9; return append(b, "and more"...) }), ErrVersion},
		{"no purpose", change(func(b []byte) []byte { b[len(magic)+2] = 0; return b }), ErrHandshake},
		{"purpose 5", change(func(b []byte) []byte { b[len(magic)+2] = 5; return b }), ErrHandshake},
		{"another target", change(func([]byte) []byte { b, _ := rawHello(purposePeer, nodeID(3)); return b }), ErrWrongNode},
		{"no target", change(func([]byte) []byte { b, _ := rawHello(purposePeer, ""); return b }), ErrWrongNode},
		{"other magic", change(func(b []byte) []byte { b[0] ^= 1; return b }), nil},
		{"cut short", change(func(b []byte) []byte { return b[:20] }), nil},
		{"too long", change(func(b []byte) []byte { return append(b, 0) }), nil},
		{"empty", nil, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			nc := dialRaw(t, a)
			_ = writeMessage(nc, tc.hello)
			m, err := readMessage(nc)
			if tc.verdict == nil {
				if err == nil {
					t.Fatalf("answered %q", m)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if g, err := parseGreeting(m, false); err != nil || verdicts[g.code] != tc.verdict {
				t.Errorf("got %+v, %v", g, err)
			}
			if _, err := nc.Read(make([]byte, 1)); err != io.EOF {
				t.Errorf("not closed: %v", err)
			}
		})
	}
}

// A node with a higher ID that dials is refused, although its proof is good.
func TestWrongDirection(t *testing.T) {
	a := newNet(t, 1, nil).nodes[0]
	nc, hello, challenge, s := beginHandshake(t, a) // as z, which is higher than a
	_ = writeMessage(nc, proof(s.key, labelDialler, hello, challenge, nil))
	if err := refusedWith(t, nc); err != ErrDirection {
		t.Errorf("got %v", err)
	}
}

// Bytes of another protocol get no answer.
func TestOtherProtocols(t *testing.T) {
	a := newNet(t, 1, nil).nodes[0]
	for _, garbage := range []string{"GET / HTTP/1.1\r\n\r\n", "*1\r\n$4\r\nPING\r\n", "\xff\xff\xff\xff", "\x00\x00"} {
		nc := dialRaw(t, a)
		_, _ = nc.Write([]byte(garbage))
		if m, err := io.ReadAll(nc); len(m) != 0 {
			t.Errorf("%q was answered %q, %v", garbage, m, err)
		}
	}
}

// Slow and silent connections are cut, and other connections are accepted meanwhile.
func TestSlowloris(t *testing.T) {
	n := newNet(t, 2, func(_ int, c *Config) { c.Limits.HandshakeTimeout = 300 * time.Millisecond })
	a, b := n.nodes[0], n.nodes[1]
	began := time.Now()
	var conns []net.Conn
	for i := range 128/4 + 20 {
		nc := dialRaw(t, b)
		if i%2 == 0 {
			go func() { // sends one byte at a time
				h, _ := rawHello(purposePeer, b.id)
				for _, c := range append([]byte{0, byte(len(h))}, h...) {
					if _, err := nc.Write([]byte{c}); err != nil {
						return
					}
					time.Sleep(20 * time.Millisecond)
				}
			}()
		}
		conns = append(conns, nc)
	}
	eventually(t, "some refused for their number", func() bool { return strings.Contains(b.logs.String(), "too many peer connections") })
	for _, nc := range conns {
		if m, _ := io.ReadAll(nc); len(m) > 0 {
			t.Errorf("answered %x", m)
		}
	}
	if d := time.Since(began); d > 5*time.Second {
		t.Errorf("the connections were kept for %v", d)
	}
	connect(t, a, b)
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.nUnprov != 0 || len(b.unproved) != 0 {
		t.Errorf("%d connections are still counted, %v", b.nUnprov, b.unproved)
	}
}

// When a node learns that it is in another cluster, its connections end.
func TestClusterIDComesLater(t *testing.T) {
	var later atomic.Value
	later.Store("")
	n := newNet(t, 2, func(i int, c *Config) {
		c.Limits.PingEvery = 20 * time.Millisecond
		if i == 0 {
			c.ClusterID = func() string { return later.Load().(string) }
		}
	})
	a, b := n.nodes[0], n.nodes[1]
	connect(t, a, b)
	later.Store("cluster-2")
	eventually(t, "parted", func() bool { return !a.Connected(b.id) && !b.Connected(a.id) })
	eventually(t, "logged", func() bool {
		return strings.Contains(a.logs.String(), ErrOtherCluster.Error()) && strings.Contains(b.logs.String(), ErrOtherCluster.Error())
	})
	later.Store("cluster-1")
	connect(t, a, b)
}

func TestDeriveKey(t *testing.T) {
	// HKDF-SHA256(secret "s", no salt, info "millrace gossip"), computed by another program.
	if got, want := hex.EncodeToString(DeriveKey([]byte("s"), "gossip")), "be4187daafa185a4141f560aa6fadae108d9a4653e21072508042c7e06acb560"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if bytes.Equal(DeriveKey([]byte("s"), "gossip"), DeriveKey([]byte("s"), "peer")) {
		t.Error("two purposes, one key")
	}
}

func testCert(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

func TestTLS(t *testing.T) {
	cert := testCert(t)
	pool := x509.NewCertPool()
	pool.AddCert(cert.Leaf)
	conf := &tls.Config{Certificates: []tls.Certificate{cert}, RootCAs: pool, MinVersion: tls.VersionTLS13}
	n := newNet(t, 2, func(_ int, c *Config) { c.TLS = conf })
	a, b := n.nodes[0], n.nodes[1]
	connect(t, a, b)
	big := strings.Repeat("x", 300_000)
	for _, c := range []*call.Call{writeCall(1, "X"), writeCall(2, big)} {
		if r := wait(t, "reply", send(a.Peers, b.id, c)); r.Err != nil || !bytes.Equal(r.Reply, echo(c)) {
			t.Errorf("got %.100q, %v", r.Reply, r.Err)
		}
	}
	if _, err := a.Hello(context.Background(), b.Addr().String()); err != nil {
		t.Error(err)
	}

	// A relay with a trusted certificate passes the handshake on. It has two TLS sessions,
	// so a proof made in one is not valid in the other.
	ln, err := tls.Listen("tcp", "127.0.0.1:0", conf)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go func() {
		in, err := ln.Accept()
		if err != nil {
			return
		}
		defer in.Close()
		out, err := tls.Dial("tcp", b.Addr().String(), &tls.Config{RootCAs: pool, ServerName: "127.0.0.1"})
		if err != nil {
			return
		}
		defer out.Close()
		go func() { _, _ = io.Copy(out, in); out.Close() }()
		_, _ = io.Copy(in, out)
	}()
	if _, err := a.Hello(context.Background(), ln.Addr().String()); !errors.Is(err, ErrBadProof) {
		t.Errorf("through a relay: %v", err)
	}
}

func FuzzGreeting(f *testing.F) {
	h, _ := rawHello(purposePeer, nodeID(0))
	f.Add(h)
	f.Add(h[:30])
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, hello := range []bool{true, false} {
			g, err := parseGreeting(b, hello)
			switch {
			case err == nil:
				if got := appendGreeting(nil, &g, hello); !bytes.Equal(got, b) {
					t.Fatalf("%x came back as %x", b, got)
				}
			case !errors.Is(err, ErrHandshake) && !errors.Is(err, ErrVersion):
				t.Fatal(err)
			}
		}
	})
}

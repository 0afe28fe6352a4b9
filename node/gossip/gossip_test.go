package gossip

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// quick has intervals that are far shorter than the defaults.
var quick = Timing{
	Probe: 100 * time.Millisecond, ProbeTimeout: 60 * time.Millisecond,
	Gossip: 20 * time.Millisecond, PushPull: 400 * time.Millisecond,
	DeadFor: 300 * time.Millisecond, Reclaim: 400 * time.Millisecond,
	TCP: time.Second, Rejoin: 150 * time.Millisecond, ConflictWindow: 200 * time.Millisecond,
}

var testKey = bytes.Repeat([]byte{7}, 32)

func id(n int) string { return fmt.Sprintf("%040x", n) }

func config(n int, seeds ...string) Config {
	return Config{
		NodeID: id(n), BindAddr: "127.0.0.1:0", Label: "test", SecretKey: testKey, Seeds: seeds,
		Meta: Meta{FeatureLevel: 1, PeerPort: uint16(7000 + n)}, Timing: quick,
	}
}

func start(t testing.TB, c Config) *Gossip {
	t.Helper()
	g, err := Start(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := g.Close(); err != nil {
			t.Error(err)
		}
	})
	return g
}

// eventually waits until ok returns nil, and fails the test with its last error.
func eventually(t testing.TB, ok func() error) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for {
		err := ok()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// sees waits until g has exactly the given nodes alive.
func sees(t testing.TB, g *Gossip, nodes ...int) {
	t.Helper()
	want := map[string]bool{}
	for _, n := range nodes {
		want[id(n)] = true
	}
	eventually(t, func() error {
		got := 0
		for _, m := range g.Members() {
			if m.Alive && !want[m.ID] {
				return fmt.Errorf("%s sees %s", g.cfg.NodeID, m.ID)
			}
			if m.Alive {
				got++
			}
		}
		if got != len(want) {
			return fmt.Errorf("%s sees %d alive, want %d: %+v", g.cfg.NodeID, got, len(want), g.Members())
		}
		return nil
	})
}

// noLeak checks, after the cleanup of a test, that no goroutine of it is running.
// memberlist needs up to one probe interval to end its goroutines.
func noLeak(t *testing.T) {
	t.Helper()
	ignore := goleak.IgnoreCurrent()
	t.Cleanup(func() { eventually(t, func() error { return goleak.Find(ignore) }) })
}

func TestThreeNodes(t *testing.T) {
	noLeak(t)
	a := start(t, config(1))
	b := start(t, config(2, a.LocalAddr()))
	c := start(t, config(3, a.LocalAddr()))
	all := []*Gossip{a, b, c}
	for _, g := range all {
		sees(t, g, 1, 2, 3)
	}
	m, ok := a.Lookup(id(3))
	if !ok || m.PeerAddr() != "127.0.0.1:7003" || m.GossipAddr() != c.LocalAddr() || m.Meta != (Meta{FeatureLevel: 1, PeerPort: 7003}) || m.Since.IsZero() {
		t.Fatalf("%+v", m)
	}
	if _, ok := a.Lookup(id(9)); ok {
		t.Fatal("an unknown node is found")
	}

	// A change of metadata reaches the other nodes and is signalled on Events.
	before := a.Members()
	drain(a.Events())
	want := Meta{FeatureLevel: 2, PeerPort: 1, ClientPort: 2, HTTPPort: 3, InCluster: true, Draining: true}
	c.SetMeta(want)
	heard := false
	eventually(t, func() error {
		heard = heard || drain(a.Events())
		for _, g := range all {
			if m, _ := g.Lookup(id(3)); m.Meta != want {
				return fmt.Errorf("%s has %+v", g.cfg.NodeID, m.Meta)
			}
		}
		return nil
	})
	if heard = heard || drain(a.Events()); !heard {
		t.Error("a change gave no event")
	}
	for _, m := range before {
		if m.ID == id(3) && m.Meta == want {
			t.Error("the result of Members changed later")
		}
	}

	// One node leaves and one is killed. Both are remembered as not alive.
	if err := c.Leave(5 * time.Second); err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	sees(t, a, 1, 2)
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	sees(t, a, 1)
	for _, n := range []int{2, 3} {
		if m, ok := a.Lookup(id(n)); !ok || m.Alive {
			t.Errorf("node %d: %+v, %v", n, m, ok)
		}
	}
}

// Two clusters that meet stay separate, and a node in no cluster sees both.
func TestOtherCluster(t *testing.T) {
	noLeak(t)
	in := func(n int, cluster uint64, seeds ...string) *Gossip {
		c := config(n, seeds...)
		c.Meta.Cluster = cluster
		c.PeersFile = filepath.Join(t.TempDir(), "peers.json")
		return start(t, c)
	}
	a := in(1, 7)
	b := in(2, 7, a.LocalAddr())
	sees(t, a, 1, 2)
	other := in(3, 8, a.LocalAddr())
	var met []Stranger
	eventually(t, func() error {
		select {
		case s := <-other.Strangers():
			met = append(met, s)
		default:
		}
		for _, s := range met {
			if s == (Stranger{ID: id(1), Addr: a.LocalAddr(), Seed: true}) {
				return nil
			}
		}
		return fmt.Errorf("it refused %+v", met)
	})
	fresh := in(4, 0, a.LocalAddr(), other.LocalAddr())
	sees(t, fresh, 1, 2, 3, 4)
	sees(t, other, 3, 4)
	for _, g := range []*Gossip{a, b} {
		sees(t, g, 1, 2, 4)
	}
	select {
	case s := <-a.Strangers():
		if s.ID != id(3) || s.Seed {
			t.Errorf("%+v", s)
		}
	default:
		t.Error("the node that was contacted reported no stranger")
	}
	if err := other.Close(); err != nil {
		t.Fatal(err)
	}
	kept, err := loadPeers(other.cfg.PeersFile)
	if _, is := kept[id(1)]; is || err != nil {
		t.Errorf("the stranger is among the known peers: %v, %v", kept, err)
	}
}

func drain(ch <-chan struct{}) bool {
	select {
	case <-ch:
		return true
	default:
		return false
	}
}

// cut makes a partition, in which nodes of different groups do not reach each other.
func cut(groups ...[]*Gossip) {
	for i, group := range groups {
		others := map[string]bool{}
		for j, other := range groups {
			for _, g := range other {
				if i != j {
					others[g.at] = true
				}
			}
		}
		blocked := func(addr string) bool { return others[addr] }
		for _, g := range group {
			g.transport.blocked.Store(&blocked)
		}
	}
}

func heal(nodes ...*Gossip) {
	for _, g := range nodes {
		g.transport.blocked.Store(nil)
	}
}

// A partition heals however long it lasted, although memberlist has forgotten the nodes
// on the other side by then.
func TestPartitionHeals(t *testing.T) {
	noLeak(t)
	a := start(t, config(1))
	b := start(t, config(2, a.LocalAddr()))
	c := start(t, config(3, a.LocalAddr()))
	for _, g := range []*Gossip{a, b, c} {
		sees(t, g, 1, 2, 3)
	}
	cut([]*Gossip{a}, []*Gossip{b, c})
	sees(t, a, 1)
	sees(t, b, 2, 3)
	sees(t, c, 2, 3)
	eventually(t, func() error { // wait until memberlist has forgotten the node
		for _, g := range []*Gossip{a, b, c} {
			for _, m := range g.Members() {
				if !m.Alive && time.Since(m.Since) < 4*quick.DeadFor {
					return errors.New("it has not been long enough")
				}
			}
		}
		return nil
	})
	heal(a, b, c)
	for _, g := range []*Gossip{a, b, c} {
		sees(t, g, 1, 2, 3)
	}
}

// A killed node comes back under another address, at once or after the others have
// noticed. It must not be taken for a second process with the same ID.
func TestNewAddress(t *testing.T) {
	for _, late := range []bool{false, true} {
		t.Run(fmt.Sprintf("late=%v", late), func(t *testing.T) {
			noLeak(t)
			a := start(t, config(1))
			b := start(t, config(2, a.LocalAddr()))
			c := start(t, config(3, a.LocalAddr()))
			for _, g := range []*Gossip{a, b, c} {
				sees(t, g, 1, 2, 3)
			}
			old := c.LocalAddr()
			hold, err := net.Listen("tcp", "127.0.0.1:0") // keeps the port from being picked again
			if err != nil {
				t.Fatal(err)
			}
			defer hold.Close()
			if err := c.Close(); err != nil {
				t.Fatal(err)
			}
			if late {
				sees(t, a, 1, 2)
			}
			c = start(t, config(3, a.LocalAddr()))
			if c.LocalAddr() == old {
				t.Skip("the system gave the old port again")
			}
			eventually(t, func() error {
				for _, g := range []*Gossip{a, b} {
					if m, _ := g.Lookup(id(3)); !m.Alive || m.GossipAddr() != c.LocalAddr() {
						return fmt.Errorf("%s has %+v, want it at %s", g.cfg.NodeID, m, c.LocalAddr())
					}
				}
				return nil
			})
			sees(t, c, 1, 2, 3)
			for _, g := range []*Gossip{a, b, c} {
				select {
				case err := <-g.Conflict():
					t.Errorf("%s: %v", g.cfg.NodeID, err)
				default:
				}
			}
		})
	}
}

// Of two processes with one ID, the later one must not serve and the earlier one goes on.
func TestConflict(t *testing.T) {
	noLeak(t)
	a := start(t, config(1))
	b := start(t, config(2, a.LocalAddr()))
	sees(t, a, 1, 2)
	sees(t, b, 1, 2)
	for time.Now().UnixMilli() == b.start.UnixMilli() {
		time.Sleep(time.Millisecond)
	}
	twin := start(t, config(2, a.LocalAddr()))
	select {
	case err := <-twin.Conflict():
		if !errors.Is(err, ErrConflict) || !strings.Contains(err.Error(), b.LocalAddr()) {
			t.Errorf("%v", err)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("the later of two has not noticed")
	}
	select {
	case err := <-b.Conflict():
		t.Errorf("the earlier of two gives up: %v", err)
	default:
	}
	if m, _ := a.Lookup(id(2)); m.GossipAddr() != b.LocalAddr() {
		t.Errorf("the name went to %s", m.GossipAddr())
	}
}

// A node with another key or another label is refused, and the refusal is logged.
func TestStrangers(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*Config)
		said   string
	}{
		{"other key", func(c *Config) { c.SecretKey = bytes.Repeat([]byte{8}, 32) }, "decrypt"},
		{"no key", func(c *Config) { c.SecretKey = nil }, "encrypt"},
		{"other label", func(c *Config) { c.Label = "other" }, "label"},
		{"no label", func(c *Config) { c.Label = "" }, "label"},
	} {
		t.Run(c.name, func(t *testing.T) {
			noLeak(t)
			var said lockedBuffer
			conf := config(1)
			conf.Logger = slog.New(slog.NewTextHandler(&said, nil))
			a := start(t, conf)
			stranger := config(2, a.LocalAddr())
			c.change(&stranger)
			b := start(t, stranger)
			friend := start(t, config(3, a.LocalAddr()))
			sees(t, a, 1, 3)
			sees(t, friend, 1, 3)
			eventually(t, func() error {
				if text := said.String(); !strings.Contains(strings.ToLower(text), c.said) {
					return fmt.Errorf("no word of %q in %q", c.said, text)
				}
				return nil
			})
			sees(t, a, 1, 3)
			sees(t, b, 2)
		})
	}
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// A node that is restarted without seeds finds the others by its peers file.
func TestPeersFileIsUsed(t *testing.T) {
	noLeak(t)
	file := filepath.Join(t.TempDir(), "peers.json")
	a := start(t, config(1))
	conf := config(2, a.LocalAddr())
	conf.PeersFile = file
	b := start(t, conf)
	sees(t, b, 1, 2)
	eventually(t, func() error { // the file is written while the node runs, because it may be killed
		if p, err := loadPeers(file); err != nil || p[id(1)].Addr != a.LocalAddr() {
			return fmt.Errorf("%v, %v", p, err)
		}
		return nil
	})
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	conf.Seeds = nil
	b = start(t, conf)
	sees(t, b, 1, 2)
	if fi, err := os.Stat(file); err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", fi, err)
	}
}

// Close waits neither for a peer that accepts a connection and stays silent, nor for a
// peer that does not exist.
func TestCloseIsQuick(t *testing.T) {
	noLeak(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	accepted := make(chan net.Conn, 16)
	go func() {
		defer close(accepted)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			accepted <- c
		}
	}()
	conf := config(1, l.Addr().String(), "no-such-host.invalid:1")
	conf.Timing.TCP = time.Minute
	var said lockedBuffer
	conf.Logger = slog.New(slog.NewTextHandler(&said, &slog.HandlerOptions{Level: slog.LevelDebug}))
	g := start(t, conf)
	select {
	case mute := <-accepted:
		defer mute.Close()
	case <-time.After(20 * time.Second):
		t.Fatalf("the seed was not contacted: %s", said.String())
	}
	done := make(chan error, 1)
	go func() { done <- errors.Join(g.Leave(time.Minute), g.Close(), g.Leave(time.Minute), g.Close()) }()
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("Close waits for a peer")
	}
}

func TestConfig(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for _, c := range []struct {
		name   string
		change func(*Config)
		want   error
		text   string
	}{
		{"short ID", func(c *Config) { c.NodeID = "abc" }, ErrConfig, "node ID"},
		{"upper-case ID", func(c *Config) { c.NodeID = strings.Repeat("A", 40) }, ErrConfig, "node ID"},
		{"odd key", func(c *Config) { c.SecretKey = []byte("short") }, ErrConfig, "key has 5 bytes"},
		{"no port", func(c *Config) { c.BindAddr = "127.0.0.1" }, ErrConfig, "bind address"},
		{"bad port", func(c *Config) { c.BindAddr = "127.0.0.1:70000" }, ErrConfig, "port"},
		{"long label", func(c *Config) { c.Label = strings.Repeat("x", 256) }, ErrConfig, "label"},
		{"open without a key", func(c *Config) { c.SecretKey = nil; c.BindAddr = "0.0.0.0:0" }, ErrNeedsKey, "0.0.0.0"},
		{"all addresses without a key", func(c *Config) { c.SecretKey = nil; c.BindAddr = ":0" }, ErrNeedsKey, ""},
		{"unknown host", func(c *Config) { c.Advertise = "no-such-host.invalid" }, nil, "advertised host"},
		{"long host", func(c *Config) { c.Advertise = strings.Repeat("x", 300) }, ErrConfig, "300 bytes"},
		{"port in use", func(c *Config) { c.BindAddr = taken.Addr().String() }, nil, "address already in use"},
	} {
		t.Run(c.name, func(t *testing.T) {
			noLeak(t)
			conf := config(1)
			c.change(&conf)
			g, err := Start(conf)
			if err == nil {
				_ = g.Close()
				t.Fatal("started")
			}
			if c.want != nil && !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.text) {
				t.Errorf("%v", err)
			}
		})
	}
	t.Run("names", func(t *testing.T) {
		noLeak(t)
		conf := config(1)
		conf.BindAddr, conf.Advertise, conf.SecretKey = "localhost:0", "localhost", nil
		g := start(t, conf)
		if host, _, _ := net.SplitHostPort(g.LocalAddr()); host != "localhost" {
			t.Errorf("LocalAddr is %s", g.LocalAddr())
		}
		b := start(t, func() Config { c := config(2, g.LocalAddr()); c.SecretKey = nil; return c }())
		sees(t, b, 1, 2)
		if m, _ := b.Lookup(id(1)); m.Addr != "localhost" || m.PeerAddr() != "localhost:7001" {
			t.Errorf("%+v", m)
		}
	})
}

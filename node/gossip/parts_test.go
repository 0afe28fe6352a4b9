package gossip

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/memberlist"
)

// TestMetaGolden fixes the bytes, because nodes of different versions exchange them.
func TestMetaGolden(t *testing.T) {
	a := announcement{
		start: time.UnixMilli(0x0102030405),
		host:  "node-1",
		Meta:  Meta{FeatureLevel: 3, PeerPort: 7947, ClientPort: 6379, HTTPPort: 9646, Cluster: 0x0102030405060708, InCluster: true, Draining: true},
	}
	want := "01" + "0000000102030405" + "0003" + "1f0b" + "18eb" + "25ae" + "0102030405060708" + "03" + "06" + hex.EncodeToString([]byte("node-1"))
	if got := hex.EncodeToString(a.encode()); got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
	// A later version may append fields and use further flags.
	later := append(a.encode(), 1, 2, 3)
	later[0], later[25] = 2, 0xff
	if got, err := decodeAnnouncement(later); err != nil || got != a {
		t.Errorf("%+v, %v", got, err)
	}
	longest := announcement{host: strings.Repeat("h", maxHostLen)}
	if n := len(longest.encode()); n > memberlist.MetaMaxSize {
		t.Errorf("%d bytes, memberlist panics above %d", n, memberlist.MetaMaxSize)
	}
}

func TestBadMeta(t *testing.T) {
	good := announcement{host: "node-1"}.encode()
	for n := range len(good) {
		if _, err := decodeAnnouncement(good[:n]); err == nil {
			t.Errorf("metadata cut at %d decodes", n)
		}
	}
	if _, err := decodeAnnouncement(append(bytes.Clone(good), 0)); err == nil {
		t.Error("metadata with a byte too many decodes")
	}
	zero := bytes.Clone(good)
	zero[0] = 0
	if _, err := decodeAnnouncement(zero); err == nil {
		t.Error("version 0 decodes")
	}
	for _, host := range []string{"a b", "a\nb", "a/b", "\x7f", "é"} {
		if _, err := decodeAnnouncement(announcement{host: host}.encode()); err == nil {
			t.Errorf("host %q decodes", host)
		}
	}
	// A node with malformed metadata, or a name that is not a node ID, is refused.
	d := delegate{&Gossip{strangers: newStrangers()}}
	if err := d.NotifyAlive(&memberlist.Node{Name: id(1), Meta: good}); err != nil {
		t.Error(err)
	}
	if d.NotifyAlive(&memberlist.Node{Name: id(1), Meta: good[1:]}) == nil || d.NotifyAlive(&memberlist.Node{Name: "x", Meta: good}) == nil {
		t.Error("a node without metadata is accepted")
	}
}

func FuzzGossipMeta(f *testing.F) {
	f.Add(announcement{host: "node-1", Meta: Meta{PeerPort: 1, Draining: true}}.encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		a, err := decodeAnnouncement(b)
		if err != nil {
			return
		}
		again := a.encode()
		back, err := decodeAnnouncement(again)
		if err != nil || back != a {
			t.Fatalf("%+v came back as %+v, %v", a, back, err)
		}
		if known := byte(flagInCluster | flagDraining); b[0] == metaVersion && b[25]&^known == 0 && !bytes.Equal(again, b) {
			t.Fatalf("%x decodes, and encodes as %x", b, again)
		}
	})
}

func TestPeersFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "peers.json")
	now := time.Now().UTC()
	if p, err := loadPeers(path); err != nil || len(p) != 0 {
		t.Fatalf("no file: %v, %v", p, err)
	}
	p := peers{}
	self := Member{ID: id(1), Addr: "a", Alive: true}
	list := []Member{self, {ID: id(2), Addr: "b", GossipPort: 5, Alive: true}, {ID: id(3), Addr: "c", GossipPort: 5}}
	if !p.meet(list, self.ID, now) || p.meet(list, self.ID, now) {
		t.Error("meet does not tell a new peer from a known one")
	}
	list[1].Addr = "moved"
	if !p.meet(list, self.ID, now) {
		t.Error("a peer that moved does not count as a change")
	}
	if err := p.save(path); err != nil {
		t.Fatal(err)
	}
	got, err := loadPeers(path)
	if want := (peer{ID: id(2), Addr: "moved:5", LastSeen: now}); err != nil || len(got) != 1 || got[id(2)] != want {
		t.Fatalf("%+v, %v", got, err)
	}
	if names, _ := os.ReadDir(dir); len(names) != 1 {
		t.Errorf("%v beside the file", names)
	}
	for text, ok := range map[string]bool{
		"":                         false,
		"{":                        false,
		`{"version":2,"peers":[]}`: false,
		`{"version":1,"peers":[]}`: true,
		`{"version":1,"peers":[{"id":"x","addr":"y","last_seen":"2099-01-01T00:00:00Z"}]}`: true,
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if p, err := loadPeers(path); (err == nil) != ok || p == nil || len(p) != 0 {
			t.Errorf("%q: %v, %v", text, p, err)
		}
	}
}

func TestPeersAreBounded(t *testing.T) {
	now := time.Now()
	p := peers{}
	for i := range maxPeers + 50 {
		p[id(i)] = peer{ID: id(i), LastSeen: now.Add(-time.Duration(i) * time.Minute)}
	}
	p[id(9999)] = peer{ID: id(9999), LastSeen: now.Add(-peerLife - time.Hour)}
	p.prune(now)
	if len(p) != maxPeers {
		t.Fatalf("%d peers", len(p))
	}
	if _, ok := p[id(0)]; !ok {
		t.Error("the newest was dropped")
	}
	m := newMembers()
	meta := announcement{}.encode()
	for i := range maxGone + 50 {
		m.NotifyJoin(&memberlist.Node{Name: id(i), Meta: meta})
		m.NotifyLeave(&memberlist.Node{Name: id(i), Meta: meta})
	}
	m.NotifyJoin(&memberlist.Node{Name: id(9999), Meta: meta})
	if n := len(m.current.Load().list); n != maxGone+1 {
		t.Errorf("%d members", n)
	}
}

func TestLogWriter(t *testing.T) {
	var out bytes.Buffer
	now := time.Now()
	w := &logWriter{
		log:  slog.New(slog.NewTextHandler(&out, nil)),
		now:  func() time.Time { return now },
		said: make(map[string]time.Time),
	}
	write := func(line string) string {
		out.Reset()
		if n, err := w.Write([]byte(line)); n != len(line) || err != nil {
			t.Fatal(n, err)
		}
		return out.String()
	}
	for _, quiet := range []string{"[DEBUG] memberlist: x\n", "[INFO] memberlist: x\n", "x\n", "\n", "[", "[WARN"} {
		if got := write(quiet); got != "" {
			t.Errorf("%q says %s", quiet, got)
		}
	}
	bad := "[ERR] memberlist: Decrypt packet failed: No installed keys could decrypt the message from=%d\n"
	if got := write(fmt.Sprintf(bad, 1)); !strings.Contains(got, `level=WARN msg="Decrypt packet failed`) {
		t.Errorf("says %q", got)
	}
	if got := write(fmt.Sprintf(bad, 2)); got != "" {
		t.Errorf("says again %s", got)
	}
	if got := write("[WARN] memberlist: something else\n"); got == "" {
		t.Error("another warning is not logged")
	}
	now = now.Add(repeatAfter)
	if got := write(fmt.Sprintf(bad, 3)); got == "" {
		t.Error("the warning is not logged again after a minute")
	}
	for i := range 3 * maxKinds {
		write(fmt.Sprintf("[WARN] memberlist: %d\n", i))
	}
	if len(w.said) > maxKinds {
		t.Errorf("%d kinds remembered", len(w.said))
	}
}

// BenchmarkIdle reports the CPU time that three idle nodes use together, as a share of
// one core.
func BenchmarkIdle(b *testing.B) {
	conf := func(n int, seeds ...string) Config { c := config(n, seeds...); c.Timing = Timing{}; return c }
	first := start(b, conf(1))
	sees(b, start(b, conf(2, first.LocalAddr())), 1, 2)
	sees(b, start(b, conf(3, first.LocalAddr())), 1, 2, 3)
	for b.Loop() {
		before, at := cpu(), time.Now()
		time.Sleep(20 * time.Second)
		b.ReportMetric(100*float64(cpu()-before)/float64(time.Since(at)), "%core")
	}
}

func cpu() time.Duration {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		return 0
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// TestStreamLimits checks that streams without the key take little: only a few of one
// address are read, each up to a limit, and the others are closed.
func TestStreamLimits(t *testing.T) {
	noLeak(t)
	c := config(1)
	c.MaxStreams = 8 // two of one address
	c.Timing.TCP = time.Minute
	g := start(t, c)
	dial := func() net.Conn {
		nc, err := net.Dial("tcp", g.LocalAddr())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = nc.Close() })
		return nc
	}
	closed := func(nc net.Conn) bool {
		_, err := nc.Read(make([]byte, 1))
		return err != nil && !errors.Is(err, os.ErrDeadlineExceeded)
	}
	// The head of an encrypted message of 16 MiB, which memberlist would read to its end.
	// memberlist takes a stream without a label for one of another cluster, so the label
	// comes first.
	head := append([]byte{244, byte(len(c.Label))}, c.Label...)
	head = append(head, 10, 1, 0, 0, 0)
	var held []net.Conn
	for range 2 {
		nc := dial()
		if _, err := nc.Write(head); err != nil {
			t.Fatal(err)
		}
		held = append(held, nc)
	}
	eventually(t, func() error {
		g.transport.mu.Lock()
		defer g.transport.mu.Unlock()
		if g.transport.open != 2 {
			return fmt.Errorf("%d streams are open", g.transport.open)
		}
		return nil
	})
	if nc := dial(); !closed(nc) {
		t.Error("a third stream of an address is not closed")
	}
	if n := g.transport.refused.Load(); n != 1 {
		t.Errorf("%d streams were refused", n)
	}
	_ = held[0].SetWriteDeadline(time.Now().Add(30 * time.Second))
	sent, err := 0, error(nil)
	for err == nil && sent < 16<<20 {
		var n int
		n, err = held[0].Write(make([]byte, 64<<10))
		sent += n
	}
	if err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("%d bytes were read of a stream: %v", sent, err)
	}
	_ = held[1].Close()
	eventually(t, func() error {
		g.transport.mu.Lock()
		defer g.transport.mu.Unlock()
		if g.transport.open != 0 || len(g.transport.inward) != 0 {
			return fmt.Errorf("%d streams are open, %v", g.transport.open, g.transport.inward)
		}
		return nil
	})
}

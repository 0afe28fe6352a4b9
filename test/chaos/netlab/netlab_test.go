package netlab

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// unavailable is the reason why this system can have no lab; nil when it can.
var unavailable error

// TestMain runs the tests in namespaces of their own, if the system allows them.
func TestMain(m *testing.M) {
	inside, code, err := Enter()
	switch {
	case errors.Is(err, ErrUnavailable):
		unavailable = err
	case err != nil:
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	case !inside:
		os.Exit(code)
	}
	os.Exit(m.Run())
}

// tcp4 returns an IPv4 packet whose header has ihl words and is followed by two ports.
func tcp4(proto byte, ihl byte, fragment uint16, from, to uint16) []byte {
	p := make([]byte, int(ihl)*4+8)
	p[0], p[9] = 4<<4|ihl, proto
	p[6], p[7] = byte(fragment>>8), byte(fragment)
	copy(p[16:], []byte{10, 77, 0, 3})
	at := int(ihl) * 4
	p[at], p[at+1], p[at+2], p[at+3] = byte(from>>8), byte(from), byte(to>>8), byte(to)
	return p
}

func TestPackets(t *testing.T) {
	for _, tc := range []struct {
		name    string
		packet  []byte
		to      string
		touches bool
	}{
		{"TCP from the port", tcp4(protoTCP, 5, 0, 7946, 1), "10.77.0.3", true},
		{"TCP to the port", tcp4(protoTCP, 5, 0, 1, 7946), "10.77.0.3", true},
		{"UDP with options", tcp4(protoUDP, 7, 0, 1, 7946), "10.77.0.3", true},
		{"another port", tcp4(protoUDP, 5, 0, 1, 2), "10.77.0.3", false},
		{"a first fragment", tcp4(protoUDP, 5, 0x2000, 1, 7946), "10.77.0.3", true},
		{"a later fragment", tcp4(protoUDP, 5, 0x2010, 1, 7946), "10.77.0.3", false},
		{"ICMP", tcp4(1, 5, 0, 1, 7946), "10.77.0.3", false},
		{"cut short", tcp4(protoTCP, 5, 0, 1, 7946)[:22], "10.77.0.3", false},
		{"no header", []byte{0x45, 0}, "", false},
		{"empty", nil, "", false},
		{"IPv6", append([]byte{0x60}, make([]byte, 60)...), "", false},
	} {
		to, ok := destination(tc.packet)
		if ok != (tc.to != "") || ok && to.String() != tc.to {
			t.Errorf("%s: goes to %v, %v", tc.name, to, ok)
		}
		if got := touches(tc.packet, 7946); got != tc.touches {
			t.Errorf("%s: touches the port: %v", tc.name, got)
		}
	}
}

func FuzzPackets(f *testing.F) {
	f.Add(tcp4(protoTCP, 5, 0, 1, 7946))
	f.Add([]byte{0x4f})
	f.Fuzz(func(t *testing.T, b []byte) {
		_, ok := destination(b)
		if touches(b, 1) && !ok {
			t.Error("a packet without a destination touches a port")
		}
	})
}

func TestCarry(t *testing.T) {
	gossip, other := tcp4(protoUDP, 5, 0, 1, 7946), tcp4(protoTCP, 5, 0, 1, 2)
	for _, tc := range []struct {
		name     string
		link     *Link
		packet   []byte
		dropped  [2]int // of a thousand, at least and at most
		min, max time.Duration
	}{
		{"no link", nil, other, [2]int{0, 0}, 0, 0},
		{"perfect", &Link{}, other, [2]int{0, 0}, 0, 0},
		{"cut", &Link{Cut: true}, other, [2]int{1000, 1000}, 0, 0},
		{"another port is cut", &Link{CutPort: 7946}, other, [2]int{0, 0}, 0, 0},
		{"the port is cut", &Link{CutPort: 7946}, gossip, [2]int{1000, 1000}, 0, 0},
		{"loss", &Link{Loss: 0.2}, other, [2]int{100, 300}, 0, 0},
		{"delay", &Link{Delay: time.Second}, other, [2]int{0, 0}, time.Second, time.Second},
		{"jitter", &Link{Delay: time.Second, Jitter: time.Second / 2}, other, [2]int{0, 0}, time.Second / 2, 3 * time.Second / 2},
		{"more jitter than delay", &Link{Jitter: time.Second}, other, [2]int{0, 0}, 0, time.Second},
	} {
		var p path
		if tc.link != nil {
			p.link.Store(tc.link)
		}
		rng, now, dropped := rand.New(rand.NewPCG(1, 1)), time.Unix(0, 0), 0
		for range 1000 {
			wait, ok := p.carry(tc.packet, now, rng)
			if !ok {
				dropped++
			} else if wait < tc.min || wait > tc.max {
				t.Fatalf("%s: a packet takes %v", tc.name, wait)
			}
		}
		if dropped < tc.dropped[0] || dropped > tc.dropped[1] {
			t.Errorf("%s: %d of 1000 are dropped", tc.name, dropped)
		}
		if p.dropped.Load() != uint64(dropped) || p.passed.Load() != uint64(1000-dropped) {
			t.Errorf("%s: %d dropped and %d passed are counted", tc.name, p.dropped.Load(), p.passed.Load())
		}
	}
}

// TestRate checks that on a slow link each packet waits for those before it, and that a
// packet which would wait longer than maxBacklog is dropped.
func TestRate(t *testing.T) {
	var p path
	p.link.Store(&Link{Rate: 1000})
	packet, now := make([]byte, 100), time.Unix(0, 0)
	for i := range 6 {
		wait, ok := p.carry(packet, now, nil)
		if want := time.Duration(i) * 100 * time.Millisecond; !ok || wait != want {
			t.Fatalf("packet %d waits %v, want %v", i, wait, want)
		}
	}
	if _, ok := p.carry(packet, now, nil); ok {
		t.Error("a packet waits for longer than maxBacklog")
	}
	if wait, ok := p.carry(packet, now.Add(time.Second), nil); !ok || wait != 0 {
		t.Errorf("a second later a packet waits %v", wait)
	}
}

// serve starts an echo server on a host, which ends with the test, and returns its address.
func serve(t *testing.T, l *Lab, host int) string {
	t.Helper()
	addr := fmt.Sprintf("%v:7000", Addr(host))
	cmd := exec.Command(os.Args[0], "-test.run=TestEchoServer", "-test.v")
	cmd.Env = append(os.Environ(), "NETLAB_ECHO="+addr)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Start(host, cmd); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	buf := make([]byte, 4096)
	for seen := ""; !strings.Contains(seen, "listening"); {
		n, err := out.Read(buf)
		if err != nil {
			t.Fatalf("the server ends: %v: %s", err, seen)
		}
		seen += string(buf[:n])
	}
	return addr
}

// TestEchoServer is the server of TestLab's hosts. It runs only with an address in the
// environment.
func TestEchoServer(t *testing.T) {
	addr := os.Getenv("NETLAB_ECHO")
	if addr == "" {
		return
	}
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Println("listening")
	for {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		go func() {
			buf := make([]byte, 64)
			for {
				n, err := c.Read(buf)
				if err != nil {
					return
				}
				_, _ = c.Write(buf[:n])
			}
		}()
	}
}

func TestLab(t *testing.T) {
	if unavailable != nil {
		t.Skip(unavailable)
	}
	l, err := Open(3, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	}()
	one, two := serve(t, l, 1), serve(t, l, 2)
	c, err := dial(one)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := echo(c, 10*time.Second); err != nil {
		t.Fatalf("a perfect link: %v", err)
	}
	testCut(t, l, c, one, two)
	testOneWay(t, l, c)
	testDelay(t, l, c)
}

func dial(addr string) (net.Conn, error) {
	return net.DialTimeout("tcp", addr, 500*time.Millisecond)
}

// echo sends a byte and waits for its echo.
func echo(c net.Conn, within time.Duration) error {
	_ = c.SetDeadline(time.Now().Add(within))
	if _, err := c.Write([]byte("x")); err != nil {
		return err
	}
	_, err := c.Read(make([]byte, 1))
	return err
}

// heal heals all links, and waits for the echo of the byte that was sent meanwhile.
func heal(t *testing.T, l *Lab, c net.Conn) {
	t.Helper()
	l.Heal()
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := c.Read(make([]byte, 1)); err != nil {
		t.Errorf("healed: %v", err)
	}
}

// testCut cuts the links to host 1. Its connection hangs without an error, and goes on
// after the cut is healed. Host 2 can be reached all the time.
func testCut(t *testing.T, l *Lab, c net.Conn, one, two string) {
	l.SetBoth(Client, 1, Link{Cut: true})
	if err := echo(c, 300*time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("over a cut link: %v", err)
	}
	if _, err := dial(one); err == nil {
		t.Error("a new connection was made over a cut link")
	}
	if other, err := dial(two); err != nil {
		t.Errorf("the link to the other host is cut, too: %v", err)
	} else {
		other.Close()
	}
	if _, dropped := l.Packets(); dropped == 0 {
		t.Error("no packet is counted as dropped")
	}
	heal(t, l, c)
}

// testOneWay cuts only the direction of the echoes.
func testOneWay(t *testing.T, l *Lab, c net.Conn) {
	l.Set(1, Client, Link{Cut: true})
	if err := echo(c, 300*time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the way back is cut: %v", err)
	}
	heal(t, l, c)
}

// testDelay delays packets both ways.
func testDelay(t *testing.T, l *Lab, c net.Conn) {
	l.SetBoth(Client, 1, Link{Delay: 50 * time.Millisecond})
	began := time.Now()
	if err := echo(c, 10*time.Second); err != nil {
		t.Fatalf("a slow link: %v", err)
	}
	if took := time.Since(began); took < 100*time.Millisecond {
		t.Errorf("a byte and its echo took %v", took)
	}
}

func TestOpenRefuses(t *testing.T) {
	for _, n := range []int{0, -1, MaxHosts + 1} {
		if l, err := Open(n, 1); err == nil {
			l.Close()
			t.Errorf("a lab of %d hosts was opened", n)
		}
	}
}

package netlab

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"time"
)

// Client is the index of this process's own host. The servers' hosts follow.
const Client = 0

// MaxHosts bounds the hosts of a lab.
const MaxHosts = 100

// Addr returns the address of a host, 10.77.0.1 for host 0. Its packets take the links.
func Addr(host int) netip.Addr { return netip.AddrFrom4([4]byte{10, 77, 0, byte(1 + host)}) }

// SideAddr returns a second address of a host, 10.78.0.1 for host 0. Packets to it always
// arrive, also over broken links, so that the host can be watched.
func SideAddr(host int) netip.Addr { return netip.AddrFrom4([4]byte{10, 78, 0, byte(1 + host)}) }

// Lab is a set of hosts and the links between them. Its methods are safe for
// concurrent use.
type Lab struct {
	hosts []*host
	paths [][]path // by sender and receiver
	late  delayed
	wg    sync.WaitGroup // one forward for each host, and late.run
}

// host is a network namespace. A thread stays in it and starts the host's processes.
type host struct {
	index int
	tun   *os.File
	jobs  chan func() // the thread runs these
}

// Open opens a lab of so many hosts, the one of this process included. It must run in the
// process that Enter started. seed decides which packets a lossy link drops.
func Open(hosts int, seed uint64) (*Lab, error) {
	if hosts < 1 || hosts > MaxHosts {
		return nil, fmt.Errorf("netlab: a lab has 1 to %d hosts, not %d", MaxHosts, hosts)
	}
	l := &Lab{late: delayed{wake: make(chan struct{}, 1)}}
	for i := range hosts {
		h, err := openHost(i)
		if err != nil {
			return nil, errors.Join(err, l.Close())
		}
		l.hosts = append(l.hosts, h)
		l.paths = append(l.paths, make([]path, hosts))
	}
	l.wg.Go(l.late.run)
	for i, h := range l.hosts {
		l.wg.Go(func() { l.forward(h, rand.New(rand.NewPCG(seed, uint64(i)))) }) // ends when the host's device is closed
	}
	return l, nil
}

func openHost(index int) (*host, error) {
	h := &host{index: index, jobs: make(chan func())}
	opened := make(chan error, 1)
	go func() { // ends with Close; its locked thread ends with it, and then the namespace
		runtime.LockOSThread()
		err := error(nil)
		if index != Client {
			err = leaveNetwork()
		}
		if err == nil {
			h.tun, err = openTUN(Addr(index), SideAddr(index))
		}
		opened <- err
		if err != nil {
			return
		}
		for job := range h.jobs {
			job()
		}
	}()
	if err := <-opened; err != nil {
		return nil, fmt.Errorf("netlab: host %d: %w", index, err)
	}
	return h, nil
}

// Start starts a process on a host. The process is killed when the lab ends in any way.
func (l *Lab) Start(host int, cmd *exec.Cmd) error {
	endWithParent(cmd)
	started := make(chan error, 1)
	l.hosts[host].jobs <- func() { started <- cmd.Start() } // a process inherits the namespace of the thread that starts it
	return <-started
}

// Set replaces the link from one host to another, in this direction only.
func (l *Lab) Set(from, to int, link Link) { l.paths[from][to].link.Store(&link) }

// SetBoth replaces the links in both directions between two hosts.
func (l *Lab) SetBoth(a, b int, link Link) {
	l.Set(a, b, link)
	l.Set(b, a, link)
}

// Heal makes all links perfect.
func (l *Lab) Heal() {
	for i := range l.paths {
		for j := range l.paths[i] {
			l.paths[i][j].link.Store(nil)
		}
	}
}

// Packets returns how many packets all links let pass, and how many they dropped on
// purpose.
func (l *Lab) Packets() (passed, dropped uint64) {
	for i := range l.paths {
		for j := range l.paths[i] {
			passed += l.paths[i][j].passed.Load()
			dropped += l.paths[i][j].dropped.Load()
		}
	}
	return passed, dropped
}

// forward carries the packets that leave a host, until its device is closed. Packets to an
// address that no host has are lost.
func (l *Lab) forward(h *host, rng *rand.Rand) {
	buf := make([]byte, 1<<16)
	for {
		n, err := h.tun.Read(buf)
		if err != nil {
			return // closed
		}
		to, ok := destination(buf[:n])
		if !ok {
			continue // IPv6, such as neighbour discovery
		}
		a := to.As4()
		i := int(a[3]) - 1
		if a[0] != 10 || i < 0 || i >= len(l.hosts) || i == h.index {
			continue // no other host has this address
		}
		var wait time.Duration
		if to != SideAddr(i) {
			if wait, ok = l.paths[h.index][i].carry(buf[:n], time.Now(), rng); !ok {
				continue
			}
		}
		if wait == 0 {
			_, _ = l.hosts[i].tun.Write(buf[:n]) // a full device loses packets
			continue
		}
		if !l.late.add(packet{time.Now().Add(wait), l.hosts[i].tun, append([]byte(nil), buf[:n]...)}) {
			l.paths[h.index][i].dropped.Add(1)
		}
	}
}

// Close closes the lab. The processes on its hosts should have ended before.
func (l *Lab) Close() error {
	var errs []error
	for _, h := range l.hosts {
		errs = append(errs, h.tun.Close())
		close(h.jobs)
	}
	l.late.close()
	l.wg.Wait()
	return errors.Join(errs...)
}

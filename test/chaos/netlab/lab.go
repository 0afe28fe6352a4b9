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
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Client is the index of the host that this process is itself; servers follow.
const Client = 0

// MaxHosts bounds a lab.
const MaxHosts = 100

// Addr returns the address of a host whose links may be broken.
func Addr(host int) netip.Addr { return netip.AddrFrom4([4]byte{10, 77, 0, byte(1 + host)}) }

// SideAddr returns a second address of a host, to look at it by: whatever is done to
// its links, packets to it arrive.
func SideAddr(host int) netip.Addr { return netip.AddrFrom4([4]byte{10, 78, 0, byte(1 + host)}) }

// Lab is a set of hosts and the links between them. Its methods are safe for
// concurrent use.
type Lab struct {
	hosts []*host
	paths [][]path // from, to
	late  delayed
	wg    sync.WaitGroup // a reader for each host, and late's runner
}

// host is a network namespace with a thread that stays in it, which starts its
// processes.
type host struct {
	index int
	tun   *os.File
	jobs  chan func()
}

// Open makes a lab of so many hosts, this process included. It must run in the process
// that Enter has started. seed decides which packets are lost.
func Open(hosts int, seed uint64) (*Lab, error) {
	if hosts < 1 || hosts > MaxHosts {
		return nil, fmt.Errorf("netlab: %d hosts; 1 to %d may be", hosts, MaxHosts)
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
		l.wg.Go(func() { l.forward(h, rand.New(rand.NewPCG(seed, uint64(i)))) }) // ends when its device is closed
	}
	return l, nil
}

func openHost(index int) (*host, error) {
	h := &host{index: index, jobs: make(chan func())}
	opened := make(chan error, 1)
	go func() { // ends with Close; the thread ends with it, and the namespace after
		runtime.LockOSThread()
		err := error(nil)
		if index != Client {
			err = unix.Unshare(unix.CLONE_NEWNET)
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

// Start starts a process on a host. It dies with the lab, however that ends.
func (l *Lab) Start(host int, cmd *exec.Cmd) error {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	started := make(chan error, 1)
	l.hosts[host].jobs <- func() { started <- cmd.Start() } // a process starts in its thread's namespace
	return <-started
}

// Set changes the link from one host to another, in this direction only.
func (l *Lab) Set(from, to int, link Link) { l.paths[from][to].link.Store(&link) }

// SetBoth changes both directions between two hosts.
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

// Packets returns how many packets have arrived and how many were dropped on purpose
// on all links.
func (l *Lab) Packets() (passed, dropped uint64) {
	for i := range l.paths {
		for j := range l.paths[i] {
			passed += l.paths[i][j].passed.Load()
			dropped += l.paths[i][j].dropped.Load()
		}
	}
	return passed, dropped
}

// forward carries what leaves a host.
func (l *Lab) forward(h *host, rng *rand.Rand) {
	buf := make([]byte, 1<<16)
	for {
		n, err := h.tun.Read(buf)
		if err != nil {
			return // closed
		}
		to, ok := destination(buf[:n])
		if !ok {
			continue // IPv6: neighbours are looked for that way
		}
		a := to.As4()
		i := int(a[3]) - 1
		if a[0] != 10 || i < 0 || i >= len(l.hosts) || i == h.index {
			continue // nobody has this address
		}
		var wait time.Duration
		if to != SideAddr(i) {
			if wait, ok = l.paths[h.index][i].carry(buf[:n], time.Now(), rng); !ok {
				continue
			}
		}
		if wait == 0 {
			_, _ = l.hosts[i].tun.Write(buf[:n]) // a device that is full loses packets
			continue
		}
		if !l.late.add(packet{time.Now().Add(wait), l.hosts[i].tun, append([]byte(nil), buf[:n]...)}) {
			l.paths[h.index][i].dropped.Add(1)
		}
	}
}

// Close takes the lab down. Processes on its hosts should have ended.
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

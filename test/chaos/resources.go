package main

import (
	"bufio"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"millrace/test/cluster"
)

// usage is what a node holds that must not grow.
type usage struct{ goroutines, sockets int }

// Bounds of what a node may hold more at rest than it did before the first fault (L3).
const (
	levelShare   = 0.10
	levelSlack   = 40 // connections and their goroutines come and go
	levelWithin  = 60 * time.Second
	metricsLimit = 2 * time.Second
)

// residentMiB returns the memory that a process has in use; 0 when it has ended.
func residentMiB(pid int) int {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		return 0
	}
	var size, resident int
	if _, err := fmt.Sscan(string(b), &size, &resident); err != nil {
		return 0
	}
	return resident * os.Getpagesize() >> 20
}

// above reports whether u is more than base allows.
func (u usage) above(base usage) bool {
	over := func(a, b int) bool { return float64(a) > float64(b)*(1+levelShare)+levelSlack }
	return over(u.goroutines, base.goroutines) || over(u.sockets, base.sockets)
}

func (u usage) String() string {
	return fmt.Sprintf("%d goroutines, %d sockets", u.goroutines, u.sockets)
}

// uses returns what a node holds.
func uses(n *cluster.Node) (u usage, err error) {
	r, err := (&http.Client{Timeout: metricsLimit}).Get("http://" + n.Addr.HTTP + "/metrics")
	if err != nil {
		return u, err
	}
	defer r.Body.Close()
	for lines := bufio.NewScanner(r.Body); lines.Scan(); {
		if v, ok := strings.CutPrefix(lines.Text(), "go_goroutines "); ok {
			if u.goroutines, err = strconv.Atoi(v); err != nil {
				return u, err
			}
		}
	}
	dir := fmt.Sprintf("/proc/%d/fd", n.PID())
	fds, err := os.ReadDir(dir)
	if err != nil {
		return u, err
	}
	for _, fd := range fds {
		if to, err := os.Readlink(dir + "/" + fd.Name()); err == nil && strings.HasPrefix(to, "socket:") {
			u.sockets++
		}
	}
	return u, nil
}

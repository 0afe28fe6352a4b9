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

// usage is what a node holds that must not grow but with its replicas.
type usage struct{ goroutines, sockets, replicas int }

// replicaMetric begins the line of a node's metrics that there is for each replica.
const replicaMetric = "millrace_shard_applied_index{"

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

// above reports whether u is more than base allows. A node that other replicas have moved
// to since may hold as much more.
func (u usage) above(base usage) bool {
	grown := max(1, float64(u.replicas)/float64(max(1, base.replicas)))
	over := func(a, b int) bool { return float64(a) > float64(b)*grown*(1+levelShare)+levelSlack }
	return over(u.goroutines, base.goroutines) || over(u.sockets, base.sockets)
}

func (u usage) String() string {
	return fmt.Sprintf("%d goroutines, %d sockets, %d replicas", u.goroutines, u.sockets, u.replicas)
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
		if strings.HasPrefix(lines.Text(), replicaMetric) {
			u.replicas++
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

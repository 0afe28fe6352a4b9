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

// usage counts the resources of a node. Goroutines and sockets must not grow unless the
// number of its replicas grows.
type usage struct{ goroutines, sockets, replicas int }

// replicaMetric begins a line of a node's metrics that appears once for each replica.
const replicaMetric = "millrace_shard_applied_index{"

// Bounds of a node's usage at rest, relative to its usage before the first fault (L3).
// With 200 goroutines then, 260 are allowed: 10 % more, and the slack.
const (
	levelShare   = 0.10
	levelSlack   = 40 // connections and their goroutines come and go
	levelWithin  = 60 * time.Second
	metricsLimit = 2 * time.Second
)

// residentMiB returns the resident memory of a process; 0 when it has ended.
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

// above reports whether u is more than base allows. The bound grows with the replicas: a
// node that had 5 and now has 10 may use twice as much.
func (u usage) above(base usage) bool {
	grown := max(1, float64(u.replicas)/float64(max(1, base.replicas)))
	over := func(a, b int) bool { return float64(a) > float64(b)*grown*(1+levelShare)+levelSlack }
	return over(u.goroutines, base.goroutines) || over(u.sockets, base.sockets)
}

func (u usage) String() string {
	return fmt.Sprintf("%d goroutines, %d sockets, %d replicas", u.goroutines, u.sockets, u.replicas)
}

// uses returns a node's usage: goroutines and replicas from its metrics, sockets from /proc.
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

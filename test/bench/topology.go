package bench

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"

	"millrace/kv"
	"millrace/resp"
)

// place is a server to connect to, with the numbers of the streams that its connections
// use.
type place struct {
	addr    string
	streams []int
}

func (c *Config) stream(i int) string { return "bench-" + c.Name + "-" + strconv.Itoa(i) }

// places returns the servers to connect to: every address for all streams, or, if
// ClusterAware is set, every leader for the streams that it leads.
func (c *Config) places(ctx context.Context) ([]place, error) {
	if !c.ClusterAware {
		all := make([]int, c.Streams)
		for i := range all {
			all[i] = i
		}
		places := make([]place, len(c.Addrs))
		for i, a := range c.Addrs {
			places[i] = place{a, all}
		}
		return places, nil
	}
	var errs []error
	for _, addr := range c.Addrs { // the first one that answers counts
		leaders, err := c.leaders(ctx, addr)
		if err == nil {
			return c.byLeader(leaders)
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

// slotRun is a run of slots and the address of the node that leads it.
type slotRun struct {
	first, last int64
	addr        string
}

// leaders asks the server at addr for the leaders of all slots.
func (c *Config) leaders(ctx context.Context, addr string) ([]slotRun, error) {
	cn, err := dial(ctx, c, addr)
	if err != nil {
		return nil, err
	}
	defer cn.close()
	v, err := cn.ask("CLUSTER", "SLOTS")
	if err != nil {
		return nil, fmt.Errorf("bench: %s: CLUSTER SLOTS: %w", addr, err)
	}
	if v.IsErr() {
		return nil, fmt.Errorf("bench: %s: CLUSTER SLOTS: %s", addr, v.Str)
	}
	var runs []slotRun
	for _, e := range v.Elems {
		run, ok := parseRun(e, addr)
		if !ok {
			return nil, fmt.Errorf("bench: %s: CLUSTER SLOTS answered %v", addr, v)
		}
		runs = append(runs, run)
	}
	return runs, nil
}

// parseRun reads an element [first, last, [host, port, …], …] of CLUSTER SLOTS. A node that
// does not know its own host leaves it empty, or answers "?". Then the host is that of
// asked, the address that the question went to.
func parseRun(e resp.Value, asked string) (slotRun, bool) {
	if len(e.Elems) < 3 || len(e.Elems[2].Elems) < 2 {
		return slotRun{}, false
	}
	host, port := string(e.Elems[2].Elems[0].Str), e.Elems[2].Elems[1].Int
	if host == "" || host == "?" {
		var err error
		if host, _, err = net.SplitHostPort(asked); err != nil {
			return slotRun{}, false
		}
	}
	return slotRun{e.Elems[0].Int, e.Elems[1].Int, net.JoinHostPort(host, strconv.FormatInt(port, 10))}, true
}

// byLeader returns the leaders with the streams that each leads.
func (c *Config) byLeader(runs []slotRun) ([]place, error) {
	var places []place
	at := map[string]int{}
	for i := range c.Streams {
		slot := int64(kv.Slot([]byte(c.stream(i))))
		addr := ""
		for _, r := range runs {
			if r.first <= slot && slot <= r.last {
				addr = r.addr
				break
			}
		}
		if addr == "" {
			return nil, fmt.Errorf("bench: no node leads slot %d of stream %s", slot, c.stream(i))
		}
		if _, ok := at[addr]; !ok {
			at[addr] = len(places)
			places = append(places, place{addr: addr})
		}
		p := &places[at[addr]]
		p.streams = append(p.streams, i)
	}
	return places, nil
}

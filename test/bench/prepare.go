package bench

import (
	"context"
	"fmt"
	"strings"

	"golang.org/x/sync/errgroup"
)

// setupConns bounds the streams that are prepared or removed at the same time.
const setupConns = 16

// A stream is filled in batches of at most prepareBatch entries and about prepareBytes
// bytes. A larger entry is a batch of its own.
const (
	prepareBatch = 256
	prepareBytes = 1 << 20
)

// prepare creates the streams that the mode needs.
func (l *load) prepare(ctx context.Context, places []place) error {
	switch l.cfg.Mode {
	case ModeRead:
		return l.eachStream(ctx, places, l.fillStream)
	case ModeGroup:
		return l.eachStream(ctx, places, l.makeGroup)
	}
	return nil
}

// eachStream calls f for every stream, on a connection to its leader if ClusterAware is
// set, and to any server otherwise.
func (l *load) eachStream(ctx context.Context, places []place, f func(c *conn, stream int) error) error {
	type job struct {
		addr   string
		stream int
	}
	var jobs []job
	if l.cfg.ClusterAware {
		for _, p := range places {
			for _, s := range p.streams {
				jobs = append(jobs, job{p.addr, s})
			}
		}
	} else {
		for s := range l.cfg.Streams {
			jobs = append(jobs, job{places[s%len(places)].addr, s})
		}
	}
	g, ctx := errgroup.WithContext(ctx)
	n := min(setupConns, len(jobs))
	for i := range n {
		g.Go(func() error { // runs every n-th job, on connections of its own
			conns := map[string]*conn{}
			defer func() {
				for _, c := range conns {
					c.close()
				}
			}()
			for k := i; k < len(jobs); k += n {
				j := jobs[k]
				if conns[j.addr] == nil {
					c, err := dial(ctx, l.cfg, j.addr)
					if err != nil {
						return err
					}
					conns[j.addr] = c
				}
				if err := f(conns[j.addr], j.stream); err != nil {
					return fmt.Errorf("bench: stream %s at %s: %w", l.cfg.stream(j.stream), j.addr, err)
				}
			}
			return nil
		})
	}
	return g.Wait()
}

// fillStream writes the entries for mode read, unless an earlier run of the same name has
// written them.
func (l *load) fillStream(c *conn, i int) error {
	v, err := c.ask("XLEN", l.cfg.stream(i))
	switch {
	case err != nil:
		return err
	case v.IsErr():
		return fmt.Errorf("%s", v.Str)
	case v.Int == int64(l.cfg.Prepare):
		l.done.Add(v.Int)
		return nil
	case v.Int != 0:
		return fmt.Errorf("it has %d entries, must have %d or none", v.Int, l.cfg.Prepare)
	}
	entries := l.cfg.prepareRing(i)
	step := max(1, min(prepareBatch, prepareBytes/l.cfg.Size))
	for from := 1; from <= l.cfg.Prepare; from += step {
		n := min(step, l.cfg.Prepare-from+1)
		requests, expect := entries(from, n)
		if err := c.send(requests); err != nil {
			return err
		}
		for range expect {
			if _, err := c.reply(false); err != nil {
				return err
			}
			if c.head[0] != '$' {
				return fmt.Errorf("XADD: %s", c.head)
			}
		}
		l.done.Add(int64(n))
	}
	return nil
}

// makeGroup creates the group of the consumers, unless it exists.
func (l *load) makeGroup(c *conn, i int) error {
	err := c.command("XGROUP", "CREATE", l.cfg.stream(i), groupName, "$", "MKSTREAM")
	if err != nil && !strings.HasPrefix(err.Error(), "BUSYGROUP ") {
		return err
	}
	return nil
}

func (l *load) removeStream(c *conn, i int) error { return c.command("UNLINK", l.cfg.stream(i)) }

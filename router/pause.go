package router

import (
	"sync"
	"time"

	"millrace/command"
)

// pausing is the state of CLIENT PAUSE on this node: a command of its clients is taken from
// the socket, and then waits. Clients of other nodes are not paused, and calls that were
// blocking before are served. Unlike in Redis, CLIENT UNPAUSE never waits, because a pause
// of all commands could not be undone otherwise.
type pausing struct {
	mu    sync.Mutex
	end   time.Time // zero: no pause
	all   bool      // false: only writes are paused
	ended chan struct{}
}

// begin starts a pause. If there is one already, it may become longer and stricter, but
// never shorter.
func (p *pausing) begin(d time.Duration, all bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	if p.ended == nil || !p.end.After(now) {
		p.finish()
		p.end, p.all, p.ended = now.Add(d), all, make(chan struct{})
		return
	}
	p.all = p.all || all
	if end := now.Add(d); end.After(p.end) {
		p.end = end
	}
}

// stop ends the pause.
func (p *pausing) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.finish()
}

// finish is stop with p.mu held.
func (p *pausing) finish() {
	if p.ended != nil {
		close(p.ended)
	}
	p.end, p.all, p.ended = time.Time{}, false, nil
}

// holds returns the time that a command has to wait, zero if it may run. ended is closed
// if the pause ends before.
func (p *pausing) holds(writes bool) (d time.Duration, ended <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended == nil || !p.all && !writes {
		return 0, nil
	}
	return max(time.Until(p.end), 0), p.ended
}

// left returns the commands that are paused, as INFO names them ("none", "write" or
// "all"), and the rest of the pause.
func (p *pausing) left() (actions string, d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch d = time.Until(p.end); {
	case p.ended == nil || d <= 0:
		return "none", 0
	case p.all:
		return "all", d
	}
	return "write", d
}

// awaitPause holds the reader of c until its command may run, or until the client is
// killed.
func (c *conn) awaitPause(cmd *command.Command) {
	for cmd.Name != "client|unpause" {
		d, ended := c.r.pausing.holds(c.writes(cmd))
		if d == 0 {
			return
		}
		timer := time.NewTimer(d)
		select {
		case <-timer.C:
		case <-ended:
		case <-c.gone:
			timer.Stop()
			return
		}
		timer.Stop()
	}
}

// writes reports whether a command may change data; for EXEC, whether a queued one may.
func (c *conn) writes(cmd *command.Command) bool {
	if cmd.Name != "exec" || c.tx == nil {
		return cmd.Is(command.Write)
	}
	for _, it := range c.tx.queue {
		if it.cmd.Is(command.Write) {
			return true
		}
	}
	return false
}

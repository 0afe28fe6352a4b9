package router

import (
	"slices"
	"strconv"
	"sync/atomic"
	"time"
)

// monitors are the connections in MONITOR. Mostly there are none, and then they cost a
// command one look at a pointer.
type monitors struct {
	list atomic.Pointer[[]*conn] // replaced as a whole, under the router's mutex
}

// maxMonitors bounds the connections in MONITOR, because each command is written to all.
const maxMonitors = 16

// watch makes c a monitor if there is room for one more. It calls said with the answer
// before the first line can reach c.
func (r *Router) watch(c *conn, said func(ok bool)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var list []*conn
	if old := r.monitors.list.Load(); old != nil {
		list = slices.Clone(*old)
	}
	if slices.Contains(list, c) {
		said(true)
		return
	}
	if len(list) >= maxMonitors {
		said(false)
		return
	}
	said(true)
	c.mu.Lock()
	c.monitor = true
	c.mu.Unlock()
	list = append(list, c)
	r.monitors.list.Store(&list)
}

// unwatch takes c out of the monitors, if it is one.
func (r *Router) unwatch(c *conn) {
	if r.monitors.list.Load() == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	c.mu.Lock()
	c.monitor = false
	c.mu.Unlock()
	old := r.monitors.list.Load()
	if old == nil {
		return
	}
	list := slices.DeleteFunc(slices.Clone(*old), func(o *conn) bool { return o == c })
	if len(list) == 0 {
		r.monitors.list.Store(nil)
		return
	}
	r.monitors.list.Store(&list)
}

// show sends the monitors a command of c that is about to run.
func (r *Router) show(c *conn, argv [][]byte) {
	list := r.monitors.list.Load()
	if list == nil {
		return
	}
	line := monitorLine(time.Now(), c.addr, withoutSecrets(argv))
	for _, m := range *list {
		m.push(line)
	}
}

// monitorBacklog is how many lines may wait for a monitor, beside the bytes of
// Limits.OutputHardBytes; a slower one is closed.
const monitorBacklog = 1 << 16

// push sends a line that is not the reply to a command.
func (c *conn) push(reply []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.dead {
		return
	}
	if c.inFlight >= monitorBacklog {
		c.r.log.Warn("client closed: it does not read what MONITOR sends", "client", c.addr, "lines", c.inFlight)
		c.r.stats.outputLimit.Add(1)
		c.killLocked()
		return
	}
	q := &request{c: c, pushed: true}
	c.link(q)
	c.finish(q, reply)
}

// monitorLine is the line about a command: +1700000000.000123 [0 127.0.0.1:4711] "GET" "a".
func monitorLine(now time.Time, addr string, argv [][]byte) []byte {
	b := []byte{'+'}
	b = strconv.AppendInt(b, now.Unix(), 10)
	b = append(b, '.')
	micros := strconv.Itoa(1_000_000 + now.Nanosecond()/1000)
	b = append(b, micros[1:]...)
	b = append(b, " [0 "...)
	b = append(b, addr...)
	b = append(b, ']')
	for _, w := range argv {
		b = appendQuoted(append(b, ' '), w)
	}
	return append(b, "\r\n"...)
}

// appendQuoted appends w as Redis shows strings: in quotes, with escapes.
func appendQuoted(b, w []byte) []byte {
	const hex = "0123456789abcdef"
	b = append(b, '"')
	for _, x := range w {
		switch {
		case x == '\\' || x == '"':
			b = append(b, '\\', x)
		case x == '\n':
			b = append(b, '\\', 'n')
		case x == '\r':
			b = append(b, '\\', 'r')
		case x == '\t':
			b = append(b, '\\', 't')
		case x == '\a':
			b = append(b, '\\', 'a')
		case x == '\b':
			b = append(b, '\\', 'b')
		case x < ' ' || x > '~':
			b = append(b, '\\', 'x', hex[x>>4], hex[x&15])
		default:
			b = append(b, x)
		}
	}
	return append(b, '"')
}

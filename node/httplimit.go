package node

import (
	"net"
	"net/http"
	"slices"
	"sync"
)

// httpLimit bounds the connections of an HTTP server. When there is one too many, the one
// that has waited longest for a request is closed. So idle connections, however many, never
// keep a health check out. If all of them are being answered, the new one is closed.
type httpLimit struct {
	max int

	mu    sync.Mutex
	conns map[net.Conn]struct{} // guarded by mu: all that are open
	idle  []net.Conn            // guarded by mu: those without a request, the longest first
}

func newHTTPLimit(most int) *httpLimit {
	return &httpLimit{max: most, conns: make(map[net.Conn]struct{})}
}

// note is the server's ConnState.
func (l *httpLimit) note(nc net.Conn, s http.ConnState) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if i := slices.Index(l.idle, nc); i >= 0 {
		l.idle = slices.Delete(l.idle, i, i+1)
	}
	switch s {
	case http.StateNew:
		l.conns[nc] = struct{}{}
		l.idle = append(l.idle, nc)
		if len(l.conns) > l.max {
			_ = l.idle[0].Close() // the server notes its end
			delete(l.conns, l.idle[0])
			l.idle = l.idle[1:]
		}
	case http.StateIdle:
		l.idle = append(l.idle, nc)
	case http.StateClosed, http.StateHijacked:
		delete(l.conns, nc)
	case http.StateActive:
	}
}

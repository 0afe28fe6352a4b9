package node

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/http/pprof"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Time limits of the HTTP server.
const (
	httpHeaderTimeout = 5 * time.Second  // reading the header of a request
	httpReadTimeout   = 10 * time.Second // reading a whole request
	httpWriteTimeout  = 2 * time.Minute  // answering it; a profile takes as long as it is asked to
	httpIdleTimeout   = 5 * time.Second  // waiting for the next request of a connection
	httpStatusTimeout = 4 * time.Second  // collecting the answer of /status
	httpStopTimeout   = 2 * time.Second  // finishing requests when the server stops

	httpMaxHeader = 16 << 10 // bytes
)

// httpServer serves health, status and metrics. Clients' commands do not pass through it.
type httpServer struct {
	ln  net.Listener
	srv *http.Server
}

// httpSource provides the content of the pages. Node implements it.
type httpSource interface {
	// Ready returns nil when this node can serve clients. Otherwise its error says why not.
	Ready() error
	// Status returns the state of the cluster.
	Status(context.Context) Status
}

// listenHTTP opens the listener and prepares the pages. serve answers requests, on at most
// conns connections at once.
func listenHTTP(addr string, conns int, src httpSource, reg *prometheus.Registry, withPprof bool) (*httpServer, error) {
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { writeOK(w) })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if err := src.Ready(); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		writeOK(w)
	})
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), httpStatusTimeout)
		defer cancel()
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(src.Status(ctx)) // fails only if the client is gone
	})
	mux.Handle("GET /metrics", promhttp.HandlerFor(reg, promhttp.HandlerOpts{}))
	if withPprof {
		mux.HandleFunc("/debug/pprof/", pprof.Index)
		mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
		mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
		mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	}
	srv := &http.Server{
		Handler: mux, ReadHeaderTimeout: httpHeaderTimeout, ReadTimeout: httpReadTimeout,
		WriteTimeout: httpWriteTimeout, IdleTimeout: httpIdleTimeout, MaxHeaderBytes: httpMaxHeader, ConnState: newHTTPLimit(conns).note,
	}
	return &httpServer{ln, srv}, nil
}

// writeOK answers "ok". It fails only if the client is gone.
func writeOK(w http.ResponseWriter) { _, _ = w.Write([]byte("ok\n")) }

// serve answers requests until ctx ends, and then waits up to httpStopTimeout for those
// under way.
func (s *httpServer) serve(ctx context.Context) error {
	done := make(chan error, 1)
	go func() { done <- s.srv.Serve(s.ln) }() // ended by Shutdown or Close below
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	stop, cancel := context.WithTimeout(context.Background(), httpStopTimeout)
	defer cancel()
	if err := s.srv.Shutdown(stop); err != nil {
		s.srv.Close()
	}
	if err := <-done; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

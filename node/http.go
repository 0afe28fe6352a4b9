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

// Bounds of the HTTP listener.
const (
	httpHeaderTimeout = 5 * time.Second
	httpStatusTimeout = 4 * time.Second
	httpStopTimeout   = 2 * time.Second
)

// httpServer answers health, status and metrics. It is never on the way of a command.
type httpServer struct {
	ln  net.Listener
	srv *http.Server
}

// httpSource is what the pages are made from.
type httpSource interface {
	// Ready returns nil when this node can serve clients, or why it cannot.
	Ready() error
	Status(context.Context) Status
}

func listenHTTP(addr string, src httpSource, reg *prometheus.Registry, withPprof bool) (*httpServer, error) {
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
		_ = json.NewEncoder(w).Encode(src.Status(ctx)) // the client has gone
	})
	mux.Handle("GET /metrics", promhttp.HandlerFor(reg, promhttp.HandlerOpts{}))
	if withPprof {
		mux.HandleFunc("/debug/pprof/", pprof.Index)
		mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
		mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
		mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	}
	return &httpServer{ln, &http.Server{Handler: mux, ReadHeaderTimeout: httpHeaderTimeout}}, nil
}

// writeOK answers that all is well; an error says that the client has gone.
func writeOK(w http.ResponseWriter) { _, _ = w.Write([]byte("ok\n")) }

// serve runs until ctx ends, then gives requests under way a moment to finish.
func (s *httpServer) serve(ctx context.Context) error {
	done := make(chan error, 1)
	go func() { done <- s.srv.Serve(s.ln) }() // ends with Shutdown or Close below
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

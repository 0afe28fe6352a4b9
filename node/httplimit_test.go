package node

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

type readySource struct{ httpSource }

func (readySource) Ready() error { return nil }

// TestHTTPLimit checks that idle connections keep no health check out, and that a request
// under way is not cut off.
func TestHTTPLimit(t *testing.T) {
	const most = 4
	s, err := listenHTTP("127.0.0.1:0", most, readySource{}, prometheus.NewRegistry(), false)
	if err != nil {
		t.Fatal(err)
	}
	began, release := make(chan struct{}), make(chan struct{})
	mux := s.srv.Handler.(*http.ServeMux)
	mux.HandleFunc("GET /slow", func(w http.ResponseWriter, _ *http.Request) { close(began); <-release; writeOK(w) })
	go func() { _ = s.srv.Serve(s.ln) }() // ended by Close
	defer s.srv.Close()
	addr := s.ln.Addr().String()
	slow := make(chan error, 1)
	go func() { slow <- get("http://" + addr + "/slow") }()
	<-began
	var idle []net.Conn
	for range 20 * most {
		nc, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		idle = append(idle, nc)
	}
	if err := get("http://" + addr + "/readyz"); err != nil {
		t.Errorf("a health check beside idle connections: %v", err)
	}
	_ = idle[0].SetReadDeadline(time.Now().Add(time.Minute))
	if _, err := idle[0].Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the oldest idle connection: %v", err)
	}
	close(release)
	if err := <-slow; err != nil {
		t.Errorf("the request under way: %v", err)
	}
}

// get fails unless the page answers 200.
func get(url string) error {
	c := http.Client{Timeout: time.Minute, Transport: &http.Transport{DisableKeepAlives: true}}
	r, err := c.Get(url)
	if err != nil {
		return err
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	if err == nil && r.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", r.Status, body)
	}
	return err
}

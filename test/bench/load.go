package bench

import (
	"bytes"
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// load is the state that the workers of a run share.
type load struct {
	cfg *Config
	// addrs are the servers that a worker tries in turn after it lost its connection.
	addrs []string
	// wait is the WAIT command after each batch, empty for none.
	wait []byte

	deadline time.Time    // zero for none
	budget   atomic.Int64 // commands not taken yet, if cfg.Count is set

	done     atomic.Int64 // good replies to the measured commands
	failures failures

	// Of mode group.
	produced  atomic.Bool  // the producers have ended
	delivered atomic.Int64 // entries delivered to consumers
	acked     atomic.Int64 // entries acknowledged by XACK
}

// take takes up to n commands from the budget and returns their number.
func (l *load) take(n int) int {
	if l.cfg.Count == 0 {
		return n
	}
	left := l.budget.Add(-int64(n)) + int64(n)
	return int(max(0, min(left, int64(n))))
}

// over reports whether the time for new commands has passed.
func (l *load) over(now time.Time) bool { return !l.deadline.IsZero() && now.After(l.deadline) }

// A worker whose connection broke tries the servers in turn, with reconnectPause between
// the attempts. It gives up after reconnectPatience.
const (
	reconnectPause    = 100 * time.Millisecond
	reconnectPatience = 15 * time.Second
)

// worker is one connection and the goroutine that uses it.
type worker struct {
	*load
	conn    *conn // nil while there is none
	addr    string
	ring    *ring
	at      int // position in the ring's cycle at which the next batch starts
	latency *histogram
	stamped []byte // a batch with the time in it, or with its WAIT; kept for its memory
}

// run repeats session, each time on a new connection, until it ends without an error.
func (w *worker) run(ctx context.Context, session func() error) error {
	defer func() {
		if w.conn != nil {
			w.conn.close()
		}
	}()
	for {
		err := session()
		if err == nil || ctx.Err() != nil {
			return nil // a canceled run reports its counts so far
		}
		w.failures.broken(err)
		w.conn.close()
		w.conn = nil
		if err := w.reconnect(ctx); err != nil {
			return err
		}
		if w.conn == nil {
			return nil
		}
	}
}

// reconnect connects w to a server again. If the run ends first, w.conn stays nil.
func (w *worker) reconnect(ctx context.Context) error {
	began := time.Now()
	pause := time.NewTimer(0)
	defer pause.Stop()
	for i := 0; ; i++ {
		select {
		case <-ctx.Done():
			return nil
		case <-pause.C:
		}
		addr := w.addr
		if i > 0 {
			addr = w.addrs[i%len(w.addrs)]
		}
		c, err := dial(ctx, w.cfg, addr)
		if err == nil {
			w.conn = c
			return nil
		}
		now := time.Now()
		if ctx.Err() != nil || w.over(now) {
			return nil
		}
		if now.Sub(began) > reconnectPatience {
			return fmt.Errorf("bench: no server took the connection for %v: %w", reconnectPatience, err)
		}
		pause.Reset(reconnectPause)
	}
}

// batches sends batches from the ring until the time or the budget of the run is used up.
func (w *worker) batches() error {
	for {
		now := time.Now()
		if w.over(now) {
			return nil
		}
		n := w.take(w.cfg.Depth)
		if n == 0 {
			return nil
		}
		requests, expect := w.ring.batch(w.at, n)
		if w.cfg.Mode == ModeGroup {
			requests = w.stamp(requests, n, now)
		}
		w.at = (w.at + n) % w.ring.cycle
		if err := w.exchange(requests, expect, &w.done); err != nil {
			return err
		}
		w.latency.record(time.Since(now))
	}
}

// exchange sends requests and adds the number of good replies to good. If the run waits
// for replicas, and too few of them have the batch, none of its replies is good.
func (w *worker) exchange(requests []byte, expect [][]byte, good *atomic.Int64) error {
	if len(w.wait) > 0 {
		w.stamped = append(append(w.stamped[:0], requests...), w.wait...)
		requests = w.stamped
	}
	if err := w.conn.send(requests); err != nil {
		w.failures.unanswered(len(expect))
		return err
	}
	ok := 0
	for i, e := range expect {
		if _, err := w.conn.reply(false); err != nil {
			w.failures.unanswered(len(expect) - i)
			good.Add(int64(ok))
			return err
		}
		if bytes.HasPrefix(w.conn.head, e) {
			ok++
		} else {
			w.failures.refused(w.conn.head)
		}
	}
	if len(w.wait) > 0 {
		if _, err := w.conn.reply(false); err != nil {
			w.failures.unanswered(ok)
			return err
		}
		n, err := strconv.Atoi(strings.TrimPrefix(string(w.conn.head), ":"))
		if err != nil || n < w.cfg.WaitReplicas {
			w.failures.unanswered(ok)
			ok = 0
		}
	}
	good.Add(int64(ok))
	return nil
}

// stampBytes is the length of the time at the start of a value, in nanoseconds since the
// Unix epoch in decimal, such as 1700000000000000000.
const stampBytes = 19

// stamp returns a copy of the batch with the time in each value, so that the consumer can
// tell the age of the entry.
func (w *worker) stamp(requests []byte, n int, now time.Time) []byte {
	w.stamped = append(w.stamped[:0], requests...)
	var text [stampBytes]byte
	strconv.AppendInt(text[:0], now.UnixNano(), 10)
	end := 0
	for k := range n {
		i := w.at + k
		if i == 0 {
			end = w.ring.ends[0]
		} else {
			end += w.ring.ends[i] - w.ring.ends[i-1]
		}
		copy(w.stamped[end-2-w.cfg.Size:], text[:])
	}
	return w.stamped
}

// failures counts error replies and broken connections.
type failures struct {
	mu     sync.Mutex
	first  string           // text of the first failure; guarded by mu, as are all below
	codes  map[string]int64 // error replies by their first word
	errors int64            // error replies and unexpected replies
	lost   int64            // commands whose connection broke before the reply
	broke  int64            // broken connections
}

// maxCodes bounds the error codes that are counted apart. Further ones count as "others".
const maxCodes = 32

// refused counts an error reply or an unexpected reply, given its first line.
func (f *failures) refused(head []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.errors++
	text, code := "unexpected reply "+string(head), "unexpected"
	if len(head) > 0 && head[0] == '-' {
		text = string(head[1:])
		word, _, _ := bytes.Cut(head[1:], []byte(" "))
		code = string(word)
	}
	if f.first == "" {
		f.first = text
	}
	if f.codes == nil {
		f.codes = map[string]int64{}
	}
	if _, ok := f.codes[code]; !ok && len(f.codes) >= maxCodes {
		code = "others"
	}
	f.codes[code]++
}

// broken counts a broken connection.
func (f *failures) broken(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.broke++
	if f.first == "" {
		f.first = err.Error()
	}
}

// unanswered counts n commands without a reply, or without enough replicas.
func (f *failures) unanswered(n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lost += int64(n)
}

// total returns the number of commands without a good reply.
func (f *failures) total() int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.errors + f.lost
}

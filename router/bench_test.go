package router

import (
	"bufio"
	"fmt"
	"net"
	"sync"
	"testing"

	"millrace/call"
	"millrace/resp"
)

// prompt is a Backend that answers every call at once, from one goroutine. The calls that
// arrive while it answers a batch form the next batch, as in a shard.
type prompt struct {
	*cluster // the map
	mu       sync.Mutex
	cond     *sync.Cond
	calls    []*call.Call
	ended    bool
}

func (p *prompt) Submit(_ string, c *call.Call) {
	p.mu.Lock()
	p.calls = append(p.calls, c)
	if len(p.calls) == 1 {
		p.cond.Signal()
	}
	p.mu.Unlock()
}

func (p *prompt) run() {
	reply := []byte("$15\r\n1526919030474-0\r\n")
	var spare []*call.Call
	for {
		p.mu.Lock()
		for len(p.calls) == 0 && !p.ended {
			p.cond.Wait()
		}
		if p.ended {
			p.mu.Unlock()
			return
		}
		calls := p.calls
		p.calls = spare[:0]
		p.mu.Unlock()
		for i, c := range calls {
			c.Done(call.Result{Reply: reply})
			calls[i] = nil
		}
		spare = calls
	}
}

// BenchmarkPipelinedXADD measures the router without shards: XADD with values of 100 bytes on
// 50 connections, 16 deep. The numbers include the clients and prompt.
func BenchmarkPipelinedXADD(b *testing.B) {
	const conns, depth = 50, 16
	p := &prompt{}
	p.cond = sync.NewCond(&p.mu)
	var wg sync.WaitGroup
	wg.Go(p.run)
	defer func() {
		p.mu.Lock()
		p.ended = true
		p.cond.Signal()
		p.mu.Unlock()
		wg.Wait()
	}()
	g := newRig(b, 3, func(c *Config) { c.Backend = p })
	for i := range uint32(3) {
		g.cl.hints.Learn(i+1, nodeID(0), 1)
	}
	defer g.r.Close()
	b.ReportAllocs()
	b.ResetTimer()
	var clients sync.WaitGroup
	for n := range conns {
		nc, err := net.Dial("tcp", g.r.Addr().String())
		if err != nil {
			b.Fatal(err)
		}
		var batch []byte
		for range depth {
			batch = resp.AppendCommand(batch, []byte("XADD"), []byte(fmt.Sprintf("stream:%d", n)), []byte("*"), []byte("f"), make([]byte, 100))
		}
		clients.Go(func() {
			defer nc.Close()
			r := bufio.NewReader(nc)
			for range max(b.N/(conns*depth), 1) {
				if _, err := nc.Write(batch); err != nil {
					b.Error(err)
					return
				}
				if _, err := r.Discard(depth * len("$15\r\n1526919030474-0\r\n")); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	clients.Wait()
}

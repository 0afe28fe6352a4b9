package workload

import (
	"context"
	"math/rand/v2"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"millrace/test/chaos/client"
)

// The size of an overload. It may slow other clients down, but must not break a promise.
const (
	overloadReaders = 24        // clients that ask for large replies and read nothing
	overloadAsks    = 200       // commands of each
	overloadWriters = 4         // clients that write large entries
	overloadBytes   = 256 << 10 // of an entry
	overloadKept    = 20        // entries that each writer's stream keeps
)

// Overload runs two kinds of clients for the time d. The first ones ask the nodes for more
// than fits into any buffer and read nothing; half of them close their connection at once.
// The others add large entries as fast as they can.
func (e *Era) Overload(rng *rand.Rand, d time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	var wg sync.WaitGroup
	for i := range overloadReaders {
		node := rng.IntN(len(e.env.Addrs))
		wg.Go(func() { e.neverRead(ctx, node, i%2 == 0) })
	}
	for i := range overloadWriters {
		s := e.env.session(uint64(e.number)<<32+1<<30+uint64(i), i)
		wg.Go(func() {
			defer s.drop()
			value := strings.Repeat("x", overloadBytes)
			name := e.env.name("large-"+strconv.Itoa(i), e.env.Slots[i%len(e.env.Slots)])
			for ctx.Err() == nil {
				c := s.get(ctx)
				if c == nil {
					return
				}
				if _, o, _ := s.do(c, "XADD", name, "MAXLEN", "=", strconv.Itoa(overloadKept), "*", "v", value); o != client.Replied {
					s.fail(ctx)
				}
			}
		})
	}
	wg.Wait()
}

// neverRead pipelines commands with large replies and reads none of them. With vanish it
// then resets the connection; otherwise it keeps it until ctx ends.
func (e *Era) neverRead(ctx context.Context, node int, vanish bool) {
	nc, err := net.DialTimeout("tcp", e.env.Addrs[node], dialTimeout)
	if err != nil {
		return // the node is down
	}
	defer nc.Close()
	if tcp, ok := nc.(*net.TCPConn); ok && vanish {
		_ = tcp.SetLinger(0) // so that Close sends a reset
	}
	_ = nc.SetDeadline(time.Now().Add(dialTimeout))
	ask := ""
	if e.env.Password != "" {
		ask = "AUTH " + e.env.Password + "\r\n"
	}
	hot := e.hot[node%len(e.hot)].Name
	ask += strings.Repeat("XREVRANGE "+hot+" + - COUNT 1000\r\n", overloadAsks)
	_, _ = nc.Write([]byte(ask)) // this may time out, because the node stops reading when it cannot write
	if !vanish {
		<-ctx.Done()
	}
}

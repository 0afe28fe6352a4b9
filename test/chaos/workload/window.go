package workload

import (
	"context"
	"fmt"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"millrace/test/chaos/check"
	"millrace/test/chaos/client"
)

// Bounds of a window. They are small because Porcupine's time grows fast with the number
// of operations that overlap, and one with an unknown outcome overlaps with all later ones.
const (
	windowClients = 4
	windowTime    = 8 * time.Second
	windowPace    = 25 * time.Millisecond
	// windowLimit bounds Porcupine's time. A window that needs more counts as not checked.
	windowLimit = 30 * time.Second
	// finalPatience bounds the attempts to read a window's stream in the end.
	finalPatience = time.Minute
)

// Windows counts the windows of a run by verdict.
type Windows struct {
	Linearizable int `json:"linearizable"`
	NotChecked   int `json:"not_checked"` // the time ran out, or the final read failed
	Violations   int `json:"violations"`
	Operations   int `json:"operations"` // in the linearizable ones
}

// Verdicts collects the verdicts of a run's windows. Its methods are safe for concurrent
// use.
type Verdicts struct {
	Dir string // directory of Porcupine's pages

	mu   sync.Mutex
	sum  Windows    // guarded by mu
	turn sync.Mutex // held by the present check, because each check keeps a processor busy
}

// Sum returns the counts so far.
func (v *Verdicts) Sum() Windows {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.sum
}

// windows runs one window after another on streams of a shard until ctx ends.
func (e *Era) windows(ctx context.Context, id uint64, shard Slots) {
	for n := 0; ctx.Err() == nil; n++ {
		e.window(ctx, id+uint64(n*2*windowClients), fmt.Sprintf("window-%d-%d-%d", e.number, shard.Shard, n), shard)
	}
}

// window makes a stream and runs the clients of one window on it. The verdict follows in a
// goroutine of its own.
func (e *Era) window(ctx context.Context, id uint64, name string, shard Slots) {
	w := &check.Window{Name: e.env.name(name, shard)}
	if !e.createGroup(ctx, w.Name) {
		return
	}
	short, cancel := context.WithTimeout(ctx, windowTime)
	defer cancel()
	var clients sync.WaitGroup
	for i := range windowClients {
		k := &windowClient{session: e.env.session(id+uint64(i), int(id)+i), w: w, number: i}
		clients.Go(func() { k.run(short) })
	}
	clients.Wait()
	e.checks.Go(func() { e.verdict(id+windowClients, w) }) // Finish waits for this
}

// verdict reads the entries of the stream, checks the window, and deletes the stream.
func (e *Era) verdict(id uint64, w *check.Window) {
	ctx, cancel := context.WithTimeout(context.Background(), finalPatience)
	defer cancel()
	s := e.env.session(id, int(id))
	defer s.drop()
	v, page := check.NotChecked, filepath.Join(e.verdicts.Dir, w.Name+".html")
	var err error
	for {
		c := s.get(ctx)
		if c == nil {
			break
		}
		r, o, _ := s.do(c, "XRANGE", w.Name, "-", "+")
		if o == client.Replied && !r.isError() {
			e.verdicts.turn.Lock()
			v, err = w.Check(r.items(), windowLimit, page)
			e.verdicts.turn.Unlock()
			break
		}
		s.fail(ctx)
	}
	if c := s.get(ctx); c != nil {
		_, _, _ = s.do(c, "DEL", w.Name) // if this fails, the stream stays until the cluster ends
	}
	e.verdicts.mu.Lock()
	defer e.verdicts.mu.Unlock()
	switch v {
	case check.Linearizable:
		e.verdicts.sum.Linearizable++
		e.verdicts.sum.Operations += w.Len()
	case check.NotChecked:
		e.verdicts.sum.NotChecked++
	default:
		e.verdicts.sum.Violations++
		e.env.Book.Add("S6", "%s: no order of its %d operations explains the replies: see %s %v", w.Name, w.Len(), page, err)
	}
}

// windowClient is one client of a window. One goroutine uses it.
type windowClient struct {
	*session
	w      *check.Window
	number int        // Porcupine's number of the client
	n      int        // number of the next operation
	mine   []check.ID // entries that were acknowledged to this client
	held   []check.ID // entries that this client has taken
}

// run does one random operation after another until ctx ends.
func (k *windowClient) run(ctx context.Context) {
	defer k.drop()
	for ; ctx.Err() == nil; k.n++ {
		c := k.get(ctx)
		if c == nil {
			return
		}
		op, words := k.choose()
		began := k.env.Book.Now()
		r, o := k.send(c, op, words)
		ended := k.env.Book.Now()
		if o == client.Replied && r.isError() {
			k.env.Book.Add("reply", "%v returned %q", words, r.text())
			o = client.Refused
		}
		k.record(op, r, o, began, ended)
		if o != client.Replied {
			k.fail(ctx)
		}
		sleep(ctx, windowPace)
	}
}

// payload returns the payload of the i-th entry of the present operation.
func (k *windowClient) payload(i int) string {
	return fmt.Sprintf("%s/%d/%d/%d", k.w.Name, k.number, k.n, i)
}

func (k *windowClient) add(i int) []string {
	return []string{"XADD", k.w.Name, "*", "p", k.payload(i)}
}

// choose returns a random operation and its words. AddTwo has none: see send.
func (k *windowClient) choose() (op check.Op, words []string) {
	name := k.w.Name
	op = check.Op{Count: 1 + k.rng.IntN(4)}
	switch n := k.rng.IntN(100); {
	case n < 30:
		op.Kind, op.Payload, words = check.AddOne, []string{k.payload(0)}, k.add(0)
	case n < 38:
		op.Kind, op.Payload = check.AddTwo, []string{k.payload(0), k.payload(1)}
	case n < 52:
		op.Kind, words = check.ReadLast, []string{"XREVRANGE", name, "+", "-", "COUNT", "1"}
	case n < 64:
		op.Kind = check.ReadFrom
		if len(k.mine) > 0 {
			op.After = k.mine[k.rng.IntN(len(k.mine))]
		}
		words = []string{"XRANGE", name, "(" + op.After.String(), "+", "COUNT", strconv.Itoa(op.Count)}
	case n < 70:
		op.Kind, words = check.Length, []string{"XLEN", name}
	case n < 76 && len(k.mine) > 0:
		op.Kind, op.Target = check.Delete, k.mine[k.rng.IntN(len(k.mine))]
		words = []string{"XDEL", name, op.Target.String()}
	case n < 88:
		op.Kind = check.Take
		words = []string{"XREADGROUP", "GROUP", groupName, strconv.Itoa(k.number), "COUNT", strconv.Itoa(op.Count), "STREAMS", name, ">"}
	case n < 96 && len(k.held) > 0:
		op.Kind, op.Target = check.Ack, k.held[k.rng.IntN(len(k.held))]
		words = []string{"XACK", name, groupName, op.Target.String()}
	default:
		op.Kind, words = check.Pending, []string{"XPENDING", name, groupName}
	}
	return op, words
}

// send sends the words, or the transaction of an AddTwo, and returns the last reply.
func (k *windowClient) send(c *client.Conn, op check.Op, words []string) (r reply, o client.Outcome) {
	if op.Kind != check.AddTwo {
		r, o, _ = k.do(c, words...)
		return r, o
	}
	at := time.Now()
	_ = c.Send([]string{"MULTI"}, k.add(0), k.add(1), []string{"XLEN", k.w.Name}, []string{"EXEC"}) // Receive returns the errors
	for range 5 {
		v, outcome, _ := c.Receive()
		r, o = reply{v}, outcome
	}
	k.count(o, time.Since(at), 0)
	return r, o
}

// record adds an operation with its reply to the window, unless it was refused. Of those
// with an unknown outcome it adds the ones that may have changed the stream.
func (k *windowClient) record(op check.Op, r reply, o client.Outcome, began, ended time.Duration) {
	switch {
	case o == client.Refused:
	case o == client.Unknown:
		op.Unknown = true
		if op.Kind <= check.AddTwo || op.Kind == check.Delete || op.Kind == check.Take || op.Kind == check.Ack {
			k.w.Record(k.number, op, began, ended)
		}
		// The operation may take effect after later ones of this client. Porcupine allows
		// no such client, so that this one goes on under a new number.
		k.number += windowClients
	default:
		k.mine, k.held = readOp(&op, r, k.mine, k.held)
		k.w.Record(k.number, op, began, ended)
	}
}

// readOp fills the reply into an operation, and appends its entries to mine or held.
func readOp(op *check.Op, r reply, mine, held []check.ID) (_, _ []check.ID) {
	switch op.Kind {
	case check.AddOne:
		op.IDs = []check.ID{r.id()}
		mine = append(mine, r.id())
	case check.AddTwo:
		op.IDs = []check.ID{r.at(0).id(), r.at(1).id()}
		op.N = int(r.at(2).int())
		mine = append(mine, op.IDs...)
	case check.ReadLast, check.ReadFrom:
		for _, it := range r.items() {
			op.IDs = append(op.IDs, it.ID)
		}
	case check.Take:
		r.streams(func(_ string, entry reply) { op.IDs = append(op.IDs, entry.item().ID) })
		held = append(held, op.IDs...)
	case check.Pending:
		op.N = int(r.at(0).int())
	default:
		op.N = int(r.int())
	}
	return mine, held
}

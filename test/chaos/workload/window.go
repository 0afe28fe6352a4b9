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

// Bounds of a window: Porcupine's time grows fast with the operations that overlap, and
// each with an unknown outcome overlaps with all that follow.
const (
	windowClients = 4
	windowTime    = 8 * time.Second
	windowPace    = 25 * time.Millisecond
	// windowLimit is how long Porcupine may take; what takes longer is not checked.
	windowLimit = 30 * time.Second
	// finalPatience bounds the read of what a window's stream holds in the end.
	finalPatience = time.Minute
)

// Windows says what became of the windows of a run.
type Windows struct {
	Linearizable int `json:"linearizable"`
	NotChecked   int `json:"not_checked"` // it would have taken too long, or nothing answered the last read
	Violations   int `json:"violations"`
	Operations   int `json:"operations"` // in those that were checked
}

// Verdicts collects them. Its methods are safe for concurrent use.
type Verdicts struct {
	Dir string // where Porcupine's pages go

	mu   sync.Mutex
	sum  Windows
	turn sync.Mutex // one check at a time: each takes a processor
}

// Sum returns what became of the windows so far.
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

func (e *Era) window(ctx context.Context, id uint64, name string, shard Slots) {
	w := &check.Window{Name: e.env.name(name, shard)}
	if !e.createGroup(ctx, w.Name) {
		return
	}
	short, cancel := context.WithTimeout(ctx, windowTime)
	defer cancel()
	var clients sync.WaitGroup
	for i := range windowClients {
		clients.Go(func() { e.windowClient(short, id+uint64(i), i, w) })
	}
	clients.Wait()
	e.checks.Go(func() { e.verdict(id+windowClients, w) }) // Finish waits for it
}

// verdict reads what the stream holds and has the window checked.
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
		_, _, _ = s.do(c, "DEL", w.Name) // what is left over goes with the cluster
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

// windowClient does one operation after another, of all kinds.
func (e *Era) windowClient(ctx context.Context, id uint64, number int, w *check.Window) {
	s := e.env.session(id, int(id))
	defer s.drop()
	var mine, held []check.ID // acknowledged to this client; taken by it
	for n := 0; ctx.Err() == nil; n++ {
		c := s.get(ctx)
		if c == nil {
			return
		}
		op := check.Op{Count: 1 + s.rng.IntN(4)}
		payload := func(i int) string { return fmt.Sprintf("%s/%d/%d/%d", w.Name, number, n, i) }
		add := func(i int) []string { return []string{"XADD", w.Name, "*", "p", payload(i)} }
		var words []string
		switch k := s.rng.IntN(100); {
		case k < 30:
			op.Kind, op.Payload, words = check.AddOne, []string{payload(0)}, add(0)
		case k < 38:
			op.Kind, op.Payload = check.AddTwo, []string{payload(0), payload(1)}
		case k < 52:
			op.Kind, words = check.ReadLast, []string{"XREVRANGE", w.Name, "+", "-", "COUNT", "1"}
		case k < 64:
			op.Kind = check.ReadFrom
			if len(mine) > 0 {
				op.After = mine[s.rng.IntN(len(mine))]
			}
			words = []string{"XRANGE", w.Name, "(" + op.After.String(), "+", "COUNT", strconv.Itoa(op.Count)}
		case k < 70:
			op.Kind, words = check.Length, []string{"XLEN", w.Name}
		case k < 76 && len(mine) > 0:
			op.Kind, op.Target = check.Delete, mine[s.rng.IntN(len(mine))]
			words = []string{"XDEL", w.Name, op.Target.String()}
		case k < 88:
			op.Kind = check.Take
			words = []string{"XREADGROUP", "GROUP", groupName, strconv.Itoa(number), "COUNT", strconv.Itoa(op.Count), "STREAMS", w.Name, ">"}
		case k < 96 && len(held) > 0:
			op.Kind, op.Target = check.Ack, held[s.rng.IntN(len(held))]
			words = []string{"XACK", w.Name, groupName, op.Target.String()}
		default:
			op.Kind, words = check.Pending, []string{"XPENDING", w.Name, groupName}
		}
		began, at := e.env.Book.Now(), time.Now()
		var r reply
		var o client.Outcome
		if op.Kind == check.AddTwo {
			_ = c.Send([]string{"MULTI"}, add(0), add(1), []string{"XLEN", w.Name}, []string{"EXEC"}) // failures show below
			for range 5 {
				v, outcome, _ := c.Receive()
				r, o = reply{v}, outcome
			}
			s.count(o, time.Since(at), 0)
		} else {
			r, o, _ = s.do(c, words...)
		}
		ended := e.env.Book.Now()
		if o == client.Replied && r.isError() {
			e.env.Book.Add("reply", "%v was answered %q", words, r.text())
			o = client.Refused
		}
		switch {
		case o == client.Refused:
		case o == client.Unknown:
			op.Unknown = true
			if op.Kind <= check.AddTwo || op.Kind == check.Delete || op.Kind == check.Take || op.Kind == check.Ack {
				w.Record(number, op, began, ended)
			}
			// What it did may take effect after what this client does next, which a
			// client of Porcupine's never does: it goes on as another one.
			number += windowClients
		default:
			mine, held = readOp(&op, r, mine, held)
			w.Record(number, op, began, ended)
		}
		if o != client.Replied {
			s.fail(ctx)
		}
		sleep(ctx, windowPace)
	}
}

// readOp fills in what an operation was answered.
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

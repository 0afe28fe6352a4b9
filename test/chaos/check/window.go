package check

import (
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/anishathalye/porcupine"
)

// Kind is an operation on the stream of a Window.
type Kind uint8

const (
	AddOne   Kind = iota // XADD
	AddTwo               // MULTI, XADD, XADD, XLEN, EXEC
	ReadLast             // XREVRANGE + - COUNT 1
	ReadFrom             // XRANGE (After + COUNT Count
	Length               // XLEN
	Delete               // XDEL of one entry
	Take                 // XREADGROUP … COUNT Count … >
	Ack                  // XACK of one entry
	Pending              // XPENDING, its count
)

// Op is one operation of a Window: the arguments, and below them the reply.
type Op struct {
	Kind    Kind
	Payload []string // of AddOne and AddTwo
	After   ID       // of ReadFrom
	Target  ID       // of Delete and Ack
	Count   int      // of ReadFrom and Take

	Unknown bool // the outcome is unknown, and there is no reply
	IDs     []ID // the entries that were added, read or taken
	N       int  // the number that Length, Delete, Ack, Pending or AddTwo's XLEN returned
}

// Window is the history of one stream from its first operation, which must find no stream.
// It is short enough for Porcupine. Its methods are safe for concurrent use.
type Window struct {
	Name string

	mu  sync.Mutex            // guards ops
	ops []porcupine.Operation // Input is an *Op, with the reply in it
}

// Record adds an operation of a client. The caller leaves out operations that were
// certainly not done. An unknown one may take effect at any later time, so it never ends.
func (w *Window) Record(client int, op Op, began, ended time.Duration) {
	if op.Unknown {
		ended = math.MaxInt64
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ops = append(w.ops, porcupine.Operation{ClientId: client, Input: &op, Call: int64(began), Return: int64(ended)})
}

// Verdict is the result of a Check.
type Verdict uint8

const (
	Linearizable Verdict = iota
	NotLinearizable
	NotChecked // the window was too large, or the time limit ran out
)

func (v Verdict) String() string {
	return [...]string{"linearizable", "NOT linearizable", "not checked"}[v]
}

// maxWindow bounds the operations of a window. A larger one is not checked.
const maxWindow = 8000

// Len returns the number of recorded operations.
func (w *Window) Len() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.ops)
}

// Check decides within limit whether some order of the operations explains all replies.
// final holds the stream's entries, read when no operation was under way any more; an
// unknown XADD whose entry is not in it was not done. If the window is not linearizable,
// Check writes an HTML page to the file page that shows the history.
func (w *Window) Check(final []Item, limit time.Duration, page string) (Verdict, error) {
	w.mu.Lock()
	ops := slices.Clone(w.ops)
	w.mu.Unlock()
	if len(ops) > maxWindow {
		return NotChecked, nil
	}
	ops, order := resolve(ops, final)
	model := streamModel(order)
	res, info := porcupine.CheckOperationsVerbose(model, ops, limit)
	switch res {
	case porcupine.Ok:
		return Linearizable, nil
	case porcupine.Unknown:
		return NotChecked, nil
	}
	f, err := os.Create(page)
	if err != nil {
		return NotLinearizable, err
	}
	defer f.Close()
	return NotLinearizable, porcupine.Visualize(model, info, f)
}

// resolve decides the unknown adds by final: it drops those that were not done, and gives
// the others their IDs. It returns the kept operations and the IDs of all added entries in
// rising order, which is the order of the adds.
func resolve(ops []porcupine.Operation, final []Item) ([]porcupine.Operation, []ID) {
	there := map[string]ID{}
	for _, it := range final {
		there[it.Payload] = it.ID
	}
	var kept []porcupine.Operation
	var order []ID
	for _, o := range ops {
		op := *o.Input.(*Op)
		if op.Unknown && op.Kind <= AddTwo {
			op.IDs = nil
			for _, p := range op.Payload {
				if id, ok := there[p]; ok {
					op.IDs = append(op.IDs, id)
				}
			}
			if len(op.IDs) != len(op.Payload) {
				continue
			}
		}
		if op.Kind <= AddTwo {
			order = append(order, op.IDs...)
		}
		o.Input = &op
		kept = append(kept, o)
	}
	slices.SortFunc(order, func(a, b ID) int {
		if a.Less(b) {
			return -1
		} else if b.Less(a) {
			return 1
		}
		return 0
	})
	return kept, slices.Compact(order)
}

// streamState is the model of a stream with one group. Entries are numbered from 0 in the
// order of their IDs: with added 5 and taken 3, entries 0 to 4 exist, and the group has
// taken 0 to 2. The model is comparable, because its sets are strings.
type streamState struct {
	added, taken     int
	deleted, pending string // sets of entries, one bit for each, eight in a byte
}

func has(set string, i int) bool { return i/8 < len(set) && set[i/8]&(1<<(i%8)) != 0 }

// with returns set with i in it, or without. The result has no zero bytes at its end, so
// that equal sets are equal strings.
func with(set string, i int, in bool) string {
	b := make([]byte, max(len(set), i/8+1))
	copy(b, set)
	if in {
		b[i/8] |= 1 << (i % 8)
	} else {
		b[i/8] &^= 1 << (i % 8)
	}
	return strings.TrimRight(string(b), "\x00")
}

func size(set string) (n int) {
	for i := range 8 * len(set) {
		if has(set, i) {
			n++
		}
	}
	return n
}

// streamModel returns Porcupine's model of a stream whose entry i has the ID order[i]. An
// unknown operation other than an add is allowed whatever the state is, because it has no
// reply that could be wrong.
func streamModel(order []ID) porcupine.Model {
	number := make(map[ID]int, len(order))
	for i, id := range order {
		number[id] = i
	}
	return porcupine.Model{
		Init: func() any { return streamState{} },
		Step: func(st, in, _ any) (bool, any) {
			s, op := st.(streamState), in.(*Op)
			ok := s.step(op, order, number)
			return ok || op.Unknown && op.Kind > AddTwo, s
		},
		Equal:             func(a, b any) bool { return a == b },
		DescribeOperation: func(in, _ any) string { return in.(*Op).String() },
		DescribeState: func(st any) string {
			s := st.(streamState)
			return fmt.Sprintf("%d added, %d deleted, %d taken, %d pending", s.added, size(s.deleted), s.taken, size(s.pending))
		},
	}
}

// step applies op to the state, and reports whether op's reply is the right one.
func (s *streamState) step(op *Op, order []ID, number map[ID]int) bool {
	switch op.Kind {
	case AddOne, AddTwo:
		for _, id := range op.IDs {
			if number[id] != s.added {
				return false
			}
			s.added++
		}
		return op.Kind == AddOne || op.Unknown || op.N == s.added-size(s.deleted)
	case ReadLast:
		for i := s.added - 1; i >= 0; i-- {
			if !has(s.deleted, i) {
				return len(op.IDs) == 1 && op.IDs[0] == order[i]
			}
		}
		return len(op.IDs) == 0
	case ReadFrom:
		return s.readFrom(op, order)
	case Length:
		return op.N == s.added-size(s.deleted)
	case Delete:
		i, known := number[op.Target]
		if !known || i >= s.added || has(s.deleted, i) {
			return op.N == 0
		}
		s.deleted = with(s.deleted, i, true)
		return op.N == 1
	case Take:
		return s.take(op, order)
	case Ack:
		i, known := number[op.Target]
		if !known || !has(s.pending, i) {
			return op.N == 0
		}
		s.pending = with(s.pending, i, false)
		return op.N == 1
	default: // Pending
		return op.N == size(s.pending)
	}
}

// readFrom reports whether a ReadFrom returned the first Count live entries after After.
func (s *streamState) readFrom(op *Op, order []ID) bool {
	at := 0
	for i := range s.added {
		if at == op.Count {
			break
		}
		if !op.After.Less(order[i]) || has(s.deleted, i) {
			continue
		}
		if at == len(op.IDs) || op.IDs[at] != order[i] {
			return false
		}
		at++
	}
	return at == len(op.IDs)
}

// take hands the next Count live entries to the group, and reports whether a Take returned
// them.
func (s *streamState) take(op *Op, order []ID) bool {
	at := 0
	for at < op.Count && s.taken < s.added {
		i := s.taken
		s.taken++
		if has(s.deleted, i) {
			continue
		}
		s.pending = with(s.pending, i, true)
		if !op.Unknown && (at >= len(op.IDs) || op.IDs[at] != order[i]) {
			return false
		}
		at++
	}
	return at == len(op.IDs)
}

func (op *Op) String() string {
	var text string
	switch op.Kind {
	case AddOne:
		text = fmt.Sprintf("XADD %v: %v", op.Payload, op.IDs)
	case AddTwo:
		text = fmt.Sprintf("MULTI XADD %v XLEN: %v %d", op.Payload, op.IDs, op.N)
	case ReadLast:
		text = fmt.Sprintf("last: %v", op.IDs)
	case ReadFrom:
		text = fmt.Sprintf("XRANGE (%v + COUNT %d: %v", op.After, op.Count, op.IDs)
	case Length:
		text = fmt.Sprintf("XLEN: %d", op.N)
	case Delete:
		text = fmt.Sprintf("XDEL %v: %d", op.Target, op.N)
	case Take:
		text = fmt.Sprintf("XREADGROUP COUNT %d: %v", op.Count, op.IDs)
	case Ack:
		text = fmt.Sprintf("XACK %v: %d", op.Target, op.N)
	default:
		text = fmt.Sprintf("XPENDING: %d", op.N)
	}
	if op.Unknown {
		text += " (outcome unknown)"
	}
	return text
}

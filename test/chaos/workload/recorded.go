package workload

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"millrace/resp"
	"millrace/test/chaos/client"
	"millrace/test/chaos/replay"
)

// What the clients do whose every reply is compared with the log.
const (
	recordedPace  = 15 * time.Millisecond
	recordedBlock = 150 * time.Millisecond
)

// Recorded is the history of some streams, one on each shard, from before they were made.
type Recorded struct {
	History *replay.History
	Streams []RecordedStream
}

// RecordedStream is one of them. A stream of marks beside it says where in the shard's
// log its history begins and ends.
type RecordedStream struct {
	Shard      uint32
	Name       string
	marks      string
	Begin, End string // words that stand in the log there
	ClockMS    int64  // the shard's clock at Begin
	Setup      [][]string
	Finals     map[string]resp.Value // what replicas hold in the end
}

// Keep reports whether a command is of the history, or a mark.
func (r *RecordedStream) Keep(words []string) bool {
	for _, w := range words {
		if w == r.Name || w == r.marks {
			return true
		}
	}
	return false
}

// record makes the streams whose history is kept.
func (e *Era) record(ctx context.Context) error {
	e.recorded = &Recorded{History: &replay.History{}}
	s := e.env.session(5, e.number)
	defer s.drop()
	for i, sh := range e.env.Slots {
		st := RecordedStream{
			Shard: sh.Shard, Name: e.env.name(fmt.Sprintf("replay-%d-%d", e.number, i), sh),
			marks: e.env.name(fmt.Sprintf("marks-%d-%d", e.number, i), sh), Finals: map[string]resp.Value{},
		}
		var err error
		if st.Begin, st.ClockMS, err = e.mark(ctx, s, &st, "begin"); err != nil {
			return err
		}
		for _, words := range replay.Setup(st.Name) {
			st.Setup = append(st.Setup, words)
			if err := e.insistOn(ctx, s, words); err != nil {
				return err
			}
		}
		e.recorded.Streams = append(e.recorded.Streams, st)
	}
	return nil
}

// insistOn sends a command until it is answered, with an error or not.
func (e *Era) insistOn(ctx context.Context, s *session, words []string) error {
	for {
		c := s.get(ctx)
		if c == nil {
			return fmt.Errorf("%w: %v found no answer", ErrNotQuiet, words)
		}
		if _, o, _ := s.do(c, words...); o == client.Replied {
			return nil
		}
		s.fail(ctx)
	}
}

// mark adds an entry to the marks of a stream, which is in the log once: each attempt
// has a word of its own. It returns that, and the clock of the shard.
func (e *Era) mark(ctx context.Context, s *session, st *RecordedStream, what string) (string, int64, error) {
	for n := 0; ; n++ {
		c := s.get(ctx)
		if c == nil {
			return "", 0, fmt.Errorf("%w: nothing can be added to %s", ErrNotQuiet, st.marks)
		}
		word := what + "-" + strconv.Itoa(n)
		words := []string{"XADD", st.marks, "*", "mark", word}
		st.Setup = append(st.Setup, words)
		r, o, _ := s.do(c, words...)
		if o == client.Replied && !r.isError() {
			return word, int64(r.id().MS), nil
		}
		s.fail(ctx)
	}
}

// play is a client that does all kinds of things to the streams whose history is kept.
func (e *Era) play(ctx context.Context, id uint64) {
	s := e.env.session(id, int(id))
	defer s.drop()
	p := &replay.Player{History: e.recorded.History, Rand: s.rng, Block: recordedBlock}
	for _, st := range e.recorded.Streams {
		p.Streams = append(p.Streams, st.Name)
	}
	for {
		c := s.get(ctx)
		if c == nil {
			return
		}
		op := p.Next()
		op.Invoked = e.env.Book.Now()
		s.perform(c, &op)
		op.Returned = e.env.Book.Now()
		p.Ended(op)
		if op.Outcome != client.Replied {
			s.fail(ctx)
		}
		sleep(ctx, recordedPace)
	}
}

// perform sends an operation and takes its reply.
func (s *session) perform(c *client.Conn, op *replay.Op) {
	if op.Blocks {
		c.SetTimeout(recordedBlock + hangSlack + time.Second)
		defer c.SetTimeout(replyTimeout)
	}
	if len(op.Commands) == 1 {
		r, o, _ := s.do(c, op.Commands[0]...)
		op.Reply, op.Outcome = r.v, o
		return
	}
	sent := append(append([][]string{{"MULTI"}}, op.Commands...), []string{"EXEC"})
	_ = c.Send(sent...) // what fails shows in the replies
	at := time.Now()
	for range sent {
		op.Reply, op.Outcome, _ = c.Receive()
	}
	if op.Outcome == client.Replied && op.Reply.IsErr() {
		op.Outcome = client.Refused // EXECABORT: a command was refused
	}
	s.count(op.Outcome, time.Since(at), 0)
}

// EndRecorded reads what every replica holds of the streams whose history is kept, and
// marks the end. All clients have stopped. It returns nil where no history is kept.
func (e *Era) EndRecorded(hosts func(shard uint32) []int) (*Recorded, error) {
	if e.recorded == nil {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), replicaPatience)
	defer cancel()
	s := e.env.session(6, 0)
	defer s.drop()
	for i := range e.recorded.Streams {
		st := &e.recorded.Streams[i]
		var err error
		if st.End, _, err = e.mark(ctx, s, st, "end"); err != nil {
			return nil, err
		}
		for _, node := range hosts(st.Shard) {
			if err := e.final(ctx, s, st, node); err != nil {
				return nil, err
			}
		}
	}
	return e.recorded, nil
}

// final reads a stream from one node's own replica, once that has what the leader has
// or time is over.
func (e *Era) final(ctx context.Context, s *session, st *RecordedStream, node int) error {
	own := e.env.session(6, node)
	own.only, own.opt.ReadOnly = true, true
	defer own.drop()
	full := []string{"XINFO", "STREAM", st.Name, "FULL", "COUNT", "0"}
	want, err := e.ask(ctx, s, full...)
	if err != nil {
		return err
	}
	for end := time.Now().Add(levelPatience); ; sleep(ctx, 20*time.Millisecond) {
		got, err := e.ask(ctx, own, full...)
		if err != nil {
			return err
		}
		st.Finals[fmt.Sprintf("node %d", node+1)] = got.v
		if got.v.String() == want.v.String() || time.Now().After(end) {
			return nil
		}
	}
}

// Logs reads a shard's log from where each node that has a replica of it keeps its data.
type Logs func(shard uint32, keep func(words []string) bool) ([]replay.Log, error)

// Compare compares the history with the shards' logs, once the nodes have stopped, and
// tells problems to add.
func (r *Recorded) Compare(logs Logs, add func(format string, args ...any)) (replay.Counts, error) {
	var sum replay.Counts
	for i := range r.Streams {
		st := &r.Streams[i]
		read, err := logs(st.Shard, st.Keep)
		if err != nil {
			return sum, err
		}
		told := func(format string, args ...any) { add("shard %d: %s", st.Shard, fmt.Sprintf(format, args...)) }
		merged := replay.Merge(read, len(read), st.Begin, st.End, told)
		if merged == nil {
			continue
		}
		sum.Add(replay.Check(&replay.Shard{
			Log: merged, ClockMS: st.ClockMS, Ops: r.History.Of([]string{st.Name}), Setup: st.Setup,
			Finals: map[string]map[string]resp.Value{st.Name: st.Finals},
		}, told))
	}
	return sum, nil
}

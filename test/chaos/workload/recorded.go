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

// The pause between two operations of a recorded client, and its BLOCK time.
const (
	recordedPace  = 15 * time.Millisecond
	recordedBlock = 150 * time.Millisecond
)

// Recorded is the history of some streams, one in each shard, from before their creation.
type Recorded struct {
	History *replay.History
	Streams []RecordedStream
}

// RecordedStream is one stream of a Recorded. A second stream in the same shard gets two
// marks, entries that show where in the shard's log the history begins and ends.
type RecordedStream struct {
	Shard      uint32
	Name       string
	marks      string                // name of the stream of marks
	Begin, End string                // words of the marks: the log contains each exactly once
	ClockMS    int64                 // the shard's clock at Begin
	Setup      [][]string            // commands of the harness itself: marks and replay.Setup
	Finals     map[string]resp.Value // XINFO STREAM FULL of each replica in the end, by node
}

// Keep reports whether a command concerns the stream or its marks.
func (r *RecordedStream) Keep(words []string) bool {
	for _, w := range words {
		if w == r.Name || w == r.marks {
			return true
		}
	}
	return false
}

// record marks the begin of the histories and creates their streams.
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

// insistOn repeats a command until a node replies, even with an error.
func (e *Era) insistOn(ctx context.Context, s *session, words []string) error {
	for {
		c := s.get(ctx)
		if c == nil {
			return fmt.Errorf("%w: no node answered %v", ErrNotQuiet, words)
		}
		if _, o, _ := s.do(c, words...); o == client.Replied {
			return nil
		}
		s.fail(ctx)
	}
}

// mark adds an entry to the marks of a stream. It returns the word of the mark, and the
// shard's clock in ms. Each attempt has a word of its own, such as "begin-0" and "begin-1",
// so that the returned one is in the log exactly once.
func (e *Era) mark(ctx context.Context, s *session, st *RecordedStream, kind string) (string, int64, error) {
	for n := 0; ; n++ {
		c := s.get(ctx)
		if c == nil {
			return "", 0, fmt.Errorf("%w: no node acknowledged an XADD to %s", ErrNotQuiet, st.marks)
		}
		word := kind + "-" + strconv.Itoa(n)
		words := []string{"XADD", st.marks, "*", "mark", word}
		st.Setup = append(st.Setup, words)
		r, o, _ := s.do(c, words...)
		if o == client.Replied && !r.isError() {
			return word, int64(r.id().MS), nil
		}
		s.fail(ctx)
	}
}

// play is a client that does random operations of a replay.Player on the recorded streams.
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

// perform sends an operation and fills in its outcome and reply.
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
	_ = c.Send(sent...) // Receive returns the error
	at := time.Now()
	for range sent {
		op.Reply, op.Outcome, _ = c.Receive()
	}
	if op.Outcome == client.Replied && op.Reply.IsErr() {
		op.Outcome = client.Refused // EXECABORT, because a command was refused
	}
	s.count(op.Outcome, time.Since(at), 0)
}

// EndRecorded marks the end of the histories, and reads their streams from every replica.
// All clients have stopped. It returns nil when no history is recorded.
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

// final reads a stream from one node's own replica, as soon as that is level with the
// leader's, at the latest after levelPatience.
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

// Logs reads a shard's log from each node that has a replica of it. keep selects commands.
type Logs func(shard uint32, keep func(words []string) bool) ([]replay.Log, error)

// Compare compares the histories with the shards' logs, and calls add for each problem.
// The nodes have stopped.
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

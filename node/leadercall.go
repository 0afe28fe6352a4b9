package node

import (
	"context"
	"errors"
	"fmt"
	"time"

	"millrace/call"
	"millrace/resp"
	"millrace/router"
)

// Time limits of leaderCaller.
const (
	// leaderCallTimeout limits one call, repetitions included.
	leaderCallTimeout = 5 * time.Second
	// leaderCallPause is the pause before a call is repeated.
	leaderCallPause = 100 * time.Millisecond
	// leaderHintTimeout limits the question to one node which node leads. It is short, so
	// that a node that hangs does not keep the others from being asked.
	leaderHintTimeout = 500 * time.Millisecond
)

// leaderCaller makes the node's own calls, such as STATUS, to the leader of a shard,
// wherever that is. Clients' commands do not come this way: the router has queues of its
// own for those, and keeps them in order.
type leaderCaller struct {
	backend router.Backend
	leaders leaderHints
	// nodesToAsk returns the nodes that may know the leader of a shard, the likeliest first.
	nodesToAsk func(shard uint32) []string
}

// leaderHints is the part of placement.Leaders that leaderCaller needs.
type leaderHints interface {
	Get(shard uint32) (node string, term uint64)
	Learn(shard uint32, node string, term uint64)
}

// do runs a command on the leader of a shard and returns its reply. An error reply is
// returned as an error. While the command is known to be not done, do repeats it until
// ctx ends or leaderCallTimeout has passed. It never repeats a command in doubt.
func (l *leaderCaller) do(ctx context.Context, shard uint32, kind call.Kind, argv ...[]byte) (resp.Value, error) {
	ctx, cancel := context.WithTimeout(ctx, leaderCallTimeout)
	defer cancel()
	for {
		v, err := l.try(ctx, shard, kind, argv)
		switch {
		case err == nil && v.IsErr():
			return v, errors.New(string(v.Str))
		case err == nil:
			return v, nil
		case errors.Is(err, call.ErrInDoubt), errors.Is(err, call.ErrTooLarge):
			return v, fmt.Errorf("shard %d: %w", shard, err)
		}
		select {
		case <-ctx.Done():
			return v, fmt.Errorf("shard %d: %w", shard, err)
		case <-time.After(leaderCallPause):
		}
	}
}

// try sends the command to the believed leader. If that node does not lead and another
// leader is found, try sends the command once more, to the other one.
func (l *leaderCaller) try(ctx context.Context, shard uint32, kind call.Kind, argv [][]byte) (resp.Value, error) {
	node, term := l.leaders.Get(shard)
	err := error(&call.NotLeader{})
	if node != "" {
		var v resp.Value
		if v, err = l.ask(ctx, node, newCall(shard, term, kind, argv)); err == nil || errors.Is(err, call.ErrInDoubt) {
			return v, err
		}
		l.learn(shard, err)
	}
	next, newer := l.leaders.Get(shard)
	if next == "" || newer == term {
		next, newer = l.find(ctx, shard, node, term)
	}
	if next == "" || newer == term && next == node {
		return resp.Value{}, err
	}
	return l.ask(ctx, next, newCall(shard, newer, kind, argv))
}

// find asks nodes, one after the other, which node leads the shard, until one of them
// knows something else than that node leads it in term. It returns the belief after that.
func (l *leaderCaller) find(ctx context.Context, shard uint32, node string, term uint64) (string, uint64) {
	for _, asked := range l.nodesToAsk(shard) {
		hctx, cancel := context.WithTimeout(ctx, leaderHintTimeout)
		// No shard is in term 0. So the answer is only a hint, and the command is not run.
		_, err := l.ask(hctx, asked, newCall(shard, 0, call.Admin, [][]byte{[]byte("STATUS")}))
		cancel()
		l.learn(shard, err)
		if n, t := l.leaders.Get(shard); n != "" && (n != node || t != term) || ctx.Err() != nil {
			break
		}
	}
	return l.leaders.Get(shard)
}

// learn records the hint in err, if there is one.
func (l *leaderCaller) learn(shard uint32, err error) {
	var nl *call.NotLeader
	if errors.As(err, &nl) && nl.Leader != "" && nl.Term != 0 {
		l.leaders.Learn(shard, nl.Leader, nl.Term)
	}
}

// newCall returns a call that lacks its time-out and Done; ask sets those.
func newCall(shard uint32, term uint64, kind call.Kind, argv [][]byte) *call.Call {
	return &call.Call{Shard: shard, Term: term, Kind: kind, Cmds: [][][]byte{argv}, Proto: 3}
}

// ask submits c to a node and waits for the answer. If none comes before ctx ends, the
// outcome is in doubt.
func (l *leaderCaller) ask(ctx context.Context, node string, c *call.Call) (resp.Value, error) {
	timeout := leaderCallTimeout
	if d, ok := ctx.Deadline(); ok {
		timeout = max(min(timeout, time.Until(d)), time.Millisecond)
	}
	done := make(chan call.Result, 1)
	c.TimeoutMS = uint32(timeout.Milliseconds()) + 1
	c.Done = func(r call.Result) { done <- r }
	l.backend.Submit(node, c)
	select {
	case r := <-done:
		if r.Err != nil {
			return resp.Value{}, r.Err
		}
		v, _, err := resp.ParseValue(r.Reply)
		if err != nil { // the command was done, but its result cannot be read
			err = fmt.Errorf("%w: reply of node %.8s: %w", call.ErrInDoubt, node, err)
		}
		return v, err
	case <-ctx.Done():
		l.backend.Cancel(node, c) // Done is still called later; its channel has room
		return resp.Value{}, fmt.Errorf("%w: no answer in time from node %.8s", call.ErrInDoubt, node)
	}
}

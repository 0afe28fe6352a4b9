package node

import (
	"context"
	"errors"
	"fmt"
	"time"

	"millrace/call"
	"millrace/resp"
)

// Bounds of a call that the node itself makes to a shard's leader.
const (
	leaderCallTimeout = 5 * time.Second
	leaderCallPause   = 100 * time.Millisecond
	// leaderHintTimeout bounds asking one node who leads: one that hangs must not keep
	// the others from being asked.
	leaderHintTimeout = 500 * time.Millisecond
)

// leaderCaller makes calls of the node's own to the leader of a shard, wherever it is.
// Clients' commands do not come this way: the router has queues for those.
type leaderCaller struct {
	submit  func(node string, c *call.Call)
	cancel  func(node string, c *call.Call)
	leaders leaderHints
	// hosts returns nodes that may have a replica of a shard, likeliest first.
	hosts func(shard uint32) []string
}

// leaderHints is what is believed of who leads; see placement.Leaders.
type leaderHints interface {
	Get(shard uint32) (node string, term uint64)
	Learn(shard uint32, node string, term uint64)
}

// do runs a command on the leader of a shard and returns its reply; an error reply
// comes back as an error. It repeats what was not done until ctx ends or
// leaderCallTimeout has passed, and never what is in doubt.
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

// try asks the believed leader, and once more when another one turns out to lead.
func (l *leaderCaller) try(ctx context.Context, shard uint32, kind call.Kind, argv [][]byte) (resp.Value, error) {
	node, term := l.leaders.Get(shard)
	err := error(&call.NotLeader{})
	if node != "" {
		var v resp.Value
		if v, err = l.ask(ctx, node, shard, term, kind, argv); err == nil || errors.Is(err, call.ErrInDoubt) {
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
	return l.ask(ctx, next, shard, newer, kind, argv)
}

// find asks the hosts of a shard who leads it, one after the other, until one knows
// more than that node leads it in term. It returns what is believed then.
func (l *leaderCaller) find(ctx context.Context, shard uint32, node string, term uint64) (string, uint64) {
	for _, host := range l.hosts(shard) {
		hctx, cancel := context.WithTimeout(ctx, leaderHintTimeout)
		// A term of zero asks for the hint: nothing is ever done.
		_, err := l.ask(hctx, host, shard, 0, call.Admin, [][]byte{[]byte("STATUS")})
		cancel()
		l.learn(shard, err)
		if n, t := l.leaders.Get(shard); n != "" && (n != node || t != term) || ctx.Err() != nil {
			break
		}
	}
	return l.leaders.Get(shard)
}

// learn takes the hint that err may carry.
func (l *leaderCaller) learn(shard uint32, err error) {
	var nl *call.NotLeader
	if errors.As(err, &nl) && nl.Leader != "" && nl.Term != 0 {
		l.leaders.Learn(shard, nl.Leader, nl.Term)
	}
}

func (l *leaderCaller) ask(ctx context.Context, node string, shard uint32, term uint64, kind call.Kind, argv [][]byte) (resp.Value, error) {
	timeout := leaderCallTimeout
	if d, ok := ctx.Deadline(); ok {
		timeout = max(min(timeout, time.Until(d)), time.Millisecond)
	}
	done := make(chan call.Result, 1)
	c := &call.Call{
		Shard: shard, Term: term, Kind: kind, Cmds: [][][]byte{argv}, Proto: 3,
		TimeoutMS: uint32(timeout.Milliseconds()) + 1,
		Done:      func(r call.Result) { done <- r },
	}
	l.submit(node, c)
	select {
	case r := <-done:
		if r.Err != nil {
			return resp.Value{}, r.Err
		}
		v, _, err := resp.ParseValue(r.Reply)
		if err != nil { // it was done; what came of it cannot be read
			err = fmt.Errorf("%w: reply of node %.8s: %w", call.ErrInDoubt, node, err)
		}
		return v, err
	case <-ctx.Done():
		l.cancel(node, c) // Done still comes; its channel has room for it
		return resp.Value{}, fmt.Errorf("%w: no answer in time from node %.8s", call.ErrInDoubt, node)
	}
}

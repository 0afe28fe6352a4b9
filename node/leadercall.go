package node

import (
	"context"
	"errors"
	"fmt"
	"time"

	"millrace/resp"
	"millrace/shard/call"
)

// Bounds of a call that the node itself makes to a shard's leader.
const (
	leaderCallTimeout = 5 * time.Second
	leaderCallPause   = 100 * time.Millisecond
)

// leaderCaller makes calls of the node's own to the leader of a shard, wherever it is.
// Clients' commands do not come this way: the router has queues for those.
type leaderCaller struct {
	self    string
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

// do runs cmds on the leader of a shard and returns its reply; an error reply comes
// back as an error. It repeats what was not done until ctx ends or leaderCallTimeout
// has passed, and never what is in doubt.
func (l *leaderCaller) do(ctx context.Context, shard uint32, kind call.Kind, argv ...[]byte) (resp.Value, error) {
	ctx, cancel := context.WithTimeout(ctx, leaderCallTimeout)
	defer cancel()
	for {
		v, err := l.try(ctx, shard, kind, argv)
		if err == nil && v.IsErr() {
			return v, errors.New(string(v.Str))
		}
		if err == nil || errors.Is(err, call.ErrInDoubt) {
			return v, err
		}
		select {
		case <-ctx.Done():
			return v, fmt.Errorf("shard %d: %w", shard, err)
		case <-time.After(leaderCallPause):
		}
	}
}

// try asks the believed leader once; where none is known, it asks the hosts who leads.
func (l *leaderCaller) try(ctx context.Context, shard uint32, kind call.Kind, argv [][]byte) (resp.Value, error) {
	node, term := l.leaders.Get(shard)
	err := error(&call.NotLeader{})
	if term != 0 {
		var v resp.Value
		if v, err = l.ask(ctx, node, shard, term, kind, argv); err == nil || !l.learn(shard, err) && errors.Is(err, call.ErrInDoubt) {
			return v, err
		}
	}
	for _, host := range l.hosts(shard) {
		_, e := l.ask(ctx, host, shard, 0, kind, argv)
		if n, t := l.leaders.Get(shard); l.learn(shard, e) && (n != node || t != term) {
			break
		}
	}
	if n, t := l.leaders.Get(shard); t != term && n != "" {
		return l.ask(ctx, n, shard, t, kind, argv)
	}
	return resp.Value{}, err
}

// learn takes the hint that err may carry, and reports whether there was one.
func (l *leaderCaller) learn(shard uint32, err error) bool {
	var nl *call.NotLeader
	if !errors.As(err, &nl) || nl.Leader == "" || nl.Term == 0 {
		return false
	}
	l.leaders.Learn(shard, nl.Leader, nl.Term)
	return true
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
		return v, err
	case <-ctx.Done():
		l.cancel(node, c) // Done still comes; its channel has room for it
		return resp.Value{}, fmt.Errorf("%w: no answer in time from node %.8s", call.ErrInDoubt, node)
	}
}

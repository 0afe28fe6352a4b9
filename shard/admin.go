package shard

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"millrace/call"
	"millrace/resp"
)

// adminTick is how often a change under way is checked for its completion.
const adminTick = 5 * time.Millisecond

// The refusals of membership changes and transfers. After any of them nothing has
// changed.
var (
	// ErrConfigChanged says that the membership is not the one the caller knew.
	ErrConfigChanged = errors.New("shard: the configuration has changed")
	// ErrNotCaughtUp says that the replica is too far behind to become a voter or to
	// lead.
	ErrNotCaughtUp = errors.New("shard: the replica is not caught up")
	// ErrMember says that the replica is not a member, or is one already, contrary to the
	// change.
	ErrMember = errors.New("shard: no such change of membership")
	// ErrTransfer says that the leadership was not taken over.
	ErrTransfer = errors.New("shard: leadership was not transferred")
)

// admin changes the shard's membership and hands its leadership over, one change at a
// time. Like the proposer it waits for none of Raft's futures, which may never answer. It
// checks every reason for a refusal before it hands a change to Raft, and sees in the
// applied configurations whether the change has happened.
type admin struct {
	*shared
	writes *proposer
	report *reporter

	turn    chan struct{} // capacity 1: its holder may change something
	waiting atomic.Int64  // Admin calls that were accepted and not answered; AdminCalls bounds them
	pool    *pool         // of one goroutine, which ends when no call waits
	ctx     context.Context
	cancel  context.CancelFunc
}

func newAdmin(sh *shared, p *proposer, r *reporter) *admin {
	a := &admin{shared: sh, writes: p, report: r, turn: make(chan struct{}, 1), pool: newPool(1)}
	a.ctx, a.cancel = context.WithCancel(context.Background())
	return a
}

// accept takes an Admin call, or returns why it is refused. The calls are STATUS,
// ADDNONVOTER id index, ADDVOTER id index, REMOVE id index and TRANSFER id. index is that
// of the configuration that the change is meant for; 0 stands for any.
func (a *admin) accept(c *call.Call) error {
	term := a.leads()
	switch {
	case len(c.Cmds) != 1 || len(c.Cmds[0]) == 0:
		return errEmptyCall
	case a.ctx.Err() != nil:
		return call.ErrStopping
	case c.Term == 0 || c.Term != term:
		return a.hint()
	case a.waiting.Add(1) > int64(a.cfg.Limits.AdminCalls):
		a.waiting.Add(-1)
		return call.ErrOverloaded
	}
	a.pool.run(func() {
		defer a.waiting.Add(-1)
		ctx, cancel := context.WithTimeout(a.ctx, time.Duration(max(c.TimeoutMS, 1))*time.Millisecond)
		defer cancel()
		v, err := a.run(ctx, term, c)
		res := call.Result{Err: err}
		if err == nil {
			res.Reply = resp.AppendValue(nil, v, int(c.Proto))
		}
		c.Done(res)
	})
	return nil
}

// end waits for the calls under way.
func (a *admin) end() {
	a.cancel()
	a.pool.wait()
}

// run runs an Admin call. A refusal by the shard is an error reply. An error is one of
// package call.
func (a *admin) run(ctx context.Context, term uint64, c *call.Call) (resp.Value, error) {
	argv := c.Cmds[0]
	name := strings.ToUpper(string(argv[0]))
	words := map[string]int{"STATUS": 1, "ADDNONVOTER": 3, "ADDVOTER": 3, "REMOVE": 3, "TRANSFER": 2}
	switch n, ok := words[name]; {
	case !ok:
		return resp.Err("ERR unknown shard request"), nil
	case n != len(argv):
		return resp.Err("ERR wrong number of arguments for a shard request"), nil
	}
	var index uint64
	var err error
	if len(argv) == 3 {
		if index, err = strconv.ParseUint(string(argv[2]), 10, 64); err != nil {
			return resp.Err("ERR configuration index is not an integer"), nil
		}
	}
	switch name {
	case "STATUS":
		b, err := json.Marshal(a.report.status())
		if err != nil {
			return resp.Value{}, err
		}
		return resp.Bulk(b), nil
	case "ADDNONVOTER":
		err = a.addNonvoter(ctx, term, string(argv[1]), index)
	case "ADDVOTER":
		err = a.addVoter(ctx, term, string(argv[1]), index)
	case "REMOVE":
		err = a.remove(ctx, term, string(argv[1]), index)
	case "TRANSFER":
		err = a.transfer(ctx, term, string(argv[1]))
	}
	var moved *call.NotLeader
	switch {
	case err == nil:
		return resp.OK, nil
	case errors.As(err, &moved), errors.Is(err, call.ErrInDoubt), errors.Is(err, call.ErrStopping), errors.Is(err, call.ErrTimeout):
		return resp.Value{}, err
	}
	return resp.Err("ERR " + err.Error()), nil
}

// begin waits for the turn, and then for the leader to be ready. By then every
// configuration of earlier terms is applied here, and no change is under way. The caller
// ends its turn with finish, unless begin has failed.
func (a *admin) begin(ctx context.Context, term uint64) (*instance, error) {
	select {
	case a.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, a.late(ctx)
	}
	inst, err := a.wait(ctx, term, func() bool { return a.writes.isReady(term) })
	if err != nil {
		<-a.turn
		return nil, err
	}
	return inst, nil
}

func (a *admin) finish() { <-a.turn }

// meant refuses a change that was meant for another configuration than the newest.
func (a *admin) meant(index uint64) error {
	if now := a.configs.last().index; index != 0 && index != now {
		return fmt.Errorf("%w: it is of index %d, not %d", ErrConfigChanged, now, index)
	}
	return nil
}

// wait waits until done returns true, and returns the instance that runs then. It fails
// when the term ends, the shard stops or ctx ends.
func (a *admin) wait(ctx context.Context, term uint64, done func() bool) (*instance, error) {
	tick := time.NewTicker(adminTick)
	defer tick.Stop()
	for {
		inst := a.current.Load()
		switch {
		case inst == nil || term == 0 || a.leads() != term:
			return nil, a.hint()
		case done():
			return inst, nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil, a.late(ctx)
		}
	}
}

// late returns the error for a ctx that has ended.
func (a *admin) late(ctx context.Context) error {
	if a.ctx.Err() != nil {
		return call.ErrStopping
	}
	return errors.Join(call.ErrTimeout, ctx.Err())
}

func (a *admin) member(id string) (s raft.Server, ok bool) {
	for _, s := range a.configs.last().Servers {
		if string(s.ID) == id {
			return s, true
		}
	}
	return raft.Server{}, false
}

// change hands a change to Raft and waits until its record is applied here, which done
// reports.
func (a *admin) change(ctx context.Context, term uint64, inst *instance, hand func(*raft.Raft, time.Duration) raft.IndexFuture, done func() bool) error {
	patience := a.cfg.Timing.Transfer
	if at, ok := ctx.Deadline(); ok {
		patience = min(patience, time.Until(at))
	}
	if patience <= 0 {
		return a.late(ctx)
	}
	hand(inst.raft, patience) // returns once Raft's main loop has taken the change or has not in time
	if _, err := a.wait(ctx, term, done); err != nil && !a.seen(ctx, done) {
		return errors.Join(call.ErrInDoubt, err) // the record may have been appended
	}
	return nil
}

// seen waits for done a little longer, after the term has ended. A leader that has
// removed itself steps down before the removal is applied, and another leader may have
// committed a change that this one could not.
func (a *admin) seen(ctx context.Context, done func() bool) bool {
	tick := time.NewTicker(adminTick)
	defer tick.Stop()
	for until := time.Now().Add(a.cfg.Timing.Heartbeat); time.Now().Before(until) && ctx.Err() == nil; {
		if done() {
			return true
		}
		<-tick.C
	}
	return done()
}

func (a *admin) addNonvoter(ctx context.Context, term uint64, id string, index uint64) error {
	inst, err := a.begin(ctx, term)
	if err != nil {
		return err
	}
	defer a.finish()
	if err := a.meant(index); err != nil {
		return err
	}
	if s, ok := a.member(id); ok {
		if s.Suffrage == raft.Nonvoter {
			return nil
		}
		return fmt.Errorf("%w: %s is a voter", ErrMember, id)
	}
	return a.change(ctx, term, inst, func(r *raft.Raft, d time.Duration) raft.IndexFuture {
		return r.AddNonvoter(raft.ServerID(id), raft.ServerAddress(id), 0, d)
	}, func() bool { _, ok := a.member(id); return ok })
}

// addVoter gives a caught-up non-voter a vote. Raft itself would make an empty replica a
// voter at once, and then the loss of one more replica would stop the shard.
func (a *admin) addVoter(ctx context.Context, term uint64, id string, index uint64) error {
	inst, err := a.begin(ctx, term)
	if err != nil {
		return err
	}
	defer a.finish()
	if err := a.meant(index); err != nil {
		return err
	}
	s, ok := a.member(id)
	if !ok {
		return fmt.Errorf("%w: %s is not a member", ErrMember, id)
	}
	if s.Suffrage == raft.Voter {
		return nil
	}
	if err := a.caughtUp(ctx, id, a.cfg.Limits.CatchUpRecords); err != nil {
		return err
	}
	return a.change(ctx, term, inst, func(r *raft.Raft, d time.Duration) raft.IndexFuture {
		return r.AddVoter(raft.ServerID(id), raft.ServerAddress(id), 0, d)
	}, func() bool { s, ok := a.member(id); return ok && s.Suffrage == raft.Voter })
}

func (a *admin) remove(ctx context.Context, term uint64, id string, index uint64) error {
	inst, err := a.begin(ctx, term)
	if err != nil {
		return err
	}
	defer a.finish()
	if err := a.meant(index); err != nil {
		return err
	}
	s, ok := a.member(id)
	if !ok {
		return nil
	}
	voters := 0
	for _, o := range a.configs.last().Servers {
		if o.Suffrage == raft.Voter {
			voters++
		}
	}
	if s.Suffrage == raft.Voter && voters == 1 {
		return fmt.Errorf("%w: %s is the last voter", ErrMember, id)
	}
	return a.change(ctx, term, inst, func(r *raft.Raft, d time.Duration) raft.IndexFuture {
		return r.RemoveServer(raft.ServerID(id), 0, d)
	}, func() bool { _, ok := a.member(id); return !ok })
}

// caughtUp asks a replica for its position. Its log may lack behind records. Its state
// may lack CatchUpRecords, whatever behind is: a replica learns the commit index with the
// next append, which a leader that holds writes back does not send for a while.
func (a *admin) caughtUp(ctx context.Context, id string, behind uint64) error {
	ctx, cancel := context.WithTimeout(ctx, a.cfg.Timing.Probe)
	defer cancel()
	last := uint64(0)
	if inst := a.current.Load(); inst != nil {
		last = inst.raft.LastIndex()
	}
	p, err := a.cfg.Prober.Probe(ctx, id, a.cfg.ID)
	if err != nil {
		return fmt.Errorf("%w: %s: %w", ErrNotCaughtUp, id, err)
	}
	if !p.Hosted || p.LastIndex+behind < last || p.Applied+a.cfg.Limits.CatchUpRecords < a.gate.index.Load() {
		return fmt.Errorf("%w: %s has %d and has applied %d of %d", ErrNotCaughtUp, id, p.LastIndex, p.Applied, last)
	}
	return nil
}

// transfer hands the leadership over. If the target is behind, Raft's own transfer can
// leave a leader that refuses every write. So transfer works in steps:
//
//  1. hold new writes back;
//  2. wait until the records in flight are applied here;
//  3. wait until the target has the whole log;
//  4. have Raft tell the target to start an election, and wait until this term ends.
//
// If the term does not end in time, writes go on here.
func (a *admin) transfer(ctx context.Context, term uint64, id string) error {
	ctx, cancel := context.WithTimeout(ctx, a.cfg.Timing.Transfer)
	defer cancel()
	_, err := a.begin(ctx, term)
	if err != nil {
		return err
	}
	defer a.finish()
	if s, ok := a.member(id); !ok || s.Suffrage != raft.Voter {
		return fmt.Errorf("%w: %s is not a voter", ErrMember, id)
	}
	if id == a.cfg.NodeID {
		return nil
	}
	if !a.writes.pause(term) {
		return a.hint()
	}
	defer a.writes.resume(term)
	inst, err := a.wait(ctx, term, func() bool { return a.inflight.len() == 0 })
	if err != nil {
		return err
	}
	// The target's log is complete a moment after the last record was applied here.
	for err = a.caughtUp(ctx, id, 0); err != nil; err = a.caughtUp(ctx, id, 0) {
		if _, werr := a.wait(ctx, term, a.nextTick()); werr != nil {
			return errors.Join(err, werr)
		}
	}
	inst.raft.LeadershipTransferToServer(raft.ServerID(id), raft.ServerAddress(id))
	// Raft gives up after its election timeout, and takes writes again after that.
	ctx, cancel = context.WithTimeout(ctx, 2*a.cfg.Timing.Heartbeat)
	defer cancel()
	if _, err := a.wait(ctx, term, func() bool { return false }); a.leads() == term {
		return fmt.Errorf("%w to %s: %w", ErrTransfer, id, err)
	}
	return nil
}

// nextTick returns a condition for wait that is false the first time and true the second.
func (a *admin) nextTick() func() bool {
	looked := false
	return func() bool {
		was := looked
		looked = true
		return was
	}
}

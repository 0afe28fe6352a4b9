package router

import (
	"millrace/call"
	"millrace/command"
)

// request is one command of a client on its way to a reply. Requests of a connection
// form a list in the order of the commands; the writer takes finished ones off its
// head. Fields without a guard are set before the request is in the list.
type request struct {
	c     *conn
	next  *request // guarded by c.mu
	cmd   *command.Command
	argv  [][]byte
	proto uint8
	mute  bool // CLIENT REPLY OFF or SKIP: count it, but send nothing
	// inExec: the command is part of an EXEC; its reply is kept in reply, and it is
	// never in the list.
	inExec bool
	// pushed: the reply is a line of MONITOR, and belongs to no command.
	pushed bool
	// blocks: it waits on purpose, so its duration is not counted.
	blocks bool
	start  int64 // r.now() when it was read
	bytes  int   // of its words

	done  bool   // guarded by c.mu; nothing below changes once it is set
	end   int64  // r.now() when it was done
	reply []byte // encoded; nil if build makes it
	// build makes the reply from parts. It runs in the writer, so that a merge takes the
	// time of the client's own goroutine and not of a shard's.
	build func(*request) []byte
	// serial runs in the writer once the request is at the head of the list, and returns
	// the reply. The reader dispatches nothing before it is done.
	serial func() []byte
	failed bool // the reply is an error
	last   bool // close the connection once the reply is sent

	parts   []part // of a request that spans shards, in the order they were made
	waiting int    // parts without an answer; guarded by c.mu
	spread  []job  // the jobs whose answers are parts

	job job // of a request that goes to one shard
}

// jobs returns the jobs of the request: one, or one for each part of a spread request.
func (q *request) jobs() []*job {
	if q.spread == nil {
		return []*job{&q.job}
	}
	out := make([]*job, len(q.spread))
	for i := range q.spread {
		out[i] = &q.spread[i]
	}
	return out
}

// part is the answer of one shard to its part of a request.
type part struct {
	reply []byte // encoded, in the protocol of the job
	err   error  // instead of a reply; an error of package call
}

// job is one call in a lane, from the moment it is queued to its answer. Fields
// without a guard are set before it is queued.
type job struct {
	req  *request
	part int // index in req.parts, or -1: the answer is the reply
	lane *lane

	shard uint32
	kind  call.Kind
	cmds  [][][]byte
	one   [1][][]byte // the array under cmds for a single command
	multi bool
	proto uint8

	deadline int64 // in r.now() time: when patience ends

	// Guarded by c.mu.
	seq     uint64 // its place in the lane
	tries   int
	err     error // of the last attempt
	cur     *attempt
	sentAt  int64 // of the last attempt
	first   attempt
	local   bool // a stale read, to send to the replica of this node
	settled bool
}

// attempt is one submission of a job. A job that is sent again gets a new one, since
// a call that was submitted is never changed.
type attempt struct {
	call call.Call
	job  *job
}

// done takes the answer from any goroutine.
func (a *attempt) done(res call.Result) {
	c := a.job.req.c
	c.r.learn(a.call.Shard, res.Err)
	c.mu.Lock()
	if !a.job.settled && a.job.cur == a {
		a.job.cur = nil
		a.job.lane.answered(a.job, res)
	}
	c.mu.Unlock()
}

// words returns how many bytes the words of a command have.
func words(argv [][]byte) int {
	n := 0
	for _, w := range argv {
		n += len(w)
	}
	return n
}

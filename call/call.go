// Package call holds a command on its way to a shard: the router makes a [Call],
// node/peer carries it, and the shard's leader answers it. The three know each other only
// through this package.
package call

import (
	"errors"
	"fmt"
)

// Kind tells a shard how to handle a call.
type Kind uint8

const (
	// Read runs read-only commands on one view, after a read index: a single command, or
	// all commands of an EXEC that changes nothing.
	Read Kind = iota + 1
	// ReadStale runs one read-only command on the replica's state as it is, leader or
	// not.
	ReadStale
	// Write proposes its commands as one unit: a single command, or all commands of an
	// EXEC.
	Write
	// Block runs one blocking command, and keeps it until there is something to answer or
	// BlockMS has passed. An XREAD has no $ IDs by then: the router has replaced them.
	Block
	// Wait is Block without running the command. It answers +OK as soon as the command
	// would answer something or fail, and the null array when BlockMS has passed.
	Wait
	// Admin is a request to the shard itself rather than to its state: membership,
	// leadership transfer, status. Cmds[0] holds the request and its arguments.
	Admin
)

// Call is one request to the leader of a shard. Its fields are set before it is submitted
// and not changed afterwards. Raft's log cache keeps the byte slices, so they must never
// be reused.
type Call struct {
	Shard uint32
	// Term is the term in which the sender believes that the node it asks leads the
	// shard. A replica that does not lead the shard in exactly this term answers
	// NotLeader. So of two calls sent in order under one term, the second is never
	// accepted after the first was refused. Zero asks for the hint only. ReadStale
	// ignores Term.
	Term uint64
	Kind Kind
	// Cmds holds one command's words, or all commands of an EXEC; then Multi is true.
	Cmds  [][][]byte
	Multi bool
	Proto uint8 // RESP version of the reply bytes: 2 or 3
	// TimeoutMS, above zero, bounds how long the call may wait before it is proposed or
	// read. After that it is answered ErrTimeout.
	TimeoutMS uint32
	// BlockMS is how long Block and Wait may wait for data. Zero is for ever.
	BlockMS uint64
	// Done is called exactly once, from any goroutine. It must not block.
	Done func(Result)

	// Tag belongs to the maker of the call. Nobody else reads it.
	Tag any
}

// Result is the answer to a Call. Reply holds it when Err is nil.
type Result struct {
	// Reply is the encoded reply in the call's protocol version. A refusal by the command
	// (WRONGTYPE, NOGROUP …) is a Reply, not an Err.
	Reply []byte
	Err   error
}

// NotLeader is the answer of a replica that does not lead the shard in the term that the
// call names. The call was not done.
type NotLeader struct {
	Leader string // node ID; empty when unknown
	Term   uint64 // the term Leader leads in; zero when unknown
}

func (e *NotLeader) Error() string {
	if e.Leader == "" {
		return "call: not the leader, and the leader is unknown"
	}
	return fmt.Sprintf("call: not the leader: %.8s leads in term %d", e.Leader, e.Term)
}

// MaxBytes is the number of bytes that the words of a call may have, 4 MiB. A larger call
// would be a record that holds its shard for too long.
const MaxBytes = 4 << 20

// The failures of a call. All but ErrInDoubt mean that the call was not done.
var (
	ErrOverloaded = errors.New("call: too many calls or bytes are waiting")
	ErrTimeout    = errors.New("call: the call waited too long")
	ErrStopping   = errors.New("call: stopping")
	ErrNoShard    = errors.New("call: no replica of it here")
	ErrNotSent    = errors.New("call: the other node is not connected")
	// ErrNoSpace says that the leader's disk is nearly full.
	ErrNoSpace = errors.New("call: the disk of the leader is nearly full")
	// ErrTooLarge says that the call has more than MaxBytes. It is not retried.
	ErrTooLarge = errors.New("call: the call is larger than a record may be")
	// ErrInDoubt says that the call may or may not have been done, now or later.
	ErrInDoubt = errors.New("call: the outcome is unknown")
	// ErrCanceled says that the caller canceled a Block or Wait that had not been served.
	ErrCanceled = errors.New("call: canceled by its caller")
)

// NotDone reports whether err proves that the call had no effect and never will have one.
func NotDone(err error) bool { return err != nil && !errors.Is(err, ErrInDoubt) }

// Backend takes calls. A shard takes those for its own replica, node/peer those for other
// nodes.
type Backend interface {
	// Submit takes c and returns at once. c.Done is called later, or before Submit
	// returns.
	Submit(c *Call)
	// Cancel withdraws a Block or Wait call that was submitted. Done is still called:
	// with ErrCanceled, or with the answer if that came first.
	Cancel(c *Call)
}

// Probe is a replica's answer to read-index polls, catch-up checks and leadership
// transfers.
type Probe struct {
	Hosted    bool   // whether the node has a replica of the shard; else all is zero
	Term      uint64 // Raft's current term, read when the probe was answered
	LastIndex uint64 // of the log
	Applied   uint64 // of the state machine
	Leader    string // node ID of the leader it follows; empty when unknown
}

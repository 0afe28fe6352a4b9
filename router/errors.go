package router

import (
	"errors"
	"fmt"

	"millrace/call"
	"millrace/internal/mutant"
	"millrace/resp"
)

// The errors for a command that got no answer from its shard. Programs decide by the
// first word:
//
//	CLUSTERDOWN  not done: no leader of the shard was found, or none with a majority
//	TRYAGAIN     not done: the leader did not take the command in time, or a later
//	             command of the connection came before it
//	OVERLOADED   not done: a limit of the shard or of this node was reached
//	NOSPACE      not done: the disk of the shard's leader is nearly full, and no other leads
//	INDOUBT      unknown: the command may have been done, or may be done yet
//	ERR          not done, and never will be
//
// Cluster clients repeat CLUSTERDOWN and TRYAGAIN on their own, which is safe. No
// client repeats INDOUBT on its own.
const (
	textNoSlot     = "CLUSTERDOWN Hash slot not served"
	textNoLeader   = "CLUSTERDOWN The shard has no leader that answers. The command was not done."
	textTimeout    = "TRYAGAIN The shard did not take the command in time. The command was not done."
	textOvertaken  = "TRYAGAIN The shard refused the command and took a later one of this connection. The command was not done."
	textOverloaded = "OVERLOADED Too much is waiting. The command was not done."
	textNoSpace    = "NOSPACE The disk of the shard's leader is nearly full. The command was not done."
	textInDoubt    = "INDOUBT The shard did not answer. The command may have been done, or may be done yet."
	textTooLong    = "ERR The key is longer than a key may be"
	textOutput     = "ERR The reply is larger than the output limit of a client"
	textCrossSlot  = "CROSSSLOT Keys in request don't hash to the same slot"
	textNoAuth     = "NOAUTH Authentication required."
	textMaxClients = "ERR max number of clients reached"
	textUnblocked  = "UNBLOCKED client unblocked via CLIENT UNBLOCK"
	textCanceled   = "ERR The call was canceled"
	textSyntax     = "ERR syntax error"
	textNotInt     = "ERR value is not an integer or out of range"
	textInternal   = "ERR Internal error: the answer of a shard has the wrong shape"
)

// textTooLarge refuses a call beyond call.MaxBytes.
var textTooLarge = fmt.Sprintf("ERR The command, or the transaction, has more than %d MiB", call.MaxBytes>>20)

// textWide refuses a command that names more than Limits.FanOut keys on several shards.
func textWide(limit int) string {
	return fmt.Sprintf("ERR The command names more than %d keys on several shards; send it in parts, or give the keys one hash tag", limit)
}

// errOvertaken ends a job that was refused while a later job of its lane was accepted.
// Sending it again would change the order.
var errOvertaken = errors.New("router: overtaken by a later command")

// outcome tells whether a call was done, and whether it may be sent again.
type outcome uint8

const (
	outcomeDone    outcome = iota // there is a reply
	outcomeRefused                // not done; may be sent again
	outcomeInDoubt                // may have been done; never sent again
	outcomeFinal                  // not done, and not worth sending again
)

// judge returns the outcome of a call of a kind that ended with err. A read has no effect,
// so a read in doubt counts as not done.
func judge(kind call.Kind, err error) outcome {
	switch {
	case err == nil:
		return outcomeDone
	case errors.Is(err, call.ErrInDoubt):
		if kind == call.Write && !mutant.RetryInDoubt {
			return outcomeInDoubt
		}
		return outcomeRefused
	case errors.Is(err, call.ErrTooLarge), errors.Is(err, call.ErrCanceled), errors.Is(err, errOvertaken):
		return outcomeFinal
	}
	return outcomeRefused
}

// busy reports whether err is a refusal of a leader that may well take the call later.
func busy(err error) bool {
	return errors.Is(err, call.ErrOverloaded) || errors.Is(err, call.ErrNoSpace)
}

// errorText returns the error for the client of a call of a kind that ended with err.
func errorText(kind call.Kind, err error) string {
	switch {
	case errors.Is(err, call.ErrInDoubt) && kind == call.Write:
		return textInDoubt
	case errors.Is(err, call.ErrOverloaded):
		return textOverloaded
	case errors.Is(err, call.ErrNoSpace):
		return textNoSpace
	case errors.Is(err, call.ErrTimeout):
		return textTimeout
	case errors.Is(err, call.ErrTooLarge):
		return textTooLarge
	case errors.Is(err, call.ErrCanceled):
		return textCanceled
	case errors.Is(err, errOvertaken):
		return textOvertaken
	}
	return textNoLeader
}

// appendError appends an error reply.
func appendError(dst []byte, text string) []byte {
	return resp.AppendValue(dst, resp.Err(text), 2)
}

// encode returns v as bytes.
func encode(v resp.Value, proto uint8) []byte {
	return resp.AppendValue(nil, v, int(proto))
}

package stream

import (
	"fmt"

	"millrace/command"
	"millrace/kv"
	"millrace/resp"
)

// Blocked is a blocking command that waits until it finds something. Its words were read
// when it arrived, and are not read again when the stream changes. Its methods change
// nothing and may run beside each other.
type Blocked struct {
	state   *State
	cmd     *Command // nil when the words are no blocking command
	read    command.Read
	refusal *resp.Value // of the words
}

// Block reads the words of a blocking command, XREAD or XREADGROUP.
func (s *State) Block(argv [][]byte) *Blocked {
	c, refusal := Lookup(argv)
	if c == nil || refusal != nil || c.Blocked == nil {
		return &Blocked{state: s}
	}
	b := &Blocked{state: s, cmd: c}
	b.read, b.refusal = command.ParseRead(argv, c.Is(command.Write))
	return b
}

// blocks reports whether the words are those of a blocking command.
func (b *Blocked) blocks() bool { return b.cmd != nil && b.refusal == nil }

// Keys returns the names of the streams that the command waits on.
func (b *Blocked) Keys() [][]byte { return b.read.Keys }

// Ages reports whether time alone can make the command find something. For example,
// XREADGROUP with CLAIM 1000 finds an entry when that has been pending for a second.
func (b *Blocked) Ages() bool { return b.read.Claims }

// Writes reports whether the command changes the state when it finds something, so that
// it has to be proposed.
func (b *Blocked) Writes() bool { return b.cmd != nil && b.cmd.Is(command.Write) }

// Ready reports whether the command would answer data or an error if it ran at nowMS on v.
func (b *Blocked) Ready(v kv.Reader, nowMS int64) (bool, error) {
	if !b.blocks() {
		return true, nil // so that it is answered with the refusal
	}
	return b.cmd.Blocked.Ready(b.state.reading(v, nowMS), &b.read)
}

// Arrival returns a command that records the arrival of the blocked one, or nil. For
// example, an XREADGROUP that finds no entry creates its consumer all the same. The
// XREADGROUP itself cannot be proposed for that: it might find an entry when its record is
// applied, and take it from a call that came before.
func (b *Blocked) Arrival(v kv.Reader, nowMS int64) ([][]byte, error) {
	if !b.blocks() || b.cmd.Blocked.Arrival == nil {
		return nil, nil
	}
	return b.cmd.Blocked.Arrival(b.state.reading(v, nowMS), &b.read)
}

// Read runs a command that does not write and was found Ready after it had waited. A key
// of another type does not end it, because Redis checks types only when a call is made.
func (b *Blocked) Read(v kv.Reader, nowMS int64) (resp.Value, error) {
	if !b.blocks() || b.Writes() {
		return resp.Value{}, fmt.Errorf("stream: a blocked command that cannot be read was served")
	}
	tx := b.state.reading(v, nowMS)
	tx.lookups, tx.waited = b.state.lookups, true
	out, err := b.cmd.Blocked.Read(tx, &b.read)
	if err != nil {
		return resp.Value{}, fmt.Errorf("stream: %s: %w", b.cmd.Name, err)
	}
	return out, nil
}

package peer

import (
	"encoding/binary"
	"errors"
	"fmt"

	"millrace/call"
)

// Calls, replies and probes as payloads; the shard is in the frame's head.
//
//	call   | Term u64 | Kind u8 | flags u8 | Proto u8 | TimeoutMS u32 | BlockMS u64 | n u32 | n × command |
//	command| m u32 | m × word b32 |
//	reply  | code u8 | what the code has |
//	           0 reply bytes
//	           1 not the leader: Term u64 | Leader b8
//	           2… one of errorCodes: error text, for people
//	probe  | n u16 | n × shard u32 |
//	answer | n u16 | n × ( hosted u8 | Term u64 | LastIndex u64 | Applied u64 | Leader b8 ) |
//
// Flag 1 is Multi.

const callFixed = 8 + 1 + 1 + 1 + 4 + 8 + 4

const flagMulti = 1

const (
	codeReply     = 0
	codeNotLeader = 1
)

// errorCodes lists the failures that travel, by code. A code is never reused.
var errorCodes = [...]error{
	2: call.ErrOverloaded,
	3: call.ErrTimeout,
	4: call.ErrStopping,
	5: call.ErrNoShard,
	6: call.ErrNotSent,
	7: call.ErrTooLarge,
	8: call.ErrInDoubt,
	9: call.ErrCanceled,

	10: call.ErrNoSpace,
}

func callSize(c *call.Call) int {
	n := callFixed
	for _, cmd := range c.Cmds {
		n += 4
		for _, w := range cmd {
			n += 4 + len(w)
		}
	}
	return n
}

func appendCall(b []byte, c *call.Call) []byte {
	b = binary.BigEndian.AppendUint64(b, c.Term)
	var flags byte
	if c.Multi {
		flags |= flagMulti
	}
	b = append(b, byte(c.Kind), flags, c.Proto)
	b = binary.BigEndian.AppendUint32(b, c.TimeoutMS)
	b = binary.BigEndian.AppendUint64(b, c.BlockMS)
	b = binary.BigEndian.AppendUint32(b, uint32(len(c.Cmds)))
	for _, cmd := range c.Cmds {
		b = binary.BigEndian.AppendUint32(b, uint32(len(cmd)))
		for _, w := range cmd {
			b = appendBytes32(b, w)
		}
	}
	return b
}

// callKind reads no more than the kind, to tell where a call is to be kept.
func callKind(payload []byte) call.Kind {
	if len(payload) < callFixed {
		return 0
	}
	return call.Kind(payload[8])
}

// decodeCall fills c from payload, which it keeps slices of. words gives it slices
// to list commands and words in.
func decodeCall(c *call.Call, payload []byte, words *wordArena) error {
	r := &reader{b: payload}
	c.Term = r.u64()
	c.Kind = call.Kind(r.u8())
	flags := r.u8()
	c.Proto = r.u8()
	c.TimeoutMS = r.u32()
	c.BlockMS = r.u64()
	c.Multi = flags&flagMulti != 0
	if c.Kind < call.Read || c.Kind > call.Admin || flags&^flagMulti != 0 || c.Proto != 2 && c.Proto != 3 {
		r.bad = true
	}
	n := int(r.u32())
	if n > len(r.b)/4 { // a command is at least its count
		r.bad = true
	}
	if r.bad {
		return r.done("a call")
	}
	c.Cmds = words.commands(n)
	for i := range c.Cmds {
		m := int(r.u32())
		if m > len(r.b)/4 { // a word is at least its length
			r.bad = true
			break
		}
		cmd := words.words(m)
		for j := range cmd {
			cmd[j] = r.take(int(r.u32())) // not nil when empty: an empty word is a word
		}
		c.Cmds[i] = cmd
	}
	return r.done("a call")
}

// wordArena hands out small slices of large allocations, so that a call costs few.
// What it hands out is never taken back. The zero wordArena allocates each alone.
type wordArena struct {
	chunk int
	ws    [][]byte
	cs    [][][]byte
}

// arenaWords is how many words, or commands, share an allocation.
const arenaWords = 512

func (a *wordArena) words(n int) [][]byte {
	if n > a.chunk/4 {
		return make([][]byte, n)
	}
	if n > len(a.ws) {
		a.ws = make([][]byte, a.chunk)
	}
	s := a.ws[:n:n]
	a.ws = a.ws[n:]
	return s
}

func (a *wordArena) commands(n int) [][][]byte {
	if n > a.chunk/4 {
		return make([][][]byte, n)
	}
	if n > len(a.cs) {
		a.cs = make([][][]byte, a.chunk)
	}
	s := a.cs[:n:n]
	a.cs = a.cs[n:]
	return s
}

// byteArena does for bytes what wordArena does for words. The zero byteArena is
// ready to use.
type byteArena struct{ rest []byte }

// arenaBytes is how many bytes share an allocation, and so how much one of them
// can keep from being freed.
const arenaBytes = 32 << 10

func (a *byteArena) copy(b []byte) []byte {
	n := len(b)
	if n > arenaBytes/8 {
		return append(make([]byte, 0, n), b...)
	}
	if n > len(a.rest) {
		a.rest = make([]byte, arenaBytes)
	}
	s := a.rest[:n:n]
	a.rest = a.rest[n:]
	copy(s, b)
	return s
}

func replySize(res *call.Result) int {
	if res.Err != nil {
		return 1 + maxErrorText
	}
	return 1 + len(res.Reply)
}

func appendResult(b []byte, res *call.Result) []byte {
	if res.Err == nil {
		b = append(b, codeReply)
		return append(b, res.Reply...)
	}
	var nl *call.NotLeader
	if errors.As(res.Err, &nl) {
		b = append(b, codeNotLeader)
		b = binary.BigEndian.AppendUint64(b, nl.Term)
		return appendBytes8(b, nl.Leader)
	}
	text := res.Err.Error()
	text = text[:min(len(text), maxErrorText-1)]
	for code, known := range errorCodes {
		if known != nil && errors.Is(res.Err, known) {
			return append(append(b, byte(code)), text...)
		}
	}
	// An error nobody has classed proves nothing.
	return append(append(b, codeOf(call.ErrInDoubt)), text...)
}

func codeOf(err error) byte {
	for code, known := range errorCodes {
		if known == err { //nolint:errorlint // the table's own values
			return byte(code)
		}
	}
	panic("peer: error without a code: " + err.Error())
}

// decodeResult copies what it keeps into a, or keeps slices of payload if a is nil.
func decodeResult(payload []byte, a *byteArena) (call.Result, error) {
	if len(payload) == 0 {
		return call.Result{}, fmt.Errorf("%w: an empty reply", ErrMalformed)
	}
	code, rest := payload[0], payload[1:]
	switch {
	case code == codeReply:
		if a != nil {
			rest = a.copy(rest)
		}
		return call.Result{Reply: rest}, nil
	case code == codeNotLeader:
		r := &reader{b: rest}
		nl := &call.NotLeader{Term: r.u64(), Leader: r.str8()}
		return call.Result{Err: nl}, r.done("a reply")
	case int(code) < len(errorCodes) && errorCodes[code] != nil:
		base := errorCodes[code]
		if len(rest) == 0 || string(rest) == base.Error() {
			return call.Result{Err: base}, nil
		}
		return call.Result{Err: fmt.Errorf("%w (%s)", base, rest)}, nil
	}
	return call.Result{}, fmt.Errorf("%w: reply code %d", ErrMalformed, code)
}

// maxProbeShards is how many probes a frame holds.
const maxProbeShards = 1024

func appendProbe(b []byte, shards []uint32) []byte {
	b = binary.BigEndian.AppendUint16(b, uint16(len(shards)))
	for _, s := range shards {
		b = binary.BigEndian.AppendUint32(b, s)
	}
	return b
}

func decodeProbe(payload []byte) ([]uint32, error) {
	r := &reader{b: payload}
	n := int(r.u16())
	if n > maxProbeShards || n > len(r.b)/4 {
		r.bad = true
		return nil, r.done("a probe")
	}
	shards := make([]uint32, n)
	for i := range shards {
		shards[i] = r.u32()
	}
	return shards, r.done("a probe")
}

func appendProbes(b []byte, ps []call.Probe) []byte {
	b = binary.BigEndian.AppendUint16(b, uint16(len(ps)))
	for i := range ps {
		p := &ps[i]
		b = appendBool(b, p.Hosted)
		b = binary.BigEndian.AppendUint64(b, p.Term)
		b = binary.BigEndian.AppendUint64(b, p.LastIndex)
		b = binary.BigEndian.AppendUint64(b, p.Applied)
		b = appendBytes8(b, p.Leader[:min(len(p.Leader), maxNodeID)])
	}
	return b
}

func decodeProbes(payload []byte) ([]call.Probe, error) {
	r := &reader{b: payload}
	n := int(r.u16())
	if n > maxProbeShards || n > len(r.b)/26 {
		r.bad = true
		return nil, r.done("a probe's answer")
	}
	ps := make([]call.Probe, n)
	for i := range ps {
		ps[i] = call.Probe{Hosted: r.bool(), Term: r.u64(), LastIndex: r.u64(), Applied: r.u64(), Leader: r.str8()}
	}
	return ps, r.done("a probe's answer")
}

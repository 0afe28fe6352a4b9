package peer

import (
	"encoding/binary"
	"errors"
	"fmt"

	"millrace/call"
)

// The payloads of calls, replies and probes. A call's shard is in the head of its frame.
//
//	call   | Term u64 | Kind u8 | flags u8 | Proto u8 | TimeoutMS u32 | BlockMS u64 | n u32 | n × command |
//	command| m u32 | m × word b32 |
//	reply  | code u8 | then, by code: |
//	           0 reply bytes
//	           1 not the leader: Term u64 | Leader b8
//	           2… one of errorCodes: error text, for humans to read
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

// errorCodes lists the errors that have a code of their own. A code is never reused.
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

// callSize returns the length of a call's payload.
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

// callKind reads only the kind of a call, which decides in which memory the call is
// kept. It returns 0 for a payload that is too short.
func callKind(payload []byte) call.Kind {
	if len(payload) < callFixed {
		return 0
	}
	return call.Kind(payload[8])
}

// decodeCall fills c from payload. The words of c are slices of payload; the lists of
// commands and of words come from the arena words.
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
	if n > len(r.b)/4 { // every command takes at least the 4 bytes of its word count
		r.bad = true
	}
	if r.bad {
		return r.done("a call")
	}
	c.Cmds = words.commands(n)
	for i := range c.Cmds {
		m := int(r.u32())
		if m > len(r.b)/4 { // every word takes at least the 4 bytes of its length
			r.bad = true
			break
		}
		cmd := words.words(m)
		for j := range cmd {
			cmd[j] = r.take(int(r.u32())) // an empty word is not nil
		}
		c.Cmds[i] = cmd
	}
	return r.done("a call")
}

// wordArena cuts small slices from large allocations, so that decoding a call needs
// few allocations. A chunk is freed when none of its slices is in use any more. The
// zero wordArena makes one allocation for each slice.
type wordArena struct {
	chunk int // words, or commands, in one allocation
	ws    [][]byte
	cs    [][][]byte
}

// arenaWords is the chunk of a connection's arena.
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

// byteArena cuts copies of small byte slices from large allocations, as wordArena does
// with words. The zero byteArena is ready to use.
type byteArena struct{ rest []byte }

// arenaBytes is the size of one allocation. A single byte in use keeps as many from
// being freed.
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

// replySize returns the expected length of a reply's payload.
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
	if nl, ok := errors.AsType[*call.NotLeader](res.Err); ok {
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
	// An error without a code does not show that nothing was done.
	return append(append(b, codeOf(call.ErrInDoubt)), text...)
}

// codeOf returns the code of one of errorCodes.
func codeOf(err error) byte {
	for code, known := range errorCodes {
		if known == err { //nolint:errorlint // the table's own values
			return byte(code)
		}
	}
	panic("peer: error without a code: " + err.Error())
}

// decodeResult reads a reply. The reply bytes are copied into a; if a is nil they
// remain a slice of payload.
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

// maxProbeShards is the largest number of probes in a frame.
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

package stream

import (
	"errors"
	"fmt"

	"millrace/command"
	"millrace/kv"
	"millrace/resp"
)

// maxCached bounds the heads a State keeps decoded. Past it, clean ones are dropped
// when a batch ends: they are read again when they are needed.
const maxCached = 4096

// ErrUnknownCommand is returned by Apply for a command that is not in the table. It
// was proposed by a newer version: going on would diverge from its author.
var ErrUnknownCommand = errors.New("stream: unknown command in a record")

// State is the state machine of one shard: the streams of a run of slots. It keeps
// the heads that commands changed in memory until Flush, so that a batch of many
// commands on one stream writes its head once.
//
// Apply, Flush, Reset, Touched and Committed belong to the one goroutine that
// applies. Read, Ready and what they call touch no field that changes, and may run
// beside it.
type State struct {
	firstSlot, lastSlot uint16

	cached  map[string]*Head
	dirty   []*Head
	bulky   []*Head // those that keep more than maxGroupCached groups or consumers
	sys     *system // nil until loaded
	touched [][]byte
	// touchedAll says that every name was touched, and those in touched after that.
	touchedAll bool
	round      uint64 // how often touched was taken; from one
	idArena    []byte // where newID writes
	flushBuf   []byte // where Flush builds keys and values
	lookups    *Lookups
	tx         Tx // of the call being applied, reused
}

// NewState returns the state machine of the shard of the slots firstSlot to lastSlot.
func NewState(firstSlot, lastSlot uint16) *State {
	return &State{firstSlot: firstSlot, lastSlot: lastSlot, cached: make(map[string]*Head), round: 1}
}

// Apply runs one call's commands at nowMS: a single command, or all of an EXEC. It
// returns one reply for each; null for those behind a Guard that answered null, which
// are not run. An error means that this replica cannot go on.
func (s *State) Apply(b kv.Batch, nowMS int64, cmds [][][]byte) ([]resp.Value, error) {
	if s.sys == nil {
		sys, err := loadSystem(b, s.firstSlot)
		if err != nil {
			return nil, err
		}
		s.sys = sys
	}
	s.tx = Tx{NowMS: nowMS, firstSlot: s.firstSlot, lastSlot: s.lastSlot, kv: b, batch: b, state: s, keyBuf: s.tx.keyBuf, valueBuf: s.tx.valueBuf}
	replies := make([]resp.Value, len(cmds))
	for i, argv := range cmds {
		c, refusal := Lookup(argv)
		switch {
		case refusal != nil:
			replies[i] = *refusal
			continue
		case c == nil || c.Run == nil:
			return nil, fmt.Errorf("%w: %q", ErrUnknownCommand, command.Printable(argv[0], 64))
		}
		v, err := c.Run(&s.tx, argv)
		if err != nil {
			return nil, fmt.Errorf("stream: %s: %w", c.Name, err)
		}
		for _, h := range s.tx.unsettled {
			if err := s.tx.settle(h); err != nil {
				return nil, fmt.Errorf("stream: %s: %w", c.Name, err)
			}
		}
		s.tx.unsettled = s.tx.unsettled[:0]
		replies[i] = v
		if v.IsNull() && c.Is(command.Guard) {
			for j := range replies[i+1:] {
				replies[i+1+j] = resp.Null()
			}
			break
		}
	}
	return replies, nil
}

// Flush writes what Apply kept in memory into b. It is called once for a batch,
// before the batch is committed.
func (s *State) Flush(b kv.Batch) error {
	for _, h := range s.dirty {
		var err error
		if s.flushBuf, err = h.flush(b, s.flushBuf); err != nil {
			return fmt.Errorf("stream: write the head of %q: %w", h.Name, err)
		}
	}
	clear(s.dirty)
	s.dirty = s.dirty[:0]
	if s.sys != nil && s.sys.dirty {
		if err := b.Set(kv.SystemKey(s.firstSlot, kv.SystemState), s.sys.encode()); err != nil {
			return err
		}
		s.sys.dirty = false
	}
	return nil
}

// Committed drops heads above the bound, and groups of heads that hold too many. Which
// ones does not matter to the state.
func (s *State) Committed() {
	for _, h := range s.bulky {
		h.groups, h.allGroups, h.groupsCached = nil, nil, 0
	}
	clear(s.bulky)
	s.bulky = s.bulky[:0]
	for name := range s.cached {
		if len(s.cached) <= maxCached {
			return
		}
		delete(s.cached, name)
	}
}

// Reset drops everything in memory: the state below has been replaced.
func (s *State) Reset() {
	clear(s.cached)
	clear(s.dirty)
	s.dirty = s.dirty[:0]
	clear(s.bulky)
	s.bulky = s.bulky[:0]
	s.sys = nil
	s.touched, s.touchedAll = nil, false
}

// Touched returns the names that commands since the last call have made worth a look
// for blocked calls, in the order they were touched, or all: every name is. The slice
// is the caller's.
func (s *State) Touched() (names [][]byte, all bool) {
	names, all = s.touched, s.touchedAll
	s.touched, s.touchedAll = nil, false
	s.round++
	return names, all
}

// Read runs one command that does not write on a view at nowMS.
func (s *State) Read(v kv.Reader, nowMS int64, argv [][]byte) (resp.Value, error) {
	tx := s.reading(v, nowMS)
	tx.lookups = s.lookups
	return tx.read(argv)
}

// read runs one command that does not write.
func (tx *Tx) read(argv [][]byte) (resp.Value, error) {
	c, refusal := Lookup(argv)
	if refusal != nil {
		return *refusal, nil
	}
	if c == nil || c.Run == nil || c.Is(command.Write) {
		return resp.Value{}, fmt.Errorf("stream: %q is no command that reads", command.Printable(argv[0], 64))
	}
	if c.Is(command.Internal) {
		tx.lookups = nil
	}
	out, err := c.Run(tx, argv)
	if err != nil {
		return resp.Value{}, fmt.Errorf("stream: %s: %w", c.Name, err)
	}
	return out, nil
}

// reading returns what a command that does not write sees of v.
func (s *State) reading(v kv.Reader, nowMS int64) *Tx {
	return &Tx{NowMS: nowMS, firstSlot: s.firstSlot, lastSlot: s.lastSlot, kv: v}
}

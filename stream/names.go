package stream

import (
	"fmt"
	"strconv"

	"millrace/command"
	"millrace/resp"
)

// The commands of this file ask a shard about all of its names, or about those of one slot.
// Only the router sends them, to answer KEYS, RANDOMKEY and subcommands of CLUSTER.

// _KEYS pattern max: answers the names that match pattern. It answers an error when the shard
// has more than max names, because every name would have to be looked at.
var keysCmd = Command{
	Command: command.Command{
		Name: "_keys", Arity: 3, Flags: command.ReadOnly | command.Internal, Group: "generic",
		Summary: "Answers the key names of one shard that match a pattern.",
	},
	Run: runKeys,
}

// maxKeysWork bounds the work of one KEYS in a shard: the bytes of the names in the answer,
// plus the work of matching.
const maxKeysWork = 64 << 20

var errKeysWork = resp.Err("ERR KEYS with this pattern is more work than one command may be. Use SCAN")

func runKeys(tx *Tx, argv [][]byte) (resp.Value, error) {
	if len(argv[1]) > maxPattern {
		return errPattern, nil
	}
	limit, _ := command.ParseInt(argv[2])
	n, err := tx.keyCount()
	if err != nil {
		return resp.Value{}, err
	}
	if n > uint64(max(limit, 0)) {
		return resp.Err(fmt.Sprintf("ERR KEYS looks at every name, and a shard has %d of them, more than %d. Use SCAN", n, limit)), nil
	}
	pattern := argv[1]
	if string(pattern) == "*" {
		pattern = nil
	}
	names, work := []resp.Value{}, 0
	err = tx.eachName(0, func(_ place, name []byte) (bool, error) {
		found, cost, err := tx.wanted(name, pattern, nil)
		if found {
			names = append(names, resp.BulkString(string(name)))
		}
		work += cost
		return work < maxKeysWork, err
	})
	switch {
	case err != nil:
		return resp.Value{}, err
	case work >= maxKeysWork:
		return errKeysWork, nil
	}
	return resp.Array(names...), nil
}

// _RANDOMKEY random: answers the name of the shard that random chooses, or null when the
// shard has none. random is 64 random bits in decimal. They come from the router, because
// the state machine sees no randomness.
var randomKey = Command{
	Command: command.Command{
		Name: "_randomkey", Arity: 2, Flags: command.ReadOnly | command.Internal, Group: "generic",
		Summary: "Answers a key name of one shard, chosen by a number.",
	},
	Run: runRandomKey,
}

const (
	// randomWindow is the number of names, next to each other in the index, among which
	// one is chosen. A window of one would prefer a name after a wide gap in the index,
	// because most random places fall into wide gaps. Larger windows even that out, and
	// give all names of a small shard the same chance.
	randomWindow = 16
	// maxRandomLook bounds the names that are looked at. Expired names count for it, but
	// not for the window.
	maxRandomLook = 1024
)

func runRandomKey(tx *Tx, argv [][]byte) (resp.Value, error) {
	random, err := strconv.ParseUint(string(argv[1]), 10, 64)
	if err != nil {
		return command.ErrNotInteger, nil
	}
	// The low part of the number chooses the slot, the middle part the name in the window,
	// and the high part the hash at which the window starts.
	slots := uint64(tx.lastSlot-tx.firstSlot) + 1
	slot := tx.firstSlot + uint16(random%slots)
	first, err := tx.firstName(place(slot) << hashBits)
	if err != nil || first == endPlace {
		return resp.Null(), err
	}
	start := place(first.slot())<<hashBits | place(random>>(64-hashBits))
	var window [][]byte
	looked := 0
	take := func(name []byte) (bool, error) {
		looked++
		_, alive, err := tx.life(name)
		if alive {
			window = append(window, append([]byte(nil), name...))
		}
		return len(window) < randomWindow && looked < maxRandomLook, err
	}
	more := true
	err = tx.eachName(start, func(_ place, name []byte) (_ bool, err error) {
		more, err = take(name)
		return more, err
	})
	if err == nil && more { // continue at the first name of the shard, as on a ring
		err = tx.eachName(0, func(p place, name []byte) (bool, error) {
			if p >= start {
				return false, nil
			}
			return take(name)
		})
	}
	if err != nil {
		return resp.Value{}, err
	}
	if len(window) == 0 {
		return resp.Null(), nil
	}
	return resp.Bulk(window[random/slots%uint64(len(window))]), nil
}

// firstName returns the place of the first name at from or after it. When there is none, it
// returns the place of the shard's first name, or endPlace when the shard has no name.
func (tx *Tx) firstName(from place) (place, error) {
	at := endPlace
	note := func(p place, _ []byte) (bool, error) {
		at = p
		return false, nil
	}
	err := tx.eachName(from, note)
	if err == nil && at == endPlace {
		err = tx.eachName(0, note)
	}
	return at, err
}

// _SLOTNAMES slot cursor max: answers the next cursor and about max names of a slot, from
// cursor on, expired names included. The cursor is 0 in the first call, and 0 is answered at
// the end.
var slotNames = Command{
	Command: command.Command{
		Name: "_slotnames", Arity: 4, Flags: command.ReadOnly | command.Internal, Group: "cluster",
		Summary: "Answers key names of one slot.",
	},
	Run: runSlotNames,
}

// _SLOTCOUNT slot cursor max: answers the next cursor and the number of names that
// _SLOTNAMES would answer.
var slotCount = Command{
	Command: command.Command{
		Name: "_slotcount", Arity: 4, Flags: command.ReadOnly | command.Internal, Group: "cluster",
		Summary: "Counts key names of one slot.",
	},
	Run: func(tx *Tx, argv [][]byte) (resp.Value, error) {
		n := int64(0)
		next, err := tx.slotStep(argv, func([]byte) { n++ })
		return resp.Array(next, resp.Int(n)), err
	},
}

// MaxSlotStep bounds the max of _SLOTNAMES and _SLOTCOUNT.
const MaxSlotStep = 10_000

// runSlotNames runs _SLOTNAMES.
func runSlotNames(tx *Tx, argv [][]byte) (resp.Value, error) {
	names := []resp.Value{}
	next, err := tx.slotStep(argv, func(name []byte) { names = append(names, resp.BulkString(string(name))) })
	return resp.Array(next, resp.Array(names...)), err
}

// slotStep calls f on the names of one step of _SLOTNAMES and returns the next cursor. Names
// that share a place are in one step, because no cursor lies between them.
func (tx *Tx) slotStep(argv [][]byte, f func(name []byte)) (next resp.Value, err error) {
	slot, _ := command.ParseInt(argv[1])
	cursor, _ := command.ParseInt(argv[2])
	limit, _ := command.ParseInt(argv[3])
	from := max(place(slot)<<hashBits, place(cursor))
	left, work := min(limit, MaxSlotStep), 0
	var end, last place
	err = tx.eachName(from, func(p place, name []byte) (bool, error) {
		switch {
		case p.slot() != uint16(slot):
			return false, nil
		case (left <= 0 || work >= maxScanWork) && p != last:
			end = p
			return false, nil
		}
		last = p
		left--
		work += len(name)
		f(name)
		return true, nil
	})
	return resp.BulkString(strconv.FormatUint(uint64(end), 10)), err
}

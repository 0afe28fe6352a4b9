package stream

import (
	"fmt"
	"strconv"

	"millrace/command"
	"millrace/resp"
)

// Commands of the router to a shard about all of its names, or those of one slot.

// _KEYS pattern max: the names that match, or an error where the shard has more than
// max names.
var keysCmd = Command{
	Command: command.Command{
		Name: "_keys", Arity: 3, Flags: command.ReadOnly | command.Internal, Group: "generic",
		Summary: "Returns the key names of one shard that match a pattern.",
	},
	Run: runKeys,
}

// maxKeysWork bounds what one KEYS does in a shard: bytes of names answered, and the
// work of matching.
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

// _RANDOMKEY random: a name of the shard as the 64 random bits choose, given in
// decimal; null where there is none. State machines have no randomness of their own.
var randomKey = Command{
	Command: command.Command{
		Name: "_randomkey", Arity: 2, Flags: command.ReadOnly | command.Internal, Group: "generic",
		Summary: "Returns a key name of one shard, chosen by a number.",
	},
	Run: runRandomKey,
}

const (
	// randomWindow is among how many names that follow each other in the index one is
	// chosen. Each place draws by how far the one before it is away; a window evens
	// that out, and gives all names of a small shard the same chance.
	randomWindow = 16
	// maxRandomLook bounds the names that are looked at: those that have expired do not
	// count for the window.
	maxRandomLook = 1024
)

func runRandomKey(tx *Tx, argv [][]byte) (resp.Value, error) {
	random, err := strconv.ParseUint(string(argv[1]), 10, 64)
	if err != nil {
		return command.ErrNotInteger, nil
	}
	// The low part of the number chooses the slot, the next one the name in the window,
	// and the high part the hash to start from.
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
	if err == nil && more { // go on from the start of the shard, once around
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

// firstName returns the place of the first name from a place on, or else of the
// shard's first; endPlace where there is none.
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

// _SLOTNAMES slot cursor max: the names of a slot from the cursor on, which is 0 at
// first: up to max of them, expired or not, and the cursor to go on with, 0 at the end.
var slotNames = Command{
	Command: command.Command{
		Name: "_slotnames", Arity: 4, Flags: command.ReadOnly | command.Internal, Group: "cluster",
		Summary: "Returns key names of one slot.",
	},
	Run: runSlotNames,
}

// _SLOTCOUNT slot cursor max: how many names _SLOTNAMES would answer, and the cursor.
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

// MaxSlotStep bounds the names that one _SLOTNAMES or _SLOTCOUNT takes.
const MaxSlotStep = 10_000

func runSlotNames(tx *Tx, argv [][]byte) (resp.Value, error) {
	names := []resp.Value{}
	next, err := tx.slotStep(argv, func(name []byte) { names = append(names, resp.BulkString(string(name))) })
	return resp.Array(next, resp.Array(names...)), err
}

// slotStep calls f on names as _SLOTNAMES says, and returns the next cursor. Names that
// share a place are taken together.
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

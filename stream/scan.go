package stream

import (
	"strconv"

	"millrace/command"
	"millrace/resp"
)

// SCAN cursor [MATCH pattern] [COUNT count] [TYPE type]: some names, and the cursor to
// go on with; 0 at the end. Every name that is there during the whole of a scan is
// answered, and none twice. One call looks at no more than COUNT names, and at no shard
// but the one that the cursor is in. The cursor of the next shard's first slot takes a
// scan from one shard to the next.
var scan = Command{
	Command: command.Command{
		Name: "scan", Arity: -2, Flags: command.ReadOnly,
		Tips:  []string{"nondeterministic_output"},
		Usage: "cursor:int [MATCH pattern:pattern] [COUNT count:int] [TYPE type]",
		History: []string{
			"6.0.0 Added the `TYPE` subcommand.",
		},
		Categories: []string{"keyspace", "read", "slow"},
		Since:      "2.8.0", Group: "generic",
		Summary:    "Iterates over the key names in the database.",
		Complexity: "O(1) for every call. O(N) for a complete iteration, including enough command calls for the cursor to return back to 0. N is the number of elements inside the collection.",
		Check: func(argv [][]byte) *resp.Value {
			_, refusal := parseScan(argv)
			return refusal
		},
	},
	Run: runScan,
}

// The bounds of what one SCAN does, whatever COUNT says.
const (
	defaultScanCount = 10
	// maxScanCount bounds the names that are looked at.
	maxScanCount = 10_000
	// maxScanWork bounds the bytes of names answered and the work of matching, so that
	// neither long names nor odd patterns make a step long.
	maxScanWork = 4 << 20
)

// Refusals of SCAN and KEYS.
var (
	errCursor  = resp.Err("ERR invalid cursor")
	errPattern = resp.Err("ERR The pattern is longer than " + strconv.Itoa(maxPattern) + " bytes")
)

// scanArgs is what a SCAN asks for.
type scanArgs struct {
	from    place
	count   int64
	pattern []byte // nil: every name
	typ     []byte // nil: every type
}

func parseScan(argv [][]byte) (a scanArgs, refusal *resp.Value) {
	a.count = defaultScanCount
	cursor, err := strconv.ParseUint(string(argv[1]), 10, 64)
	if err != nil {
		return a, &errCursor
	}
	a.from = place(cursor)
	for i := 2; i < len(argv); i += 2 {
		if i+1 == len(argv) {
			return a, &command.ErrSyntax
		}
		value := argv[i+1]
		switch {
		case command.IsWord(argv[i], "COUNT"):
			n, ok := command.ParseInt(value)
			if !ok {
				return a, &command.ErrNotInteger
			}
			if n < 1 {
				return a, &command.ErrSyntax
			}
			a.count = min(n, maxScanCount)
		case command.IsWord(argv[i], "MATCH"):
			if len(value) > maxPattern {
				return a, &errPattern
			}
			if a.pattern = value; string(value) == "*" {
				a.pattern = nil
			}
		case command.IsWord(argv[i], "TYPE"):
			a.typ = value
		default:
			return a, &command.ErrSyntax
		}
	}
	return a, nil
}

// ScanSlot returns the slot in which a SCAN with this cursor goes on; false when there
// is none: the scan is over.
func ScanSlot(cursor []byte) (slot uint16, ok bool) {
	n, err := strconv.ParseUint(string(cursor), 10, 64)
	if err != nil || place(n) >= endPlace {
		return 0, false
	}
	return place(n).slot(), true
}

func runScan(tx *Tx, argv [][]byte) (resp.Value, error) {
	a, refusal := parseScan(argv)
	if refusal != nil {
		return *refusal, nil
	}
	names := []resp.Value{}
	next := afterSlot(tx.lastSlot)
	var last place
	looked, work := int64(0), 0
	err := tx.eachName(a.from, func(p place, name []byte) (bool, error) {
		// Names of one place are answered together: the cursor cannot stand between them.
		if (looked >= a.count || work >= maxScanWork) && p != last {
			next = p
			return false, nil
		}
		last = p
		looked++
		found, cost, err := tx.wanted(name, a.pattern, a.typ)
		if found {
			names = append(names, resp.BulkString(string(name)))
		}
		work += cost
		return true, err
	})
	if err != nil {
		return resp.Value{}, err
	}
	if next >= endPlace {
		next = 0
	}
	return resp.Array(resp.BulkString(strconv.FormatUint(uint64(next), 10)), resp.Array(names...)), nil
}

// wanted reports whether an indexed name matches, has not expired, and holds a value of
// the type named. cost is the work of matching, and the bytes of a name that is wanted.
func (tx *Tx) wanted(name, pattern, typ []byte) (ok bool, cost int, err error) {
	if pattern != nil {
		if ok, cost = match(pattern, name); !ok {
			return false, cost, nil
		}
	}
	t, alive, err := tx.life(name)
	if err != nil || !alive || typ != nil && !command.IsWord(typ, t.String()) {
		return false, cost, err
	}
	return true, cost + len(name), nil
}

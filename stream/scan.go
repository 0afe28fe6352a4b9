package stream

import (
	"strconv"

	"millrace/command"
	"millrace/resp"
)

// SCAN cursor [MATCH pattern] [COUNT count] [TYPE type]: answers some names, and the cursor
// for the next call, or 0 at the end. A whole scan answers every name that exists during all
// of it, and no name twice. One call looks at about COUNT names of one shard, the shard that
// the cursor belongs to. At the end of the shard the next cursor is the first place of the
// following slot, which belongs to another shard.
var scan = Command{
	Command: command.Command{
		Name: "scan", Arity: -2, Flags: command.ReadOnly,
		Tips:  []string{"nondeterministic_output"},
		Usage: "cursor:int [MATCH pattern:pattern] [COUNT count:int] [TYPE type]",
		History: []string{
			"6.0.0 `TYPE` is new.",
		},
		Categories: []string{"keyspace", "read", "slow"},
		Since:      "2.8.0", Group: "generic",
		Summary:    "Lists key names step by step; a cursor leads from one call to the next.",
		Complexity: "O(COUNT) for each call, and O(N) for a whole scan of N keys.",
		Check: func(argv [][]byte) *resp.Value {
			_, refusal := parseScan(argv)
			return refusal
		},
	},
	Run: runScan,
}

// The bounds of the work of one SCAN, whatever COUNT says.
const (
	defaultScanCount = 10
	// maxScanCount bounds the number of names that are looked at.
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

// scanArgs holds the arguments of SCAN.
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

// ScanSlot returns the slot in which a SCAN with this cursor continues. ok is false when
// there is no such slot, because the scan is over or the cursor is not valid.
func ScanSlot(cursor []byte) (slot uint16, ok bool) {
	n, err := strconv.ParseUint(string(cursor), 10, 64)
	if err != nil || place(n) >= endPlace {
		return 0, false
	}
	return place(n).slot(), true
}

// ScanStart returns the cursor with which a scan of slot and the slots after it begins.
func ScanStart(slot uint16) []byte { return strconv.AppendUint(nil, uint64(slot)<<hashBits, 10) }

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
		// Names that share a place are answered together, because no cursor lies between them.
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

// wanted reports whether an indexed name matches pattern, has not expired, and holds a value
// of the type typ. A nil pattern or typ matches every name. cost is the work of matching, plus
// the bytes of the name when it is wanted.
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

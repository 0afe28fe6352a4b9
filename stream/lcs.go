package stream

import (
	"millrace/command"
	"millrace/resp"
)

// LCS key1 key2 [LEN] [IDX] [MINMATCHLEN n] [WITHMATCHLEN]: answers the longest common
// subsequence of two strings; with LEN its length, with IDX the places of its runs.
var lcs = Command{
	Command: command.Command{
		Name: "lcs", Arity: -3, Flags: command.ReadOnly,
		Usage:      "key1:key key2:key [LEN] [IDX] [MINMATCHLEN min-match-len:int] [WITHMATCHLEN]",
		Keys:       command.Keys{First: 1, Last: 2, Step: 1, Access: "RO access"},
		Categories: []string{"read", "string", "slow"},
		Since:      "7.0.0", Group: "string",
		Summary:    "Finds the longest sequence of bytes that two strings have in common, gaps allowed.",
		Complexity: "O(N*M) for strings of N and M bytes.",
	},
	Run: runLCS,
}

// maxLCSCells bounds the table of one LCS, a cell for each pair of bytes. It takes four bytes
// a cell.
const maxLCSCells = 16 << 20

// lcsUnit is the number of cells that cost a unit of a call's budget.
const lcsUnit = 256

var (
	errLCSType   = resp.Err("ERR The specified keys must contain string values")
	errLCSBoth   = resp.Err("ERR If you want both the length and indexes, please just use IDX.")
	errLCSMemory = resp.Err("ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len")
)

// lcsArgs are the options of LCS.
type lcsArgs struct {
	length, places, withLength bool
	least                      int64 // runs shorter than this are left out of the places
}

func parseLCS(argv [][]byte) (a lcsArgs, refusal *resp.Value) {
	for i := 3; i < len(argv); i++ {
		switch w := argv[i]; {
		case command.IsWord(w, "IDX"):
			a.places = true
		case command.IsWord(w, "LEN"):
			a.length = true
		case command.IsWord(w, "WITHMATCHLEN"):
			a.withLength = true
		case command.IsWord(w, "MINMATCHLEN") && i+1 < len(argv):
			i++
			n, ok := command.ParseInt(argv[i])
			if !ok {
				return a, &command.ErrNotInteger
			}
			a.least = max(n, 0)
		default:
			return a, &command.ErrSyntax
		}
	}
	if a.places && a.length {
		return a, &errLCSBoth
	}
	return a, nil
}

// runLCS looks at the keys before it reads the options, as Redis does.
func runLCS(tx *Tx, argv [][]byte) (resp.Value, error) {
	var texts [2][]byte
	for i := range texts {
		v, _, refusal, err := tx.bulkAt(argv[1+i])
		switch {
		case err != nil:
			return resp.Value{}, err
		case refusal != nil:
			return errLCSType, nil
		}
		texts[i] = v.Str
	}
	a, refusal := parseLCS(argv)
	if refusal != nil {
		return *refusal, nil
	}
	if (len(texts[0])+1)*(len(texts[1])+1) > maxLCSCells {
		return errLCSMemory, nil
	}
	if err := tx.step(len(texts[0]) * len(texts[1]) / lcsUnit); err != nil {
		return resp.Value{}, err
	}
	t := newLCSTable(texts[0], texts[1])
	if a.length {
		return resp.Int(int64(t.at(len(t.a), len(t.b)))), nil
	}
	text, runs := t.walk()
	if !a.places {
		return resp.Bulk(text), nil
	}
	matches := []resp.Value{}
	for _, r := range runs {
		if int64(r.n) < a.least {
			continue
		}
		span := func(from int) resp.Value { return resp.Array(resp.Int(int64(from)), resp.Int(int64(from+r.n-1))) }
		match := []resp.Value{span(r.a), span(r.b)}
		if a.withLength {
			match = append(match, resp.Int(int64(r.n)))
		}
		matches = append(matches, resp.Array(match...))
	}
	return resp.Map(resp.BulkString("matches"), resp.Array(matches...), resp.BulkString("len"), resp.Int(int64(len(text)))), nil
}

// lcsTable has the length of the longest common subsequence of each pair of prefixes of a
// and b.
type lcsTable struct {
	a, b  []byte
	cells []uint32
}

func newLCSTable(a, b []byte) *lcsTable {
	t := &lcsTable{a, b, make([]uint32, (len(a)+1)*(len(b)+1))}
	for i := 1; i <= len(a); i++ {
		above, row := t.cells[(i-1)*(len(b)+1):], t.cells[i*(len(b)+1):]
		for j := 1; j <= len(b); j++ {
			if a[i-1] == b[j-1] {
				row[j] = above[j-1] + 1
			} else {
				row[j] = max(above[j], row[j-1])
			}
		}
	}
	return t
}

// at returns the length for the first i bytes of a and the first j of b.
func (t *lcsTable) at(i, j int) uint32 { return t.cells[i*(len(t.b)+1)+j] }

// lcsRun is a run of n bytes that both strings have in common, at a and b.
type lcsRun struct{ a, b, n int }

// walk returns the subsequence and its runs, the last run first. Where several subsequences
// are equally long, it finds the one that Redis finds: it goes from the ends to the
// beginnings, and in doubt first in b.
func (t *lcsTable) walk() (text []byte, runs []lcsRun) {
	i, j := len(t.a), len(t.b)
	text = make([]byte, t.at(i, j))
	var run lcsRun
	for n := len(text); n > 0; {
		switch {
		case t.a[i-1] == t.b[j-1]:
			n--
			i--
			j--
			text[n] = t.a[i]
			run = lcsRun{i, j, run.n + 1}
			continue
		case t.at(i-1, j) > t.at(i, j-1):
			i--
		default:
			j--
		}
		if run.n > 0 {
			runs, run = append(runs, run), lcsRun{}
		}
	}
	if run.n > 0 {
		runs = append(runs, run)
	}
	return text, runs
}

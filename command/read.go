package command

import (
	"math"
	"strconv"

	"millrace/resp"
)

// Read holds the arguments of one XREAD or XREADGROUP. Routing, blocking, splitting over
// shards and running all use this value, so that the words are read in one place, and
// [Read.Words] writes them again for a call to one shard.
type Read struct {
	Grouped         bool // whether the command is XREADGROUP
	Group, Consumer []byte

	Count    int64 // most entries of one stream; zero: no limit
	MaxCount int64 // most entries of the whole reply; zero: no limit
	MaxSize  int64 // bytes of the reply after which no entry follows; zero: no limit

	Blocks  bool  // whether BLOCK was given
	BlockMS int64 // how long the call may wait; zero: for ever

	Claims    bool  // whether CLAIM was given
	MinIdleMS int64 // how long an entry must have been pending for CLAIM

	NoAck bool

	First     int      // index of the first key among the words
	Keys, IDs [][]byte // of equal length: the ID for each key
}

// Refusals of the words of XREAD and XREADGROUP, with Redis's texts.
var (
	errUnbalancedRead  = resp.Err("ERR Unbalanced 'xread' list of streams: for each stream key an ID, '+', or '$' must be specified.")
	errUnbalancedGroup = resp.Err("ERR Unbalanced 'xreadgroup' list of streams: for each stream key an ID or '>' must be specified.")
	errMissingGroup    = resp.Err("ERR Missing GROUP option for XREADGROUP")
	errGroupOption     = resp.Err("ERR The GROUP option is only supported by XREADGROUP. You called XREAD instead.")
	errNoAckOption     = resp.Err("ERR The NOACK option is only supported by XREADGROUP. You called XREAD instead.")
	errClaimOption     = resp.Err("ERR The CLAIM option is only supported by XREADGROUP. You called XREAD instead.")
	errMinIdleInt      = resp.Err("ERR min-idle-time is not an integer or out of range")
	errMinIdleNeg      = resp.Err("ERR min-idle-time must be a positive integer")
	errMaxCount        = resp.Err("ERR MAXCOUNT must be a positive integer")
	errMaxCountSmall   = resp.Err("ERR MAXCOUNT must be greater than or equal to COUNT")
	errMaxSize         = resp.Err("ERR MAXSIZE must be a positive integer")
	errTimeoutInt      = resp.Err("ERR timeout is not an integer or out of range")
	errTimeoutNeg      = resp.Err("ERR timeout is negative")
	errTimeoutRange    = resp.Err("ERR timeout is out of range")
)

// MaxTimeoutMS is the longest time that BLOCK takes, in milliseconds. Redis refuses a time
// that overflows when its clock is added; this package has no clock, so it keeps the
// difference free for any clock.
const MaxTimeoutMS = math.MaxInt64 - 1<<44

// ParseRead reads the words of XREADGROUP, or of XREAD when group is false. It does not
// look at the IDs, because Redis finds a wrong ID only after it has looked at the keys.
// Redis too reads both commands with one function: xreadCommand in redis src/t_stream.c.
func ParseRead(argv [][]byte, group bool) (r Read, refusal *resp.Value) {
	for i := 1; i < len(argv) && r.First == 0; {
		used, refusal := r.option(argv[i:], group)
		if refusal != nil {
			return r, refusal
		}
		if IsWord(argv[i], "STREAMS") {
			r.First = i + 1
		}
		i += used
	}
	switch {
	case r.First == 0:
		return r, &ErrSyntax
	case group && !r.Grouped:
		return r, &errMissingGroup
	case r.MaxCount > 0 && r.MaxCount < r.Count:
		return r, &errMaxCountSmall
	}
	return r, nil
}

// option reads the option that words begin with, and returns how many words it used.
func (r *Read) option(words [][]byte, group bool) (used int, refusal *resp.Value) {
	word, more := words[0], len(words)-1
	switch {
	case IsWord(word, "BLOCK") && more > 0:
		r.Blocks = true
		r.BlockMS, refusal = parseTimeout(words[1])
		return 2, refusal
	case IsWord(word, "COUNT") && more > 0:
		n, ok := ParseInt(words[1])
		if !ok {
			return 0, &ErrNotInteger
		}
		r.Count = max(n, 0)
		return 2, nil
	case IsWord(word, "MAXCOUNT") && more > 0:
		r.MaxCount, refusal = parsePositive(words[1], &errMaxCount)
		return 2, refusal
	case IsWord(word, "MAXSIZE") && more > 0:
		r.MaxSize, refusal = parsePositive(words[1], &errMaxSize)
		return 2, refusal
	case IsWord(word, "STREAMS") && more > 0:
		if more%2 != 0 {
			if group {
				return 0, &errUnbalancedGroup
			}
			return 0, &errUnbalancedRead
		}
		r.Keys, r.IDs = words[1:1+more/2], words[1+more/2:]
		return len(words), nil
	case IsWord(word, "GROUP") && more > 1:
		if !group {
			return 0, &errGroupOption
		}
		r.Grouped, r.Group, r.Consumer = true, words[1], words[2]
		return 3, nil
	case IsWord(word, "CLAIM") && more > 0:
		if !group {
			return 0, &errClaimOption
		}
		r.Claims = true
		r.MinIdleMS, refusal = parseMinIdle(words[1])
		return 2, refusal
	case IsWord(word, "NOACK"):
		if !group {
			return 0, &errNoAckOption
		}
		r.NoAck = true
		return 1, nil
	}
	return 0, &ErrSyntax
}

// Words returns the words of a command called name with the options of r, and the keys at
// the given positions with their IDs. A caller that wants to leave an option out, such as
// BLOCK, clears it in a copy of r first.
func (r *Read) Words(name string, at []int) [][]byte {
	out := make([][]byte, 0, 16+2*len(at))
	out = append(out, []byte(name))
	number := func(option string, n int64) {
		out = append(out, []byte(option), strconv.AppendInt(nil, n, 10))
	}
	if r.Grouped {
		out = append(out, []byte("GROUP"), r.Group, r.Consumer)
	}
	if r.Count > 0 {
		number("COUNT", r.Count)
	}
	if r.MaxCount > 0 {
		number("MAXCOUNT", r.MaxCount)
	}
	if r.MaxSize > 0 {
		number("MAXSIZE", r.MaxSize)
	}
	if r.Blocks {
		number("BLOCK", r.BlockMS)
	}
	if r.Claims {
		number("CLAIM", r.MinIdleMS)
	}
	if r.NoAck {
		out = append(out, []byte("NOACK"))
	}
	out = append(out, []byte("STREAMS"))
	for _, i := range at {
		out = append(out, r.Keys[i])
	}
	for _, i := range at {
		out = append(out, r.IDs[i])
	}
	return out
}

// Capped reports whether a limit on the whole reply was given.
func (r *Read) Capped() bool { return r.MaxCount > 0 || r.MaxSize > 0 }

// After returns r with the rest of its caps, when the reply holds entries that count
// sizeBytes already. ok is false when no entry may follow them. For example, after 3
// entries a MAXCOUNT of 10 is 7, and a COUNT of 8 is 7 as well.
func (r *Read) After(entries, sizeBytes int64) (rest Read, ok bool) {
	if r.MaxCount > 0 && entries >= r.MaxCount || r.MaxSize > 0 && entries > 0 && sizeBytes >= r.MaxSize {
		return Read{}, false
	}
	rest = *r
	if r.MaxCount > 0 {
		rest.MaxCount -= entries
		rest.Count = min(r.Count, rest.MaxCount) // because a COUNT above MAXCOUNT is refused
	}
	if r.MaxSize > 0 {
		rest.MaxSize -= sizeBytes
	}
	return rest, true
}

// ReadKeys returns the indexes of the keys of XREADGROUP, or of XREAD when group is false;
// nil when the words are malformed. The words have to be parsed for it, because a group, a
// consumer or a key may be called "streams".
func ReadKeys(argv [][]byte, group bool) []int {
	r, refusal := ParseRead(argv, group)
	if refusal != nil {
		return nil
	}
	idx := make([]int, len(r.Keys))
	for i := range idx {
		idx[i] = r.First + i
	}
	return idx
}

// parseTimeout reads the milliseconds of BLOCK; zero means for ever.
func parseTimeout(b []byte) (int64, *resp.Value) {
	ms, ok := ParseInt(b)
	switch {
	case !ok:
		return 0, &errTimeoutInt
	case ms < 0:
		return 0, &errTimeoutNeg
	case ms > MaxTimeoutMS:
		return 0, &errTimeoutRange
	}
	return ms, nil
}

// parseMinIdle reads the milliseconds of CLAIM.
func parseMinIdle(b []byte) (int64, *resp.Value) {
	ms, ok := ParseInt(b)
	switch {
	case !ok:
		return 0, &errMinIdleInt
	case ms < 0:
		return 0, &errMinIdleNeg
	}
	return ms, nil
}

// parsePositive reads an integer above zero. tooSmall is the refusal of a smaller one.
func parsePositive(b []byte, tooSmall *resp.Value) (int64, *resp.Value) {
	n, ok := ParseInt(b)
	if !ok {
		return 0, &ErrNotInteger
	}
	if n <= 0 {
		return 0, tooSmall
	}
	return n, nil
}

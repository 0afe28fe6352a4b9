package stream

import (
	"slices"

	"millrace/resp"
)

// readArgs are the words of XREAD and XREADGROUP, which Redis reads with one function:
// xreadCommand in redis src/t_stream.c.
type readArgs struct {
	grouped         bool // there was a GROUP option
	group, consumer []byte

	count     int64 // entries of one stream; zero: all
	maxCount  int64 // entries of the whole reply; zero: no limit
	maxSize   int64 // bytes of the reply after which no entry follows; zero: no limit
	blocks    bool
	blockMS   int64 // zero: for ever
	claims    bool
	minIdleMS int64
	noAck     bool

	first     int      // index of the first key
	keys, ids [][]byte // of equal length
}

var (
	errUnbalancedRead = resp.Err("ERR Unbalanced 'xread' list of streams: for each stream key an ID, '+', or '$' must be specified.")
	errUnbalancedGrp  = resp.Err("ERR Unbalanced 'xreadgroup' list of streams: for each stream key an ID or '>' must be specified.")
	errMissingGroup   = resp.Err("ERR Missing GROUP option for XREADGROUP")
	errGroupOption    = resp.Err("ERR The GROUP option is only supported by XREADGROUP. You called XREAD instead.")
	errNoAckOption    = resp.Err("ERR The NOACK option is only supported by XREADGROUP. You called XREAD instead.")
	errClaimOption    = resp.Err("ERR The CLAIM option is only supported by XREADGROUP. You called XREAD instead.")
	errMinIdleInt     = resp.Err("ERR min-idle-time is not an integer or out of range")
	errMinIdleNeg     = resp.Err("ERR min-idle-time must be a positive integer")
	errMaxCount       = resp.Err("ERR MAXCOUNT must be a positive integer")
	errMaxCountSmall  = resp.Err("ERR MAXCOUNT must be greater than or equal to COUNT")
	errMaxSize        = resp.Err("ERR MAXSIZE must be a positive integer")
)

// parseRead reads the words of XREADGROUP, or of XREAD when group is false. It leaves
// the IDs as they are: what is wrong with them comes after what is wrong with keys.
func parseRead(argv [][]byte, group bool) (a readArgs, refusal *resp.Value) {
	for i := 1; i < len(argv) && a.first == 0; i++ {
		word, more := argv[i], len(argv)-i-1
		switch {
		case isWord(word, "BLOCK") && more > 0:
			i++
			if a.blockMS, refusal = parseTimeout(argv[i]); refusal != nil {
				return a, refusal
			}
			a.blocks = true
		case isWord(word, "COUNT") && more > 0:
			i++
			n, ok := parseInt(argv[i])
			if !ok {
				return a, &errNotInteger
			}
			a.count = max(n, 0)
		case isWord(word, "MAXCOUNT") && more > 0:
			i++
			if a.maxCount, refusal = parsePositive(argv[i], &errMaxCount); refusal != nil {
				return a, refusal
			}
		case isWord(word, "MAXSIZE") && more > 0:
			i++
			if a.maxSize, refusal = parsePositive(argv[i], &errMaxSize); refusal != nil {
				return a, refusal
			}
		case isWord(word, "STREAMS") && more > 0:
			a.first = i + 1
			if more%2 != 0 {
				if group {
					return a, &errUnbalancedGrp
				}
				return a, &errUnbalancedRead
			}
			a.keys, a.ids = argv[i+1:i+1+more/2], argv[i+1+more/2:]
		case isWord(word, "GROUP") && more > 1:
			if !group {
				return a, &errGroupOption
			}
			a.grouped, a.group, a.consumer = true, argv[i+1], argv[i+2]
			i += 2
		case isWord(word, "CLAIM") && more > 0:
			if !group {
				return a, &errClaimOption
			}
			i++
			n, ok := parseInt(argv[i])
			if !ok {
				return a, &errMinIdleInt
			}
			if n < 0 {
				return a, &errMinIdleNeg
			}
			a.claims, a.minIdleMS = true, n
		case isWord(word, "NOACK"):
			if !group {
				return a, &errNoAckOption
			}
			a.noAck = true
		default:
			return a, &errSyntax
		}
	}
	switch {
	case a.first == 0:
		return a, &errSyntax
	case group && !a.grouped:
		return a, &errMissingGroup
	case a.maxCount > 0 && a.maxCount < a.count:
		return a, &errMaxCountSmall
	}
	return a, nil
}

// ReadIDRefusal returns what XREADGROUP, or XREAD when group is false, answers to a word
// that is no ID for any stream; nil where it is one. The router asks it about calls over
// several shards.
func ReadIDRefusal(id []byte, group bool) *resp.Value {
	switch string(id) {
	case "$":
		if group {
			return &errDollarID
		}
	case "+":
		if group {
			return &errPlusID
		}
	case ">":
		if !group {
			return &errReadGreater
		}
	default:
		if _, ok := parseID(id, 0); !ok {
			return &errInvalidID
		}
	}
	return nil
}

// parsePositive reads an integer above zero; refusal says what a smaller one is told.
func parsePositive(b []byte, refusal *resp.Value) (int64, *resp.Value) {
	n, ok := parseInt(b)
	if !ok {
		return 0, &errNotInteger
	}
	if n <= 0 {
		return 0, refusal
	}
	return n, nil
}

// findReadKeys returns the indexes of the keys of XREADGROUP, or of XREAD when group
// is false; nil when the words are malformed. A group, a consumer or a key may be
// called "streams".
func findReadKeys(argv [][]byte, group bool) []int {
	a, refusal := parseRead(argv, group)
	if refusal != nil {
		return nil
	}
	idx := make([]int, len(a.keys))
	for i := range idx {
		idx[i] = a.first + i
	}
	return idx
}

// readLimit is what is left of the limits on one reply of XREAD or XREADGROUP.
type readLimit struct {
	entries  int64 // in the reply so far
	bytes    int64 // of the reply so far
	maxCount int64 // zero: no limit
	maxSize  int64 // zero: no limit
}

// full reports whether no further entry may follow. The first one always may.
func (l *readLimit) full() bool {
	return l.maxCount > 0 && l.entries >= l.maxCount || l.maxSize > 0 && l.entries > 0 && l.bytes >= l.maxSize
}

// stream counts the start of a stream's entries.
func (l *readLimit) stream(key []byte) {
	l.bytes += int64(len("*2\r\n") + bulkLen(len(key)) + len("*1\r\n"))
}

// entry counts an entry.
func (l *readLimit) entry(v resp.Value) {
	l.entries++
	l.bytes += int64(replyLen(v))
}

// ReadTaken returns what a reply of XREAD or XREADGROUP, in either protocol version, uses
// up of MAXCOUNT and of MAXSIZE: its entries, and their bytes as the limits count them.
// The router asks it about calls over several shards.
func ReadTaken(reply resp.Value) (entries, bytes int64) {
	var l readLimit
	take := func(pair []resp.Value) {
		if len(pair) < 2 || len(pair[1].Elems) == 0 {
			return
		}
		l.stream(pair[0].Str)
		for _, v := range pair[1].Elems {
			l.entry(v)
		}
	}
	if reply.Kind == resp.KindMap {
		for pair := range slices.Chunk(reply.Elems, 2) {
			take(pair)
		}
	} else {
		for _, v := range reply.Elems {
			take(v.Elems)
		}
	}
	return l.entries, l.bytes
}

// replyLen returns how many bytes the reply of an entry takes in RESP2. Replicas must
// agree on it, so it cannot be what the client's protocol version makes of it.
func replyLen(v resp.Value) int {
	switch v.Kind {
	case resp.KindBulk:
		return bulkLen(len(v.Str))
	case resp.KindInt:
		return 1 + digits(uint64(max(v.Int, -v.Int))) + 2
	case resp.KindArray:
		n := 1 + digits(uint64(len(v.Elems))) + 2
		for _, e := range v.Elems {
			n += replyLen(e)
		}
		return n
	}
	return len("$-1\r\n")
}

func bulkLen(n int) int { return 1 + digits(uint64(n)) + 2 + n + 2 }

func digits(n uint64) int {
	d := 1
	for ; n >= 10; n /= 10 {
		d++
	}
	return d
}

package stream

import (
	"strconv"

	"millrace/command"
	"millrace/resp"
)

// OBJECT describes a value as an object in Redis's memory. Millrace has no such objects. It
// gives the answers that clients of Redis expect for a value of this kind.
var object = Command{
	Command: command.Command{
		Name: "object", Arity: -2,
		Categories: []string{"slow"},
		Since:      "2.2.3", Group: "generic",
		Summary:    "Describes a value as Redis would keep it in memory.",
		Complexity: "As each subcommand says.",
	},
	Subs: []*Command{
		objectAbout("encoding", "2.2.3", "Names the encoding that Redis would choose for a value.", (*Tx).encoding),
		objectAbout("freq", "4.0.0", "Refused: no access frequency is tracked.", func(*Tx, *Head) (resp.Value, error) { return errNoFreq, nil }),
		objectAbout("idletime", "2.2.3", "Answers 0, because no access time is tracked.", func(*Tx, *Head) (resp.Value, error) { return resp.Int(0), nil }),
		objectAbout("refcount", "2.2.3", "Answers 1, because no value is shared.", func(*Tx, *Head) (resp.Value, error) { return resp.Int(1), nil }),
		&objectHelp,
	},
}

var errNoFreq = resp.Err("ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when switching between policies at runtime LRU and LFU data will take some time to adjust.")

// objectAbout returns the subcommand OBJECT name key. It answers null for a missing key, and
// otherwise the result of about.
func objectAbout(name, since, summary string, about func(*Tx, *Head) (resp.Value, error)) *Command {
	return &Command{
		Command: command.Command{
			Name: "object|" + name, Usage: "key", Arity: 3, Tips: []string{"nondeterministic_output"}, Flags: command.ReadOnly,
			Keys:       command.Keys{First: 2, Last: 2, Step: 1, Access: "RO"},
			Categories: []string{"keyspace", "read", "slow"},
			Since:      since, Group: "generic", Summary: summary, Complexity: "O(1)",
		},
		Run: func(tx *Tx, argv [][]byte) (resp.Value, error) {
			h, err := tx.head(argv[2])
			if err != nil || h == nil {
				return resp.Null(), err
			}
			return about(tx, h)
		},
	}
}

// OBJECT HELP: lists the subcommands.
var objectHelp = Command{
	Command: command.Command{
		Name: "object|help", Arity: 2, Flags: command.Loading | command.Stale,
		Categories: []string{"keyspace", "slow"},
		Since:      "6.2.0", Group: "generic",
		Summary:    "Lists the subcommands, with a sentence on each.",
		Complexity: "O(1)",
	},
	Run: func(*Tx, [][]byte) (resp.Value, error) {
		return helpText(
			"OBJECT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
			"ENCODING <key>",
			"    Name the encoding that Redis would choose for this value.",
			"FREQ <key>",
			"    Always refused: Millrace counts no accesses.",
			"IDLETIME <key>",
			"    Always 0: Millrace keeps no access times.",
			"REFCOUNT <key>",
			"    Always 1: keys share no values.",
			"HELP",
			"    List the subcommands.",
		), nil
	},
}

// Redis's bounds of the encodings of strings: the length of the longest integer ("int"), and
// the length of the longest string in one allocation with its object ("embstr").
const (
	intEncodedMax    = 20
	embstrEncodedMax = 44
)

// encoding returns the encoding that a value like that of h has in Redis right after SET.
// There, the encoding also depends on the command that made a string: after APPEND it is
// "raw".
func (tx *Tx) encoding(h *Head) (resp.Value, error) {
	switch {
	case h.Type == TypeStream:
		return resp.BulkString("stream"), nil
	case h.hasElements():
		return resp.BulkString(h.elementEncoding()), nil
	case h.Length <= intEncodedMax:
		value, err := tx.stringValue(h)
		if err != nil {
			return resp.Value{}, err
		}
		if _, ok := command.ParseInt(value); ok {
			return resp.BulkString("int"), nil
		}
		return resp.BulkString("embstr"), nil
	case h.Length <= embstrEncodedMax:
		return resp.BulkString("embstr"), nil
	}
	return resp.BulkString("raw"), nil
}

// MEMORY is a container of the state machine and of the router: MEMORY USAGE is here, and
// the other subcommands are the router's.
var memory = Command{
	Command: command.Command{
		Name: "memory", Arity: -2,
		Categories: []string{"slow"},
		Since:      "4.0.0", Group: "server",
		Summary:    "Describes the use of memory.",
		Complexity: "As each subcommand says.",
	},
	Subs: []*Command{&memoryUsage},
}

// MEMORY USAGE key [SAMPLES count]: answers the bytes of all keys and values that belong to
// the name in one replica, before they are compressed. Of each kind of record that can be
// numerous, such as entries, it reads only count records and extrapolates from them. The
// default count is 5; with 0 it reads all records.
var memoryUsage = Command{
	Command: command.Command{
		Name: "memory|usage", Arity: -3, Flags: command.ReadOnly,
		Usage:      "key [SAMPLES count:int]",
		Keys:       command.Keys{First: 2, Last: 2, Step: 1, Access: "RO"},
		Categories: []string{"read", "slow"},
		Since:      "4.0.0", Group: "server",
		Summary:    "Estimates the bytes that a key takes in one replica, before compression.",
		Complexity: "O(N) for N records that are read.",
		Check: func(argv [][]byte) *resp.Value {
			_, refusal := parseMemoryUsage(argv)
			return refusal
		},
	},
	Run: runMemoryUsage,
}

const (
	defaultMemorySamples = 5
	// maxMemorySamples bounds the sampled records of one kind, whatever SAMPLES says.
	maxMemorySamples = 10_000
	// maxMemoryRecords bounds the records that SAMPLES 0 reads.
	maxMemoryRecords = 100_000
)

var errMemoryRecords = resp.Err("ERR The value has more than " + strconv.Itoa(maxMemoryRecords) + " records, too many to count them all. Use SAMPLES above 0")

// parseMemoryUsage returns the number of records of one kind to sample, or zero when all
// records are to be read.
func parseMemoryUsage(argv [][]byte) (samples int64, refusal *resp.Value) {
	samples = defaultMemorySamples
	for i := 3; i < len(argv); i += 2 {
		if !command.IsWord(argv[i], "SAMPLES") || i+1 == len(argv) {
			return 0, &command.ErrSyntax
		}
		var ok bool
		if samples, ok = command.ParseInt(argv[i+1]); !ok {
			return 0, &command.ErrNotInteger
		}
		if samples < 0 {
			return 0, &command.ErrSyntax
		}
	}
	return min(samples, maxMemorySamples), nil
}

func runMemoryUsage(tx *Tx, argv [][]byte) (resp.Value, error) {
	samples, refusal := parseMemoryUsage(argv)
	if refusal != nil {
		return *refusal, nil
	}
	h, err := tx.head(argv[2])
	if err != nil || h == nil {
		return resp.Null(), err
	}
	if err := tx.writeOut(h); err != nil {
		return resp.Value{}, err
	}
	size := uint64(len(headKey(h.Name)) + len(h.append(nil)) + len(indexKey(h.Name)))
	if h.ExpireAtMS != 0 {
		size += uint64(len(deadlineKey(tx.firstSlot, h.ExpireAtMS, h.Name)))
	}
	if samples > 0 && h.hasElements() {
		n, err := tx.sampleElements(h, samples)
		return resp.Int(int64(size + n)), err
	}
	if samples > 0 && h.Type == TypeStream {
		n, err := tx.sampleRecords(h, samples)
		return resp.Int(int64(size + n)), err
	}
	records := 0
	err = tx.eachRecord(h, func(key, value []byte) (bool, error) {
		size += uint64(len(key) + len(value))
		records++
		return records <= maxMemoryRecords, nil
	})
	if err == nil && records > maxMemoryRecords {
		return errMemoryRecords, nil
	}
	return resp.Int(int64(size)), err
}

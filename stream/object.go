package stream

import (
	"strconv"

	"millrace/command"
	"millrace/resp"
)

// OBJECT: what there is to know of a value as an object in memory. Here none is one, so
// the answers are those that clients of Redis expect of a value of this kind.
var object = Command{
	Command: command.Command{
		Name: "object", Arity: -2,
		Categories: []string{"slow"},
		Since:      "2.2.3", Group: "generic",
		Summary:    "A container for object introspection commands.",
		Complexity: "Depends on subcommand.",
	},
	Subs: []*Command{
		objectAbout("encoding", "2.2.3", "Returns the internal encoding of a value.", (*Tx).encoding),
		objectAbout("freq", "4.0.0", "Refused: no access frequency is tracked.", func(*Tx, *Head) (resp.Value, error) { return errNoFreq, nil }),
		objectAbout("idletime", "2.2.3", "Returns 0: no access time is tracked.", func(*Tx, *Head) (resp.Value, error) { return resp.Int(0), nil }),
		objectAbout("refcount", "2.2.3", "Returns 1: no value is shared.", func(*Tx, *Head) (resp.Value, error) { return resp.Int(1), nil }),
		&objectHelp,
	},
}

var errNoFreq = resp.Err("ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when switching between policies at runtime LRU and LFU data will take some time to adjust.")

// objectAbout is a subcommand OBJECT name key, which answers null for a missing key.
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

// OBJECT HELP: the subcommands.
var objectHelp = Command{
	Command: command.Command{
		Name: "object|help", Arity: 2, Flags: command.Loading | command.Stale,
		Categories: []string{"keyspace", "slow"},
		Since:      "6.2.0", Group: "generic",
		Summary:    "Returns helpful text about the different subcommands.",
		Complexity: "O(1)",
	},
	Run: func(*Tx, [][]byte) (resp.Value, error) {
		return helpText(
			"OBJECT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
			"ENCODING <key>",
			"    Return the kind of internal representation used in order to store the value",
			"    associated with a <key>.",
			"FREQ <key>",
			"    Return the access frequency index of the <key>. The returned integer is",
			"    proportional to the logarithm of the recent access frequency of the key.",
			"IDLETIME <key>",
			"    Return the idle time of the <key>, that is the approximated number of",
			"    seconds elapsed since the last access to the key.",
			"REFCOUNT <key>",
			"    Return the number of references of the value associated with the specified",
			"    <key>.",
			"HELP",
			"    Print this help.",
		), nil
	},
}

// Redis's bounds of the encodings of strings: the length of the longest integer, and of
// the longest string that is kept in one piece with its object.
const (
	intEncodedMax    = 20
	embstrEncodedMax = 44
)

// encoding returns the encoding that Redis gives a value like that of h when it is set.
// Redis's encoding also tells how a string came to be: what APPEND made is "raw" there.
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

// MEMORY USAGE key [SAMPLES count]: the bytes of keys and values that the name takes in
// a replica's state, before the space below compresses them. Entries, pending entries
// and what else is many are sampled: count of each, 5 unless it is given; 0 counts all.
var memory = Command{
	Command: command.Command{
		Name: "memory", Arity: -2,
		Categories: []string{"slow"},
		Since:      "4.0.0", Group: "server",
		Summary:    "A container for memory diagnostics commands.",
		Complexity: "Depends on subcommand.",
	},
	Subs: []*Command{&memoryUsage},
}

var memoryUsage = Command{
	Command: command.Command{
		Name: "memory|usage", Arity: -3, Flags: command.ReadOnly,
		Usage:      "key [SAMPLES count:int]",
		Keys:       command.Keys{First: 2, Last: 2, Step: 1, Access: "RO"},
		Categories: []string{"read", "slow"},
		Since:      "4.0.0", Group: "server",
		Summary:    "Estimates the memory usage of a key.",
		Complexity: "O(N) where N is the number of samples.",
		Check: func(argv [][]byte) *resp.Value {
			_, refusal := parseMemoryUsage(argv)
			return refusal
		},
	},
	Run: runMemoryUsage,
}

const (
	defaultMemorySamples = 5
	// maxMemorySamples bounds the records of one kind that are sampled, whatever SAMPLES
	// says; maxMemoryRecords those that SAMPLES 0 counts.
	maxMemorySamples = 10_000
	maxMemoryRecords = 100_000
)

var errMemoryRecords = resp.Err("ERR The value has more than " + strconv.Itoa(maxMemoryRecords) + " records, too many to count them all. Use SAMPLES above 0")

// parseMemoryUsage returns how many records of a kind are sampled; zero: all are counted.
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

package stream

import (
	"millrace/command"
	"millrace/resp"
)

// XINFO STREAM key [FULL [COUNT count]]: answers a map about the stream, and with FULL also
// its entries, groups and consumers.
var xinfoStream = Command{
	Command: command.Command{
		Name: "xinfo|stream", Arity: -3, Flags: command.ReadOnly,
		Usage: "key [FULL full:([COUNT count:int])]",
		History: []string{
			"6.0.0 `FULL` is new.",
			"7.0.0 Five fields are new: of a stream, `entries-added`, `max-deleted-entry-id`, `recorded-first-entry-id`; of a group, `entries-read` and `lag`.",
			"7.2.0 `active-time` is new, and `seen-time` is that of the last attempt to read.",
			"8.6.0 Six fields on idempotent producers are new: `idmp-maxsize` and `idmp-duration`, `iids-duplicates` and `iids-added`, `pids-tracked` and `iids-tracked`.",
		},
		Keys:       command.Keys{First: 2, Last: 2, Step: 1, Access: "RO access"},
		Categories: []string{"read", "stream", "slow"},
		Since:      "5.0.0", Group: "stream",
		Summary:    "Describes a stream, and on request each of its entries, groups and consumers.",
		Complexity: "O(C) for C chunks, of which at most 10,000 are read; with FULL, O(C+N) for N entries, groups and consumers in the answer.",
	},
	Run: runXInfoStream,
}

// defaultFullCount is the default COUNT of FULL: the number of entries, and of pending entries
// of each group and each consumer, in the answer.
const defaultFullCount = 10

func runXInfoStream(tx *Tx, argv [][]byte) (resp.Value, error) {
	h, refusal, err := tx.stream(argv[2])
	switch {
	case err != nil || refusal != nil:
		return refused(refusal, err)
	case h == nil:
		return errNoSuchKey, nil
	}
	full, count, refusal := parseFull(argv)
	if refusal != nil {
		return *refusal, nil
	}
	out, err := tx.streamFields(h)
	if err != nil {
		return resp.Value{}, err
	}
	if full {
		entries, refusal, err := tx.readEntries(h, ID{}, MaxID, count, false)
		if err != nil || refusal != nil {
			return refused(refusal, err)
		}
		groups, err := tx.fullGroups(h, count)
		if err != nil {
			return resp.Value{}, err
		}
		out = append(out, resp.BulkString("entries"), resp.Array(entries...), resp.BulkString("groups"), groups)
		return resp.Map(out...), nil
	}
	first, err := tx.entryOrNull(h, h.First)
	if err != nil {
		return resp.Value{}, err
	}
	last, err := tx.entryOrNull(h, h.LastEntry)
	if err != nil {
		return resp.Value{}, err
	}
	out = append(out,
		resp.BulkString("groups"), resp.Int(int64(h.GroupCount)),
		resp.BulkString("first-entry"), first,
		resp.BulkString("last-entry"), last)
	return resp.Map(out...), nil
}

// streamFields returns the fields that both forms of XINFO STREAM answer.
func (tx *Tx) streamFields(h *Head) ([]resp.Value, error) {
	keys, nodes, err := tx.radixTree(h)
	if err != nil {
		return nil, err
	}
	return []resp.Value{
		resp.BulkString("length"), resp.Int(int64(h.Length)),
		resp.BulkString("radix-tree-keys"), resp.Int(int64(keys)),
		resp.BulkString("radix-tree-nodes"), resp.Int(int64(nodes)),
		resp.BulkString("last-generated-id"), idValue(h.Last),
		resp.BulkString("max-deleted-entry-id"), idValue(h.MaxDeleted),
		resp.BulkString("entries-added"), resp.Int(int64(h.Added)),
		resp.BulkString("recorded-first-entry-id"), idValue(h.First),
		resp.BulkString("idmp-duration"), resp.Int(int64(h.IDMP.Seconds)),
		resp.BulkString("idmp-maxsize"), resp.Int(int64(h.IDMP.MaxSize)),
		resp.BulkString("pids-tracked"), resp.Int(int64(h.IDMP.PIDs)),
		resp.BulkString("iids-tracked"), resp.Int(int64(h.IDMP.IIDs)),
		resp.BulkString("iids-added"), resp.Int(int64(h.IDMP.Added)),
		resp.BulkString("iids-duplicates"), resp.Int(int64(h.IDMP.Duplicates)),
	}, nil
}

// entryOrNull returns the entry id of h as a reply, or null when there is none.
func (tx *Tx) entryOrNull(h *Head, id ID) (resp.Value, error) {
	raw, ok, err := tx.getEntry(h, id)
	if err != nil || !ok {
		return resp.Null(), err
	}
	return entryValue(id, raw)
}

// parseFull reads the options of XINFO STREAM. A zero count means all entries.
func parseFull(argv [][]byte) (full bool, count int64, refusal *resp.Value) {
	opts := argv[3:]
	if len(opts) == 0 {
		return false, 0, nil
	}
	if len(opts) != 1 && len(opts) != 3 || !command.IsWord(opts[0], "FULL") || len(opts) == 3 && !command.IsWord(opts[1], "COUNT") {
		return false, 0, badSubcommand(argv)
	}
	count = defaultFullCount
	if len(opts) == 3 {
		n, ok := command.ParseInt(opts[2])
		if !ok {
			return false, 0, &command.ErrNotInteger
		}
		if n >= 0 {
			count = n
		}
	}
	return true, count, nil
}

// radixExactMax is the number of chunks that radixTree reads. For a longer stream it
// extrapolates from them. With 100 entries in a chunk, that is a million entries.
const radixExactMax = 10000

// radixTree returns the number of keys and of tree nodes in the radix tree in which Redis
// would keep the chunks of h. There is one key, of 16 bytes, for each chunk. The tree nodes
// are:
//
//   - the root
//   - a leaf for each key
//   - a branch at each byte where keys differ first
//   - a run for the bytes between two of the above, if the way has more than its first byte
//
// For example, one key alone has two: the root, which is a run of 16 bytes, and the leaf.
func (tx *Tx) radixTree(h *Head) (keys, nodes uint64, err error) {
	if h.Chunks == 0 {
		return 0, 1, nil
	}
	t := radixCounter{}
	if h.Chunks > 1 {
		front, err := tx.chunkOf(h, h.First)
		if err != nil {
			return 0, 0, err
		}
		lo, hi := tx.bounds(h, kindChunk, front.First, h.Tail.First)
		err = tx.scan(lo, hi, func(key, _ []byte) (bool, error) {
			t.add([idBytes]byte(key[len(key)-idBytes:]))
			return t.keys < radixExactMax, nil
		})
		if err != nil {
			return 0, 0, err
		}
	}
	if t.keys < radixExactMax {
		t.add([idBytes]byte(h.Tail.First.appendBytes(nil)))
	}
	nodes = t.nodes
	if t.keys < h.Chunks {
		nodes = nodes / t.keys * h.Chunks
	}
	return h.Chunks, nodes, nil
}

// radixCounter counts the nodes of a radix tree whose keys are added in ascending order.
type radixCounter struct {
	keys, nodes uint64
	last        [idBytes]byte // the last key
	branch      [idBytes]bool // the bytes of the last key at which the tree branches
}

// add counts the nodes that one more key adds to the tree.
func (t *radixCounter) add(key [idBytes]byte) {
	defer func() { t.last = key; t.keys++ }()
	if t.keys == 0 {
		t.nodes = 2 // a run of 16 bytes from the root, and the leaf
		return
	}
	d := 0 // the first byte that differs from the last key
	for d < idBytes-1 && key[d] == t.last[d] {
		d++
	}
	if !t.branch[d] {
		// A new branch at d cuts the way between the branches around it in two. The run
		// of that way, if any, becomes a run before d, the branch, and a run after d.
		up, down := -1, idBytes
		for i := range d {
			if t.branch[i] {
				up = i
			}
		}
		for i := idBytes - 1; i > d; i-- {
			if t.branch[i] {
				down = i
			}
		}
		t.nodes += 1 + run(up, d) + run(d, down) - run(up, down)
		t.branch[d] = true
	}
	for i := d + 1; i < idBytes; i++ {
		t.branch[i] = false
	}
	t.nodes += 1 + run(d, idBytes)
}

// run returns the number of runs between a branch at up and the branch or the end at down: 1
// when there are bytes between them, otherwise 0.
func run(up, down int) uint64 {
	if down-up > 1 {
		return 1
	}
	return 0
}

package stream

import (
	"millrace/command"
	"millrace/resp"
)

// XINFO STREAM key [FULL [COUNT count]]: a stream, and with FULL its entries, groups
// and consumers.
var xinfoStream = Command{
	Command: command.Command{
		Name: "xinfo|stream", Arity: -3, Flags: command.ReadOnly,
		Usage: "key [FULL full:([COUNT count:int])]",
		History: []string{
			"6.0.0 Added the `FULL` modifier.",
			"7.0.0 Added the `max-deleted-entry-id`, `entries-added`, `recorded-first-entry-id`, `entries-read` and `lag` fields",
			"7.2.0 Added the `active-time` field, and changed the meaning of `seen-time`.",
			"8.6.0 Added the `idmp-duration`, `idmp-maxsize`, `pids-tracked`, `iids-tracked`, `iids-added` and `iids-duplicates` fields for IDMP tracking.",
		},
		Keys:       command.Keys{First: 2, Last: 2, Step: 1, Access: "RO access"},
		Categories: []string{"read", "stream", "slow"},
		Since:      "5.0.0", Group: "stream",
		Summary:    "Returns information about a stream.",
		Complexity: "O(1)",
	},
	Run: runXInfoStream,
}

// defaultFullCount is how many entries, and pending entries of each group and
// consumer, FULL shows.
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
	keys, nodes, err := tx.radixTree(h)
	if err != nil {
		return resp.Value{}, err
	}
	out := []resp.Value{
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
		out = append(out,
			resp.BulkString("entries"), resp.Array(entries...),
			resp.BulkString("groups"), groups)
		return resp.Map(out...), nil
	}
	out = append(out, resp.BulkString("groups"), resp.Int(int64(h.GroupCount)))
	for _, end := range [...]struct {
		field string
		id    ID
	}{{"first-entry", h.First}, {"last-entry", h.LastEntry}} {
		v := resp.Null()
		raw, ok, err := tx.getEntry(h, end.id)
		if err != nil {
			return resp.Value{}, err
		}
		if ok {
			if v, err = entryValue(end.id, raw); err != nil {
				return resp.Value{}, err
			}
		}
		out = append(out, resp.BulkString(end.field), v)
	}
	return resp.Map(out...), nil
}

// parseFull reads the options of XINFO STREAM. A count of zero is all.
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

// radixExactMax is up to how many nodes radixTree counts; beyond, it goes on as it
// went so far. A million entries are below it.
const radixExactMax = 10000

// radixTree returns how many keys and how many nodes the radix tree has in which
// Redis would keep the chunks of h: one key a chunk, of 16 bytes. A tree node is the
// root, a leaf for each key, a branch for each place where keys part, and a run of
// bytes on each way between two of these that is longer than the byte it starts with.
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

// radixCounter counts the nodes of a radix tree of keys given in order.
type radixCounter struct {
	keys, nodes uint64
	last        [idBytes]byte
	branch      [idBytes]bool // at which bytes the way to the last key branches
}

func (t *radixCounter) add(key [idBytes]byte) {
	defer func() { t.last = key; t.keys++ }()
	if t.keys == 0 {
		t.nodes = 2 // a run of 16 bytes from the root, and the leaf
		return
	}
	d := 0 // where key parts from the last
	for d < idBytes-1 && key[d] == t.last[d] {
		d++
	}
	if !t.branch[d] {
		// The way that leads past d is cut in two: what was one run, if any, becomes
		// the run before the branch, the branch, and the run after it.
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

// run returns 1 where bytes lie between a branch at up and the branch or end at down.
func run(up, down int) uint64 {
	if down-up > 1 {
		return 1
	}
	return 0
}

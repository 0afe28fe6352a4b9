package stream

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"millrace/command"
	"millrace/resp"
	"millrace/stream/rdb"
)

// DUMP key: answers the value of a name as a payload, which RESTORE reads here and in Redis,
// or null when there is none. The payload has no deadline.
var dump = Command{
	Command: command.Command{
		Name: "dump", Arity: 2, Flags: command.ReadOnly,
		Tips:       []string{"nondeterministic_output"},
		Usage:      "key",
		Keys:       command.Keys{First: 1, Last: 1, Step: 1, Access: "RO access"},
		Categories: []string{"keyspace", "read", "slow"},
		Since:      "2.6.0", Group: "generic",
		Summary:    "Writes a value as a payload for RESTORE.",
		Complexity: "O(N) for a value of N bytes.",
	},
	Run: runDump,
}

// maxDumpBytes bounds the memory of a value that is dumped or restored, as rdb.Budget
// counts it. Nothing else runs in a shard while it restores a value.
const maxDumpBytes = 64 << 20

var errDumpTooLarge = resp.Err("ERR the value takes more than 64 MiB of memory, too much for DUMP and RESTORE")

// dumpBudget returns the budget of a value at name.
func dumpBudget(name []byte) rdb.Budget {
	return rdb.Budget{Left: maxDumpBytes, Record: len(name) + 48}
}

// dumpBudget is dumpBudget within the room of the call.
func (tx *Tx) dumpBudget(name []byte) rdb.Budget {
	b := dumpBudget(name)
	b.Left = tx.room(b.Left)
	return b
}

func runDump(tx *Tx, argv [][]byte) (resp.Value, error) {
	h, err := tx.head(argv[1])
	switch {
	case err != nil:
		return resp.Value{}, err
	case h == nil:
		return resp.Null(), nil
	case h.Type == TypeString:
		b, err := tx.stringValue(h)
		if err != nil {
			return resp.Value{}, err
		}
		return resp.Bulk(rdb.EncodeString(b)), nil
	case h.hasElements():
		return tx.dumpElements(h)
	}
	s, err := tx.dumpStream(h)
	switch {
	case errors.Is(err, rdb.ErrTooLarge):
		return refused(tx.tooLarge(&errDumpTooLarge))
	case err != nil:
		return resp.Value{}, fmt.Errorf("dump %q: %w", h.Name, err)
	}
	return resp.Bulk(rdb.EncodeStream(s)), nil
}

// dumper reads a stream into out.
type dumper struct {
	tx     *Tx
	h      *Head
	budget rdb.Budget
	out    *rdb.Stream
	idmp   bool // whether out needs a format that has idempotent producers
}

// dumpStream returns the whole stream of h. It returns rdb.ErrTooLarge when the stream
// exceeds the budget.
func (tx *Tx) dumpStream(h *Head) (*rdb.Stream, error) {
	d := &dumper{tx: tx, h: h, budget: tx.dumpBudget(h.Name), out: &rdb.Stream{
		Length: h.Length, Last: rdb.ID(h.Last), MaxDeleted: rdb.ID(h.MaxDeleted), Added: h.Added,
	}}
	if err := d.chunks(); err != nil {
		return nil, err
	}
	groups, err := tx.listGroups(h)
	if err != nil {
		return nil, err
	}
	for _, g := range groups {
		if err := d.group(g); err != nil {
			return nil, err
		}
	}
	return d.out, d.producers()
}

// chunks dumps the entries, chunk by chunk.
func (d *dumper) chunks() error {
	firsts, err := d.firsts()
	if err != nil || len(firsts) == 0 {
		return err
	}
	var n *rdb.Chunk
	return d.tx.eachEntry(d.h, ID{}, MaxID, false, func(id ID, raw []byte) (bool, error) {
		if len(firsts) > 0 && !id.Less(firsts[0]) {
			d.out.Chunks = append(d.out.Chunks, rdb.Chunk{ID: rdb.ID(firsts[0])})
			n, firsts = &d.out.Chunks[len(d.out.Chunks)-1], firsts[1:]
		}
		words, err := entryWords(bytes.Clone(raw))
		if err != nil {
			return false, fmt.Errorf("entry %v: %w", id, err)
		}
		if n == nil {
			return false, fmt.Errorf("stream: entry %v is before the first chunk", id)
		}
		n.Entries = append(n.Entries, rdb.Entry{ID: rdb.ID(id), Words: words})
		return true, d.budget.Entry(len(words), len(raw))
	})
}

// firsts returns the first IDs of all chunks, in order.
func (d *dumper) firsts() ([]ID, error) {
	h := d.h
	if h.Chunks == 0 {
		return nil, nil
	}
	var ids []ID
	if h.Chunks > 1 {
		front, err := d.tx.chunkOf(h, h.First)
		if err != nil {
			return nil, err
		}
		lo, hi := d.tx.bounds(h, kindChunk, front.First, h.Tail.First)
		err = d.tx.scan(lo, hi, func(key, _ []byte) (bool, error) {
			ids = append(ids, idOfKey(key))
			return true, d.budget.Chunk()
		})
		if err != nil {
			return nil, err
		}
	}
	if uint64(len(ids)) != h.Chunks-1 {
		return nil, fmt.Errorf("stream: %q counts %d chunks before its last and has %d", h.Name, h.Chunks-1, len(ids))
	}
	return append(ids, h.Tail.First), d.budget.Chunk()
}

// group dumps g with its consumers and its pending entries.
func (d *dumper) group(g *group) error {
	out := rdb.Group{Name: g.name, Delivered: rdb.ID(g.delivered), EntriesRead: g.entriesRead}
	if err := d.budget.Group(g.name); err != nil {
		return err
	}
	members, err := d.tx.listConsumers(d.h, g)
	if err != nil {
		return err
	}
	index := make(map[uint64]int, len(members))
	for i, c := range members {
		if err := d.budget.Consumer(c.name); err != nil {
			return err
		}
		index[c.cid] = i
		out.Consumers = append(out.Consumers, rdb.Consumer{Name: c.name, SeenMS: c.seenMS, ActiveMS: c.activeMS})
	}
	err = d.tx.eachPending(d.h, g, ID{}, MaxID, func(id ID, p pendingEntry) (bool, error) {
		e := rdb.Pending{ID: rdb.ID(id), DeliveredMS: p.deliveredMS(), Deliveries: p.deliveries}
		if p.cid == 0 {
			e.Owner, e.Place = rdb.Nobody, p.time
			d.idmp = true // because the format with released entries has producers too
		} else {
			i, ok := index[p.cid]
			if !ok {
				return false, fmt.Errorf("stream: pending entry %v belongs to consumer %d, which does not exist", id, p.cid)
			}
			e.Owner = i
		}
		out.Pending = append(out.Pending, e)
		return true, d.budget.Pending()
	})
	d.out.Groups = append(d.out.Groups, out)
	return err
}

// producers dumps the idempotent producers. It leaves them out when the stream has neither
// producers nor settings other than those of a new stream, and no entry is released, so
// that an older Redis can read the payload.
func (d *dumper) producers() error {
	sys, err := d.tx.system()
	if err != nil {
		return err
	}
	m, set := d.h.IDMP, sys.settings
	if m.IIDs+m.Added+m.Duplicates == 0 && m.Seconds == set.idmpSeconds && m.MaxSize == set.idmpMaxSize && !d.idmp {
		return nil
	}
	out := &rdb.IDMP{Seconds: m.Seconds, MaxSize: m.MaxSize, Added: m.Added, Duplicates: m.Duplicates}
	d.out.IDMP = out
	if m.IIDs == 0 {
		return nil
	}
	prefix := append(append([]byte(nil), d.h.prefix...), kindIIDOrder)
	return d.tx.scan(prefix, after(prefix), func(key, iid []byte) (bool, error) {
		rest := key[len(prefix):]
		n := int(binary.BigEndian.Uint16(rest))
		pid := rest[2 : 2+n]
		last := len(out.Producers) - 1
		if last < 0 || !bytes.Equal(out.Producers[last].Name, pid) {
			out.Producers = append(out.Producers, rdb.Producer{Name: bytes.Clone(pid)})
			last++
			if err := d.budget.Producer(pid); err != nil {
				return false, err
			}
		}
		v, ok, err := d.tx.kv.Get(d.h.iidKey(pid, iid))
		if err != nil || !ok {
			return false, firstError(err, fmt.Errorf("stream: idempotent ID %q of %q has an order and no record", iid, pid))
		}
		rec, err := decodeIID(d.h, v)
		if err != nil {
			return false, err
		}
		p := &out.Producers[last]
		p.IIDs = append(p.IIDs, rdb.IID{Text: bytes.Clone(iid), Entry: rdb.ID(rec.id)})
		return true, d.budget.IID(pid, iid)
	})
}

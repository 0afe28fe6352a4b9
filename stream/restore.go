package stream

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"millrace/command"
	"millrace/resp"
	"millrace/stream/rdb"
)

// RESTORE key ttl payload [REPLACE] [ABSTTL] [IDLETIME seconds] [FREQ frequency]: creates a
// name from a payload that DUMP wrote, here or in Redis. IDLETIME and FREQ are checked and
// ignored, because they serve Redis's eviction.
var restore = Command{
	Command: command.Command{
		Name: "restore", Arity: -4, Flags: command.Write | command.DenyOOM,
		Usage: "key ttl:int serialized-value [REPLACE] [ABSTTL] [IDLETIME seconds:int] [FREQ frequency:int]",
		History: []string{
			"3.0.0 `REPLACE` is new.",
			"5.0.0 `ABSTTL` is new.",
			"5.0.0 `IDLETIME` and `FREQ` are new.",
		},
		Keys:       command.Keys{First: 1, Last: 1, Step: 1, Access: "OW update"},
		Categories: []string{"keyspace", "write", "slow", "dangerous"},
		Since:      "2.6.0", Group: "generic",
		Summary:    "Creates a key from a payload that DUMP wrote.",
		Complexity: "O(N) for a payload of N bytes.",
		Check: func(argv [][]byte) *resp.Value {
			_, refusal := parseRestore(argv)
			return refusal
		},
	},
	Run: runRestore,
}

// Refusals of RESTORE.
var (
	errBusyKey         = resp.Err("BUSYKEY Target key name already exists.")
	errRestoreIdle     = resp.Err("ERR Invalid IDLETIME value, must be >= 0")
	errRestoreFreq     = resp.Err("ERR Invalid FREQ value, must be >= 0 and <= 255")
	errRestoreTTL      = resp.Err("ERR Invalid TTL value, must be >= 0")
	errRestoreChecksum = resp.Err("ERR DUMP payload version or checksum are wrong")
	errRestoreFormat   = resp.Err("ERR Bad data format")
)

// restoreArgs holds the options of RESTORE.
type restoreArgs struct {
	replace  bool
	absolute bool // whether the time counts from the Unix epoch, rather than from now
}

func parseRestore(argv [][]byte) (a restoreArgs, refusal *resp.Value) {
	idle, freq := false, false
	for i := 4; i < len(argv); i++ {
		more := i+1 < len(argv)
		switch {
		case command.IsWord(argv[i], "REPLACE"):
			a.replace = true
		case command.IsWord(argv[i], "ABSTTL"):
			a.absolute = true
		case command.IsWord(argv[i], "IDLETIME") && more && !freq:
			idle = true
			i++
			if n, ok := command.ParseInt(argv[i]); !ok {
				return a, &command.ErrNotInteger
			} else if n < 0 {
				return a, &errRestoreIdle
			}
		case command.IsWord(argv[i], "FREQ") && more && !idle:
			freq = true
			i++
			if n, ok := command.ParseInt(argv[i]); !ok {
				return a, &command.ErrNotInteger
			} else if n < 0 || n > 255 {
				return a, &errRestoreFreq
			}
		default:
			return a, &command.ErrSyntax
		}
	}
	return a, nil
}

// expireAt returns the deadline that word gives, or zero for none.
func (a *restoreArgs) expireAt(word []byte, nowMS int64) (int64, *resp.Value) {
	ttl, ok := command.ParseInt(word)
	switch {
	case !ok:
		return 0, &command.ErrNotInteger
	case ttl < 0:
		return 0, &errRestoreTTL
	case ttl == 0 || a.absolute:
		return ttl, nil
	}
	return nowMS + min(ttl, math.MaxInt64-nowMS), nil
}

func runRestore(tx *Tx, argv [][]byte) (resp.Value, error) {
	a, refusal := parseRestore(argv)
	if refusal != nil {
		return *refusal, nil
	}
	name := argv[1]
	old, err := tx.head(name)
	if err != nil {
		return resp.Value{}, err
	}
	if old != nil && !a.replace {
		return errBusyKey, nil
	}
	expireAtMS, refusal := a.expireAt(argv[2], tx.NowMS)
	if refusal != nil {
		return *refusal, nil
	}
	v, refusal := decodeRestore(name, argv[3])
	if refusal != nil {
		return *refusal, nil
	}
	if old != nil {
		if err := tx.remove(old); err != nil {
			return resp.Value{}, err
		}
	}
	switch {
	case expireAtMS != 0 && expireAtMS <= tx.NowMS:
		// The deadline has passed already, so the name is not created.
	case v.Hash != nil:
		err = tx.restoreHash(name, v.Hash, expireAtMS)
	case v.ZSet != nil:
		err = tx.restoreZSet(name, v.ZSet, expireAtMS)
	case v.Stream == nil:
		err = tx.putString(name, nil, v.String, expireAtMS)
	default:
		err = tx.restoreStream(name, v.Stream, expireAtMS)
	}
	if err != nil {
		return resp.Value{}, fmt.Errorf("restore %q: %w", name, err)
	}
	return resp.OK, nil
}

// decodeRestore reads a payload for name.
func decodeRestore(name, payload []byte) (rdb.Value, *resp.Value) {
	v, err := rdb.Decode(payload, dumpBudget(name))
	switch {
	case errors.Is(err, rdb.ErrFooter):
		return v, &errRestoreChecksum
	case errors.Is(err, rdb.ErrFieldTTL):
		return v, &errFieldTTL
	case errors.Is(err, rdb.ErrTooLarge):
		return v, &errDumpTooLarge
	case err != nil || v.Stream != nil && !restorable(v.Stream):
		return v, &errRestoreFormat
	case len(v.String) > maxStringBytes:
		return v, &errStringTooLong
	}
	return v, checkRestored(&v)
}

// restorable reports whether s keeps the bounds that commands keep. The names of groups and
// consumers are bounded by the size of a command only, so they are not checked.
func restorable(s *rdb.Stream) bool {
	m := s.IDMP
	if m == nil {
		return true
	}
	if m.Seconds < minIDMPSeconds || m.Seconds > maxIDMPSeconds || m.MaxSize < minIDMPSize || m.MaxSize > maxIDMPSize {
		return false
	}
	for _, p := range m.Producers {
		if len(p.Name) == 0 || len(p.Name) > maxIDMPText {
			return false
		}
		for _, iid := range p.IIDs {
			if len(iid.Text) == 0 || len(iid.Text) > maxIDMPText {
				return false
			}
		}
	}
	return true
}

// restoreStream creates the stream s at name, which must be missing. A zero expireAtMS means
// no deadline.
func (tx *Tx) restoreStream(name []byte, s *rdb.Stream, expireAtMS int64) error {
	h, err := tx.createStream(name)
	if err != nil {
		return err
	}
	tx.touchHead(h)
	h.Length, h.Added = s.Length, s.Added
	h.Last, h.MaxDeleted, h.First = ID(s.Last), ID(s.MaxDeleted), ID(s.First())
	h.Chunks = uint64(len(s.Chunks))
	for i := range s.Chunks {
		if err := tx.restoreChunk(h, &s.Chunks[i], i == len(s.Chunks)-1); err != nil {
			return err
		}
	}
	for i := range s.Groups {
		if err := tx.restoreGroup(h, &s.Groups[i]); err != nil {
			return err
		}
	}
	return firstError(tx.restoreIDMP(h, s.IDMP), tx.setDeadline(h, expireAtMS))
}

// restoreChunk adds a chunk and its entries to the end of h. The last chunk becomes the tail
// in the head; the others have records.
func (tx *Tx) restoreChunk(h *Head, from *rdb.Chunk, last bool) error {
	fields := make([][]byte, 2*len(from.Fields))
	for i, f := range from.Fields {
		fields[2*i] = f
	}
	live := uint64(len(from.Entries))
	n := chunk{
		First: ID(from.ID), Last: ID(from.Last), Total: live + from.Deleted, Live: live,
		Bytes: uint64(from.Bytes), Fields: hashFields(fields),
	}
	for _, e := range from.Entries {
		tx.valueBuf = appendEntry(tx.valueBuf[:0], e.Words)
		if err := tx.batch.Set(tx.idKey(h, kindEntry, ID(e.ID)), tx.valueBuf); err != nil {
			return fmt.Errorf("put entry %v: %w", ID(e.ID), err)
		}
		h.LastEntry = ID(e.ID)
	}
	if last {
		h.Tail = n
		return nil
	}
	return tx.putChunk(h, &n)
}

// restoreGroup adds a group to h, with its consumers and its pending entries.
func (tx *Tx) restoreGroup(h *Head, from *rdb.Group) error {
	g := tx.createGroup(h, from.Name, ID(from.Delivered), from.EntriesRead)
	members := make([]*consumer, len(from.Consumers))
	for i, c := range from.Consumers {
		m, err := tx.createConsumer(h, g, c.Name)
		if err != nil {
			return err
		}
		m.seenMS, m.activeMS = c.SeenMS, c.ActiveMS
		members[i] = m
	}
	for _, e := range from.Pending {
		p := pendingEntry{time: uint64(e.DeliveredMS), deliveries: e.Deliveries}
		var owner *consumer
		if e.Owner == rdb.Nobody {
			p.time = e.Place
			g.released = max(g.released, e.Place+1)
		} else {
			owner = members[e.Owner]
		}
		if err := tx.addPending(h, g, ID(e.ID), owner, p); err != nil {
			return err
		}
	}
	return nil
}

// restoreIDMP adds idempotent IDs to h. A payload does not say when each was recorded.
// Therefore the time in the ID of its entry is taken, which came from the clock, as in Redis.
func (tx *Tx) restoreIDMP(h *Head, from *rdb.IDMP) error {
	if from == nil {
		return nil
	}
	m := &h.IDMP
	m.Seconds, m.MaxSize, m.Duplicates = from.Seconds, from.MaxSize, from.Duplicates
	type known struct {
		pid, iid []byte
		id       ID
	}
	var all []known
	for _, p := range from.Producers {
		for _, iid := range p.IIDs {
			all = append(all, known{p.Name, iid.Text, ID(iid.Entry)})
		}
	}
	slices.SortStableFunc(all, func(a, b known) int { return a.id.Compare(b.id) })
	for _, k := range all {
		recordedMS := int64(min(k.id.MS, uint64(max(tx.NowMS, 0))))
		if _, err := tx.addIID(h, k.pid, k.iid, k.id, recordedMS); err != nil {
			return err
		}
	}
	m.Added = from.Added
	return nil
}

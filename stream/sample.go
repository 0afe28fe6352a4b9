package stream

import "slices"

import "fmt"

// tally adds up the sizes of some records of one kind, to estimate the size of all.
type tally struct {
	records, bytes uint64
}

func (t *tally) add(key, value []byte) {
	t.records++
	t.bytes += uint64(len(key) + len(value))
}

// of returns the estimated size of count records. For example, after two records of 30
// bytes together, ten records have 150.
func (t *tally) of(count uint64) uint64 {
	if t.records == 0 {
		return 0
	}
	return t.bytes/t.records*count + t.bytes%t.records*count/t.records
}

// sample estimates the size of the count records in [lo, hi) from the first n.
func (tx *Tx) sample(lo, hi []byte, count uint64, n int64) (uint64, error) {
	if count == 0 {
		return 0, nil
	}
	var t tally
	err := tx.scan(lo, hi, func(key, value []byte) (bool, error) {
		t.add(key, value)
		return t.records < uint64(n), nil
	})
	return t.of(count), err
}

// sampleRecords estimates the size of all records of the stream h except the head, from n
// records of each kind. The caller calls writeOut before.
func (tx *Tx) sampleRecords(h *Head, n int64) (size uint64, err error) {
	add := func(bytes uint64, e error) {
		size += bytes
		err = firstError(err, e)
	}
	prefix := func(kind byte) []byte { return append(slices.Clip(h.prefix), kind) }
	if h.Length > 0 {
		add(tx.sampleEntries(h, n))
	}
	if h.Chunks > 1 {
		front, e := tx.frontChunk(h)
		add(0, e)
		add(tx.sample(front.First.appendBytes(prefix(kindChunk)), after(prefix(kindChunk)), h.Chunks-1, n))
	}
	if h.GroupCount > 0 {
		add(tx.sampleGroups(h, n))
	}
	if h.IDMP.IIDs > 0 && err == nil {
		add(tx.sampleIIDs(h, n))
	}
	if err != nil {
		return 0, fmt.Errorf("sample %q: %w", h.Name, err)
	}
	return size, nil
}

// sampleEntries estimates the size of all entries. It samples both ends, because old
// entries may differ from new ones.
func (tx *Tx) sampleEntries(h *Head, n int64) (uint64, error) {
	var t tally
	half := (uint64(n) + 1) / 2
	size := uint64(len(h.prefix) + 1 + idBytes) // of a key
	var first ID
	err := tx.eachEntry(h, h.First, MaxID, false, func(id ID, raw []byte) (bool, error) {
		t.records++
		t.bytes += size + uint64(len(raw))
		first = id
		return t.records < half, nil
	})
	if err != nil || t.records == uint64(n) {
		return t.of(h.Length), err
	}
	err = tx.eachEntry(h, ID{}, MaxID, true, func(id ID, raw []byte) (bool, error) {
		if !first.Less(id) {
			return false, nil
		}
		t.records++
		t.bytes += size + uint64(len(raw))
		return t.records < uint64(n), nil
	})
	return t.of(h.Length), err
}

// sampleGroups estimates the size of all groups from n groups, and n consumers and n
// pending entries of each of them.
func (tx *Tx) sampleGroups(h *Head, n int64) (uint64, error) {
	var groups, pending tally
	lo := append(slices.Clip(h.prefix), kindGroup)
	err := tx.scanHot(lo, after(lo), func(key, value []byte) (bool, error) {
		g, err := decodeGroup(key[len(lo):], value)
		if err != nil {
			return false, err
		}
		groups.add(key, value)
		for _, kind := range [...]byte{kindName, kindConsumer} {
			lo := appendGIDKey(nil, h.prefix, kind, g.gid)
			bytes, err := tx.sample(lo, after(lo), g.consumers, n)
			if err != nil {
				return false, err
			}
			groups.bytes += bytes
		}
		if g.pending > 0 {
			lo, hi := pendingBounds(h, g, ID{}, MaxID)
			bytes, err := tx.sample(lo, hi, g.pending, n)
			if err != nil {
				return false, err
			}
			pending.records += g.pending
			pending.bytes += bytes
		}
		return groups.records < uint64(n), nil
	})
	// The keys of both indexes of pending entries have the same length, and no values.
	index := uint64(len(appendOwnedKey(nil, h.prefix, 0, 0, ID{})))
	if pending.records == 0 { // none of the sampled groups had pending entries
		pending.add(appendPendingKey(nil, h.prefix, 0, ID{}), pendingEntry{1, uint64(tx.NowMS), 1}.append(nil))
	}
	return groups.of(h.GroupCount) + pending.of(h.Pending) + 2*index*h.Pending, err
}

func (tx *Tx) sampleIIDs(h *Head, n int64) (uint64, error) {
	var iids, producers tally
	seen := int64(0)
	one := func(key []byte) error {
		value, ok, err := tx.kv.Get(key)
		if err != nil || !ok {
			return firstError(err, fmt.Errorf("stream: %s is not there", PrintKey(key)))
		}
		if key[len(h.prefix)] == kindProducer {
			producers.add(key, value)
		} else {
			iids.add(key, value)
		}
		return nil
	}
	err := tx.iidRecords(h, one, func() bool {
		seen++
		return seen < n
	})
	return iids.of(3*h.IDMP.IIDs) + producers.of(h.IDMP.PIDs), err
}

package stream

import (
	"bytes"
	"fmt"
	"slices"

	"millrace/resp"
)

// maxGroupCached bounds the groups and consumers that a State keeps decoded for one
// stream. When a stream has more, all of them are dropped at the end of the batch and read
// again when commands need them.
const maxGroupCached = 4096

// group returns the group of h with this name, or nil. A caller that changes it also calls
// tx.changedGroup.
func (tx *Tx) group(h *Head, name []byte) (*group, error) {
	if g, ok := h.groups[string(name)]; ok {
		return g, nil
	}
	if h.GroupCount == uint64(len(h.groups)) {
		return nil, nil
	}
	tx.keyBuf = appendGroupKey(tx.keyBuf[:0], h.prefix, name)
	v, ok, err := tx.kv.Get(tx.keyBuf)
	if err != nil {
		return nil, fmt.Errorf("read group %q of %q: %w", name, h.Name, err)
	}
	if !ok {
		return nil, nil
	}
	g, err := decodeGroup(name, v)
	if err != nil {
		return nil, err
	}
	tx.keepGroup(h, g)
	return g, nil
}

// keepGroup adds a decoded group to those of h.
func (tx *Tx) keepGroup(h *Head, g *group) {
	if h.groups == nil {
		h.groups = make(map[string]*group, 1)
	}
	h.groups[string(g.name)] = g
	tx.countCached(h)
}

// countCached counts one more decoded group or consumer of h.
func (tx *Tx) countCached(h *Head) {
	if h.groupsCached++; h.groupsCached == maxGroupCached && tx.state != nil {
		tx.state.bulky = append(tx.state.bulky, h)
	}
}

// listGroups returns all groups of h in the order of their names. The slice is valid until
// a group is created or destroyed.
func (tx *Tx) listGroups(h *Head) ([]*group, error) {
	if h.allGroups != nil || h.GroupCount == 0 {
		return h.allGroups, nil
	}
	if h.GroupCount != uint64(len(h.groups)) {
		lo := append(append([]byte(nil), h.prefix...), kindGroup)
		err := tx.scanHot(lo, after(lo), func(key, value []byte) (bool, error) {
			name := key[len(lo):]
			if _, ok := h.groups[string(name)]; ok {
				return true, nil
			}
			g, err := decodeGroup(name, value)
			if err == nil {
				tx.keepGroup(h, g)
			}
			return true, err
		})
		if err != nil {
			return nil, fmt.Errorf("list groups of %q: %w", h.Name, err)
		}
	}
	all := make([]*group, 0, len(h.groups))
	for _, g := range h.groups {
		all = append(all, g)
	}
	slices.SortFunc(all, func(a, b *group) int { return bytes.Compare(a.name, b.name) })
	if uint64(len(all)) != h.GroupCount {
		return nil, fmt.Errorf("stream: %q counts %d groups and has %d", h.Name, h.GroupCount, len(all))
	}
	h.allGroups = all
	return all, nil
}

// scanHot is Tx.scan for records that every batch writes again. The key space may keep
// thousands of old versions of such a key for a while. A step of the iterator would cross
// them all, so scanHot searches for the next key instead.
func (tx *Tx) scanHot(lo, hi []byte, f func(key, value []byte) (bool, error)) (err error) {
	it, err := tx.kv.Iter(lo, hi)
	if err != nil {
		return err
	}
	defer func() { err = firstError(err, it.Close()) }()
	next := append([]byte(nil), lo...)
	for it.SeekGE(next) {
		more, err := f(it.Key(), it.Value())
		if err != nil || !more {
			return err
		}
		next = append(append(next[:0], it.Key()...), 0)
	}
	return it.Error()
}

// changedGroup marks g as changed, so that Flush writes it.
func (tx *Tx) changedGroup(h *Head, g *group) {
	tx.dirty(h)
	if !g.dirty {
		g.dirty = true
		h.changed = append(h.changed, g)
	}
}

// createGroup creates a group in h, which must not have one of that name.
func (tx *Tx) createGroup(h *Head, name []byte, delivered ID, entriesRead int64) *group {
	g := &group{
		name: append([]byte(nil), name...), gid: h.NextGID, delivered: delivered, entriesRead: entriesRead, nextCID: 1,
	}
	g.noPending()
	h.NextGID++
	h.GroupCount++
	h.allGroups = nil
	tx.keepGroup(h, g)
	tx.changedGroup(h, g)
	return g
}

// destroyGroup deletes g with its consumers and its pending entries.
func (tx *Tx) destroyGroup(h *Head, g *group) error {
	tx.keyBuf = appendGroupKey(tx.keyBuf[:0], h.prefix, g.name)
	if err := tx.batch.Delete(tx.keyBuf); err != nil {
		return fmt.Errorf("delete group %q of %q: %w", g.name, h.Name, err)
	}
	clearKind, pending := tx.batch.DeleteRange, g.pending+g.leftoverCount()
	if g.consumers+pending <= pointDeleteMax {
		clearKind = tx.deleteEach
	}
	kinds := []byte{kindName, kindConsumer, kindPending, kindOwned, kindDue}
	if g.consumers == 0 {
		kinds = kinds[2:]
	}
	if pending == 0 {
		kinds = kinds[:len(kinds)-3]
	}
	for _, kind := range kinds {
		lo := appendGIDKey(nil, h.prefix, kind, g.gid)
		if err := clearKind(lo, after(lo)); err != nil {
			return fmt.Errorf("clear group %q of %q: %w", g.name, h.Name, err)
		}
	}
	g.gone = true
	h.Pending -= pending
	h.GroupCount--
	h.groupsCached -= 1 + len(g.members)
	delete(h.groups, string(g.name))
	h.allGroups = nil
	tx.dirty(h)
	return nil
}

// streamGroup returns the stream at key and its group of this name; each is nil when it
// does not exist. It returns a refusal when key holds another type.
func (tx *Tx) streamGroup(key, name []byte) (*Head, *group, *resp.Value, error) {
	h, refusal, err := tx.stream(key)
	if h == nil || refusal != nil || err != nil {
		return nil, nil, refusal, err
	}
	g, err := tx.group(h, name)
	return h, g, nil, err
}

// noGroup is the refusal of XPENDING, XCLAIM and similar commands.
func noGroup(key, group []byte) *resp.Value {
	e := resp.Err("NOGROUP No such key '" + inText(key) + "' or consumer group '" + inText(group) + "'")
	return &e
}

// noGroupForKey is the refusal of XGROUP and XINFO CONSUMERS.
func noGroupForKey(key, group []byte) *resp.Value {
	e := resp.Err("NOGROUP No such consumer group '" + inText(group) + "' for key name '" + inText(key) + "'")
	return &e
}

// inText returns a client's word for an error text. It ends at the first zero byte,
// because Redis prints C strings; CR and LF become blanks; and it has at most maxInText
// bytes.
func inText(word []byte) string {
	if i := bytes.IndexByte(word, 0); i >= 0 {
		word = word[:i]
	}
	word = append([]byte(nil), word[:min(len(word), maxInText)]...)
	for i, b := range word {
		if b == '\r' || b == '\n' {
			word[i] = ' '
		}
	}
	return string(word)
}

// maxInText bounds a client's word in an error text, in bytes.
const maxInText = 1024

package stream

import (
	"fmt"
	"millrace/kv"
)

// appendNode puts a new entry, whose fields and values have size bytes, into the last
// node of h, or into a new one after it.
func (tx *Tx) appendNode(h *Head, id ID, words [][]byte, size uint64) error {
	fields := hashFields(words)
	if h.Nodes == 0 {
		h.Nodes = 1
		h.Tail.begin(id, words, fields)
		return nil
	}
	set := tx.settings()
	if !h.Tail.full(size, set.nodeMaxEntries, set.nodeMaxBytes) {
		h.Tail.add(id, words, fields)
		return nil
	}
	if h.deadTail() { // nothing ever asks for it again
		h.Tail.begin(id, words, fields)
		return nil
	}
	if err := tx.putNode(h, &h.Tail); err != nil {
		return err
	}
	h.Nodes++
	h.Tail.begin(id, words, fields)
	return nil
}

// deadTail reports whether h has no entries, and yet a node that takes the next one.
func (h *Head) deadTail() bool { return h.Nodes == 1 && h.Tail.Live == 0 }

// keepDead makes n, whose entries are all deleted, the only node of h, which has no
// entries.
func (h *Head) keepDead(n node) { h.Nodes, h.Tail = 1, n }

// shrinkNode takes the deleted entry id out of its node.
func (tx *Tx) shrinkNode(h *Head, id ID) error {
	n, err := tx.nodeOf(h, id)
	if err != nil {
		return err
	}
	n.drop(1)
	return tx.updateNode(h, &n)
}

// nodeOf returns the node that holds id, an entry of h.
func (tx *Tx) nodeOf(h *Head, id ID) (node, error) {
	if !id.Less(h.Tail.First) {
		return h.Tail, nil
	}
	if h.front.Live > 0 && !h.front.Last.Less(id) {
		return h.front, nil
	}
	n, ok, err := tx.nodeBefore(h, id)
	if err == nil && !ok {
		err = fmt.Errorf("stream: no node of %q holds %v", h.Name, id)
	}
	return n, err
}

// nodeBefore returns the last node record at or before id. It seeks backward from id,
// so it crawls over no trimmed nodes.
func (tx *Tx) nodeBefore(h *Head, id ID) (n node, ok bool, err error) {
	it, err := tx.kv.Iter(tx.bounds(h, kindNode, ID{}, id))
	if err != nil {
		return node{}, false, fmt.Errorf("find the node of %v in %q: %w", id, h.Name, err)
	}
	n, ok, err = nodeAt(it, it.Last())
	if ok && n.First == h.front.First && h.front.Live > 0 {
		n = h.front
	}
	return n, ok, firstError(err, it.Close())
}

// nodeAt returns the node at it, where ok says that it is at one.
func nodeAt(it kv.Iterator, ok bool) (node, bool, error) {
	if !ok {
		return node{}, false, it.Error()
	}
	n, err := decodeNode(idOfKey(it.Key()), it.Value())
	return n, err == nil, err
}

// frontNode returns the first node of h, which has one, and keeps it in memory: trims
// look at it again and again.
func (tx *Tx) frontNode(h *Head) (node, error) {
	switch {
	case h.Nodes == 1:
		return h.Tail, nil
	case h.front.Live > 0:
		return h.front, nil
	}
	if err := tx.settle(h); err != nil {
		return node{}, err
	}
	n, err := tx.nodeOf(h, h.First)
	if err == nil {
		h.front = n
	}
	return n, err
}

// updateNode stores the changed node n, or removes it where it has no live entry left.
func (tx *Tx) updateNode(h *Head, n *node) error {
	tx.dirty(h)
	tail, front := n.First == h.Tail.First, h.front.Live > 0 && n.First == h.front.First
	switch {
	case n.Live > 0 && tail:
		h.Tail = *n
		return nil
	case n.Live > 0 && front:
		h.front, h.frontDirty = *n, true
		return nil
	case n.Live > 0:
		return tx.putNode(h, n)
	case tail:
		return tx.dropTail(h)
	case front:
		h.front, h.frontDirty = node{}, false
	}
	h.Nodes--
	return tx.batch.Delete(tx.idKey(h, kindNode, n.First))
}

// dropTail removes the last node; the one before it, where there is one, takes its place.
func (tx *Tx) dropTail(h *Head) error {
	h.Nodes--
	if h.Nodes == 0 {
		h.Tail = node{}
		return nil
	}
	n, ok, err := tx.nodeBefore(h, h.Tail.First)
	if err == nil && !ok {
		err = fmt.Errorf("stream: %q counts %d nodes before its last and has none", h.Name, h.Nodes)
	}
	if err != nil {
		return err
	}
	if n.First == h.front.First {
		h.front, h.frontDirty = node{}, false
	}
	h.Tail = n
	return tx.batch.Delete(tx.idKey(h, kindNode, n.First))
}

// putNode stores n, which is not the last node of h, or is about to be no more.
func (tx *Tx) putNode(h *Head, n *node) error {
	tx.valueBuf = n.append(tx.valueBuf[:0])
	if err := tx.batch.Set(tx.idKey(h, kindNode, n.First), tx.valueBuf); err != nil {
		return fmt.Errorf("put node %v of %q: %w", n.First, h.Name, err)
	}
	return nil
}

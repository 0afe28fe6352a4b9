package stream

// An entry is referenced while a group may still need it: it is pending in the group, or it
// was not delivered to the group yet. The options KEEPREF, DELREF and ACKED of commands that
// delete entries decide about references; see refPolicy.

// referenced reports whether some group of h has not yet read and acknowledged id. It does
// not matter whether the entry exists.
func (tx *Tx) referenced(h *Head, id ID) (bool, error) {
	groups, err := tx.listGroups(h)
	if err != nil {
		return false, err
	}
	for _, g := range groups {
		if g.delivered.Less(id) {
			return true, nil
		}
	}
	for _, g := range groups {
		if _, ok, err := tx.getPending(h, g, id); ok || err != nil {
			return ok, err
		}
	}
	return false, nil
}

// dropReferences removes the pending entry id from every group of h.
func (tx *Tx) dropReferences(h *Head, id ID) error {
	groups, err := tx.listGroups(h)
	if err != nil {
		return err
	}
	for _, g := range groups {
		p, ok, err := tx.getPending(h, g, id)
		if err != nil {
			return err
		}
		if !ok {
			continue
		}
		if err := tx.dropPending(h, g, id, p); err != nil {
			return err
		}
	}
	return nil
}

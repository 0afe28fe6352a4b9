package stream

// An entry is referenced while a group may still need it: it has not been delivered
// to the group, or it is pending there. Commands that delete entries take KEEPREF,
// DELREF or ACKED to say what that means to them.

// referenced reports whether some group of h has not yet read and acknowledged id,
// whether or not there is such an entry.
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

// dropReferences makes id no longer pending in any group of h.
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

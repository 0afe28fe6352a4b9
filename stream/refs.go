package stream

// An entry is referenced while a group may still need it: it is pending in the group, or it
// was not delivered to the group yet. The options KEEPREF, DELREF and ACKED of commands that
// delete entries decide about references; see refPolicy.

// referenced reports whether some group of the stream has not yet read and acknowledged id.
// It does not matter whether the entry exists. A group acked, if it is not nil, has just
// acknowledged it.
func (f *finder) referenced(id ID, acked *group) (bool, error) {
	groups, err := f.tx.listGroups(f.h)
	if err != nil {
		return false, err
	}
	for _, g := range groups {
		if g.delivered.Less(id) {
			return true, nil
		}
	}
	for _, g := range groups {
		if g == acked {
			continue
		}
		if _, ok, err := f.pendingIn(g, id); ok || err != nil {
			return ok, err
		}
	}
	return false, nil
}

// dropReferences removes the pending entry id from every group of the stream but acked,
// which has just acknowledged it; nil is no group.
func (f *finder) dropReferences(id ID, acked *group) error {
	groups, err := f.tx.listGroups(f.h)
	if err != nil {
		return err
	}
	for _, g := range groups {
		if g == acked {
			continue
		}
		p, ok, err := f.pendingIn(g, id)
		if err != nil {
			return err
		}
		if !ok {
			continue
		}
		if err := f.tx.dropPending(f.h, g, id, p); err != nil {
			return err
		}
	}
	return nil
}

package stream

// PutString puts a name of another type into s, for tests of WRONGTYPE.
func PutString(s *State, b Batch, name []byte) error {
	if s.sys == nil {
		sys, err := loadSystem(b, s.firstSlot)
		if err != nil {
			return err
		}
		s.sys = sys
	}
	tx := Tx{kv: b, batch: b, state: s}
	if h, err := tx.head(name); err != nil {
		return err
	} else if h != nil {
		if err := tx.remove(h); err != nil {
			return err
		}
	}
	h, err := tx.createStream(name)
	if err != nil {
		return err
	}
	h.Type = TypeString
	return s.Flush(b)
}

// GroupsCached returns how many groups and consumers s keeps decoded for a stream, and
// how many it may when a batch begins.
func GroupsCached(s *State, name string) (cached, bound int) {
	if h := s.cached[name]; h != nil {
		cached = h.groupsCached
	}
	return cached, maxGroupCached
}

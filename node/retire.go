package node

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"millrace/placement"
	"millrace/shard"
)

// retirePrefix begins the name of the file that marks a replica as being removed. A removal
// takes several steps, and a replica that has lost some of its parts cannot be opened. So
// the next start repeats a removal whose mark is still there.
const retirePrefix = "retiring-"

// retirement is the content of the file "retiring-N", where N is the shard.
type retirement struct {
	Shard uint32 `json:"shard"`
	First uint16 `json:"first_slot"`
	Last  uint16 `json:"last_slot"`
}

// path returns the path of the mark in the data directory dir.
func (r retirement) path(dir string) string {
	return filepath.Join(dir, fmt.Sprintf("%s%d", retirePrefix, r.Shard))
}

// retire removes a replica that the map no longer gives this node, once the shard's leader
// confirms that its Raft configuration does not contain it. It takes four steps:
//
//  1. Ask the leader while the replica runs.
//  2. Close the replica.
//  3. Ask the leader again.
//  4. Destroy the replica.
//
// The first answer may soon be out of date. The shard may be handed back to this node, and
// a running replica, which has nearly all of the log, may become a voter at once. A closed
// replica cannot: before it becomes a voter, the leader asks it how far it is, and gets no
// answer. It does not vote or acknowledge records either, so the term on its disk remains
// the last term that it has seen. So the second answer stays true.
func (h *hosting) retire(ctx context.Context, s *placement.Shard) error {
	r := h.n.replicas.get(s.ID)
	if st, err := h.status(ctx, s.ID); err != nil || !mayRetire(h.n.id, r.Probe().Term, st) {
		return nil // still a member, or no leader answers: the replica stays
	}
	h.n.replicas.put(s.ID, nil)
	if err := r.Close(); err != nil {
		return err
	}
	term, err := h.n.disks.log.Store(s.ID).GetUint64([]byte("CurrentTerm"))
	if err != nil {
		return err
	}
	if st, err := h.status(ctx, s.ID); err != nil || !mayRetire(h.n.id, term, st) {
		return nil // the next round opens it again
	}
	if err := h.destroy(retirement{s.ID, s.First, s.Last}, func() error {
		return shard.Destroy(h.config(s.ID, s.First, s.Last, nil))
	}); err != nil {
		return err
	}
	h.n.log.Info("this node's replica was removed, because the shard has moved away", "shard", s.ID)
	return nil
}

// mayRetire reports whether st, the status that a leader answered, proves that node is no
// member of the shard. term is the last term that node's replica has seen. A leader of an
// older term was paused or cut off, and may not know that node was added since.
func mayRetire(node string, term uint64, st shard.Status) bool {
	return term != 0 && st.Term >= term && len(st.Voters) > 0 &&
		!slices.Contains(st.Voters, node) && !slices.Contains(st.Nonvoters, node)
}

// destroy sets the mark, runs remove, and removes the mark. Every step is synced. If a
// crash could bring the mark back later, the next start would destroy a newer replica.
func (h *hosting) destroy(r retirement, remove func() error) error {
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	path := r.path(h.n.cfg.DataDir)
	if err := writeFileSync(path, append(b, '\n')); err != nil {
		return err
	}
	if err := remove(); err != nil {
		return err
	}
	return removeFileSync(path)
}

// finishRetiring repeats the removals that a crash has interrupted. It runs before any
// replica is opened.
func (h *hosting) finishRetiring() error {
	paths, err := filepath.Glob(filepath.Join(h.n.cfg.DataDir, retirePrefix+"*"))
	if err != nil {
		return err
	}
	for _, path := range paths {
		if filepath.Ext(path) == ".new" { // a crash came before the mark was set
			if err := os.Remove(path); err != nil {
				return err
			}
			continue
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		var r retirement
		if err := json.Unmarshal(b, &r); err != nil || r.Shard == placement.MetaShard || r.path(h.n.cfg.DataDir) != path {
			return fmt.Errorf("%s does not name the replica to remove: %w", path, err)
		}
		if err := shard.Destroy(h.config(r.Shard, r.First, r.Last, nil)); err != nil {
			return err
		}
		if err := removeFileSync(path); err != nil {
			return err
		}
		h.n.log.Info("an interrupted removal of a replica was finished", "shard", r.Shard)
	}
	return nil
}

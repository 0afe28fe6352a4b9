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

// retirePrefix begins the name of the mark that a replica is being removed. Removing
// one takes several steps, and a replica that lost some of its parts does not open: so
// a removal that was cut short is gone through again at the next start.
const retirePrefix = "retiring-"

// retirement is the content of a mark.
type retirement struct {
	Shard uint32 `json:"shard"`
	First uint16 `json:"first_slot"`
	Last  uint16 `json:"last_slot"`
}

func (r retirement) path(dir string) string {
	return filepath.Join(dir, fmt.Sprintf("%s%d", retirePrefix, r.Shard))
}

// retire removes a replica that the map no longer gives this node, once the shard's
// leader has said that its configuration is without it.
//
// The leader is asked twice. What it says of a replica that runs is out of date in a
// moment: the shard may be handed back, and the replica, which has nearly all the log, be
// a voter at once. One that is closed becomes none: the leader asks it how far it is
// after it has made it a member, and gets no answer. It votes and acknowledges nothing
// either, so the term on its disk is the last it has seen.
func (h *hosting) retire(ctx context.Context, s *placement.Shard) error {
	r := h.n.replicas.get(s.ID)
	if st, err := h.status(ctx, s.ID); err != nil || !mayRetire(h.n.id, r.Probe().Term, st) {
		return nil // not yet, or nobody to ask: it stays
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
		return nil // the next reconciliation opens it again
	}
	if err := h.destroy(retirement{s.ID, s.First, s.Last}, func() error {
		return shard.Destroy(h.config(s.ID, s.First, s.Last, nil))
	}); err != nil {
		return err
	}
	h.n.log.Info("a replica that moved away was removed", "shard", s.ID)
	return nil
}

// mayRetire reports whether the leader that answered st knows that node has no part in
// the shard. A leader that was paused, or cut off, may know less than this replica,
// which has seen term: such a one does not remember that the node was added.
func mayRetire(node string, term uint64, st shard.Status) bool {
	return term != 0 && st.Term >= term && len(st.Voters) > 0 &&
		!slices.Contains(st.Voters, node) && !slices.Contains(st.Nonvoters, node)
}

// destroy runs remove between setting the mark and lifting it, all of it synced. A
// mark that came back later would take a newer replica away.
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

// finishRetiring goes through removals again that a crash has cut short. It runs before
// any replica is opened.
func (h *hosting) finishRetiring() error {
	paths, err := filepath.Glob(filepath.Join(h.n.cfg.DataDir, retirePrefix+"*"))
	if err != nil {
		return err
	}
	for _, path := range paths {
		if filepath.Ext(path) == ".new" { // a mark that was never set
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
			return fmt.Errorf("%s does not say which replica is being removed: %w", path, err)
		}
		if err := shard.Destroy(h.config(r.Shard, r.First, r.Last, nil)); err != nil {
			return err
		}
		if err := removeFileSync(path); err != nil {
			return err
		}
		h.n.log.Info("the removal of a replica has been finished", "shard", r.Shard)
	}
	return nil
}

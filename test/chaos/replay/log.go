package replay

import (
	"errors"
	"fmt"
	"hash/fnv"
	"path/filepath"
	"slices"
	"strings"

	"github.com/hashicorp/raft"

	"millrace/raftlog"
	"millrace/shard"
)

// Log is the part of a shard's log that is on one node's disk.
type Log struct {
	Node    string
	Records []Record // by rising index
}

// Record is one record of a log.
type Record struct {
	Index uint64
	Sum   uint64 // hash of its term, type and bytes
	// NowMS is the clock of the leader that wrote the record. It is 0 for a record that
	// does not reach the state machine.
	NowMS int64
	Calls []Call // only those on streams of the history
}

// Call is a command, or the commands of a transaction.
type Call struct {
	Multi    bool
	Commands [][]string
}

// logDir is the directory of the Raft logs in a data directory.
const logDir = "raftlog"

// ReadLog reads shard id's log from the data directory of a node that does not run. It
// returns only the calls with a command for which keep returns true.
func ReadLog(node, dir string, id uint32, keep func(words []string) bool) (Log, error) {
	log := Log{Node: node}
	db, err := raftlog.OpenReadOnly(filepath.Join(dir, logDir), raftlog.Options{CacheBytes: -1})
	if err != nil {
		return log, err
	}
	defer db.Close()
	s := db.Store(id)
	first, err := s.FirstIndex()
	if err != nil {
		return log, err
	}
	last, err := s.LastIndex()
	if err != nil || last == 0 {
		return log, err
	}
	for i := first; i <= last; i++ {
		var l raft.Log
		switch err := s.GetLog(i, &l); {
		case errors.Is(err, raft.ErrLogNotFound):
			continue
		case err != nil:
			return log, err
		}
		r, err := readRecord(&l, keep)
		if err != nil {
			return log, fmt.Errorf("%s: shard %d: record %d: %w", node, id, i, err)
		}
		log.Records = append(log.Records, r)
	}
	return log, nil
}

// readRecord decodes a Raft record. The state machine skips a command whose term is not
// its record's, so that such a record has no calls.
func readRecord(l *raft.Log, keep func(words []string) bool) (Record, error) {
	h := fnv.New64a()
	fmt.Fprintf(h, "%d %d ", l.Term, l.Type)
	h.Write(l.Data)
	r := Record{Index: l.Index, Sum: h.Sum64()}
	if l.Type != raft.LogCommand {
		return r, nil
	}
	rec, err := shard.ReadRecord(l.Data)
	if err != nil || rec.Term != l.Term {
		return r, err
	}
	r.NowMS = rec.NowMS
	for _, c := range rec.Calls {
		call := Call{Multi: c.Multi}
		kept := false
		for _, argv := range c.Commands {
			words := make([]string, len(argv))
			for i, w := range argv {
				words[i] = string(w)
			}
			words[0] = strings.ToUpper(words[0]) // a router that writes a call anew uses lower case
			kept = kept || keep(words)
			call.Commands = append(call.Commands, words)
		}
		if kept {
			r.Calls = append(r.Calls, call)
		}
	}
	return r, nil
}

// Merge merges the logs of a shard's replicas, from the record with the word begin to the
// record with the word end, both included. It checks three things, and calls add for each
// problem: a record is the same in every log that has it, no record is missing, and more
// than half of the replicas have the last one, because that was acknowledged. Merge
// returns nil when records are missing.
func Merge(logs []Log, replicas int, begin, end string, add func(format string, args ...any)) []Record {
	all := map[uint64]Record{}
	from, to := uint64(0), uint64(0)
	for _, l := range logs {
		for _, r := range l.Records {
			if r.has(begin) {
				from = r.Index
			}
			if r.has(end) {
				to = r.Index
			}
		}
	}
	if from == 0 || to == 0 {
		add("the log lacks an acknowledged mark: the begin is record %d, the end is record %d (0: missing)", from, to)
		return nil
	}
	ends := 0
	for _, l := range logs {
		for _, r := range l.Records {
			if r.Index < from || r.Index > to {
				continue
			}
			if o, ok := all[r.Index]; ok && o.Sum != r.Sum {
				add("record %d of %s differs from that of another replica", r.Index, l.Node)
			}
			all[r.Index] = r
			if r.Index == to {
				ends++
			}
		}
	}
	if ends <= replicas/2 {
		add("record %d was acknowledged, but is in the logs of only %d of %d replicas", to, ends, replicas)
	}
	merged := make([]Record, 0, len(all))
	for i := from; i <= to; i++ {
		r, ok := all[i]
		if !ok {
			add("record %d is in no replica's log", i)
			return nil
		}
		merged = append(merged, r)
	}
	return merged
}

// has reports whether a call of r contains a word.
func (r *Record) has(word string) bool {
	return slices.ContainsFunc(r.Calls, func(c Call) bool {
		return slices.ContainsFunc(c.Commands, func(words []string) bool { return slices.Contains(words, word) })
	})
}

package raftlog

import (
	"errors"
	"fmt"

	"github.com/hashicorp/raft"

	"millrace/raftlog/disk"
)

// Part describes the keys of one shard, as Check found them.
type Part struct {
	Shard       uint32
	First, Last uint64 // of the log; both 0 when it is empty
	LastTerm    uint64 // of the record at Last
	Records     uint64
	Bytes       int64
	Marker      *Marker // nil when there is none
	// Configuration is the newest one in the log and the marker, committed or not. The
	// record at ConfigurationIndex set it; 0 means that there is none.
	Configuration      raft.Configuration
	ConfigurationIndex uint64
}

// End returns the term and index of the end of the shard's data: those of the last
// record, or those of the marker if they are greater, compared by term first. Of two
// replicas, the one with the greater End has every record of the other one that a
// majority has acknowledged. For example, (term 3, index 7) is greater than (2, 9).
func (p *Part) End() (term, index uint64) {
	term, index = p.LastTerm, p.Last
	if m := p.Marker; m != nil && (m.Term > term || m.Term == term && m.Index > index) {
		term, index = m.Term, m.Index
	}
	return term, index
}

// Verify reads every block of every table and compares it with its checksum, including
// the blocks of truncated records, which Check does not read. It returns the first
// damage.
func (db *DB) Verify() error {
	if err := db.enter(); err != nil {
		return err
	}
	defer db.leave()
	return db.pebble.VerifyTables()
}

// Check reads all keys and values and describes each shard, in ascending order. It calls
// problem for every fault: a key or a value that cannot be decoded, a gap between
// records, a term that falls, as in
//
//	problem(2, "record: corruption: records 3 to 4 are missing")
//
// It calls progress, unless nil, with the number of keys read so far, once for every
// 20,000 keys. An error means that the read ended early.
func (db *DB) Check(problem func(shard uint32, text string), progress func(keys int)) ([]Part, error) {
	if err := db.enter(); err != nil {
		return nil, err
	}
	defer db.leave()
	it, err := db.pebble.NewIter(nil)
	if err != nil {
		return nil, err
	}
	defer it.Close()
	var parts []Part
	keys := 0
	for ok := it.First(); ok; ok = it.Next() {
		if keys++; progress != nil && keys%checkEvery == 0 {
			progress(keys)
		}
		v, err := it.ValueAndErr()
		if err != nil {
			return parts, err
		}
		if string(it.Key()) == string(formatKey) {
			continue // Open has checked it
		}
		shard, kind, rest, ok := splitKey(it.Key())
		if !ok {
			problem(0, fmt.Sprintf("a key of an unknown kind: %x", it.Key()))
			continue
		}
		if n := len(parts); n == 0 || parts[n-1].Shard != shard {
			parts = append(parts, Part{Shard: shard})
		}
		if err := parts[len(parts)-1].add(kind, rest, v); err != nil {
			problem(shard, err.Error())
		}
	}
	return parts, it.Error()
}

// checkEvery is the number of keys between two calls of Check's progress.
const checkEvery = 20_000

// add counts a key and its value in, and returns the fault that it finds in them. rest
// is the key after kind.
func (p *Part) add(kind byte, rest, v []byte) error {
	var err error
	switch kind {
	case kindFloor:
		number(v, &err)
	case kindVote:
		_, err = decodeVote(v)
	case kindStable:
	case kindMarker:
		var m Marker
		if m, err = decodeMarker(v); err == nil {
			p.Marker = &m
			p.configure(m.ConfigurationIndex, m.Configuration)
		}
	case kindRecord:
		index := number(rest, &err)
		var l raft.Log
		if err == nil {
			err = getRecord(copyBytes(v), index, &l)
		}
		if err == nil {
			err = p.addRecord(&l)
		}
	default:
		err = errors.New("unknown")
	}
	if err != nil {
		return fmt.Errorf("%s: %w: %w", kindName(kind), disk.ErrCorrupt, err)
	}
	return nil
}

// addRecord counts the next record in. It returns an error when the record does not
// follow the one before it.
func (p *Part) addRecord(l *raft.Log) (err error) {
	switch {
	case p.Records == 0:
		p.First = l.Index
	case l.Index != p.Last+1:
		err = fmt.Errorf("records %d to %d are missing", p.Last+1, l.Index-1)
	case l.Term < p.LastTerm:
		err = fmt.Errorf("record %d is of term %d, the one before of term %d", l.Index, l.Term, p.LastTerm)
	}
	p.Last, p.LastTerm = l.Index, l.Term
	p.Records++
	p.Bytes += int64(recordSize(l))
	if l.Type == raft.LogConfiguration {
		c, e := decodeConfiguration(l.Data)
		if e != nil {
			return errors.Join(err, fmt.Errorf("record %d: %w", l.Index, e))
		}
		p.configure(l.Index, c)
	}
	return err
}

// configure keeps c, set by the record at index, unless a newer one is known.
func (p *Part) configure(index uint64, c raft.Configuration) {
	if index >= p.ConfigurationIndex {
		p.ConfigurationIndex, p.Configuration = index, c
	}
}

func kindName(kind byte) string {
	names := map[byte]string{kindFloor: "floor", kindVote: "vote", kindMarker: "marker", kindRecord: "record", kindStable: "stable"}
	if n, ok := names[kind]; ok {
		return n
	}
	return fmt.Sprintf("kind %q", kind)
}

package raftlog

import (
	"encoding/binary"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
	"github.com/hashicorp/raft"
)

// Shards returns the shards that have at least one key, in ascending order.
func (db *DB) Shards() ([]uint32, error) {
	if err := db.enter(); err != nil {
		return nil, err
	}
	defer db.leave()
	it, err := db.pebble.NewIter(&pebble.IterOptions{
		LowerBound: []byte{leadShard},
		UpperBound: []byte{leadShard + 1},
	})
	if err != nil {
		return nil, err
	}
	defer it.Close()
	var shards []uint32
	for ok := it.First(); ok; {
		shard, _, _, valid := splitKey(it.Key())
		if !valid {
			return nil, fmt.Errorf("raftlog: unknown key %x", it.Key())
		}
		shards = append(shards, shard)
		ok = it.SeekGE(shardEnd(shard))
	}
	return shards, it.Error()
}

// Dump calls fn for every key, in order of shard and kind, until fn returns false. It
// holds one value at a time. The kinds are format, floor, marker, record, stable, vote
// and unknown; format has shard 0. A value that cannot be decoded does not end the
// dump: its text begins with "undecodable: ". A record of shard 2 is reported as
//
//	2, "record", "index=199 term=1 type=LogCommand bytes=21 …"
func (db *DB) Dump(fn func(shard uint32, kind string, text string) bool) error {
	if err := db.enter(); err != nil {
		return err
	}
	defer db.leave()
	it, err := db.pebble.NewIter(nil)
	if err != nil {
		return err
	}
	defer it.Close()
	for it.First(); it.Valid(); it.Next() {
		v, err := it.ValueAndErr()
		if err != nil {
			return err
		}
		if !fn(db.describe(it.Key(), v)) {
			return nil
		}
	}
	return it.Error()
}

// describe returns the text for one key and its value.
func (db *DB) describe(key, v []byte) (shard uint32, kind, text string) {
	if string(key) == string(formatKey) {
		if len(v) != 4 {
			return 0, "format", fmt.Sprintf("undecodable: %d bytes", len(v))
		}
		return 0, "format", fmt.Sprintf("version=%d", binary.BigEndian.Uint32(v))
	}
	shard, k, rest, ok := splitKey(key)
	if !ok {
		return 0, "unknown", fmt.Sprintf("key=%x value=%s", key, printBytes(v))
	}
	var err error
	switch k {
	case kindFloor:
		kind, text = "floor", fmt.Sprintf("index=%d", number(v, &err))
	case kindMarker:
		var m Marker
		m, err = decodeMarker(v)
		kind, text = "marker", m.String()
	case kindRecord:
		kind = "record"
		var l raft.Log
		index := number(rest, &err)
		if err == nil {
			err = getRecord(v, index, &l)
		}
		if err == nil {
			text = printRecord(&l, db.opts.RenderCommand)
		} else if len(rest) == 8 {
			err = fmt.Errorf("index=%d %w", index, err)
		}
	case kindStable:
		kind, text = "stable", fmt.Sprintf("%s=%s", rest, printStable(v))
	case kindVote:
		var w vote
		w, err = decodeVote(v)
		kind, text = "vote", w.String()
	default:
		kind, text = "unknown", fmt.Sprintf("key=%x value=%s", key, printBytes(v))
	}
	if err != nil {
		text = "undecodable: " + err.Error()
	}
	return shard, kind, text
}

// number decodes an integer of 8 bytes. If b has another length, it sets err.
func number(b []byte, err *error) uint64 {
	if len(b) != 8 {
		*err = fmt.Errorf("%d bytes instead of 8", len(b))
		return 0
	}
	return binary.BigEndian.Uint64(b)
}

func printStable(v []byte) string {
	if len(v) == 8 {
		return fmt.Sprint(binary.BigEndian.Uint64(v))
	}
	return printBytes(v)
}

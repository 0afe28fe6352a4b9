package stream

import (
	"encoding/binary"
	"fmt"
	"millrace/kv"
)

// system is the shard's own record, under kv.SystemKey(firstSlot, kv.SystemState).
//
//	 0         1      9          17
//	+---------+------+----------+-------------------------+-----------------------+
//	| version | keys | modified | chunkMaxEntries uvarint | chunkMaxBytes uvarint |
//	| u8 = 2  | u64  | u64      | idmpSeconds uvarint     | idmpMaxSize uvarint   |
//	|         |      |          | expires uvarint         | dueMS uvarint         |
//	|         |      |          | cleanups uvarint        |                       |
//	+---------+------+----------+-------------------------+-----------------------+
type system struct {
	keys     uint64 // number of names
	modified uint64 // number of modifications ever; see Tx.modified
	expires  uint64 // number of names with a deadline
	dueMS    int64  // lower bound of the deadlines; zero: there is none
	cleanups uint64 // number of groups that _CLEANUP has to look at
	settings settings
	dirty    bool // whether Flush has to write it
}

// settings holds Redis's stream-* parameters. They are part of the state, because they
// influence how commands change it.
type settings struct {
	chunkMaxEntries uint64 // stream-node-max-entries; zero: no limit
	chunkMaxBytes   uint64 // stream-node-max-bytes; zero: no limit
	idmpSeconds     uint64 // stream-idmp-duration, for new streams
	idmpMaxSize     uint64 // stream-idmp-maxsize, for new streams
}

// defaultSettings holds Redis's defaults.
var defaultSettings = settings{
	chunkMaxEntries: defaultChunkMaxEntries,
	chunkMaxBytes:   defaultChunkMaxBytes,
	idmpSeconds:     100,
	idmpMaxSize:     100,
}

const systemVersion = 2

func (s *system) encode() []byte {
	b := binary.BigEndian.AppendUint64([]byte{systemVersion}, s.keys)
	b = binary.BigEndian.AppendUint64(b, s.modified)
	for _, v := range [...]uint64{s.settings.chunkMaxEntries, s.settings.chunkMaxBytes, s.settings.idmpSeconds, s.settings.idmpMaxSize} {
		b = binary.AppendUvarint(b, v)
	}
	b = binary.AppendUvarint(b, s.expires)
	b = binary.AppendUvarint(b, uint64(s.dueMS))
	return binary.AppendUvarint(b, s.cleanups)
}

func decodeSystem(b []byte) (*system, error) {
	r := recordReader{b: b}
	if v := r.u8(); v != systemVersion {
		return nil, fmt.Errorf("stream: system record has version %d: not known here", v)
	}
	s := &system{keys: r.u64(), modified: r.u64()}
	for _, v := range [...]*uint64{&s.settings.chunkMaxEntries, &s.settings.chunkMaxBytes, &s.settings.idmpSeconds, &s.settings.idmpMaxSize} {
		*v = r.uvarint()
	}
	s.expires, s.dueMS, s.cleanups = r.uvarint(), int64(r.uvarint()), r.uvarint()
	return s, r.err("system record", nil)
}

func loadSystem(r kv.Reader, firstSlot uint16) (*system, error) {
	v, ok, err := r.Get(kv.SystemKey(firstSlot, kv.SystemState))
	if err != nil {
		return nil, fmt.Errorf("stream: read system record: %w", err)
	}
	if !ok {
		return &system{settings: defaultSettings}, nil
	}
	return decodeSystem(v)
}

// settings returns the parameters in force. Only a write may call it.
func (tx *Tx) settings() *settings { return &tx.state.sys.settings }

// system returns the shard's own record. A write may change it.
func (tx *Tx) system() (*system, error) {
	if tx.state != nil {
		return tx.state.sys, nil
	}
	return loadSystem(tx.kv, tx.firstSlot)
}

package raftlog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/cockroachdb/pebble/v2"
	"github.com/hashicorp/raft"
)

// Marker stands for a snapshot of a shard. It claims that the state as of Index is
// durable outside the log; it does not contain that state.
type Marker struct {
	// Index and Term are those of the last record the snapshot covers.
	Index, Term uint64
	// Applied is the applied index inside the state. It can be below Index, because
	// some records, such as Raft's no-ops, never reach the state machine: Index 120
	// with Applied 118 is complete if 119 and 120 are no-ops.
	Applied uint64
	// Configuration is the shard's membership as of Index, set by the record at
	// ConfigurationIndex.
	ConfigurationIndex uint64
	Configuration      raft.Configuration
	// Staged is the directory with the state of a received snapshot that is not yet
	// installed. It is empty once the state database holds the snapshot's state.
	Staged string
	// StagedBytes is the size of the files in Staged.
	StagedBytes int64
	// Version is Raft's snapshot version.
	Version int
}

// The encoding of a marker. Strings and the list of servers are preceded by their
// lengths.
//
//	 0         1       9      17        25          33       41        43
//	+---------+-------+------+---------+-----------+--------+---------+--------+---------+
//	| version | index | term | applied | config    | staged | raft    | staged | servers |
//	|         |       |      |         | index     | bytes  | version | name   |         |
//	| u8 = 1  | u64   | u64  | u64     | u64       | u64    | u16     | u16, B | u16, …  |
//	+---------+-------+------+---------+-----------+--------+---------+--------+---------+
//
//	a server:  suffrage u8 | ID u16, B | address u16, B
const (
	markerVersion   = 1
	markerHeaderLen = 43
)

// ErrBadMarker is returned by PutMarker when a field is out of the range of its
// encoding. Nothing was written.
var ErrBadMarker = errors.New("raftlog: bad marker")

func (m *Marker) encode() ([]byte, error) {
	if m.StagedBytes < 0 || m.Version < 0 || m.Version > math.MaxUint16 {
		return nil, fmt.Errorf("%w: staged bytes %d, version %d", ErrBadMarker, m.StagedBytes, m.Version)
	}
	if len(m.Configuration.Servers) > math.MaxUint16 {
		return nil, fmt.Errorf("%w: %d servers", ErrBadMarker, len(m.Configuration.Servers))
	}
	b := []byte{markerVersion}
	for _, v := range []uint64{m.Index, m.Term, m.Applied, m.ConfigurationIndex, uint64(m.StagedBytes)} {
		b = binary.BigEndian.AppendUint64(b, v)
	}
	b = binary.BigEndian.AppendUint16(b, uint16(m.Version))
	b, err := appendString(b, m.Staged)
	if err != nil {
		return nil, err
	}
	b = binary.BigEndian.AppendUint16(b, uint16(len(m.Configuration.Servers)))
	for _, s := range m.Configuration.Servers {
		if s.Suffrage < 0 || s.Suffrage > math.MaxUint8 {
			return nil, fmt.Errorf("%w: suffrage %d", ErrBadMarker, s.Suffrage)
		}
		b = append(b, byte(s.Suffrage))
		if b, err = appendString(b, string(s.ID)); err != nil {
			return nil, err
		}
		if b, err = appendString(b, string(s.Address)); err != nil {
			return nil, err
		}
	}
	return b, nil
}

func decodeMarker(b []byte) (Marker, error) {
	if len(b) < markerHeaderLen {
		return Marker{}, fmt.Errorf("marker: %d bytes, header needs %d", len(b), markerHeaderLen)
	}
	if b[0] != markerVersion {
		return Marker{}, fmt.Errorf("marker: version %d, want %d", b[0], markerVersion)
	}
	m := Marker{
		Index:              binary.BigEndian.Uint64(b[1:]),
		Term:               binary.BigEndian.Uint64(b[9:]),
		Applied:            binary.BigEndian.Uint64(b[17:]),
		ConfigurationIndex: binary.BigEndian.Uint64(b[25:]),
		StagedBytes:        int64(binary.BigEndian.Uint64(b[33:])),
		Version:            int(binary.BigEndian.Uint16(b[41:])),
	}
	if m.StagedBytes < 0 {
		return Marker{}, errors.New("marker: staged size out of range")
	}
	b = b[markerHeaderLen:]
	var ok bool
	if m.Staged, b, ok = cutString(b); !ok || len(b) < 2 {
		return Marker{}, errors.New("marker: cut short")
	}
	n := int(binary.BigEndian.Uint16(b))
	b = b[2:]
	for range n { // append per server, so that a large n alone allocates nothing
		if len(b) < 1 {
			return Marker{}, errors.New("marker: cut short in a server")
		}
		s := raft.Server{Suffrage: raft.ServerSuffrage(b[0])}
		var id, addr string
		if id, b, ok = cutString(b[1:]); !ok {
			return Marker{}, errors.New("marker: cut short in a server's ID")
		}
		if addr, b, ok = cutString(b); !ok {
			return Marker{}, errors.New("marker: cut short in a server's address")
		}
		s.ID, s.Address = raft.ServerID(id), raft.ServerAddress(addr)
		m.Configuration.Servers = append(m.Configuration.Servers, s)
	}
	if len(b) > 0 {
		return Marker{}, fmt.Errorf("marker: %d bytes after its end", len(b))
	}
	return m, nil
}

// String describes m on one line.
func (m Marker) String() string {
	s := fmt.Sprintf("index=%d term=%d applied=%d configuration=%d %s",
		m.Index, m.Term, m.Applied, m.ConfigurationIndex, printConfiguration(m.Configuration))
	if m.Staged != "" {
		s += fmt.Sprintf(" staged=%q bytes=%d", m.Staged, m.StagedBytes)
	}
	return s
}

func (m Marker) clone() Marker {
	m.Configuration = m.Configuration.Clone()
	return m
}

func appendString(b []byte, s string) ([]byte, error) {
	if len(s) > math.MaxUint16 {
		return nil, fmt.Errorf("%w: string of %d bytes", ErrBadMarker, len(s))
	}
	b = binary.BigEndian.AppendUint16(b, uint16(len(s)))
	return append(b, s...), nil
}

func cutString(b []byte) (s string, rest []byte, ok bool) {
	if len(b) < 2 {
		return "", nil, false
	}
	n := int(binary.BigEndian.Uint16(b))
	if b = b[2:]; n > len(b) {
		return "", nil, false
	}
	return string(b[:n]), b[n:], true
}

// Marker returns the marker of the newest snapshot, and whether there is one. The error
// is always nil.
func (s *Store) Marker() (Marker, bool, error) {
	m := s.marker.Load()
	if m == nil {
		return Marker{}, false, nil
	}
	return m.clone(), true, nil
}

// PutMarker replaces the marker atomically. The new one is on disk on return.
func (s *Store) PutMarker(m Marker) error {
	v, err := m.encode()
	if err != nil {
		return err
	}
	m = m.clone()
	if err := s.db.enter(); err != nil {
		return err
	}
	defer s.db.leave()
	s.markerMu.Lock()
	defer s.markerMu.Unlock()
	b := s.db.pebble.NewBatch()
	defer b.Close()
	if err := b.Set(appendPrefix(nil, s.shard, kindMarker), v, nil); err != nil {
		s.db.fail(s.shard, "build a batch", err)
	}
	s.db.commit(b, pebble.Sync)
	s.marker.Store(&m)
	return nil
}

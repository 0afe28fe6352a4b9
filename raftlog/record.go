package raftlog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"github.com/hashicorp/raft"
)

// A record is the value of one item of the log. Its index is in its key.
//
//	 0         1      2      10        14       14+n
//	+---------+------+------+---------+--------+------------+
//	| version | type | term | n       | data   | extensions |
//	| u8 = 1  | u8   | u64  | u32     | n B    | the rest   |
//	+---------+------+------+---------+--------+------------+
//
// Raft's AppendedAt is not stored, because it only feeds a metric that Millrace does
// not use.
const (
	recordVersion   = 1
	recordHeaderLen = 14

	// maxRecordBytes bounds one record. Shards propose far smaller ones; the bound
	// keeps a record within a Pebble batch, which ends at 4 GiB.
	maxRecordBytes = 1 << 30
)

// ErrRecordTooLarge is returned by StoreLogs when a record is over 1 GiB. Nothing was
// written.
var ErrRecordTooLarge = errors.New("raftlog: record too large")

func recordSize(l *raft.Log) int { return recordHeaderLen + len(l.Data) + len(l.Extensions) }

// putRecord encodes l into dst, which has recordSize(l) bytes.
func putRecord(dst []byte, l *raft.Log) {
	dst[0] = recordVersion
	dst[1] = byte(l.Type)
	binary.BigEndian.PutUint64(dst[2:], l.Term)
	binary.BigEndian.PutUint32(dst[10:], uint32(len(l.Data)))
	n := copy(dst[recordHeaderLen:], l.Data)
	copy(dst[recordHeaderLen+n:], l.Extensions)
}

// getRecord decodes v into l. The fields of l point into v, so the caller must not
// write to v afterwards.
func getRecord(v []byte, index uint64, l *raft.Log) error {
	if len(v) == 0 {
		return errors.New("record: empty")
	}
	if v[0] != recordVersion {
		return fmt.Errorf("record: version %d, want %d", v[0], recordVersion)
	}
	if len(v) < recordHeaderLen {
		return fmt.Errorf("record: %d bytes, header needs %d", len(v), recordHeaderLen)
	}
	n := uint64(binary.BigEndian.Uint32(v[10:]))
	rest := v[recordHeaderLen:]
	if n > uint64(len(rest)) {
		return fmt.Errorf("record: data of %d bytes, %d present", n, len(rest))
	}
	*l = raft.Log{Index: index, Term: binary.BigEndian.Uint64(v[2:]), Type: raft.LogType(v[1])}
	if n > 0 {
		l.Data = rest[:n:n]
	}
	if uint64(len(rest)) > n {
		l.Extensions = rest[n:]
	}
	return nil
}

// printRecord describes l on one line. It calls command for the data of a LogCommand.
func printRecord(l *raft.Log, command func([]byte) string) string {
	s := fmt.Sprintf("index=%d term=%d type=%v bytes=%d", l.Index, l.Term, l.Type, len(l.Data))
	if len(l.Extensions) > 0 {
		s += fmt.Sprintf(" extensions=%d", len(l.Extensions))
	}
	switch {
	case l.Type == raft.LogConfiguration:
		c, err := decodeConfiguration(l.Data)
		if err != nil {
			return s + " " + err.Error()
		}
		return s + " " + printConfiguration(c)
	case l.Type == raft.LogCommand && len(l.Data) > 0:
		return s + " " + command(l.Data)
	}
	return s
}

// printBytes quotes the first 64 bytes of b.
func printBytes(b []byte) string {
	const most = 64
	if len(b) > most {
		return fmt.Sprintf("%q…", b[:most])
	}
	return fmt.Sprintf("%q", b)
}

// decodeConfiguration decodes Raft's encoding of a configuration. Raft's decoder
// panics on bad bytes; decodeConfiguration returns an error instead.
func decodeConfiguration(data []byte) (c raft.Configuration, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("configuration: %v", p)
		}
	}()
	return raft.DecodeConfiguration(data), nil
}

func printConfiguration(c raft.Configuration) string {
	var s strings.Builder
	s.WriteString("servers=[")
	for i, v := range c.Servers {
		if i > 0 {
			s.WriteString(" ")
		}
		fmt.Fprintf(&s, "%v:%s", v.Suffrage, v.ID)
		if string(v.ID) != string(v.Address) {
			s.WriteString("@" + string(v.Address))
		}
	}
	return s.String() + "]"
}

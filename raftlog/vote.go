package raftlog

import (
	"encoding/binary"
	"fmt"
)

// A vote, under one key, so that it is on disk as a whole or not at all.
//
//	 0         1      9
//	+---------+------+-----------+
//	| version | term | candidate |
//	| u8 = 1  | u64  | the rest  |
//	+---------+------+-----------+
type vote struct {
	term      uint64
	candidate []byte
}

const (
	voteVersion   = 1
	voteHeaderLen = 9
)

func (v vote) encode() []byte {
	b := make([]byte, 0, voteHeaderLen+len(v.candidate))
	b = append(b, voteVersion)
	b = binary.BigEndian.AppendUint64(b, v.term)
	return append(b, v.candidate...)
}

func decodeVote(b []byte) (vote, error) {
	if len(b) < voteHeaderLen {
		return vote{}, fmt.Errorf("vote: %d bytes, header needs %d", len(b), voteHeaderLen)
	}
	if b[0] != voteVersion {
		return vote{}, fmt.Errorf("vote: version %d, want %d", b[0], voteVersion)
	}
	return vote{
		term:      binary.BigEndian.Uint64(b[1:]),
		candidate: append(make([]byte, 0, len(b)-voteHeaderLen), b[voteHeaderLen:]...),
	}, nil
}

func (v vote) String() string { return fmt.Sprintf("term=%d candidate=%q", v.term, v.candidate) }

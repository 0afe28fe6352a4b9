package raftlog

import (
	"encoding/binary"
	"fmt"
)

// vote is Raft's vote: the candidate that this replica voted for in a term. It has one
// key, so that a crash never leaves half of it on disk.
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

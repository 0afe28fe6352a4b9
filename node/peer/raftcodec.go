package peer

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/hashicorp/raft"
)

// The payloads of Raft's messages. b16 is a u16 length and that many bytes; b8 and b32
// have a u8 and a u32.
//
//	head          | version u8 | ID b16 | Addr b16 |
//	AppendEntries | head | Term u64 | Leader b16 | PrevLogEntry u64 | PrevLogTerm u64 |
//	              | LeaderCommitIndex u64 | n u32 | n × log |
//	log           | Index u64 | Term u64 | Type u8 | AppendedAt i64 | Data b32 | Extensions b32 |
//	RequestVote   | head | Term u64 | Candidate b16 | LastLogIndex u64 | LastLogTerm u64 | transfer u8 |
//	RequestPreVote| head | Term u64 | LastLogIndex u64 | LastLogTerm u64 |
//	TimeoutNow    | head |
//	Install       | head | SnapshotVersion u8 | Term u64 | Leader b16 | LastLogIndex u64 |
//	              | LastLogTerm u64 | Peers b32 | Configuration b32 | ConfigurationIndex u64 | Size i64 |
//
//	an answer     | 0 u8 | message |   or   | 1 u8 | error text |
//	Append…       | head | Term u64 | LastLog u64 | success u8 | noRetryBackoff u8 |
//	Vote          | head | Term u64 | Peers b16 | granted u8 |
//	PreVote       | head | Term u64 | granted u8 |
//	TimeoutNow    | head |
//	Install       | head | Term u64 | success u8 |
//
// AppendedAt is in nanoseconds since the Unix epoch; the least i64 stands for no time.
// Empty bytes are decoded as nil, because Raft never distinguishes the two.

const noTime = math.MinInt64

// logOverhead is the length of a record with empty Data and Extensions.
const logOverhead = 8 + 8 + 1 + 8 + 4 + 4

func appendRPCHeader(b []byte, h *raft.RPCHeader) []byte {
	b = append(b, byte(h.ProtocolVersion))
	b = appendBytes16(b, h.ID)
	return appendBytes16(b, h.Addr)
}

func rpcHeaderSize(h *raft.RPCHeader) int { return 1 + 2 + len(h.ID) + 2 + len(h.Addr) }

func (r *reader) rpcHeader() raft.RPCHeader {
	return raft.RPCHeader{
		ProtocolVersion: raft.ProtocolVersion(r.u8()),
		ID:              r.bytes16(),
		Addr:            r.bytes16(),
	}
}

func appendEntriesFixed(m *raft.AppendEntriesRequest) int {
	return rpcHeaderSize(&m.RPCHeader) + 8 + 2 + len(m.Leader) + 8 + 8 + 8 + 4
}

func logSize(l *raft.Log) int { return logOverhead + len(l.Data) + len(l.Extensions) }

func appendEntries(b []byte, m *raft.AppendEntriesRequest) []byte {
	b = appendRPCHeader(b, &m.RPCHeader)
	b = binary.BigEndian.AppendUint64(b, m.Term)
	b = appendBytes16(b, m.Leader)
	b = binary.BigEndian.AppendUint64(b, m.PrevLogEntry)
	b = binary.BigEndian.AppendUint64(b, m.PrevLogTerm)
	b = binary.BigEndian.AppendUint64(b, m.LeaderCommitIndex)
	b = binary.BigEndian.AppendUint32(b, uint32(len(m.Entries)))
	for _, l := range m.Entries {
		b = binary.BigEndian.AppendUint64(b, l.Index)
		b = binary.BigEndian.AppendUint64(b, l.Term)
		b = append(b, byte(l.Type))
		at := int64(noTime)
		if !l.AppendedAt.IsZero() {
			at = l.AppendedAt.UnixNano()
		}
		b = binary.BigEndian.AppendUint64(b, uint64(at))
		b = appendBytes32(b, l.Data)
		b = appendBytes32(b, l.Extensions)
	}
	return b
}

// decodeAppendEntries reads an AppendEntries. Its byte fields are slices of payload.
func decodeAppendEntries(payload []byte) (*raft.AppendEntriesRequest, error) {
	r := &reader{b: payload}
	m := &raft.AppendEntriesRequest{RPCHeader: r.rpcHeader(), Term: r.u64(), Leader: r.bytes16()}
	m.PrevLogEntry, m.PrevLogTerm, m.LeaderCommitIndex = r.u64(), r.u64(), r.u64()
	n := int(r.u32())
	if n > len(r.b)/logOverhead {
		r.bad = true
	}
	if n > 0 && !r.bad {
		logs := make([]raft.Log, n)
		m.Entries = make([]*raft.Log, n)
		for i := range logs {
			l := &logs[i]
			l.Index, l.Term, l.Type = r.u64(), r.u64(), raft.LogType(r.u8())
			if at := int64(r.u64()); at != noTime {
				l.AppendedAt = time.Unix(0, at)
			}
			l.Data, l.Extensions = r.bytes32(), r.bytes32()
			m.Entries[i] = l
		}
	}
	return m, r.done("AppendEntries")
}

func appendVote(b []byte, m *raft.RequestVoteRequest) []byte {
	b = appendRPCHeader(b, &m.RPCHeader)
	b = binary.BigEndian.AppendUint64(b, m.Term)
	b = appendBytes16(b, m.Candidate)
	b = binary.BigEndian.AppendUint64(b, m.LastLogIndex)
	b = binary.BigEndian.AppendUint64(b, m.LastLogTerm)
	return appendBool(b, m.LeadershipTransfer)
}

func decodeVote(payload []byte) (*raft.RequestVoteRequest, error) {
	r := &reader{b: payload}
	m := &raft.RequestVoteRequest{RPCHeader: r.rpcHeader(), Term: r.u64(), Candidate: r.bytes16(),
		LastLogIndex: r.u64(), LastLogTerm: r.u64(), LeadershipTransfer: r.bool()}
	return m, r.done("RequestVote")
}

func appendPreVote(b []byte, m *raft.RequestPreVoteRequest) []byte {
	b = appendRPCHeader(b, &m.RPCHeader)
	b = binary.BigEndian.AppendUint64(b, m.Term)
	b = binary.BigEndian.AppendUint64(b, m.LastLogIndex)
	return binary.BigEndian.AppendUint64(b, m.LastLogTerm)
}

func decodePreVote(payload []byte) (*raft.RequestPreVoteRequest, error) {
	r := &reader{b: payload}
	m := &raft.RequestPreVoteRequest{RPCHeader: r.rpcHeader(), Term: r.u64(), LastLogIndex: r.u64(), LastLogTerm: r.u64()}
	return m, r.done("RequestPreVote")
}

func decodeTimeoutNow(payload []byte) (*raft.TimeoutNowRequest, error) {
	r := &reader{b: payload}
	m := &raft.TimeoutNowRequest{RPCHeader: r.rpcHeader()}
	return m, r.done("TimeoutNow")
}

func appendInstall(b []byte, m *raft.InstallSnapshotRequest) []byte {
	b = appendRPCHeader(b, &m.RPCHeader)
	b = append(b, byte(m.SnapshotVersion))
	b = binary.BigEndian.AppendUint64(b, m.Term)
	b = appendBytes16(b, m.Leader)
	b = binary.BigEndian.AppendUint64(b, m.LastLogIndex)
	b = binary.BigEndian.AppendUint64(b, m.LastLogTerm)
	b = appendBytes32(b, m.Peers)
	b = appendBytes32(b, m.Configuration)
	b = binary.BigEndian.AppendUint64(b, m.ConfigurationIndex)
	return binary.BigEndian.AppendUint64(b, uint64(m.Size))
}

func decodeInstall(payload []byte) (*raft.InstallSnapshotRequest, error) {
	r := &reader{b: payload}
	m := &raft.InstallSnapshotRequest{RPCHeader: r.rpcHeader(), SnapshotVersion: raft.SnapshotVersion(r.u8()),
		Term: r.u64(), Leader: r.bytes16(), LastLogIndex: r.u64(), LastLogTerm: r.u64(),
		Peers: r.bytes32(), Configuration: r.bytes32(), ConfigurationIndex: r.u64(), Size: int64(r.u64())}
	if m.Size < 0 {
		r.bad = true
	}
	return m, r.done("InstallSnapshot")
}

const (
	statusOK     = 0
	statusError  = 1
	statusAbsent = 2 // an error: the node has no open replica of the shard
)

// maxErrorText is the length at which an error text is cut on the wire.
const maxErrorText = 1 << 10

func appendRPCError(b []byte, err error) []byte {
	text, status := err.Error(), byte(statusError)
	if errors.Is(err, ErrNoReplica) || errors.Is(err, ErrTransportClosed) {
		status = statusAbsent
	}
	b = append(b, status)
	return append(b, text[:min(len(text), maxErrorText)]...)
}

// RemoteError is the text of an error that the other node answered.
type RemoteError string

func (e RemoteError) Error() string { return string(e) }

// absentError is the text of a node that answered that it has no open replica.
type absentError string

func (e absentError) Error() string { return string(e) }

// Is reports that an absentError is an ErrNoReplica.
func (absentError) Is(target error) bool { return target == ErrNoReplica }

// Known tells package shard that its logger need not warn: the map knows of a replica before
// its node has opened it. One that stays away is a problem in the status.
func (absentError) Known() bool { return true }

var errNoAnswer = errors.New("peer: raft answered neither a response nor an error")

// appendRPCAnswer writes the answer of a shard's Raft.
func appendRPCAnswer(b []byte, resp raft.RPCResponse) []byte {
	if resp.Error != nil {
		return appendRPCError(b, resp.Error)
	}
	ok := append(b, statusOK)
	switch m := resp.Response.(type) {
	case *raft.AppendEntriesResponse:
		ok = appendRPCHeader(ok, &m.RPCHeader)
		ok = binary.BigEndian.AppendUint64(ok, m.Term)
		ok = binary.BigEndian.AppendUint64(ok, m.LastLog)
		return appendBool(appendBool(ok, m.Success), m.NoRetryBackoff)
	case *raft.RequestVoteResponse:
		ok = appendRPCHeader(ok, &m.RPCHeader)
		ok = binary.BigEndian.AppendUint64(ok, m.Term)
		return appendBool(appendBytes16(ok, m.Peers), m.Granted)
	case *raft.RequestPreVoteResponse:
		ok = appendRPCHeader(ok, &m.RPCHeader)
		ok = binary.BigEndian.AppendUint64(ok, m.Term)
		return appendBool(ok, m.Granted)
	case *raft.TimeoutNowResponse:
		return appendRPCHeader(ok, &m.RPCHeader)
	case *raft.InstallSnapshotResponse:
		ok = appendRPCHeader(ok, &m.RPCHeader)
		ok = binary.BigEndian.AppendUint64(ok, m.Term)
		return appendBool(ok, m.Success)
	case nil:
		return appendRPCError(b, errNoAnswer)
	}
	return appendRPCError(b, fmt.Errorf("peer: raft answered a %T", resp.Response))
}

// decodeRPCAnswer reads an answer into resp, which must have the type of the expected
// response. resp keeps no slice of payload. The error of the other node is returned as
// a RemoteError or as an ErrNoReplica, an impossible payload as ErrMalformed.
func decodeRPCAnswer(payload []byte, resp any) error {
	r := &reader{b: payload}
	switch r.u8() {
	case statusOK:
	case statusError:
		return RemoteError(payload[1:])
	case statusAbsent:
		return absentError(payload[1:])
	default:
		r.bad = true
	}
	h := r.rpcHeader()
	h.ID, h.Addr = append([]byte(nil), h.ID...), append([]byte(nil), h.Addr...)
	switch m := resp.(type) {
	case *raft.AppendEntriesResponse:
		*m = raft.AppendEntriesResponse{RPCHeader: h, Term: r.u64(), LastLog: r.u64(), Success: r.bool(), NoRetryBackoff: r.bool()}
	case *raft.RequestVoteResponse:
		*m = raft.RequestVoteResponse{RPCHeader: h, Term: r.u64(), Peers: append([]byte(nil), r.bytes16()...), Granted: r.bool()}
	case *raft.RequestPreVoteResponse:
		*m = raft.RequestPreVoteResponse{RPCHeader: h, Term: r.u64(), Granted: r.bool()}
	case *raft.TimeoutNowResponse:
		*m = raft.TimeoutNowResponse{RPCHeader: h}
	case *raft.InstallSnapshotResponse:
		*m = raft.InstallSnapshotResponse{RPCHeader: h, Term: r.u64(), Success: r.bool()}
	default:
		return fmt.Errorf("peer: no answer can be read into a %T", resp)
	}
	return r.done("a raft answer")
}

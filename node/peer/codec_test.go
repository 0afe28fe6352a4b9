package peer

import (
	"bytes"
	"encoding/hex"
	"errors"
	"io"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/hashicorp/raft"

	"millrace/call"
)

var testHead = raft.RPCHeader{ProtocolVersion: 3, ID: []byte("ab"), Addr: []byte("cd")}

const headHex = "03 0002 6162 0002 6364 "

// TestGolden fixes the bytes on the wire. A change here changes the protocol, which then
// needs a new version.
func TestGolden(t *testing.T) {
	rpc := func(r any) []byte { return appendRPCAnswer(nil, raft.RPCResponse{Response: r}) }
	result := func(r call.Result) []byte { return appendResult(nil, &r) }
	for _, tc := range []struct {
		name string
		got  []byte
		want string
	}{
		{"frame head", appendHead(nil, typeCall, 5, 0x0102030405060708, 2), "0000000f 10 00000005 0102030405060708"},
		{"append", appendEntries(nil, &raft.AppendEntriesRequest{RPCHeader: testHead, Term: 1, Leader: []byte("l"), PrevLogEntry: 2, PrevLogTerm: 3,
			LeaderCommitIndex: 4, Entries: []*raft.Log{{Index: 5, Term: 6, Type: raft.LogConfiguration, Data: []byte("dd"), AppendedAt: time.Unix(0, 7)}, {Index: 8, Extensions: []byte("e")}}}),
			headHex + "0000000000000001 0001 6c 0000000000000002 0000000000000003 0000000000000004 00000002" +
				"0000000000000005 0000000000000006 05 0000000000000007 00000002 6464 00000000" +
				"0000000000000008 0000000000000000 00 8000000000000000 00000000 00000001 65"},
		{"vote", appendVote(nil, &raft.RequestVoteRequest{RPCHeader: testHead, Term: 1, Candidate: []byte("c"), LastLogIndex: 2, LastLogTerm: 3, LeadershipTransfer: true}),
			headHex + "0000000000000001 0001 63 0000000000000002 0000000000000003 01"},
		{"pre-vote", appendPreVote(nil, &raft.RequestPreVoteRequest{RPCHeader: testHead, Term: 1, LastLogIndex: 2, LastLogTerm: 3}),
			headHex + "0000000000000001 0000000000000002 0000000000000003"},
		{"install", appendInstall(nil, &raft.InstallSnapshotRequest{RPCHeader: testHead, SnapshotVersion: 1, Term: 2, Leader: []byte("l"), LastLogIndex: 3, LastLogTerm: 4,
			Peers: []byte("p"), Configuration: []byte("cc"), ConfigurationIndex: 5, Size: 6}),
			headHex + "01 0000000000000002 0001 6c 0000000000000003 0000000000000004 00000001 70 00000002 6363 0000000000000005 0000000000000006"},
		{"append answer", rpc(&raft.AppendEntriesResponse{RPCHeader: testHead, Term: 1, LastLog: 2, Success: true, NoRetryBackoff: true}),
			"00" + headHex + "0000000000000001 0000000000000002 01 01"},
		{"vote answer", rpc(&raft.RequestVoteResponse{RPCHeader: testHead, Term: 1, Peers: []byte("p"), Granted: true}), "00" + headHex + "0000000000000001 0001 70 01"},
		{"pre-vote answer", rpc(&raft.RequestPreVoteResponse{RPCHeader: testHead, Term: 1, Granted: true}), "00" + headHex + "0000000000000001 01"},
		{"timeout-now answer", rpc(&raft.TimeoutNowResponse{RPCHeader: testHead}), "00" + headHex},
		{"install answer", rpc(&raft.InstallSnapshotResponse{RPCHeader: testHead, Term: 1, Success: true}), "00" + headHex + "0000000000000001 01"},
		{"rpc error", appendRPCAnswer(nil, raft.RPCResponse{Error: errors.New("no")}), "01 6e6f"},
		{"call", appendCall(nil, &call.Call{Term: 1, Kind: call.Block, Multi: true, Proto: 3, TimeoutMS: 2, BlockMS: 3, Cmds: [][][]byte{{[]byte("a"), {}}, {}}}),
			"0000000000000001 04 01 03 00000002 0000000000000003 00000002 00000002 00000001 61 00000000 00000000"},
		{"reply", result(call.Result{Reply: []byte("+OK\r\n")}), "00 2b4f4b0d0a"},
		{"not leader", result(call.Result{Err: &call.NotLeader{Leader: "ab", Term: 9}}), "01 0000000000000009 02 6162"},
		{"overloaded", result(call.Result{Err: call.ErrOverloaded})[:1], "02"},
		{"timeout", result(call.Result{Err: call.ErrTimeout})[:1], "03"},
		{"stopping", result(call.Result{Err: call.ErrStopping})[:1], "04"},
		{"no shard", result(call.Result{Err: call.ErrNoShard})[:1], "05"},
		{"not sent", result(call.Result{Err: call.ErrNotSent})[:1], "06"},
		{"too large", result(call.Result{Err: call.ErrTooLarge})[:1], "07"},
		{"in doubt", result(call.Result{Err: call.ErrInDoubt})[:1], "08"},
		{"canceled", result(call.Result{Err: call.ErrCanceled})[:1], "09"},
		{"no space", result(call.Result{Err: call.ErrNoSpace})[:1], "0a"},
		{"unclassed", result(call.Result{Err: io.ErrNoProgress})[:1], "08"},
		{"probe", appendProbe(nil, []uint32{1, 2}), "0002 00000001 00000002"},
		{"probes", appendProbes(nil, []call.Probe{{Hosted: true, Term: 1, LastIndex: 2, Applied: 3, Leader: "l"}, {}}),
			"0002 01 0000000000000001 0000000000000002 0000000000000003 01 6c 00 0000000000000000 0000000000000000 0000000000000000 00"},
		{"hello info", appendHello(nil, &HelloInfo{NodeID: "n", ClusterID: "", Version: "v", Expect: 3, Lowest: "m"}), "01 6e 00 01 76 00 00 00 03 01 6d"},
		{"chunk", appendChunk(nil, 2, []byte("123456789")), "0000001a 09 00000002 0000000000000000 e3069283 313233343536373839"},
		{"greeting", appendGreeting(nil, &greeting{version: 1, code: 2, nonce: bytes.Repeat([]byte{7}, 32), target: "t", identity: identity{node: "n", cluster: "c", address: "a:1", run: 3}}, true),
			"6d696c6c72616365 0001 02 0000000000000003" + strings.Repeat("07", 32) + "01 6e 01 63 01 74 03 613a31"},
		{"proof", proof([]byte("key"), labelDialler, []byte("hello"), []byte("challenge"), nil), "9c9187d7ce4b391686c9a4818d0cece26898bed34a12ee77b7fd476997c24d65"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			want := strings.ReplaceAll(tc.want, " ", "")
			if got := hex.EncodeToString(tc.got); got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
		})
	}
}

func randBytes(r *rand.Rand, most int) []byte {
	n := r.IntN(most + 1)
	if n == 0 {
		return nil
	}
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

func randHead(r *rand.Rand) raft.RPCHeader {
	return raft.RPCHeader{ProtocolVersion: raft.ProtocolVersion(r.IntN(4)), ID: randBytes(r, 50), Addr: randBytes(r, 50)}
}

// FuzzRoundTrip writes messages with random fields and reads them back. The seed of the
// fields is the fuzzed input.
func FuzzRoundTrip(f *testing.F) {
	for seed := range uint64(50) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, seed uint64) {
		rt := roundTrip{t, rand.New(rand.NewPCG(seed, 1))}
		rt.raftRequests()
		rt.raftAnswers()
		rt.calls()
		rt.greeting()
	})
}

// roundTrip makes random messages, writes them and reads them back.
type roundTrip struct {
	t *testing.T
	r *rand.Rand
}

func (rt roundTrip) same(name string, got, want any, err error) {
	rt.t.Helper()
	if err != nil {
		rt.t.Fatalf("%s: %v", name, err)
	}
	if !reflect.DeepEqual(got, want) {
		rt.t.Fatalf("%s:\ngot  %+v\nwant %+v", name, got, want)
	}
}

func (rt roundTrip) raftRequests() {
	ae := &raft.AppendEntriesRequest{RPCHeader: randHead(rt.r), Term: rt.r.Uint64(), Leader: randBytes(rt.r, 50), PrevLogEntry: rt.r.Uint64(), PrevLogTerm: rt.r.Uint64(), LeaderCommitIndex: rt.r.Uint64()}
	size := appendEntriesFixed(ae)
	for range rt.r.IntN(5) {
		l := &raft.Log{Index: rt.r.Uint64(), Term: rt.r.Uint64(), Type: raft.LogType(rt.r.IntN(6)), Data: randBytes(rt.r, 300), Extensions: randBytes(rt.r, 5)}
		if rt.r.IntN(2) == 0 {
			l.AppendedAt = time.Unix(0, rt.r.Int64())
		}
		ae.Entries = append(ae.Entries, l)
		size += logSize(l)
	}
	b := appendEntries(nil, ae)
	if len(b) != size {
		rt.t.Fatalf("AppendEntries took %d bytes, announced %d", len(b), size)
	}
	ae2, err := decodeAppendEntries(b)
	rt.same("append", ae2, ae, err)
	v := &raft.RequestVoteRequest{RPCHeader: randHead(rt.r), Term: rt.r.Uint64(), Candidate: randBytes(rt.r, 9), LastLogIndex: rt.r.Uint64(), LastLogTerm: rt.r.Uint64(), LeadershipTransfer: rt.r.IntN(2) == 0}
	v2, err := decodeVote(appendVote(nil, v))
	rt.same("vote", v2, v, err)
	pv := &raft.RequestPreVoteRequest{RPCHeader: randHead(rt.r), Term: rt.r.Uint64(), LastLogIndex: rt.r.Uint64(), LastLogTerm: rt.r.Uint64()}
	pv2, err := decodePreVote(appendPreVote(nil, pv))
	rt.same("pre-vote", pv2, pv, err)
	is := &raft.InstallSnapshotRequest{RPCHeader: randHead(rt.r), SnapshotVersion: 1, Term: rt.r.Uint64(), Leader: randBytes(rt.r, 9), LastLogIndex: rt.r.Uint64(), LastLogTerm: rt.r.Uint64(),
		Peers: randBytes(rt.r, 9), Configuration: randBytes(rt.r, 500), ConfigurationIndex: rt.r.Uint64(), Size: rt.r.Int64()}
	is2, err := decodeInstall(appendInstall(nil, is))
	rt.same("install", is2, is, err)
}

func (rt roundTrip) raftAnswers() {
	answer := func(in, out any) {
		rt.t.Helper()
		err := decodeRPCAnswer(appendRPCAnswer(nil, raft.RPCResponse{Response: in}), out)
		rt.same("answer", out, in, err)
	}
	answer(&raft.AppendEntriesResponse{RPCHeader: randHead(rt.r), Term: rt.r.Uint64(), LastLog: rt.r.Uint64(), Success: rt.r.IntN(2) == 0, NoRetryBackoff: rt.r.IntN(2) == 0}, &raft.AppendEntriesResponse{Term: 99})
	answer(&raft.RequestVoteResponse{RPCHeader: randHead(rt.r), Term: rt.r.Uint64(), Peers: randBytes(rt.r, 4), Granted: rt.r.IntN(2) == 0}, &raft.RequestVoteResponse{})
	answer(&raft.RequestPreVoteResponse{RPCHeader: randHead(rt.r), Term: rt.r.Uint64(), Granted: rt.r.IntN(2) == 0}, &raft.RequestPreVoteResponse{})
	answer(&raft.TimeoutNowResponse{RPCHeader: randHead(rt.r)}, &raft.TimeoutNowResponse{})
	answer(&raft.InstallSnapshotResponse{RPCHeader: randHead(rt.r), Term: rt.r.Uint64(), Success: rt.r.IntN(2) == 0}, &raft.InstallSnapshotResponse{})
}

func (rt roundTrip) calls() {
	c := &call.Call{Term: rt.r.Uint64(), Kind: call.Kind(1 + rt.r.IntN(6)), Multi: rt.r.IntN(2) == 0, Proto: uint8(2 + rt.r.IntN(2)), TimeoutMS: rt.r.Uint32(), BlockMS: rt.r.Uint64()}
	c.Cmds = make([][][]byte, rt.r.IntN(4))
	for i := range c.Cmds {
		c.Cmds[i] = make([][]byte, rt.r.IntN(4))
		for j := range c.Cmds[i] {
			c.Cmds[i][j] = append([]byte{}, randBytes(rt.r, 100)...)
		}
	}
	b := appendCall(nil, c)
	if len(b) != callSize(c) {
		rt.t.Fatalf("a call took %d bytes, announced %d", len(b), callSize(c))
	}
	c2 := &call.Call{}
	err := decodeCall(c2, b, &wordArena{chunk: 8})
	rt.same("call", appendCall(nil, c2), b, err) // an empty list of commands comes back as nil, so the bytes are compared
	if callKind(b) != c.Kind {
		rt.t.Fatalf("kind %d, want %d", callKind(b), c.Kind)
	}
	res := call.Result{Reply: append([]byte{}, randBytes(rt.r, 9000)...)}
	res2, err := decodeResult(appendResult(nil, &res), &byteArena{})
	rt.same("result", res2, res, err)
	ps := []call.Probe{{Hosted: true, Term: rt.r.Uint64(), LastIndex: rt.r.Uint64(), Applied: rt.r.Uint64(), Leader: nodeID(1)}, {}}
	ps2, err := decodeProbes(appendProbes(nil, ps))
	rt.same("probes", ps2, ps, err)
	shards := []uint32{rt.r.Uint32(), rt.r.Uint32()}
	shards2, err := decodeProbe(appendProbe(nil, shards))
	rt.same("probe", shards2, shards, err)
}

func (rt roundTrip) greeting() {
	g := greeting{version: version, code: 1, nonce: bytes.Repeat([]byte{byte(rt.r.Uint32())}, nonceSize), target: nodeID(1), identity: identity{node: nodeID(2), cluster: "c", address: "h:1", run: rt.r.Uint64()}}
	g2, err := parseGreeting(appendGreeting(nil, &g, true), true)
	rt.same("greeting", g2, g, err)
}

// Every error of package call is decoded as itself, whether it was wrapped or not.
func TestResultErrors(t *testing.T) {
	for _, want := range errorCodes {
		if want == nil {
			continue
		}
		for _, err := range []error{want, errors.Join(errors.New("because"), want)} {
			got, derr := decodeResult(appendResult(nil, &call.Result{Err: err}), nil)
			if derr != nil || !errors.Is(got.Err, want) {
				t.Errorf("%v was decoded as %v, %v", err, got.Err, derr)
			}
			if call.NotDone(got.Err) != call.NotDone(want) {
				t.Errorf("%v changed its class", err)
			}
		}
	}
	got, err := decodeResult(appendResult(nil, &call.Result{Err: errors.New("disk on fire")}), nil)
	if err != nil || !errors.Is(got.Err, call.ErrInDoubt) || !strings.Contains(got.Err.Error(), "disk on fire") {
		t.Errorf("an unclassed error came back as %v, %v", got.Err, err)
	}
	var nl *call.NotLeader
	got, err = decodeResult(appendResult(nil, &call.Result{Err: &call.NotLeader{Leader: nodeID(1), Term: 4}}), nil)
	if err != nil || !errors.As(got.Err, &nl) || *nl != (call.NotLeader{Leader: nodeID(1), Term: 4}) {
		t.Errorf("NotLeader came back as %v, %v", got.Err, err)
	}
}

// decodeAny decodes a frame as a connection does.
func decodeAny(f frame) error {
	var err error
	switch f.typ {
	case typeAppend, typeAnnounce:
		_, err = decodeAppendEntries(f.payload)
	case typeVote:
		_, err = decodeVote(f.payload)
	case typePreVote:
		_, err = decodePreVote(f.payload)
	case typeTimeoutNow:
		_, err = decodeTimeoutNow(f.payload)
	case typeInstall:
		_, err = decodeInstall(f.payload)
	case typeChunk:
		_, err = decodeChunk(f.payload)
	case typeHello:
		_, err = decodeHello(f.payload)
	case typeCall:
		err = decodeCall(&call.Call{}, f.payload, &wordArena{chunk: arenaWords})
	case typeCall | answer:
		_, err = decodeResult(f.payload, &byteArena{})
	case typeProbe:
		_, err = decodeProbe(f.payload)
	case typeProbe | answer:
		_, err = decodeProbes(f.payload)
	case typeAppend | answer:
		err = decodeRPCAnswer(f.payload, &raft.AppendEntriesResponse{})
	case typeVote | answer:
		err = decodeRPCAnswer(f.payload, &raft.RequestVoteResponse{})
	case typePreVote | answer:
		err = decodeRPCAnswer(f.payload, &raft.RequestPreVoteResponse{})
	case typeTimeoutNow | answer:
		err = decodeRPCAnswer(f.payload, &raft.TimeoutNowResponse{})
	case typeInstall | answer:
		err = decodeRPCAnswer(f.payload, &raft.InstallSnapshotResponse{})
	}
	return err
}

// FuzzFrame feeds bytes to the decoders as a connection does. The decoders must not
// panic, must not depend on the sizes of the reads, and must fail with their own errors.
func FuzzFrame(f *testing.F) {
	add := func(typ frameType, payload []byte) {
		f.Add(append(appendHead(nil, typ, 1, 2, len(payload)), payload...))
	}
	add(typePing, nil)
	add(typeAppend, appendEntries(nil, &raft.AppendEntriesRequest{RPCHeader: testHead, Entries: []*raft.Log{{Data: []byte("x")}}}))
	add(typeAnnounce, appendEntries(nil, &raft.AppendEntriesRequest{RPCHeader: testHead}))
	add(typeVote, appendVote(nil, &raft.RequestVoteRequest{RPCHeader: testHead}))
	add(typePreVote, appendPreVote(nil, &raft.RequestPreVoteRequest{RPCHeader: testHead}))
	add(typeInstall, appendInstall(nil, &raft.InstallSnapshotRequest{RPCHeader: testHead}))
	add(typeCall, appendCall(nil, writeCall(1, "XADD", "s", "*", "a", "1")))
	add(typeCall|answer, appendResult(nil, &call.Result{Err: &call.NotLeader{Leader: "x"}}))
	add(typeProbe, appendProbe(nil, []uint32{1, 2, 3}))
	add(typeProbe|answer, appendProbes(nil, []call.Probe{{Leader: "x"}}))
	add(typeAppend|answer, appendRPCAnswer(nil, raft.RPCResponse{Response: &raft.AppendEntriesResponse{}}))
	f.Add(appendChunk(nil, 1, []byte("data")))
	add(typeHello, appendHello(nil, &HelloInfo{NodeID: "n"}))
	f.Add([]byte("\xff\xff\xff\xff\x02aaaaaaaaaaaaaaaa"))
	f.Fuzz(func(t *testing.T, in []byte) {
		read := func(src io.Reader) (frames int, sum []byte, err error) {
			fr := newFrameReader(src)
			for {
				f, err := fr.next()
				if err == nil {
					err = decodeAny(f)
				}
				if err != nil {
					return frames, sum, err
				}
				frames++
				sum = append(append(sum, byte(f.typ)), f.payload...)
			}
		}
		n1, s1, err1 := read(bytes.NewReader(in))
		n2, s2, err2 := read(iotest.OneByteReader(bytes.NewReader(in)))
		if n1 != n2 || !bytes.Equal(s1, s2) || err1.Error() != err2.Error() {
			t.Fatalf("cut otherwise: %d frames, %v; %d frames, %v", n1, err1, n2, err2)
		}
		for _, known := range []error{io.EOF, io.ErrUnexpectedEOF, ErrMalformed, ErrFrameTooLarge, ErrSnapshotCorrupt, ErrNoReplica} {
			if errors.Is(err1, known) {
				return
			}
		}
		if _, remote := err1.(RemoteError); !remote {
			t.Fatalf("unnamed error: %v", err1)
		}
	})
}

// No memory is allocated for the length that a frame declares, only for arrived bytes.
func TestFrameAllocation(t *testing.T) {
	head := appendHead(nil, typeAppend, 1, 1, maxAppendPayload)
	res := testing.Benchmark(func(b *testing.B) {
		b.ReportAllocs()
		for range b.N {
			if _, err := newFrameReader(bytes.NewReader(append(head, "some bytes"...))).next(); err != io.ErrUnexpectedEOF {
				b.Fatal(err)
			}
		}
	})
	if got := res.AllocedBytesPerOp(); got > 4*readBuffer {
		t.Errorf("a frame of 64 MiB, of which 10 bytes arrived, took %d bytes", got)
	}

	// A payload that does arrive is kept without waste, for any size.
	for _, n := range []int{0, 1, readBuffer - frameSize, readBuffer - frameSize + 1, readBuffer, 3*readBuffer + 7, 1<<20 + 1} {
		payload := bytes.Repeat([]byte{3}, n)
		payload = append(payload, appendHead(nil, typePing, 0, 9, 0)...)
		in := append(appendHead(nil, typeAppend, 1, 1, n), payload...)
		fr := newFrameReader(iotest.HalfReader(bytes.NewReader(in)))
		f, err := fr.next()
		if err != nil || !bytes.Equal(f.payload, payload[:n]) || f.owned && cap(f.payload) != n {
			t.Errorf("%d bytes: got %d, cap %d, %v", n, len(f.payload), cap(f.payload), err)
		}
		if f, err := fr.next(); err != nil || f.request != 9 {
			t.Errorf("behind %d bytes: %+v, %v", n, f, err)
		}
	}
}

func TestMalformedFrames(t *testing.T) {
	frameOf := func(typ frameType, payload ...byte) []byte {
		return append(appendHead(nil, typ, 1, 1, len(payload)), payload...)
	}
	for _, tc := range []struct {
		name string
		in   []byte
		want error
	}{
		{"unknown type", frameOf(0x7f), ErrMalformed},
		{"short length", []byte("\x00\x00\x00\x01\x02aaaaaaaaaaaa"), ErrMalformed},
		{"over its limit", appendHead(nil, typeVote, 1, 1, maxRPCPayload+1), ErrFrameTooLarge},
		{"ping with payload", frameOf(typePing, 1), ErrFrameTooLarge},
		{"missing records", appendEntriesCount(1 << 31), ErrMalformed},
		{"a call of kind 0", frameOf(typeCall, appendCall(nil, &call.Call{Proto: 2})...), ErrMalformed},
		{"a call of kind 7", frameOf(typeCall, appendCall(nil, &call.Call{Proto: 2, Kind: 7})...), ErrMalformed},
		{"a call in RESP 4", frameOf(typeCall, appendCall(nil, &call.Call{Proto: 4, Kind: 1})...), ErrMalformed},
		{"bytes behind a call", frameOf(typeCall, append(appendCall(nil, writeCall(1, "X")), 0)...), ErrMalformed},
		{"an empty reply", frameOf(typeCall | answer), ErrMalformed},
		{"reply code 200", frameOf(typeCall|answer, 200), ErrMalformed},
		{"answer status 3", frameOf(typeVote|answer, 3), ErrMalformed},
		{"an empty answer", frameOf(typeVote | answer), ErrMalformed},
		{"a flag of 2", frameOf(typeVote|answer, append(appendRPCAnswer(nil, raft.RPCResponse{Response: &raft.RequestVoteResponse{}})[:16], 2)...), ErrMalformed},
		{"chunk without data", frameOf(typeChunk, 0, 0, 0, 0), ErrMalformed},
		{"chunk with a flipped bit", frameOf(typeChunk, 1, 2, 3, 4, 5), ErrSnapshotCorrupt},
		{"negative snapshot", frameOf(typeInstall, appendInstall(nil, &raft.InstallSnapshotRequest{Size: -1})...), ErrMalformed},
		{"cut short", frameOf(typeVote, 1)[:10], io.ErrUnexpectedEOF},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f, err := newFrameReader(bytes.NewReader(tc.in)).next()
			if err == nil {
				err = decodeAny(f)
			}
			if !errors.Is(err, tc.want) {
				t.Errorf("got %v, want %v", err, tc.want)
			}
		})
	}
}

func appendEntriesCount(n uint32) []byte {
	b := appendEntries(nil, &raft.AppendEntriesRequest{})
	putLength(b[len(b)-4:], int(n))
	return append(appendHead(nil, typeAppend, 1, 1, len(b)), b...)
}

func TestSendQueue(t *testing.T) {
	var q sendQueue
	add := func(n int) {
		q.in = append(appendHead(q.in, typeCall, 0, 0, n), make([]byte, n)...)
		q.total += uint64(frameSize + n)
	}
	add(100)
	add(100)
	add(1000)
	add(10)
	// cut returns whole frames: as many as fit, but at least one.
	for i, want := range []int{2 * (frameSize + 100), frameSize + 1000, frameSize + 10, 0} {
		if got := len(q.cut(300)); got != want {
			t.Fatalf("cut %d: %d bytes, want %d", i, got, want)
		}
	}
	if q.waiting() != 0 || q.handed != q.total {
		t.Errorf("handed %d of %d", q.handed, q.total)
	}
	add(keepBuffer)
	q.cut(1)
	q.cut(1)
	q.cut(1)
	if cap(q.in) > keepBuffer || cap(q.out) > keepBuffer {
		t.Errorf("a large buffer was kept: %d, %d", cap(q.in), cap(q.out))
	}
}

package peer

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

// The handshake comes before any frame. D is the side that dialled, A the side that
// accepted. Every message is a u16 length, at most maxHandshake, and that many bytes.
// b8 is a u8 length and that many bytes.
//
//	D→A hello     | "millrace" | version u16 | purpose u8 | run u64 | nonce 32 B |
//	              | node b8 | cluster b8 | target b8 | address b8 |
//	A→D challenge | "millrace" | version u16 | verdict u8 | run u64 | nonce 32 B |
//	              | node b8 | cluster b8 | address b8 |
//	D→A proof     | HMAC-SHA256(key, "millrace dialler" + transcript) |
//	A→D verdict   | verdict u8 | HMAC-SHA256(key, "millrace accepter" + transcript) |
//
// The transcript is the hello, the challenge and, under TLS, a value that is unique to
// the TLS session, each behind its length. A proof is therefore valid for one
// connection (both nonces), between these two nodes, in this cluster, for this purpose
// and in one direction. It can be neither replayed nor reflected. The accepter proves
// itself last, to a dialler that has already done so.
//
// run is a random number, drawn when a process starts; it distinguishes a node that was
// started again from one that is still connected. target is the node that the dialler
// wants to reach; it is empty for the purpose hello, where the dialler does not know
// the node yet. cluster is empty while a node has none, and then matches any cluster.
// address is the address at which the sender can be dialled.
//
// Every future version will begin with magic and version too, so that a node can tell
// one of another version the reason for its refusal.
const (
	magic        = "millrace"
	version      = 1
	maxHandshake = 1 << 10
	nonceSize    = 32
	macSize      = sha256.Size
)

const (
	maxNodeID  = 64
	maxCluster = 64
	maxAddress = 255
)

// purpose tells the accepter how the connection will be used.
type purpose uint8

const (
	purposePeer   purpose = iota + 1 // the one connection between two nodes
	purposeBulk                      // one snapshot
	purposeHello                     // one HelloInfo
	purposeDialMe                    // the handshake alone: the accepter is asked to dial back
)

// Reasons to refuse, or give up, a connection during its handshake.
var (
	// ErrVersion: the two nodes speak different versions of this protocol.
	ErrVersion = errors.New("peer: the other node speaks another protocol version")
	// ErrOtherCluster: the two nodes belong to different clusters.
	ErrOtherCluster = errors.New("peer: the other node belongs to another cluster")
	// ErrWrongNode: the node at the address is not the one that the dialler wanted.
	ErrWrongNode = errors.New("peer: another node answers at this address")
	// ErrSameNode: the other side has our own node ID, as after copying a data directory.
	ErrSameNode = errors.New("peer: the other node has our own node ID")
	// ErrBadProof: the other side does not have the same cluster secret.
	ErrBadProof = errors.New("peer: the other node does not have the same cluster secret")
	// ErrBusy: the other node has reached its bound of connections or snapshots.
	ErrBusy = errors.New("peer: the other node is busy")
	// ErrDirection: the wrong one of two nodes dialled, or asked to be dialled.
	ErrDirection = errors.New("peer: only the node with the lower ID dials")
	// ErrHandshake: the other side does not speak this protocol.
	ErrHandshake = errors.New("peer: not a millrace handshake")
	// ErrNoSecret: an address beyond loopback needs a cluster secret.
	ErrNoSecret = errors.New("peer: listening beyond loopback needs a cluster secret")
)

// verdicts lists the refusals that a verdict on the wire stands for.
var verdicts = [...]error{
	0: nil,
	1: ErrVersion,
	2: ErrOtherCluster,
	3: ErrWrongNode,
	4: ErrSameNode,
	5: ErrBadProof,
	6: ErrBusy,
	7: ErrDirection,
	8: ErrHandshake,
}

// verdictOf returns the verdict for an error; ErrHandshake stands for any other error.
func verdictOf(err error) byte {
	for i, v := range verdicts {
		if v != nil && errors.Is(err, v) {
			return byte(i)
		}
	}
	return verdictOf(ErrHandshake)
}

// DeriveKey derives a key of 32 bytes for one purpose from the cluster secret. A key
// reveals nothing about the secret or about the keys of other purposes. DeriveKey
// panics if Go's FIPS-only mode is on and refuses the secret as too short.
func DeriveKey(secret []byte, purpose string) []byte {
	key, err := hkdf.Key(sha256.New, secret, nil, "millrace "+purpose, 32)
	if err != nil {
		panic(fmt.Sprintf("peer: derive the %s key: %v", purpose, err))
	}
	return key
}

// identity describes the node at one side of a connection, in its own words until the
// proof.
type identity struct {
	node, cluster string
	address       string // the address to dial; empty if the node gave none
	run           uint64
}

// greeting is a parsed hello or challenge.
type greeting struct {
	version uint16
	code    uint8 // purpose or verdict
	nonce   []byte
	target  string // hello only
	identity
}

func appendGreeting(b []byte, g *greeting, hello bool) []byte {
	b = append(b, magic...)
	b = binary.BigEndian.AppendUint16(b, g.version)
	b = append(b, g.code)
	b = binary.BigEndian.AppendUint64(b, g.run)
	b = append(b, g.nonce...)
	b = appendBytes8(b, g.node)
	b = appendBytes8(b, g.cluster)
	if hello {
		b = appendBytes8(b, g.target)
	}
	return appendBytes8(b, g.address)
}

// parseGreeting reads a hello or a challenge. It fails with ErrHandshake on bytes that
// are no greeting. It fails with ErrVersion on a greeting of another version, of which
// it returns only the version.
func parseGreeting(b []byte, hello bool) (greeting, error) {
	r := &reader{b: b}
	var g greeting
	if string(r.take(len(magic))) != magic {
		return g, fmt.Errorf("%w: no %q at its start", ErrHandshake, magic)
	}
	g.version = r.u16()
	if !r.bad && g.version != version {
		return g, fmt.Errorf("%w: %d, ours is %d", ErrVersion, g.version, version)
	}
	g.code = r.u8()
	g.run = r.u64()
	g.nonce = r.take(nonceSize)
	g.node, g.cluster = r.str8(), r.str8()
	if hello {
		g.target = r.str8()
	}
	g.address = r.str8()
	if err := r.done("the greeting"); err != nil {
		return g, fmt.Errorf("%w: %w", ErrHandshake, err)
	}
	if g.node == "" || len(g.node) > maxNodeID || len(g.cluster) > maxCluster {
		return g, fmt.Errorf("%w: node ID of %d bytes, cluster ID of %d", ErrHandshake, len(g.node), len(g.cluster))
	}
	return g, nil
}

// writeMessage writes a message behind its length.
func writeMessage(w io.Writer, b []byte) error {
	_, err := w.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...))
	return err
}

// readMessage reads one message. It reads not a byte beyond it, because frames may
// follow at once.
func readMessage(r io.Reader) ([]byte, error) {
	var head [2]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrHandshake, err)
	}
	n := int(binary.BigEndian.Uint16(head[:]))
	if n > maxHandshake {
		return nil, fmt.Errorf("%w: a message of %d bytes", ErrHandshake, n)
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(r, b); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrHandshake, err)
	}
	return b, nil
}

const (
	labelDialler  = "millrace dialler"
	labelAccepter = "millrace accepter"
)

// proof returns the HMAC with which one side proves that it holds key.
func proof(key []byte, label string, hello, challenge, channel []byte) []byte {
	m := hmac.New(sha256.New, key)
	for _, part := range [][]byte{[]byte(label), hello, challenge, channel} {
		var n [4]byte
		binary.BigEndian.PutUint32(n[:], uint32(len(part)))
		m.Write(n[:])
		m.Write(part)
	}
	return m.Sum(nil)
}

// shaker runs the handshakes of one node.
type shaker struct {
	node    string
	cluster func() string
	address func() string
	run     uint64
	key     []byte
	timeout time.Duration
}

func newShaker(cfg *Config, address func() string) *shaker {
	var run [8]byte
	rand.Read(run[:]) //nolint:errcheck // never fails
	s := &shaker{node: cfg.NodeID, cluster: cfg.ClusterID, address: address,
		run: binary.BigEndian.Uint64(run[:]), timeout: cfg.Limits.HandshakeTimeout}
	if len(cfg.Secret) > 0 {
		s.key = DeriveKey(cfg.Secret, "peer handshake")
	}
	return s
}

// self returns this node's greeting, with a new nonce.
func (s *shaker) self(code uint8) *greeting {
	nonce := make([]byte, nonceSize)
	rand.Read(nonce) //nolint:errcheck // never fails
	return &greeting{version: version, code: code, nonce: nonce,
		identity: identity{node: s.node, cluster: s.cluster(), address: s.address(), run: s.run}}
}

// otherCluster returns ErrOtherCluster if both IDs are known and differ.
func otherCluster(ours, theirs string) error {
	if ours != "" && theirs != "" && ours != theirs {
		return fmt.Errorf("%w: %q, ours is %q", ErrOtherCluster, theirs, ours)
	}
	return nil
}

// tlsChannel returns the value that binds a proof to its TLS session, or nil without
// TLS.
func tlsChannel(nc net.Conn) ([]byte, error) {
	tc, ok := nc.(*tls.Conn)
	if !ok {
		return nil, nil
	}
	if err := tc.Handshake(); err != nil { // under the connection's deadline
		return nil, err
	}
	st := tc.ConnectionState()
	return st.ExportKeyingMaterial("EXPORTER-millrace-peer", nil, 32)
}

// dial runs the dialling side of a handshake. target is the ID of the wanted node, or
// empty for any node. On failure the caller closes nc.
func (s *shaker) dial(nc net.Conn, p purpose, target string) (identity, error) {
	if err := nc.SetDeadline(time.Now().Add(s.timeout)); err != nil {
		return identity{}, err
	}
	channel, err := tlsChannel(nc)
	if err != nil {
		return identity{}, fmt.Errorf("%w: %w", ErrHandshake, err)
	}
	g := s.self(uint8(p))
	g.target = target
	hello := appendGreeting(nil, g, true)
	if err := writeMessage(nc, hello); err != nil {
		return identity{}, err
	}
	challenge, err := readMessage(nc)
	if err != nil {
		return identity{}, err
	}
	a, err := parseGreeting(challenge, false)
	if err != nil {
		return identity{}, err
	}
	if int(a.code) >= len(verdicts) {
		return identity{}, fmt.Errorf("%w: verdict %d", ErrHandshake, a.code)
	}
	switch refusal := verdicts[a.code]; {
	case refusal == ErrOtherCluster: //nolint:errorlint // the table's own values
		return a.identity, fmt.Errorf("%w: %q, ours is %q", refusal, a.cluster, g.cluster)
	case refusal != nil:
		return a.identity, fmt.Errorf("refused by %.8s: %w", a.node, refusal)
	case a.node == s.node:
		return a.identity, ErrSameNode
	case target != "" && a.node != target:
		return a.identity, fmt.Errorf("%w: %.8s, not %.8s", ErrWrongNode, a.node, target)
	}
	if err := otherCluster(g.cluster, a.cluster); err != nil {
		return a.identity, err
	}
	if err := writeMessage(nc, proof(s.key, labelDialler, hello, challenge, channel)); err != nil {
		return a.identity, err
	}
	last, err := readMessage(nc)
	if err != nil {
		return a.identity, err
	}
	if len(last) == 0 || int(last[0]) >= len(verdicts) {
		return a.identity, fmt.Errorf("%w: no verdict", ErrHandshake)
	}
	if refusal := verdicts[last[0]]; refusal != nil {
		return a.identity, fmt.Errorf("refused by %.8s: %w", a.node, refusal)
	}
	if !hmac.Equal(last[1:], proof(s.key, labelAccepter, hello, challenge, channel)) {
		return a.identity, ErrBadProof
	}
	return a.identity, nc.SetDeadline(time.Time{})
}

// accept runs the accepting side of a handshake. Once the dialler has proved itself,
// admit decides; if it returns an error, one of verdicts, that is sent to the dialler
// as the refusal.
func (s *shaker) accept(nc net.Conn, admit func(purpose, identity) error) (purpose, identity, error) {
	if err := nc.SetDeadline(time.Now().Add(s.timeout)); err != nil {
		return 0, identity{}, err
	}
	channel, err := tlsChannel(nc)
	if err != nil {
		return 0, identity{}, fmt.Errorf("%w: %w", ErrHandshake, err)
	}
	hello, err := readMessage(nc)
	if err != nil {
		return 0, identity{}, err
	}
	d, err := parseGreeting(hello, true)
	if err != nil && !errors.Is(err, ErrVersion) {
		return 0, identity{}, err // bytes of another protocol get no answer
	}
	p := purpose(d.code)
	g := s.self(0)
	switch {
	case err != nil:
	case p < purposePeer || p > purposeDialMe:
		err = fmt.Errorf("%w: purpose %d", ErrHandshake, p)
	case d.node == s.node:
		err = ErrSameNode
	case d.target != "" && d.target != s.node, d.target == "" && p != purposeHello:
		err = fmt.Errorf("%w: the dialler looks for %.8s", ErrWrongNode, d.target)
	default:
		err = otherCluster(g.cluster, d.cluster)
	}
	if err != nil {
		g.code = verdictOf(err)
	}
	challenge := appendGreeting(nil, g, false)
	if werr := writeMessage(nc, challenge); err != nil || werr != nil {
		return p, d.identity, errors.Join(err, werr)
	}
	got, err := readMessage(nc)
	if err != nil {
		return p, d.identity, err
	}
	if !hmac.Equal(got, proof(s.key, labelDialler, hello, challenge, channel)) {
		err = ErrBadProof
	} else {
		err = admit(p, d.identity)
	}
	if err != nil {
		return p, d.identity, errors.Join(err, writeMessage(nc, []byte{verdictOf(err)}))
	}
	last := append([]byte{0}, proof(s.key, labelAccepter, hello, challenge, channel)...)
	if err := writeMessage(nc, last); err != nil {
		return p, d.identity, err
	}
	return p, d.identity, nc.SetDeadline(time.Time{})
}

package peer

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"time"
)

// A hello's payload: | NodeID b8 | ClusterID b8 | Version b8 | Expect u32 | Lowest b8 |.

func appendHello(b []byte, h *HelloInfo) []byte {
	b = appendBytes8(b, h.NodeID)
	b = appendBytes8(b, h.ClusterID)
	b = appendBytes8(b, h.Version)
	b = binary.BigEndian.AppendUint32(b, h.Expect)
	return appendBytes8(b, h.Lowest)
}

func decodeHello(payload []byte) (HelloInfo, error) {
	r := &reader{b: payload}
	h := HelloInfo{NodeID: r.str8(), ClusterID: r.str8(), Version: r.str8(), Expect: r.u32(), Lowest: r.str8()}
	return h, r.done("a hello")
}

// Hello asks the node at addr for its HelloInfo, on a connection of its own. It fails
// with ErrSameNode if addr is this node's own, and with ErrOtherCluster if the node
// belongs to another cluster than this one.
func (p *Peers) Hello(ctx context.Context, addr string) (HelloInfo, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*p.cfg.Limits.HandshakeTimeout)
	defer cancel()
	stop := context.AfterFunc(p.ctx, cancel)
	defer stop()
	nc, who, err := p.dial(ctx, addr, purposeHello, "")
	if err != nil {
		return HelloInfo{}, fmt.Errorf("hello: %w", err)
	}
	defer p.drop(nc)
	defer context.AfterFunc(ctx, func() { nc.Close() })()
	f, err := newFrameReader(nc).next()
	if err != nil {
		return HelloInfo{}, fmt.Errorf("hello: %s: %w", addr, err)
	}
	if f.typ != typeHello {
		return HelloInfo{}, fmt.Errorf("hello: %s: %w: type 0x%02x", addr, ErrMalformed, uint8(f.typ))
	}
	h, err := decodeHello(f.payload)
	if err != nil {
		return HelloInfo{}, fmt.Errorf("hello: %s: %w", addr, err)
	}
	// The ID in the handshake is proved, the one in the payload is not.
	h.NodeID = who.node
	return h, nil
}

// answerHello sends this node's HelloInfo.
func (p *Peers) answerHello(nc net.Conn) {
	h := p.cfg.Handler.Hello()
	h.NodeID, h.ClusterID = p.cfg.NodeID, p.cfg.ClusterID()
	payload := appendHello(nil, &h)
	b := appendHead(nil, typeHello, 0, 0, len(payload))
	if err := nc.SetDeadline(time.Now().Add(p.cfg.Limits.HandshakeTimeout)); err != nil {
		return
	}
	if _, err := nc.Write(append(b, payload...)); err != nil {
		p.refused("hello not answered", nc, err)
	}
}

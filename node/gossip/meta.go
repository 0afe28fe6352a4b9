package gossip

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"
)

// Meta is what a node says of itself.
type Meta struct {
	// FeatureLevel is the newest cluster feature level the node can serve.
	FeatureLevel uint16
	// PeerPort, ClientPort and HTTPPort go with the member's host; 0 is none.
	PeerPort, ClientPort, HTTPPort uint16
	// Cluster is the beginning of the ID of the cluster that the node belongs to; 0
	// while it is in none.
	Cluster uint64
	// InCluster: the node belongs to a cluster, rather than waits for one.
	InCluster bool
	// Draining: the node is about to stop, and takes no new work.
	Draining bool
}

// announcement is the metadata of a member as it travels: Meta and what the package
// adds. memberlist allows 512 bytes.
//
//	 0         1       9          11     13       15     17        25      26      27
//	+---------+-------+----------+------+--------+------+---------+-------+-------+--------+
//	| version | start | feature  | peer | client | http | cluster | flags | n     | host   |
//	| u8 ≥ 1  | u64   | level    | port | port   | port |         |       |       |        |
//	|         |       | u16      | u16  | u16    | u16  | u64     | u8    | u8    | n B    |
//	+---------+-------+----------+------+--------+------+---------+-------+-------+--------+
//
// A later version may append fields, and never changes these: bytes after host are
// skipped, and so are flags that are not known.
// start orders two processes that claim one name. host is what others should dial
// rather than the packet's IP: a name outlives an IP.
type announcement struct {
	Meta
	start time.Time // of the process; to the millisecond
	host  string
}

const (
	metaVersion   = 1
	metaHeaderLen = 27
	maxHostLen    = 255

	flagInCluster = 1 << 0
	flagDraining  = 1 << 1
)

func (a announcement) encode() []byte {
	b := make([]byte, 0, metaHeaderLen+len(a.host))
	b = append(b, metaVersion)
	b = binary.BigEndian.AppendUint64(b, uint64(a.start.UnixMilli()))
	for _, v := range []uint16{a.FeatureLevel, a.PeerPort, a.ClientPort, a.HTTPPort} {
		b = binary.BigEndian.AppendUint16(b, v)
	}
	b = binary.BigEndian.AppendUint64(b, a.Cluster)
	var flags byte
	if a.InCluster {
		flags |= flagInCluster
	}
	if a.Draining {
		flags |= flagDraining
	}
	b = append(b, flags, byte(len(a.host)))
	return append(b, a.host...)
}

func decodeAnnouncement(b []byte) (announcement, error) {
	if len(b) < metaHeaderLen {
		return announcement{}, fmt.Errorf("metadata of %d bytes, header needs %d", len(b), metaHeaderLen)
	}
	if b[0] == 0 {
		return announcement{}, errors.New("metadata of version 0")
	}
	n := int(b[26])
	if len(b) < metaHeaderLen+n {
		return announcement{}, fmt.Errorf("metadata: host of %d bytes, %d present", n, len(b)-metaHeaderLen)
	}
	if b[0] == metaVersion && len(b) > metaHeaderLen+n {
		return announcement{}, fmt.Errorf("metadata: %d bytes after its end", len(b)-metaHeaderLen-n)
	}
	host := string(b[metaHeaderLen : metaHeaderLen+n])
	for _, c := range []byte(host) { // it is dialled, printed and logged
		if c <= ' ' || c >= 0x7f || c == '/' {
			return announcement{}, fmt.Errorf("metadata: host %q", host)
		}
	}
	return announcement{
		start: time.UnixMilli(int64(binary.BigEndian.Uint64(b[1:]))),
		Meta: Meta{
			FeatureLevel: binary.BigEndian.Uint16(b[9:]),
			PeerPort:     binary.BigEndian.Uint16(b[11:]),
			ClientPort:   binary.BigEndian.Uint16(b[13:]),
			HTTPPort:     binary.BigEndian.Uint16(b[15:]),
			Cluster:      binary.BigEndian.Uint64(b[17:]),
			InCluster:    b[25]&flagInCluster != 0,
			Draining:     b[25]&flagDraining != 0,
		},
		host: host,
	}, nil
}

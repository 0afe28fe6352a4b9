package gossip

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"
)

// Meta describes a node to the others.
type Meta struct {
	// FeatureLevel is the newest cluster feature level the node can serve.
	FeatureLevel uint16
	// PeerPort, ClientPort and HTTPPort are ports of the member's host; 0 for none.
	PeerPort, ClientPort, HTTPPort uint16
	// Cluster is the first part of the ID of the node's cluster, 0 while it is in none.
	Cluster uint64
	// InCluster means that the node belongs to a cluster. Otherwise it waits for one.
	InCluster bool
	// Draining means that the node is about to stop and takes no new work.
	Draining bool
}

// announcement is the metadata that a member sends: Meta and two fields of this
// package. memberlist allows 512 bytes.
//
//	 0         1       9          11     13       15     17        25      26      27
//	+---------+-------+----------+------+--------+------+---------+-------+-------+--------+
//	| version | start | feature  | peer | client | http | cluster | flags | n     | host   |
//	| u8 ≥ 1  | u64   | level    | port | port   | port |         |       |       |        |
//	|         |       | u16      | u16  | u16    | u16  | u64     | u8    | u8    | n B    |
//	+---------+-------+----------+------+--------+------+---------+-------+-------+--------+
//
// A later version may append fields but never changes these. So bytes after host are
// skipped, as are unknown flags. start is in milliseconds since the Unix epoch; it
// tells which of two processes with one name was first. Other nodes dial host rather
// than the IP of the packet, because a host name stays valid when the IP changes.
type announcement struct {
	Meta
	start time.Time // of the process; truncated to a millisecond
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
		return announcement{}, fmt.Errorf("metadata has %d bytes, its header needs %d", len(b), metaHeaderLen)
	}
	if b[0] == 0 {
		return announcement{}, errors.New("metadata has version 0")
	}
	n := int(b[26])
	if len(b) < metaHeaderLen+n {
		return announcement{}, fmt.Errorf("metadata announces a host of %d bytes and has %d", n, len(b)-metaHeaderLen)
	}
	if b[0] == metaVersion && len(b) > metaHeaderLen+n {
		return announcement{}, fmt.Errorf("metadata has %d bytes after its end", len(b)-metaHeaderLen-n)
	}
	host := string(b[metaHeaderLen : metaHeaderLen+n])
	for _, c := range []byte(host) { // the host is dialled, printed and logged
		if c <= ' ' || c >= 0x7f || c == '/' {
			return announcement{}, fmt.Errorf("metadata has the invalid host %q", host)
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

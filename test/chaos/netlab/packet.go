package netlab

import (
	"encoding/binary"
	"net/netip"
)

// The fields of an IPv4 packet that a lab reads.
//
//	 0          1      9       10     12       16            4·ihl   +2
//	+----------+------+-------+------+--------+-------------+-------+-------+
//	| 4 | ihl  | …    | proto | …    | source | destination | sport | dport |
//	| u4  u4   |      | u8    |      | 4 B    | 4 B         | u16   | u16   |
//	+----------+------+-------+------+--------+-------------+-------+-------+
const (
	minHeader = 20
	protoTCP  = 6
	protoUDP  = 17
)

// destination returns the destination of an IPv4 packet, or false for any other packet.
func destination(packet []byte) (netip.Addr, bool) {
	if len(packet) < minHeader || packet[0]>>4 != 4 {
		return netip.Addr{}, false
	}
	return netip.AddrFrom4([4]byte(packet[16:20])), true
}

// touches reports whether a packet comes from or goes to port. It returns false for all but
// the first fragment, because the others carry no port.
func touches(packet []byte, port uint16) bool {
	if len(packet) < minHeader || packet[0]>>4 != 4 {
		return false
	}
	header := int(packet[0]&15) * 4
	fragment := binary.BigEndian.Uint16(packet[6:8]) & 0x1FFF
	if proto := packet[9]; proto != protoTCP && proto != protoUDP || fragment != 0 || len(packet) < header+4 {
		return false
	}
	return binary.BigEndian.Uint16(packet[header:]) == port || binary.BigEndian.Uint16(packet[header+2:]) == port
}

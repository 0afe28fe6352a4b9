package kv

import "bytes"

// Slot returns the hash slot of a key: CRC16 (XMODEM) modulo 16384. It hashes only the tag
// when the key has one: the bytes between the first "{" and the next "}", if there are any.
// For example, "{t}a" and "{t}b" share a slot. The rule is Redis Cluster's.
func Slot(key []byte) uint16 {
	if i := bytes.IndexByte(key, '{'); i >= 0 {
		if j := bytes.IndexByte(key[i+1:], '}'); j > 0 {
			key = key[i+1 : i+1+j]
		}
	}
	var crc uint16
	for _, b := range key {
		crc = crc<<8 ^ crcTable[byte(crc>>8)^b]
	}
	return crc % Slots
}

// crcTable is the table of the polynomial 0x1021, most significant bit first.
var crcTable = func() (t [256]uint16) {
	for i := range t {
		crc := uint16(i) << 8
		for range 8 {
			if crc&0x8000 != 0 {
				crc = crc<<1 ^ 0x1021
			} else {
				crc <<= 1
			}
		}
		t[i] = crc
	}
	return t
}()

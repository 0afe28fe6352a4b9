package shard

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"millrace/kv"
)

// PrintSystem describes what a shard's state says of itself, for the dump tool; ok is
// false for every other key.
func PrintSystem(key, value []byte) (text string, ok bool) {
	if len(key) < 2 || !bytes.Equal(key, kv.SystemKey(binary.BigEndian.Uint16(key), kv.SystemApplied)) {
		return "", false
	}
	at, err := decodeApplied(value)
	if err != nil {
		return fmt.Sprintf("applied slot=%d: %v", binary.BigEndian.Uint16(key), err), true
	}
	return fmt.Sprintf("applied slot=%d index=%d term=%d clock=%d", binary.BigEndian.Uint16(key), at.index, at.term, at.clockMS), true
}

// CheckSystem returns why a key that says of a shard's state what it has applied cannot
// be read, or nil; ok is false for every other key.
func CheckSystem(key, value []byte) (err error, ok bool) {
	if len(key) < 2 || !bytes.Equal(key, kv.SystemKey(binary.BigEndian.Uint16(key), kv.SystemApplied)) {
		return nil, false
	}
	_, err = decodeApplied(value)
	return err, true
}

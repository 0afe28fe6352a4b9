package shard

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"millrace/kv"
)

// PrintSystem describes the key under which a shard's state keeps its applied index, for
// the dump tool. ok is false for every other key.
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

// CheckSystem returns why the value of the key with the applied index cannot be decoded,
// or nil. ok is false for every other key.
func CheckSystem(key, value []byte) (err error, ok bool) {
	if len(key) < 2 || !bytes.Equal(key, kv.SystemKey(binary.BigEndian.Uint16(key), kv.SystemApplied)) {
		return nil, false
	}
	_, err = decodeApplied(value)
	return err, true
}

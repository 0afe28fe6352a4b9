package rdb

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc64"
)

// A payload. The checksum is CRC-64 with the polynomial of Jones, over all before it.
//
//	 0      1                     n          n+2        n+10
//	+------+---------------------+----------+----------+
//	| type | value               | version  | checksum |
//	| u8   |                     | u16 LE   | u64 LE   |
//	+------+---------------------+----------+----------+
//
// version is that of RDB files: a server reads what is of its own version or older.
const footerBytes = 10

// The types of a value that are known here, with the version of RDB and of Redis that
// brought them.
const (
	typeString  = 0
	typeStream  = 15 // 9, Redis 5
	typeStream2 = 19 // 10, Redis 7.0: what is known of deleted and read entries
	typeStream3 = 21 // 11, Redis 7.2: when a consumer was last active
	typeStream4 = 26 // 13, Redis 8.6: idempotent producers
	typeStream5 = 27 // 14, Redis 8.8: released entries
)

// versions of RDB that are written, and the newest one that is read: Redis 8.10's.
const (
	versionStream2 = 10
	versionStream4 = 13
	versionStream5 = 14
	maxVersion     = 15
)

// The ways in which a payload is refused.
var (
	// ErrFooter says that a payload is too short, too new, or not what was written.
	ErrFooter = errors.New("rdb: version or checksum of the payload is wrong")
	// ErrFormat says that the value is of an unknown type, or not one that Redis writes.
	ErrFormat = errors.New("rdb: bad data format")
	// ErrTooLarge says that the value comes to more than the budget.
	ErrTooLarge = errors.New("rdb: the value is too large")
)

func badFormat(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrFormat, fmt.Sprintf(format, args...))
}

// jones is the table of the polynomial 0xad93d23594c935a9, whose bits stand in reverse.
var jones = crc64.MakeTable(0x95ac9329ac4bc9b5)

// checksum starts and ends without the complement that package crc64 takes.
func checksum(b []byte) uint64 { return ^crc64.Update(^uint64(0), jones, b) }

// seal appends version and checksum to a value.
func seal(value []byte, version uint16) []byte {
	b := binary.LittleEndian.AppendUint16(value, version)
	return binary.LittleEndian.AppendUint64(b, checksum(b))
}

// open returns the value in a payload whose footer is right.
func open(payload []byte) ([]byte, error) {
	n := len(payload) - footerBytes
	if n < 0 || binary.LittleEndian.Uint16(payload[n:]) > maxVersion {
		return nil, ErrFooter
	}
	if binary.LittleEndian.Uint64(payload[n+2:]) != checksum(payload[:n+2]) {
		return nil, ErrFooter
	}
	return payload[:n], nil
}

// Value is what a payload holds.
type Value struct {
	String []byte // where Stream is nil
	Stream *Stream
}

// Decode reads a payload. What it returns may share memory with the payload. The
// error is ErrFooter, ErrTooLarge, or wraps ErrFormat.
func Decode(payload []byte, budget Budget) (Value, error) {
	b, err := open(payload)
	if err != nil {
		return Value{}, err
	}
	r := reader{b: b, budget: budget}
	var v Value
	switch kind := r.u8(); kind {
	case typeString:
		v.String = r.string()
	case typeStream, typeStream2, typeStream3, typeStream4, typeStream5:
		v.Stream = r.stream(kind)
	default:
		r.fail("type %d", kind)
	}
	if len(r.b) != 0 {
		r.fail("%d bytes are left over", len(r.b))
	}
	if r.err != nil {
		return Value{}, r.err
	}
	return v, nil
}

// EncodeString returns the payload of a string.
func EncodeString(s []byte) []byte {
	b := make([]byte, 0, len(s)+16)
	return seal(appendString(append(b, typeString), s), versionStream2)
}

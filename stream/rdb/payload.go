package rdb

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc64"
)

// A payload. The checksum is CRC-64 with the polynomial of Jones, over all bytes before it.
//
//	 0      1                     n          n+2        n+10
//	+------+---------------------+----------+----------+
//	| type | value               | version  | checksum |
//	| u8   |                     | u16 LE   | u64 LE   |
//	+------+---------------------+----------+----------+
//
// version is the version of the RDB format. A server reads its own version and older ones.
const footerBytes = 10

// The types of values that this package reads, with the versions of RDB and of Redis that
// introduced them.
const (
	typeString  = 0
	typeZSet    = 3
	typeHash    = 4
	typeZSet2   = 5
	typeStream  = 15 // 9, Redis 5
	typeStream2 = 19 // 10, Redis 7.0: greatest deleted ID, entries added, entries read
	typeStream3 = 21 // 11, Redis 7.2: when a consumer was last active
	typeStream4 = 26 // 13, Redis 8.6: idempotent producers
	typeStream5 = 27 // 14, Redis 8.8: released entries

	typeZSetZiplist    = 12
	typeHashZiplist    = 13
	typeHashListpack   = 16 // 10, Redis 7.0
	typeZSetListpack   = 17 // 10, Redis 7.0
	typeHashMeta       = 24 // 12, Redis 7.4: fields may have a time to live
	typeHashListpackEx = 25 // 12, Redis 7.4: likewise
)

// The versions of RDB that this package writes, and the newest one that it reads, which is
// that of Redis 8.10.
const (
	versionStream2 = 10
	versionStream4 = 13
	versionStream5 = 14
	maxVersion     = 15
)

// The errors of Decode.
var (
	// ErrFooter means that a payload is too short, too new, or has a wrong checksum.
	ErrFooter = errors.New("rdb: version or checksum of the payload is wrong")
	// ErrFormat means that the type of the value is unknown, or that Redis could not have
	// written the value.
	ErrFormat = errors.New("rdb: bad data format")
	// ErrTooLarge means that the value exceeds the budget.
	ErrTooLarge = errors.New("rdb: the value is too large")
)

func badFormat(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrFormat, fmt.Sprintf(format, args...))
}

// jones is the table of the polynomial 0xad93d23594c935a9, with its bits reversed.
var jones = crc64.MakeTable(0x95ac9329ac4bc9b5)

// checksum returns the checksum of b. Redis does not complement the value at the start and
// at the end, so checksum undoes the complements of package crc64.
func checksum(b []byte) uint64 { return ^crc64.Update(^uint64(0), jones, b) }

// seal appends version and checksum to a value.
func seal(value []byte, version uint16) []byte {
	b := binary.LittleEndian.AppendUint16(value, version)
	return binary.LittleEndian.AppendUint64(b, checksum(b))
}

// open checks the footer of a payload and returns the bytes before it.
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

// Value is a decoded payload.
type Value struct {
	String []byte // the string, when all others are nil
	Stream *Stream
	Hash   []Field
	ZSet   []Member
}

// Decode reads a payload. The value may share memory with it. The error is ErrFooter,
// ErrTooLarge, ErrFieldTTL, or wraps ErrFormat.
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
	case typeHash, typeHashZiplist, typeHashListpack, typeHashMeta, typeHashListpackEx:
		v.Hash = r.hash(kind)
	case typeZSet, typeZSet2, typeZSetZiplist, typeZSetListpack:
		v.ZSet = r.zset(kind)
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

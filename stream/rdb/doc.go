// Package rdb reads and writes the payloads of Redis's DUMP and RESTORE: strings, hashes,
// sorted sets and streams in the format of Redis's RDB files.
//
// A payload comes from a client and may be hostile. Therefore the package never allocates
// memory only because the payload announces a length, a [Budget] bounds the size of the
// decoded value, and a value that Redis could not have written is [ErrFormat]. For example,
// the IDs of a decoded stream are in order, its counts are right, and each pending entry
// has one owner or was released.
//
// Where to start: payload.go draws a payload, stream.go a stream in it, chunk.go the
// listpack of a run of entries. The package knows neither commands nor the state.
package rdb

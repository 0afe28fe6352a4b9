// Package rdb reads and writes values in the form that Redis's DUMP and RESTORE use:
// strings and streams, as Redis keeps them in its RDB files.
//
// A payload comes from the wire, so it is hostile. Nothing is allocated because a
// payload announced a length, all it may come to is bounded by a [Budget], and what
// is returned holds what a server of Redis would have written: IDs in order, counts
// that count, one owner for each pending entry. Everything else is [ErrFormat].
//
// Where to start: payload.go draws a payload, stream.go a stream in it, chunk.go the
// listpack that holds a run of entries. The package knows neither commands nor state.
package rdb

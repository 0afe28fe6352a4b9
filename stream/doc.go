// Package stream is Redis Streams as a pure state machine over an ordered key
// space: the command table, one file per command, and the bytes a stream is kept in.
//
// A command sees the state through a [Tx], the time it is given, and its words:
// no clock, no randomness, no network, no map order. So every replica that runs the
// same commands in the same order holds the same bytes and computes the same replies.
//
// Where to start: key.go draws the keys, head.go what a name holds, chunk.go the runs
// of entries that trims with "~" remove, group.go consumer groups, idmp.go idempotent
// producers. command.go holds the table; xadd.go is a command like all others.
//
// A [State] belongs to one shard and caches the heads of its streams; it is owned by
// the goroutine that applies. Reads run beside it on views of their own.
package stream

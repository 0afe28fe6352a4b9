// Package stream is Redis Streams, and Redis strings, hashes and sorted sets, as a pure
// state machine over an ordered key space. It holds the command table, one file per
// command, and the stored formats.
//
// A command depends only on the state, which it sees through a [Tx], on the time that it
// is given, and on its words. It sees no clock, randomness, network or map order.
// Therefore all replicas that run the same commands in the same order hold the same bytes
// and compute the same replies.
//
// Where to start: key.go draws the keys, head.go the record of a name, chunk.go the runs
// of entries that trims with "~" remove, group.go consumer groups, idmp.go idempotent
// producers, element.go hashes and sorted sets. table.go holds the command table; xadd.go is a typical command.
//
// A [State] belongs to one shard and caches the heads of its names. The goroutine that
// applies records owns it. Reads run at the same time, on views of their own.
package stream

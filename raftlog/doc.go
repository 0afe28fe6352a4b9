// Package raftlog keeps the Raft logs, votes and snapshot markers of all shards of
// a node in one Pebble database, so that shards that write at the same moment share
// an fsync.
//
// A [Store] is one shard's part of it, and serves hashicorp/raft as LogStore and
// StableStore. StoreLogs, votes, terms and markers are on disk when the call
// returns. Raft may trim the head from one goroutine while it appends from another;
// any number may read.
//
// The store never returns a disk error to Raft, because Raft would go on with a log
// that differs from its idea of it. Options.Fatal ends the process instead (see
// package disk). The errors that do come back are raft.ErrLogNotFound,
// [ErrNotFound], [ErrClosed], and refusals of arguments.
//
// Store does not implement raft.MonotonicLogStore, on purpose: if a store allows no
// gaps, Raft deletes its whole log after every snapshot install, including records
// that it has acknowledged.
//
// Keys are drawn in key.go, and no other package builds or parses them.
package raftlog

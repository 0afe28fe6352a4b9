// Package kv describes the ordered key space that a state machine runs on: a [Reader]
// shows it at one moment, and a [Batch] collects changes that its owner commits together.
//
// The package also fixes the start of every key, because several packages depend on it.
// A key begins with its hash slot, so that the keys of a run of slots, which is a shard,
// lie side by side. Each shard also has a few system keys, in the first slot of its run.
//
// Package kv/pebblekv implements the key space on Pebble.
package kv

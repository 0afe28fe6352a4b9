// Package node is one Millrace process: it opens the disks, the shards and the
// listeners, in the order they need each other, wires them together, and stops them
// in the reverse order. It owns everything below it and decides nothing that the
// packages below can decide for themselves.
//
// A Node never removes data on a guess: a replica is destroyed only when the
// replicated map says that it lives elsewhere, and a disk that fails ends the process
// with an exit code that names why.
package node

// Package node is one Millrace process. It opens the listeners, the disks and the
// shards in the order in which they need each other, connects them, and stops them in
// the reverse order. It owns everything below it, and decides nothing that the packages
// below can decide for themselves.
//
// A Node never removes data on a guess. It destroys a replica only when the replicated
// map and the shard's leader both say that the replica lives elsewhere. A failing disk
// ends the process with an exit code that names the kind of failure.
//
// Whether a request for a replica is handled here or sent to another node is decided in
// delivery.go, and nowhere else in this package.
package node

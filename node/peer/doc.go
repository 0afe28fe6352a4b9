// Package peer carries everything nodes say to each other except gossip: the Raft
// RPCs of all shards, client commands on their way to another node's shard, and
// the polls behind linearizable reads.
//
// Two nodes share one duplex TCP connection, whatever the number of shards between
// them. The node with the lower ID dials it, both ask and answer on it. A snapshot
// travels on a connection of its own, dialled by its sender and closed after it, so
// that gigabytes never queue before a heartbeat. [Peers] owns every connection and
// every goroutine; its Close waits for all of them.
//
// # What a connection proves
//
// Both sides prove, before a single frame is parsed, that they hold the cluster
// secret: an HMAC over everything both said, nonces, node IDs, cluster IDs and
// purpose included (handshake.go). Without a secret a node listens on loopback
// addresses only, and the proof shows nothing but the protocol.
// After the handshake frames are protected by the TCP connection alone: whoever
// can change packets between two nodes can change frames. Where that matters give
// [Config].TLS; the proof then also covers the TLS channel, so that a connection
// cannot be relayed by a third party.
// The secret is one for the whole cluster: whoever holds it can be any node.
// A node that has proved itself may speak for itself only: a Raft RPC whose header
// names another node is refused.
//
// # What a failed call means
//
// A forwarded call ends with [call.ErrNotSent] when not a byte of it was handed to
// a socket, or when it can have no effect (reads and waits). It ends with
// [call.ErrInDoubt] when it may have reached the other node. Nothing is sent twice.
//
// # What it does not do
//
// It keeps no membership: it dials whom it is asked to speak to, under the address
// Config.Resolve names at that moment. It does not pipeline AppendEntries, and it
// has no fast path for heartbeats: both have lost data or wedged replicas in
// hashicorp/raft (see [Transport]).
package peer

// Package peer carries all traffic between nodes except gossip: the Raft RPCs of all
// shards, client commands for a shard whose leader is on another node, and the polls
// behind linearizable reads.
//
// Two nodes share one TCP connection, however many shards they have in common. The
// node with the lower ID dials it; both send requests and answers on it. A snapshot
// travels on a connection of its own, which its sender dials and then closes, so that
// gigabytes never queue in front of a heartbeat. [Peers] owns every connection and
// every goroutine; its Close waits for all of them.
//
// # Authentication
//
// Before a single frame is parsed, both sides prove that they hold the cluster secret.
// The proof is an HMAC over everything that both have sent: nonces, node IDs, cluster
// IDs and the connection's purpose (handshake.go). A node without a secret listens on
// loopback addresses only, and its proof shows no more than the right protocol.
//
// After the handshake only TCP protects the frames, so an attacker on the path between
// two nodes could change them. [Config].TLS prevents that. The proof then covers the
// TLS session too, so that a third party cannot relay the connection.
//
// The secret is the same for the whole cluster, so its holder can pose as any node. A
// node that has proved itself still acts in its own name alone: a Raft RPC whose header
// names another node is refused.
//
// # Failed calls
//
// A forwarded call ends with [call.ErrNotSent] if no byte of it was handed to a socket,
// or if it has no effect, as reads and waits have none. It ends with [call.ErrInDoubt]
// if it may have reached the other node. No call is sent twice. A node that stops in
// order calls [Peers.Leave] first, so that no call is under way when it closes.
//
// # Limits of the package
//
// The package keeps no membership. It dials the nodes that it is asked to reach, at the
// address that Config.Resolve returns at that moment. It does not pipeline
// AppendEntries and has no fast path for heartbeats, because in hashicorp/raft both
// have lost data or blocked replicas (see [Transport]).
package peer

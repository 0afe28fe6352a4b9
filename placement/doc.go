// Package placement is the cluster map: it says which nodes exist, which shard owns
// which slots, which nodes keep a replica of each shard, and which replica should lead.
//
// The [Map] is the replicated state of the meta group, shard 0. Its [Machine] changes
// the map by commands, in the same way on every node, and publishes each new map. A
// [Table] is an immutable index of one map for routing, and a [Holder] holds the newest
// table. [Leaders] are hints about the leader of each shard. They carry no authority,
// because a leader proves by Raft that it leads.
//
// The [Controller] runs on the node that leads the meta group. It observes the cluster,
// calls [Plan], which is pure, and takes the steps that bring the cluster closer to the
// map. A step is small, safe on its own, and safe to repeat. A controller that dies
// between two steps therefore leaves nothing to clean up. Two controllers that overlap
// for a moment cannot undo each other's work, because each step names the version of the
// shard in the map, or of its Raft configuration, and is refused when that has changed.
//
// Gossip is a hint. It can delay a step, but it never causes a removal. A replica is
// removed only because the map names other replicas, and only after all of those vote.
//
// The package imports no Raft, no store and no network; package node wires it to them.
package placement

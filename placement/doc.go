// Package placement is the cluster map: which nodes there are, which shard owns
// which slots, which nodes keep a shard's replicas and which of them should lead.
//
// The [Map] is the replicated state of the meta group, shard 0. Its [Machine] changes
// the map by commands, alike on every node, and publishes each new one. A [Table] is
// what routing needs of a map, immutable, and held by a [Holder]. [Leaders] are hints
// of who leads which shard: never authority, since a shard's leader proves itself.
//
// The [Controller] runs where the meta group leads. It looks at what is, calls [Plan],
// which is pure, and takes the steps that bring what is towards what the map says. A
// step is small, safe alone, and safe to repeat: a controller that dies between two
// leaves nothing behind, and two that overlap for a moment refuse each other by the
// version of a shard's place in the map, or of its Raft configuration.
//
// Gossip is a hint: it can hold a step back, never cause a removal. A replica is
// removed only because the map names others, all of which have caught up.
//
// The package imports no Raft, no store and no network. Package node wires it.
package placement

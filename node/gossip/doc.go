// Package gossip knows which nodes can be reached, and under which addresses. It
// wraps hashicorp/memberlist.
//
// What it says is a hint. Nodes can look dead here while their Raft links work, and
// the reverse; nothing is elected, moved or removed because of it. It is for finding
// nodes at the start, after a restart under another address, and for telling an
// operator what can be reached.
//
// A [Gossip] owns its listeners and goroutines from Start to Close. memberlist calls
// back with its lock held: nothing here blocks in a callback, or calls memberlist
// while it holds a lock of its own. memberlist forgets dead nodes after half a
// minute and never asks for them again, so a partition would last for ever; a
// goroutine here keeps asking, and the peers it asks for are kept on disk.
//
// Nodes of other clusters are not let in; a node that is in no cluster yet sees all.
//
// Packets are encrypted with a key that the nodes share, and carry the cluster's
// label. Without a key nothing but loopback is listened on.
package gossip

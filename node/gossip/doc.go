// Package gossip keeps track of the nodes that can be reached, and of their addresses.
// It wraps hashicorp/memberlist.
//
// Its knowledge is a hint. A node can look dead here while its Raft connections work,
// and the reverse. So nothing is elected, moved or removed because of gossip. It serves
// to find other nodes at the start, to find a node that was restarted under another
// address, and to show an operator which nodes are reachable.
//
// A [Gossip] owns its listeners and goroutines from Start to Close. memberlist runs
// callbacks with its lock held, so a callback here never blocks, and no code here calls
// memberlist while it holds a lock of its own. memberlist forgets a dead node after
// half a minute and never contacts it again, so a longer partition would never heal. A
// goroutine here therefore keeps contacting the nodes that it once met. Their addresses
// are kept on disk.
//
// A node accepts no members from another cluster. A node that is in no cluster yet
// accepts members from all.
//
// Packets are encrypted with a key that all nodes share, and carry the cluster's label.
// Without a key, a node listens on loopback addresses only.
package gossip

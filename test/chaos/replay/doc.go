// Package replay compares what clients were answered with the log that the shards have
// committed, read back from the nodes' disks when they have stopped.
//
// A [History] has every operation of some clients on some streams. [ReadLog] reads a
// shard's log from one node, [Merge] checks that the nodes agree on it. [Check] runs
// the log, command by command, through a [Model], which is Redis Streams written down as
// plainly as can be, and says where a reply is not the model's, where a command is in
// the log that was refused, or twice, or in an order that clients could not have seen,
// where one that was answered is missing, and where a read shows what never was.
//
// The model shares no code with the server. It knows the commands that [History] holds,
// and only their right uses.
package replay

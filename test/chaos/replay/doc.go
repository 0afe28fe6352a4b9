// Package replay compares the replies that clients received with the log that the shards
// committed. It reads the log from the nodes' disks after the nodes have stopped.
//
// A [History] holds every operation of some clients on some streams. [ReadLog] reads a
// shard's log from one node, and [Merge] checks that the nodes agree on it. [Check] then
// runs the log, command by command, through a [Model]: Redis Streams, written as plainly
// as possible. Check reports
//
//   - a reply that differs from the model's;
//   - a command in the log that was refused, that stands there twice, or whose place
//     contradicts the order in which clients saw the replies;
//   - a command with a reply that is missing from the log;
//   - a read whose reply fits no state of the model while the read ran.
//
// The model shares no code with the server. It knows only the commands that a [Player]
// draws, and only their correct use.
package replay

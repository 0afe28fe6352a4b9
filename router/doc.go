// Package router serves Redis clients: it turns the commands of a connection into
// calls on the right shards, and their answers into replies in the order of the
// commands.
//
// A [Router] owns the client listener and two goroutines per connection. The reader
// (conn.go) takes commands off the socket and dispatches them. The writer (writer.go)
// sends replies in order, and runs the commands that must run alone. A lane (lane.go) is
// a connection's line to one shard: it keeps the order of the connection's commands on
// that shard, and sends a command again when the shard says that it was not done. A
// command whose outcome is unknown is never repeated.
//
// The router promises a client:
//
//   - Commands of one connection on one shard take effect in the order they were
//     sent, pipelined or not, across changes of leader. Commands on different shards
//     run in parallel, and their replies still come in order.
//   - An error says which of two things happened: not done, or INDOUBT (errors.go).
//   - A blocked call ends within its BLOCK time plus two seconds.
//   - A client that does not read its replies costs at most [Limits.OutputHardBytes]
//     and delays nobody else.
//
// Blocking calls, and reads of groups that span shards, run alone on their connection
// (block.go). Meanwhile the reader only checks that the client is still connected.
//
// The router knows shards, peers and the cluster map only through the interfaces of
// topology.go. It holds no data.
package router

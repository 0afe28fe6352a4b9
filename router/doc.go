// Package router serves Redis clients: it turns the commands of a connection into
// calls on the right shards, and their answers into replies in the order of the
// commands.
//
// A [Router] owns the client listener and two goroutines per connection. The reader
// (conn.go) takes commands off the socket and dispatches them; the writer
// (writer.go) sends replies in order, and whatever calls had to wait. Between
// connection and shard stands a lane (lane.go): it keeps the order of one connection's
// commands on one shard, and sends them again when a shard says that they were not
// done. A command whose outcome is unknown is never repeated.
//
// What the router promises a client:
//
//   - Commands of one connection on one shard take effect in the order they were
//     sent, pipelined or not, across changes of leader. Across shards they run in
//     parallel; replies are in order all the same.
//   - An error says which of two things happened: not done, or INDOUBT (errors.go).
//   - A blocked call ends within its BLOCK time plus two seconds.
//   - A client that does not read its replies costs at most [Limits.OutputHardBytes]
//     and delays nobody else.
//
// Blocking calls, and reads of groups that span shards, run alone on their connection
// (block.go): the reader meanwhile only watches whether the client is still there.
//
// The router knows shards, peers and the cluster map only through the interfaces of
// topology.go. It holds no data.
package router

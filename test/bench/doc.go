// Package bench puts load on a server that speaks the Redis protocol, such as a Millrace
// node or a Redis for comparison, and measures its throughput and latency.
//
// The load often runs on the same machine as the server, so it must use little CPU:
//
//   - Requests are built before the clock starts.
//   - Replies are counted, but not parsed.
//   - Each connection has one goroutine, which writes a batch of commands and waits for
//     the replies.
//
// So a latency is the round trip of a batch. With depth 1, a batch is one command.
//
// [Run] owns all goroutines and connections of a run, and ends them before it returns.
// The package reads no flags and prints nothing; the command line does both.
package bench

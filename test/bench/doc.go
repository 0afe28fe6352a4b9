// Package bench puts load on a server that speaks the Redis protocol, and measures
// how fast it answers: any Millrace node or cluster, or a Redis to compare with.
//
// It shares the machine with what it measures, so it does little: requests are built
// before the clock starts, replies are counted and not parsed, and every connection
// is one goroutine that writes a batch of commands and waits for its replies. A
// latency is therefore the round trip of a batch, which is that of a command only
// where the depth is one.
//
// [Run] owns all goroutines and connections of a run and has ended them when it
// returns. Nothing in here knows flags or prints; the command line does.
package bench

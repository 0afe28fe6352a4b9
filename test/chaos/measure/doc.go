// Package measure records how a chaos run's clients were served: throughput and latency
// for each second, and for each shard the longest time without an acknowledged write.
package measure

// Package measure keeps when a chaos run's clients were served: throughput and latency
// second by second, and for each shard how long it took no writes.
package measure

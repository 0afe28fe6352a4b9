// Chaos runs a Millrace cluster under load, injects every fault it knows, and checks that
// the cluster keeps its promises. docs/reliability.md lists the promises, the faults and
// the results so far.
//
//	go run ./test/chaos -duration 60s -nodes 3 -shards 4
//
// The exit code is 0 only when no promise was broken. It is 1 when one was broken or the
// run could not go on, and 2 when the command line is wrong. Chaos writes a report in the
// first two cases.
//
// The packages below it:
//
//	netlab/    hosts in network namespaces of their own, whose links can be broken
//	client/    a Redis client that tells a reply, "not done" and "unknown" apart
//	check/     the clients' knowledge, and the invariants it is checked against
//	replay/    compares the clients' replies with the committed log
//	measure/   throughput, latency, and the time each shard took no writes
//	workload/  the clients
//	fault/     the faults: when each one comes, and how it is healed
//	report/    the report
package main

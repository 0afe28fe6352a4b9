// Chaos runs a Millrace cluster under load, breaks it in every way it knows, and checks
// that nothing that was promised is broken. docs/reliability.md says what is promised,
// what is tried, and with what result.
//
//	go run ./test/chaos -duration 60s -nodes 3 -shards 4
//
// It ends with 0 only when no promise was broken; with 1 when one was, or the run could
// not go on; with 2 when it was called wrongly. A report is written either way.
//
// Where things are:
//
//	netlab/    hosts with links that can be broken, in namespaces of their own
//	client/    a Redis client that tells the reply, "not done" and "unknown" apart
//	check/     what clients know, and what of it must not be so
//	replay/    what clients were answered, against the log that was committed
//	measure/   throughput, latency, and how long shards were not served
//	workload/  the clients
//	fault/     what is broken, when, and how it is mended
//	report/    the report
package main

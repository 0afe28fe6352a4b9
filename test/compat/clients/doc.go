// Package clients runs the clients that people have, as they are, against three server
// processes: go-redis and rueidis from Go; redis-cli, redis-benchmark, redis-py, phpredis
// and hiredis as their Debian packages install them.
//
// Each library works through the same session (session_test.go): a work queue with a
// group, blocking reads, acknowledgements, a transaction and claims, in the middle of
// which the node that it is connected to is killed. What is not Go does it in a program of
// its own (session.py, session.php, session.c) that tells the test when to kill.
//
// The Go libraries run with every `go test`. The others need packages and run with
// -installed, which `make clients` gives: there one that is missing is a failure.
package clients

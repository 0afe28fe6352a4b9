// Package clients runs unmodified Redis clients against three server processes: go-redis
// and rueidis from Go; redis-cli, redis-benchmark, redis-py, phpredis, hiredis, redis-rb,
// Predis and Perl's Redis from their Debian packages.
//
// Each library works through the same session (session_test.go): a work queue with a
// group, blocking reads, acknowledgements, a transaction and claims. In the middle of it
// the test kills the node that the library is connected to. The libraries of other
// languages have a program each (session.py, session.php, session.c), which tells the test
// when to kill. The programs scan.rb, scan.pl and scan.php count the keys of all shards instead.
//
// The Go libraries run with every `go test`. The others need packages and run only with
// -installed, as in `make clients`. With it, a missing package is a failure.
package clients

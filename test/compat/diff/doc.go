// Package diff compares Millrace with a live Redis, reply for reply. Its tests make
// long random sequences of commands, send the same words to both and compare what
// comes back, in RESP2 and RESP3; a sequence that shows a difference is shrunk to the
// few commands that it takes.
//
// Beside the random sequences the scripts of the state machine are replayed through a
// node (script_test.go), and the tables of commands compared (command_test.go).
//
// Two servers serve as the oracle: the redis-server in PATH, 7.0 or newer, and a newer one
// whose path REDIS86 holds (test/compat/redis86.sh builds it). grammar_test.go
// is what may be sent, times_test.go what no two servers answer alike because it tells
// time, explained_test.go the differences that are meant, each with its reason. All
// else is a defect of Millrace.
//
// Time is not under the control of the tests: neither server's clock can be set. So
// that no reply depends on it, entries get IDs that are given, or, for "*", lie after
// the present; thresholds of idle time are either zero or hours; and what is to be
// older than that is given IDLE or TIME.
package diff

// Package diff compares Millrace with a live Redis, reply for reply. Its tests make
// long random sequences of commands, send them to both servers and compare the
// replies, in RESP2 and RESP3. A sequence that shows a difference is shrunk to the few
// commands that are needed to show it.
//
// The tests also replay the scripts of the state machine through a node (script_test.go),
// and compare the command tables (command_test.go) and the types of replies
// (shape_test.go).
//
// Two servers serve as the oracle: the redis-server in PATH, 7.0 or newer, and a newer one
// whose path is in REDIS86 (test/compat/redis86.sh builds it). grammar_test.go generates
// the commands. times_test.go removes times, on which no two servers agree.
// explained_test.go has the intended differences, each with its reason. Any other
// difference is a defect of Millrace.
//
// The tests cannot set the clock of either server, so no reply may depend on it:
//
//   - XADD gives IDs, or uses "*" on a stream whose last ID lies in the year 2100.
//   - Thresholds of idle time are zero or hours.
//   - Entries that need to be idle for hours get there by IDLE or TIME.
package diff

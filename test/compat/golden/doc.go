// Package golden replays transcripts of Redis 8.6.3 on a Millrace node and compares the
// replies line by line. testdata holds the sessions (p1.txt to p10.txt: commands, headings,
// pauses, names of connections) and Redis's reply to each line, in RESP2 and RESP3.
// explained_test.go lists the intended differences, each with its reason.
package golden

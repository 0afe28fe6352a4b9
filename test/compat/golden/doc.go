// Package golden replays transcripts of Redis 8.6.3 on a Millrace node and compares the
// replies line by line. testdata holds the sessions (p1.txt to p10.txt: words, headings,
// pauses, and connections by name) and what Redis answered to each line, in RESP2 and
// RESP3. What differs on purpose stands in explained_test.go, each with its reason.
package golden

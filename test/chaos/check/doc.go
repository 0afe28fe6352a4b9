// Package check holds what the clients of a chaos run know, and says what of it must
// not be so. It talks to no server.
//
// A [Book] has a [Stream] for each stream that clients write to. Every entry is begun
// before it is sent and settled when its outcome is known. What can be seen at once is
// checked at once, in constant time: that IDs rise (S3, S8), that reads do not go back
// (S6), that entries of a group have one owner, are never handed out after they were
// acknowledged and never before they have been idle for long enough (G2, G3, G8), that
// a group's position does not go back (G5), that its lag is right (G10). At a quiet point a [Replica] compares what
// a node holds with what is known (S1, S2, S4, S5, S7, G1, G4, G6).
//
// A [Window] is a short history of one stream of which Porcupine decides whether any
// order of its operations explains what was answered (S6).
//
// The names of the invariants are those of docs/reliability.md.
package check

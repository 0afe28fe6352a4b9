// Package check keeps the knowledge of a chaos run's clients, and adds a violation for
// each reply or replica that contradicts it. It talks to no server.
//
// A [Book] has a [Stream] for each stream that clients write to. A client begins an entry
// before it sends the XADD, and settles it when it knows the outcome.
//
// Some checks take constant time and run with every call: IDs rise (S3, S8), reads do not
// go back (S6), an entry has one owner in its group, is never handed out after its XACK
// nor claimed before its idle time (G2, G3, G8), a group's position does not go back (G5),
// and its lag is right (G10). The others compare whole replicas and groups at a quiet
// point, when no call is under way: see [Replica] and [Stream.CheckGroup] (S1, S2, S4, S5,
// S7, G1, G4, G6, G7).
//
// A [Window] is a short history of one stream. Porcupine decides whether some order of its
// operations explains all replies (S6).
//
// docs/reliability.md lists the invariants by these names.
package check

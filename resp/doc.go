// Package resp implements the Redis protocol, versions 2 and 3: a bounded [Reader] of
// commands, an appender and a printer of replies, and a [ValueReader] for clients.
//
// A reply is a [Value], which does not depend on the protocol version. [AppendValue]
// encodes it in one version, [ParseValue] decodes it, and [Print] shows it to people.
//
// The length that a peer announces never makes the package allocate memory. Buffers grow
// with the bytes that have arrived, at most to twice their size, and every size has a
// limit with a documented default ([DefaultLimits], [PreAuthLimits]). The error texts for
// malformed requests are those of Redis, if Redis has one.
//
// The package owns no goroutine and no connection, and takes no lock. A Reader or a
// ValueReader may be used by one goroutine at a time.
package resp

// Package resp speaks the Redis protocol, versions 2 and 3: a bounded [Reader] of
// commands, an appender and a printer of replies, and a [ValueReader] for clients.
//
// A reply is a [Value], which knows no protocol version; [AppendValue] turns it
// into bytes for one, [ParseValue] turns bytes into a Value again, and [Print]
// shows it to people.
//
// No memory is ever allocated because a peer announced a length: buffers grow with
// the bytes that arrived, at most twofold, and every size has a limit with a
// documented default ([DefaultLimits], [PreAuthLimits]). Where Redis has a text for
// a malformed request, the text here is the same one.
//
// The package owns no goroutine and no connection, and takes no lock: a Reader or
// ValueReader is used by one goroutine at a time.
package resp

// Package cluster starts real Millrace server processes on loopback, for tests that
// kill, pause and restart them. It never looks inside a node: like any user, it has only
// the command line, the client connections and the HTTP pages.
package cluster

// Package cluster starts real Millrace server processes on loopback, for tests that
// kill, pause and restart them. Nothing here looks inside a node: it is used as its
// users use it.
package cluster

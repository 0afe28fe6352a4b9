// Package compat holds what compares Millrace with Redis. Its own tests read other
// tests: they name, for every point on which servers that speak Redis's stream commands
// tend to differ, and for every error text, the script, transcript or Go test that would
// fail, and find out whether it is there. That every option has such a script is
// TestOptionsAreShown of package stream.
package compat

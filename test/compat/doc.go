// Package compat checks that the comparison with Redis has no gaps. Its packages below
// compare Millrace with Redis; its own tests read those tests. For every point on which
// servers that speak Redis's stream commands tend to differ, and for every error text,
// they name the script, transcript or Go test that would fail, and check that it exists.
// TestOptionsAreShown of package stream checks the same for every option.
package compat

//go:build !linux

package cluster

import "testing"

// readOnly skips the test, because only Linux can mount a directory over itself.
func readOnly(t *testing.T, _ string) {
	t.Helper()
	t.Skip("a read-only mount needs Linux")
}

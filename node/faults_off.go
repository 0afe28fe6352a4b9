//go:build !faults

package node

import "github.com/cockroachdb/pebble/v2/vfs"

// openFS returns the file system of a data directory. A build with the tag faults has
// one that fails on demand.
func openFS(string) (vfs.FS, error) { return vfs.Default, nil }

//go:build !faults

package node

import "github.com/cockroachdb/pebble/v2/vfs"

// openFS returns the file system of a data directory. In a build with the tag faults, that
// file system can be made to fail.
func openFS(string) (vfs.FS, error) { return vfs.Default, nil }

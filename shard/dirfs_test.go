package shard

import (
	"io"
	"os"

	"github.com/cockroachdb/pebble/v2/vfs"
)

func (d dirFS) at(name string) string { return d.FS.PathJoin(d.dir, name) }

func (d dirFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return d.FS.Create(d.at(name), c)
}
func (d dirFS) Link(a, b string) error { return d.FS.Link(d.at(a), d.at(b)) }
func (d dirFS) Open(name string, o ...vfs.OpenOption) (vfs.File, error) {
	return d.FS.Open(d.at(name), o...)
}
func (d dirFS) OpenReadWrite(name string, c vfs.DiskWriteCategory, o ...vfs.OpenOption) (vfs.File, error) {
	return d.FS.OpenReadWrite(d.at(name), c, o...)
}
func (d dirFS) OpenDir(name string) (vfs.File, error)           { return d.FS.OpenDir(d.at(name)) }
func (d dirFS) Remove(name string) error                        { return d.FS.Remove(d.at(name)) }
func (d dirFS) RemoveAll(name string) error                     { return d.FS.RemoveAll(d.at(name)) }
func (d dirFS) Rename(a, b string) error                        { return d.FS.Rename(d.at(a), d.at(b)) }
func (d dirFS) MkdirAll(name string, perm os.FileMode) error    { return d.FS.MkdirAll(d.at(name), perm) }
func (d dirFS) Lock(name string) (io.Closer, error)             { return d.FS.Lock(d.at(name)) }
func (d dirFS) List(name string) ([]string, error)              { return d.FS.List(d.at(name)) }
func (d dirFS) Stat(name string) (vfs.FileInfo, error)          { return d.FS.Stat(d.at(name)) }
func (d dirFS) GetDiskUsage(name string) (vfs.DiskUsage, error) { return d.FS.GetDiskUsage(d.at(name)) }
func (d dirFS) ReuseForWrite(a, b string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return d.FS.ReuseForWrite(d.at(a), d.at(b), c)
}

package fault

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// fill extends a file until its file system has no space left.
func fill(path string) error {
	f, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("fill the disk: %w", err)
	}
	defer f.Close()
	var st unix.Statfs_t
	if err := unix.Fstatfs(int(f.Fd()), &st); err != nil {
		return fmt.Errorf("fill the disk: %w", err)
	}
	for size, chunk := int64(0), int64(st.Bavail)*st.Bsize; chunk >= st.Bsize; {
		if err := unix.Fallocate(int(f.Fd()), 0, size, chunk); err != nil {
			chunk /= 2 // the node may have taken space meanwhile
			continue
		}
		size += chunk
	}
	return nil
}

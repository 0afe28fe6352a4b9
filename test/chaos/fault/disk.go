package fault

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// exitDiskFull is how a node ends whose disk is full.
const exitDiskFull = 10

// filler is the file that fills a small disk.
const filler = "filler"

// diskFull fills the disk of the node that has a small one. The node refuses writes or
// ends with exitDiskFull, and comes back when there is space.
func diskFull(w *World, rng *rand.Rand) (*injury, error) {
	n := w.Cluster.Nodes[w.SmallDisk]
	path := filepath.Join(filepath.Dir(n.Dir), filler)
	w.allow(w.SmallDisk, exitDiskFull)
	w.Disturbed.begin(w.SmallDisk)
	if err := fill(path); err != nil {
		return nil, err
	}
	w.Count("disk full", 1)
	nodes := []int{w.SmallDisk}
	return &injury{what: "disk full: " + names(nodes), nodes: nodes, hold: between(rng, 2*time.Second, 8*time.Second), heal: func() error {
		if err := os.Remove(path); err != nil {
			return err
		}
		if st := n.Exited(); st != nil && st.ExitCode() == exitDiskFull {
			w.Count("disk full: exits with 10", 1)
			w.Cluster.Kill(n) // it is gone; this says so
			if err := w.Cluster.Launch(n); err != nil {
				return err
			}
		}
		w.allow(w.SmallDisk, 0)
		w.Disturbed.end(nodes...)
		return nil
	}}, nil
}

// fill writes a file until its file system has no more space.
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
			chunk /= 2 // the node writes as well
			continue
		}
		size += chunk
	}
	return nil
}

package node

import (
	"errors"
	"fmt"
	"syscall"

	"millrace/raftlog/disk"
)

// diskError is a disk failure. Its class is the exit code of the process.
type diskError struct {
	class disk.Class
	err   error
}

func (e *diskError) Error() string { return fmt.Sprintf("%v: %v", e.class, e.err) }
func (e *diskError) Unwrap() error { return e.err }

// ExitCode returns the exit code of a process that ends because of err: 0 for nil, 2 for a
// wrong configuration, the number of its disk.Class for a disk failure, and otherwise 1.
func ExitCode(err error) int {
	var de *diskError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &de):
		return de.class.ExitCode()
	case errors.Is(err, ErrConfig):
		return 2
	}
	// disk.Classify takes every error that it does not know for a failing disk, which is
	// right for errors of the databases. Any other error is a failing disk only if it is EIO.
	switch c := disk.Classify(err); {
	case c != disk.Failing, errors.Is(err, syscall.EIO):
		return c.ExitCode()
	}
	return 1
}

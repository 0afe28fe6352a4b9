package node

import (
	"errors"
	"fmt"
	"syscall"

	"millrace/raftlog/disk"
)

// diskError is a disk failure that ends the process; it says with which code.
type diskError struct {
	class disk.Class
	err   error
}

func (e *diskError) Error() string { return fmt.Sprintf("%v: %v", e.class, e.err) }
func (e *diskError) Unwrap() error { return e.err }

// ExitCode returns the code a process should end with because of err: 0 for nil, the
// class's number for a failing disk, 2 for a configuration that cannot work, else 1.
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
	// A failing disk has no error of its own: outside the databases, where everything
	// that is left is one, only the device's own word is taken for it.
	switch c := disk.Classify(err); {
	case c != disk.Failing, errors.Is(err, syscall.EIO):
		return c.ExitCode()
	}
	return 1
}

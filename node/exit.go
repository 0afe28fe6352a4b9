package node

import (
	"errors"
	"fmt"

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
	switch c := disk.Classify(err); c {
	case disk.Full, disk.Corrupt:
		return c.ExitCode()
	}
	return 1
}

package disk

import (
	"errors"
	"fmt"
	"syscall"

	"github.com/cockroachdb/pebble/v2"
)

// Class is the kind of a failure of the disk, or of access to it, that stops the process. Its number is the exit
// code of the process.
type Class int

const (
	// Full means that no space is left, or that a quota is used up.
	Full Class = 10
	// Failing means that the device or the file system refused an operation. Every
	// failure that has no other class has this one.
	Failing Class = 11
	// Corrupt means that the bytes read differ from the bytes written.
	Corrupt Class = 12
	// Starved means that the system refused the process a file descriptor or memory. The
	// disk is well.
	Starved Class = 14
)

// ErrCorrupt is wrapped by errors about corruption that Millrace itself has found.
// Pebble marks its own with pebble.ErrCorruption.
var ErrCorrupt = errors.New("corruption")

// Classify returns the class of err: for example Full for an error that wraps ENOSPC.
// An error that wraps both ENOSPC and ErrCorrupt is Corrupt.
func Classify(err error) Class {
	switch {
	case errors.Is(err, ErrCorrupt), pebble.IsCorruptionError(err):
		return Corrupt
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return Full
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE), errors.Is(err, syscall.ENOMEM):
		return Starved
	}
	return Failing
}

// ExitCode returns the code with which the process should end.
func (c Class) ExitCode() int { return int(c) }

func (c Class) String() string {
	switch c {
	case Full:
		return "disk full"
	case Failing:
		return "disk failing"
	case Corrupt:
		return "corruption"
	case Starved:
		return "out of file descriptors or memory"
	}
	return fmt.Sprintf("Class(%d)", int(c))
}

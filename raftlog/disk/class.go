package disk

import (
	"errors"
	"fmt"
	"syscall"

	"github.com/cockroachdb/pebble/v2"
)

// Class says what kind of disk failure stops the process. Its number is the
// process's exit code.
type Class int

const (
	// Full: no space left, or over quota.
	Full Class = 10
	// Failing: the device or file system refuses; every failure that is neither
	// Full nor Corrupt.
	Failing Class = 11
	// Corrupt: what was read is not what was written.
	Corrupt Class = 12
)

// ErrCorrupt marks an error of ours as corruption, as Pebble marks its own.
var ErrCorrupt = errors.New("corruption")

// Classify tells what kind of failure err is.
func Classify(err error) Class {
	switch {
	case errors.Is(err, ErrCorrupt), pebble.IsCorruptionError(err):
		return Corrupt
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return Full
	}
	return Failing
}

// ExitCode is the code the process should end with.
func (c Class) ExitCode() int { return int(c) }

func (c Class) String() string {
	switch c {
	case Full:
		return "disk full"
	case Failing:
		return "disk failing"
	case Corrupt:
		return "corruption"
	}
	return fmt.Sprintf("Class(%d)", int(c))
}

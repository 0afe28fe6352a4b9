//go:build !linux

package netlab

import (
	"errors"
	"net/netip"
	"os"
	"os/exec"
	"syscall"
)

// Only Linux has network namespaces. On other systems probe fails, so that Enter returns
// ErrUnavailable, and no other function here is reached.

func isolated() *syscall.SysProcAttr { return nil }

func probe() error { return errors.ErrUnsupported }

func settle() error { return ErrUnavailable }

func leaveNetwork() error { return ErrUnavailable }

func endWithParent(*exec.Cmd) {}

func openTUN(...netip.Addr) (*os.File, error) { return nil, ErrUnavailable }

// MountMemory returns ErrUnavailable.
func MountMemory(string, int64) error { return ErrUnavailable }

package netlab

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"syscall"
)

// insideEnv marks the process that Enter started.
const insideEnv = "NETLAB_INSIDE"

// ErrUnavailable reports that this system allows no namespaces or no TUN devices.
var ErrUnavailable = errors.New("netlab: this system allows no namespaces or no TUN devices")

// Inside reports whether this is the process that Enter started.
func Inside() bool { return os.Getenv(insideEnv) != "" }

// Enter runs this program again in namespaces of its own. The new process is the first
// one in them, so that its children, devices and mounts end with it.
//
// In the outer process, Enter returns false and the exit code of the inner process, once
// that has ended. In the inner process it returns true. It returns ErrUnavailable, before
// it has started the program, when the system forbids namespaces.
func Enter() (inside bool, exit int, err error) {
	if Inside() {
		return true, 0, settle()
	}
	if err := probe(); err != nil {
		return false, 0, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	self, err := os.Executable()
	if err != nil {
		return false, 0, err
	}
	cmd := exec.Command(self, os.Args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), insideEnv+"=1")
	cmd.SysProcAttr = isolated()
	// The inner process dies with the thread that started it, because of Pdeathsig. So
	// this goroutine keeps its thread.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	defer signal.Stop(signals)
	if err := cmd.Start(); err != nil {
		return false, 0, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	done := make(chan struct{})
	defer close(done)
	go func() { // passes signals on; ends with Enter
		for {
			select {
			case s := <-signals:
				cmd.Process.Signal(s)
			case <-done:
				return
			}
		}
	}()
	if err = cmd.Wait(); err == nil {
		return false, 0, nil
	}
	var ended *exec.ExitError
	if errors.As(err, &ended) && ended.ExitCode() >= 0 {
		return false, ended.ExitCode(), nil
	}
	return false, 1, err
}

package netlab

import (
	"fmt"
	"os"
	"os/exec"
	"syscall"

	"golang.org/x/sys/unix"
)

// isolated returns the attributes of the inner process: its own network, mounts and
// process IDs. Without root it also gets a user namespace, in which it is root.
func isolated() *syscall.SysProcAttr {
	a := &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWNET | unix.CLONE_NEWNS | unix.CLONE_NEWPID,
		Pdeathsig:  syscall.SIGKILL,
	}
	if uid := os.Geteuid(); uid != 0 {
		a.Cloneflags |= unix.CLONE_NEWUSER
		a.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: uid, Size: 1}}
		a.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}}
	}
	return a
}

// probe starts a process that does nothing, to find out whether Enter would work.
func probe() error {
	f, err := os.OpenFile(tunPath, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	f.Close()
	path, err := exec.LookPath("true")
	if err != nil {
		return err
	}
	cmd := exec.Command(path)
	cmd.SysProcAttr = isolated()
	cmd.SysProcAttr.Pdeathsig = 0
	return cmd.Run()
}

// leaveNetwork moves the calling thread to a new network namespace.
func leaveNetwork() error { return unix.Unshare(unix.CLONE_NEWNET) }

// endWithParent makes the process of cmd end when the thread that starts it ends.
func endWithParent(cmd *exec.Cmd) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
}

// settle prepares the new namespaces: mounts do not propagate to the outside, and /proc
// shows the processes inside.
func settle() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("netlab: keep mounts private: %w", err)
	}
	if err := unix.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		return fmt.Errorf("netlab: mount /proc: %w", err)
	}
	return nil
}

// MountMemory mounts a file system in memory at dir, with room for so many bytes. It
// disappears when the process that Enter started ends.
func MountMemory(dir string, bytes int64) error {
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d", bytes)); err != nil {
		return fmt.Errorf("netlab: mount at %s: %w", dir, err)
	}
	return nil
}

package node

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"
	"testing"

	"millrace/raftlog"
	"millrace/raftlog/disk"
)

func TestExitCode(t *testing.T) {
	for _, tc := range []struct {
		err  error
		want int
	}{
		{nil, 0},
		{errors.New("anything"), 1},
		{ErrInUse, 1},
		{fs.ErrPermission, 1},
		{syscall.EROFS, 1},
		{ErrForeign, 1},
		{ErrNewerFormat, 1},
		{diskFailure(disk.ErrNewerFormat), 1},
		{diskFailure(disk.ErrLocked), 1},
		{diskFailure(raftlog.ErrForeign), 1},
		{fmt.Errorf("%w: shards", ErrConfig), 2},
		{fmt.Errorf("node.json: %w", syscall.ENOSPC), 10},
		{diskFailure(syscall.EDQUOT), 10},
		{fmt.Errorf("sync: %w", syscall.EIO), 11},
		{diskFailure(syscall.EIO), 11},
		{&diskError{disk.Failing, errors.New("hangs")}, 11},
		{ErrIdentity, 12},
		{diskFailure(fmt.Errorf("open: %w", disk.ErrCorrupt)), 12},
		{errors.Join(errors.New("also"), fmt.Errorf("shard 1: %w", &diskError{disk.Corrupt, errors.New("x")})), 12},
	} {
		if got := ExitCode(tc.err); got != tc.want {
			t.Errorf("%v: exit code %d, want %d", tc.err, got, tc.want)
		}
	}
}

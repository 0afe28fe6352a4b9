package node

import (
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"millrace/call"
	"millrace/placement"
)

// sizedFS is a file system on a disk of a given size.
type sizedFS struct {
	vfs.FS
	total, free uint64
}

func (f *sizedFS) GetDiskUsage(string) (vfs.DiskUsage, error) {
	return vfs.DiskUsage{TotalBytes: f.total, AvailBytes: f.free}, nil
}

// TestSpace shows when a disk begins and ceases to count as nearly full.
func TestSpace(t *testing.T) {
	const gib = 1 << 30
	fs := &sizedFS{FS: vfs.NewMem(), total: 20 * gib}
	s := &space{fs: fs, dir: "/"}
	now := time.Now()
	for i, step := range []struct {
		free, total  uint64
		full         time.Duration // time since a flush met a full disk; 0: never
		low, changed bool
	}{
		{2 * gib, 20 * gib, 0, false, false},
		{gib, 20 * gib, 0, false, false},
		{gib - 1, 20 * gib, 0, true, true},
		{gib, 20 * gib, 0, true, false},
		{gib + gib/8, 20 * gib, 0, false, true},
		{3 * gib, 1000 * gib, 0, false, false}, // the reserve is at most 2 GiB
		{2*gib - 1, 1000 * gib, 0, true, true},
		{900 * gib, 1000 * gib, 0, false, true},
		{900 * gib, 1000 * gib, fullFor - time.Second, true, true},
		{900 * gib, 1000 * gib, fullFor, false, true},
	} {
		fs.free, fs.total = step.free, step.total
		s.fullAt.Store(0)
		if step.full > 0 {
			s.fullAt.Store(now.Add(-step.full).UnixNano())
		}
		changed, err := s.check(now)
		if err != nil || s.low.Load() != step.low || changed != step.changed {
			t.Errorf("step %d: low %v, changed %v, %v", i, s.low.Load(), changed, err)
		}
	}
}

// TestSpaceRefuses shows which commands are refused while the disk is nearly full.
func TestSpaceRefuses(t *testing.T) {
	s := new(space)
	ask := func(shard uint32, kind call.Kind, cmds ...string) bool {
		c := &call.Call{Shard: shard, Kind: kind}
		for _, cmd := range cmds {
			c.Cmds = append(c.Cmds, [][]byte{[]byte(cmd)})
		}
		return s.refuses(c)
	}
	if ask(1, call.Write, "XADD") {
		t.Error("refused while there is room")
	}
	s.low.Store(true)
	for _, tc := range []struct {
		want  bool
		shard uint32
		kind  call.Kind
		cmds  []string
	}{
		{true, 1, call.Write, []string{"XADD"}},
		{true, 1, call.Write, []string{"xdel", "xadd"}},
		{false, 1, call.Write, []string{"XDEL", "DEL", "XTRIM", "XACK"}},
		{false, 1, call.Read, []string{"XRANGE"}},
		{false, placement.MetaShard, call.Write, []string{"NODE.STATE"}},
		{false, 1, call.Write, nil}, // a record that the shard itself proposes
	} {
		if got := ask(tc.shard, tc.kind, tc.cmds...); got != tc.want {
			t.Errorf("%v of shard %d: refused is %v", tc.cmds, tc.shard, got)
		}
	}
}

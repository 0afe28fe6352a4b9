package cluster

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// binary builds the server once for all tests of a process. faultyBinary does the same for
// a server whose disks fail on demand.
var (
	binary       = sync.OnceValues(func() (string, error) { return build("") })
	faultyBinary = sync.OnceValues(func() (string, error) { return build("faults") })
)

func build(tags string) (string, error) {
	dir, err := os.MkdirTemp("", "millrace-bin-")
	if err != nil {
		return "", err
	}
	bin := filepath.Join(dir, "millrace")
	if err := Build(bin, "-tags", tags); err != nil {
		return "", err
	}
	built.Lock()
	defer built.Unlock()
	built.dirs = append(built.dirs, dir)
	return bin, nil
}

// built holds the directories of the binaries, which RunMain removes.
var built struct {
	sync.Mutex
	dirs []string
}

// Build builds the server as bin, with the race detector if this program has it.
func Build(bin string, flags ...string) error {
	args := append(append([]string{"build", "-o", bin}, raceFlags...), flags...)
	out, err := exec.Command("go", append(args, "millrace/cmd/millrace")...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("build the server: %w\n%s", err, out)
	}
	return nil
}

// RunMain runs the tests of a package that starts clusters, and then removes the binaries
// built for them.
func RunMain(m *testing.M) int {
	code := m.Run()
	for _, dir := range built.dirs {
		_ = os.RemoveAll(dir)
	}
	return code
}

//go:build faults

package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"

	"millrace/raftlog/disk/faultfs"
	"millrace/resp"
)

// faultsFile holds fault rules, one a line, that apply from the start of a node. A test
// needs it for faults that come before it can connect.
const faultsFile = "faults"

// openFS returns a file system that fails by the rules in faultsFile and of DEBUG FAULT.
func openFS(dir string) (vfs.FS, error) {
	fs := faultfs.New(vfs.Default)
	b, err := os.ReadFile(filepath.Join(dir, faultsFile))
	if errors.Is(err, os.ErrNotExist) {
		return fs, nil
	}
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(b)) {
		r, err := faultfs.Parse(strings.Fields(line))
		if err == nil {
			_, err = fs.Add(r)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %q: %w", faultsFile, line, err)
		}
	}
	return fs, nil
}

func init() {
	debugCommands["fault"] = debugCommand{
		usage:   "FAULT [CLEAR | CUT | <effect> [<amount>] [ops=…] [files=…] [under=…] [after=n] [times=n]]",
		summary: "Show, remove or add rules by which this node's disk fails, or cut its power.",
		max:     16, run: debugFault,
	}
}

// debugFault changes the rules as argv says, and answers the rules.
func debugFault(n *Node, _ context.Context, argv []string) resp.Value {
	fs := n.fs.(*faultfs.FS)
	switch {
	case len(argv) == 1 && strings.EqualFold(argv[0], "clear"):
		fs.Clear()
	case len(argv) == 1 && strings.EqualFold(argv[0], "cut"):
		fs.Cut() // does not return
	case len(argv) > 0:
		r, err := faultfs.Parse(argv)
		if err == nil {
			_, err = fs.Add(r)
		}
		if err != nil {
			return resp.Err("ERR " + err.Error())
		}
	}
	n.log.Warn("disk faults", "rules", fmt.Sprint(fs.Rules()))
	var out []resp.Value
	for _, r := range fs.Rules() {
		out = append(out, resp.BulkString(r.String()))
	}
	return resp.Array(out...)
}

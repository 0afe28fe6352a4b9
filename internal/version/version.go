// Package version tells which build of Millrace this is. It reads the facts that the go
// command wrote into the binary and keeps no number of its own, so that a release is
// named in one place: the git tag.
package version

import (
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
)

// Unknown is the commit of a build that was made outside a git repository, or with
// -buildvcs=false.
const Unknown = "unknown"

// Info describes a build.
type Info struct {
	// Version is the release, such as "0.1.0" for a build of the tag v0.1.0. A commit
	// after the tag has a version with its time and hash, such as
	// "0.1.1-0.20261201025700-02a7af5910fe", and "+dirty" at the end when files differed
	// from the commit. A build that knows no commit has "(devel)".
	Version string `json:"version"`
	// Commit is the full hash of the git commit, or Unknown.
	Commit string `json:"commit"`
	// Dirty reports that the working tree differed from the commit.
	Dirty bool `json:"dirty"`
	// CommitTime is the time of the commit in RFC 3339, empty when the commit is unknown.
	CommitTime string `json:"commit_time,omitempty"`
	// Go is the version of the compiler, such as "go1.26.0".
	Go string `json:"go"`
	// Platform is the operating system and the processor, such as "linux/amd64".
	Platform string `json:"platform"`
}

// Get returns the description of the running binary.
var Get = sync.OnceValue(func() Info { return from(debug.ReadBuildInfo()) })

// from describes the build that b was written into. Without build information, ok is
// false and b may be nil.
func from(b *debug.BuildInfo, ok bool) Info {
	i := Info{
		Version:  "(devel)",
		Commit:   Unknown,
		Go:       runtime.Version(),
		Platform: runtime.GOOS + "/" + runtime.GOARCH,
	}
	if !ok {
		return i
	}
	if v := b.Main.Version; v != "" {
		i.Version = strings.TrimPrefix(v, "v")
	}
	for _, s := range b.Settings {
		switch s.Key {
		case "vcs.revision":
			i.Commit = s.Value
		case "vcs.modified":
			i.Dirty = s.Value == "true"
		case "vcs.time":
			i.CommitTime = s.Value
		}
	}
	return i
}

// Revision returns the commit with "-dirty" at the end when the working tree differed
// from it, or Unknown: one word for a log line.
func (i Info) Revision() string {
	if i.Dirty {
		return i.Commit + "-dirty"
	}
	return i.Commit
}

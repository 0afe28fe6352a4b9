package version

import (
	"runtime"
	"runtime/debug"
	"testing"
)

func TestFrom(t *testing.T) {
	stamped := func(version, modified string) *debug.BuildInfo {
		return &debug.BuildInfo{
			Main: debug.Module{Version: version},
			Settings: []debug.BuildSetting{
				{Key: "-trimpath", Value: "true"},
				{Key: "vcs.revision", Value: "02a7af"},
				{Key: "vcs.time", Value: "2026-12-01T02:57:00Z"},
				{Key: "vcs.modified", Value: modified},
			},
		}
	}
	for _, tc := range []struct {
		name                       string
		build                      *debug.BuildInfo
		version, revision, gitTime string
		dirty                      bool
	}{
		{"no build information", nil, "(devel)", "unknown", "", false},
		{"no version, as in a test", &debug.BuildInfo{}, "(devel)", "unknown", "", false},
		{"outside git", &debug.BuildInfo{Main: debug.Module{Version: "(devel)"}}, "(devel)", "unknown", "", false},
		{"a tag", stamped("v0.1.0", "false"), "0.1.0", "02a7af", "2026-12-01T02:57:00Z", false},
		{"a changed tree", stamped("v0.1.0+dirty", "true"), "0.1.0+dirty", "02a7af-dirty", "2026-12-01T02:57:00Z", true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := from(tc.build, tc.build != nil)
			if got.Version != tc.version || got.Revision() != tc.revision || got.CommitTime != tc.gitTime || got.Dirty != tc.dirty {
				t.Errorf("%+v with revision %q", got, got.Revision())
			}
			if got.Go != runtime.Version() || got.Platform != runtime.GOOS+"/"+runtime.GOARCH {
				t.Errorf("compiler %q, platform %q", got.Go, got.Platform)
			}
		})
	}
}

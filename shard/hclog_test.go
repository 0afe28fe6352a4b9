package shard

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
)

type reported struct{ error }

func (reported) Known() bool { return true }

// TestRaftLogger checks the level and the attributes of Raft's messages in our log.
func TestRaftLogger(t *testing.T) {
	for _, tc := range []struct {
		level hclog.Level
		msg   string
		args  []any
		want  string
	}{
		{hclog.Info, "entering leader state", nil, ""},
		{hclog.Warn, "heartbeat timeout reached, starting election", []any{"last-leader-addr", ""}, `level=INFO msg="raft: heartbeat timeout reached, starting election" shard=3 last_leader_addr=""`},
		{hclog.Warn, "failed to contact", []any{"time", 1500 * time.Millisecond}, `level=INFO msg="raft: failed to contact" shard=3 for=1.5s`},
		{hclog.Error, "failed to appendEntries to", []any{"peer", raft.Server{ID: "ab"}, "error", errors.New("broken")}, `level=WARN msg="raft: failed to appendEntries to" shard=3 peer=ab error=broken`},
		{hclog.Error, "failed to appendEntries to", []any{"error", fmt.Errorf("sent: %w", reported{errors.New("not connected")})}, ""},
		{hclog.Warn, "failed to heartbeat to", []any{"backoff time", hclog.Fmt("%d ms", 10)}, `level=WARN msg="raft: failed to heartbeat to" shard=3 backoff_time="10 ms"`},
	} {
		var b bytes.Buffer
		l := newRaftLogger(slog.New(slog.NewTextHandler(&b, &slog.HandlerOptions{Level: slog.LevelInfo})), 3)
		l.Log(tc.level, tc.msg, tc.args...)
		_, got, _ := strings.Cut(strings.TrimSpace(b.String()), " ") // without the time
		if got != tc.want {
			t.Errorf("%s:\n got %s\nwant %s", tc.msg, got, tc.want)
		}
	}
}

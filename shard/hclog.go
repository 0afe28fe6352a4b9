package shard

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
)

// raftLogger passes Raft's log lines of level Warn and above on to slog. Raft logs as
// errors conditions that a cluster lives with, such as a peer that does not answer;
// raftLogger turns all of them into warnings. What Raft says in the course of a healthy
// election, or of the start of a shard, has the level Info or Debug.
type raftLogger struct {
	out  *slog.Logger
	name string
	args []any
}

func newRaftLogger(out *slog.Logger, shard uint32) hclog.Logger {
	return &raftLogger{out: out.With("shard", shard), name: "raft"}
}

// Log implements hclog.Logger, like all methods below.
func (l *raftLogger) Log(level hclog.Level, msg string, args ...any) {
	if level < hclog.Warn {
		return
	}
	to := raftLevel(msg, args)
	if !l.out.Enabled(context.Background(), to) {
		return
	}
	out := make([]any, 0, len(args))
	for i, a := range args {
		switch v := a.(type) {
		case hclog.Format:
			a = hclogText(v)
		case raft.Server:
			a = string(v.ID)
		case time.Duration:
			a = v.String()
		case string:
			if i%2 == 0 {
				a = raftKey(v)
			}
		}
		out = append(out, a)
	}
	l.out.Log(context.Background(), to, l.name+": "+msg, out...)
}

// raftLevels are the levels of messages that a healthy cluster logs.
var raftLevels = map[string]slog.Level{
	"heartbeat timeout reached, starting election":        slog.LevelInfo,
	"Election timeout reached, restarting election":       slog.LevelInfo,
	"appendEntries rejected, sending older logs":          slog.LevelInfo,
	"failed to contact":                                   slog.LevelInfo, // one follower, for as long as a heartbeat timeout
	"failed to get previous log":                          slog.LevelInfo,
	"rejecting pre-vote request since we have a leader":   slog.LevelDebug,
	"rejecting vote request since we have a leader":       slog.LevelDebug,
	"no known peers, aborting election":                   slog.LevelDebug,
	"not part of stable configuration, aborting election": slog.LevelDebug,
}

// knownError is an error of a transport that needs no warning here, because the transport
// has logged its reason.
type knownError interface {
	error
	Known() bool
}

// raftLevel returns the level of a message.
func raftLevel(msg string, args []any) slog.Level {
	if level, ok := raftLevels[msg]; ok {
		return level
	}
	for _, a := range args {
		if err, ok := a.(error); ok {
			if known, ok := errors.AsType[knownError](err); ok && known.Known() {
				return slog.LevelDebug
			}
		}
	}
	return slog.LevelWarn
}

// raftKey returns a key of Raft's as a key of ours: without blanks and hyphens, and without
// "time", which every line has already.
func raftKey(key string) string {
	if key == "time" {
		return "for"
	}
	return strings.NewReplacer(" ", "_", "-", "_").Replace(key)
}

func hclogText(f hclog.Format) string {
	if len(f) == 0 {
		return ""
	}
	format, ok := f[0].(string)
	if !ok {
		return ""
	}
	return fmt.Sprintf(format, f[1:]...)
}

func (l *raftLogger) Trace(string, ...any)                {}
func (l *raftLogger) Debug(string, ...any)                {}
func (l *raftLogger) Info(string, ...any)                 {}
func (l *raftLogger) Warn(msg string, args ...any)        { l.Log(hclog.Warn, msg, args...) }
func (l *raftLogger) Error(msg string, args ...any)       { l.Log(hclog.Error, msg, args...) }
func (l *raftLogger) IsTrace() bool                       { return false }
func (l *raftLogger) IsDebug() bool                       { return false }
func (l *raftLogger) IsInfo() bool                        { return false }
func (l *raftLogger) IsWarn() bool                        { return true }
func (l *raftLogger) IsError() bool                       { return true }
func (l *raftLogger) ImpliedArgs() []any                  { return l.args }
func (l *raftLogger) Name() string                        { return l.name }
func (l *raftLogger) SetLevel(hclog.Level)                {}
func (l *raftLogger) GetLevel() hclog.Level               { return hclog.Warn }
func (l *raftLogger) ResetNamed(name string) hclog.Logger { return &raftLogger{l.out, name, l.args} }
func (l *raftLogger) Named(name string) hclog.Logger      { return l.ResetNamed(l.name + "." + name) }
func (l *raftLogger) With(args ...any) hclog.Logger {
	return &raftLogger{l.out.With(args...), l.name, append(append([]any(nil), l.args...), args...)}
}
func (l *raftLogger) StandardLogger(*hclog.StandardLoggerOptions) *log.Logger {
	return log.New(io.Discard, "", 0)
}
func (l *raftLogger) StandardWriter(*hclog.StandardLoggerOptions) io.Writer { return io.Discard }

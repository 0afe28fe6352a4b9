package shard

import (
	"context"
	"fmt"
	"io"
	"log"
	"log/slog"

	"github.com/hashicorp/go-hclog"
)

// raftLogger passes Raft's log lines of level Warn and above on to slog. Raft logs as
// errors conditions that a cluster lives with, such as a peer that does not answer;
// raftLogger turns all of them into warnings.
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
	if level < hclog.Warn || !l.out.Enabled(context.Background(), slog.LevelWarn) {
		return
	}
	out := make([]any, 0, len(args))
	for _, a := range args {
		if f, ok := a.(hclog.Format); ok {
			a = hclogText(f)
		}
		out = append(out, a)
	}
	l.out.Warn(l.name+": "+msg, out...)
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

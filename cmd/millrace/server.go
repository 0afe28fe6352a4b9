package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"millrace/internal/repeat"
	"millrace/node"
)

func serverCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "server --data DIR",
		Short: "Run one node",
		Long: `Run one node. With the defaults it is a complete cluster of one node, ready for
redis-cli. With --bootstrap-expect 3 and --join, three empty nodes create a cluster
together.

A setting is taken from its flag, otherwise from MILLRACE_* in the environment,
otherwise from the file named by --config, otherwise from the defaults.

SIGTERM stops the node in order: it hands its leaderships to other nodes, answers the
commands in progress, and exits with 0.

Exit codes: 0 stopped, 1 error, 2 wrong usage, 10 disk full, 11 disk failing,
12 corruption, 14 out of file descriptors or memory.`,
	}
	serverFlags(cmd.Flags())
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		s, err := loadServerSettings(cmd.Flags())
		if err != nil {
			return err
		}
		if s.node.Logger, err = newLogger(s.logLevel, s.logFormat); err != nil {
			return err
		}
		n, err := node.Open(s.node)
		if err != nil {
			return err
		}
		if isTerminal(os.Stderr) {
			go greet(cmd.Context(), n, s.node)
		}
		return n.Run(cmd.Context())
	}
	return cmd
}

// newLogger returns a logger to standard error, as log-level and log-format say.
func newLogger(level, format string) (*slog.Logger, error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		return nil, usageError("log-level: %q is not debug, info, warn or error", level)
	}
	o := &slog.HandlerOptions{Level: l}
	if format == "auto" {
		format = "json"
		if isTerminal(os.Stderr) {
			format = "text"
		}
	}
	switch strings.ToLower(format) {
	case "text":
		return slog.New(repeat.NewHandler(slog.NewTextHandler(os.Stderr, o))), nil
	case "json":
		return slog.New(repeat.NewHandler(slog.NewJSONHandler(os.Stderr, o))), nil
	}
	return nil, usageError("log-format: %q is not text, json or auto", format)
}

// isTerminal reports whether f is a terminal, so that a person may be reading.
func isTerminal(f *os.File) bool { return term.IsTerminal(int(f.Fd())) }

// greet tells a person at a terminal how to go on, once the node serves clients.
func greet(ctx context.Context, n *node.Node, cfg node.Config) {
	for n.Ready() != nil {
		select {
		case <-ctx.Done():
			return
		case <-time.After(100 * time.Millisecond):
		}
	}
	at := n.Addresses()
	fmt.Fprintf(os.Stderr, "\n  connect   redis-cli -p %s\n", port(at.Client))
	if cfg.HTTPAddr != "" {
		fmt.Fprintf(os.Stderr, "  look      millrace status --addr %s\n", at.HTTP)
	}
	fmt.Fprint(os.Stderr, "  stop      Ctrl-C\n\n")
}

// progress reports the progress of a command on standard error. On a terminal it rewrites
// one line; otherwise each report is a line of its own.
type progress struct{ tty bool }

func newProgress() progress { return progress{isTerminal(os.Stderr)} }

func (p progress) line(format string, args ...any) {
	if p.tty {
		fmt.Fprintf(os.Stderr, "\r\033[K"+format, args...)
		return
	}
	fmt.Fprintf(os.Stderr, format+"\n", args...)
}

// end clears the line on a terminal.
func (p progress) end() {
	if p.tty {
		fmt.Fprint(os.Stderr, "\r\033[K")
	}
}

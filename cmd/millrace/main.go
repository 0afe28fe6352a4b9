// Command millrace runs a node of Millrace, a sharded, replicated, durable stream server
// that speaks the Redis protocol. Its other subcommands are tools for operators: a local
// cluster, the status, a load generator, and work on the data directory of a stopped node.
//
// Each file holds one subcommand. Flags are read here and in no other package.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"millrace/internal/version"
	"millrace/node"
)

// Exit codes of all subcommands. The server also exits with 10, 11, 12 or 14 for a full, a
// failing or a corrupt disk or a lack of files and memory (see node.ExitCode), so that a supervisor such as systemd can tell a
// failure that a restart cannot repair.
const (
	exitOK    = 0
	exitError = 1
	exitUsage = 2
	// exitUnhealthy is the exit code of status if the cluster is not healthy. The server
	// uses the same number for a full disk; see node.ExitCode.
	exitUnhealthy = 10
)

// codeError carries an exit code up to run. A nil err means that the command has printed
// everything itself.
type codeError struct {
	code int
	err  error
}

func (e *codeError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit code %d", e.code)
	}
	return e.err.Error()
}

func (e *codeError) Unwrap() error { return e.err }

func usageError(format string, args ...any) error {
	return &codeError{exitUsage, fmt.Errorf(format, args...)}
}

func main() {
	signals := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) { // nohup ignores it
		signals = append(signals, syscall.SIGHUP)
	}
	ctx, stop := signal.NotifyContext(context.Background(), signals...)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run runs the command that args name and returns its exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	root := &cobra.Command{
		Use:           "millrace",
		Short:         "A sharded, replicated, durable stream server that speaks the Redis protocol",
		SilenceUsage:  true,
		SilenceErrors: true,
		Version:       version.Get().Version,
		Args:          cobra.ArbitraryArgs, // RunE refuses them with a usage error
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				hint := "see millrace --help"
				if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
					hint = fmt.Sprintf("did you mean %q?", near[0])
				}
				return usageError("unknown command %q; %s", args[0], hint)
			}
			return cmd.Help()
		},
	}
	root.SuggestionsMinimumDistance = 2
	root.SetOut(stdout)
	root.SetErr(stderr)
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return &codeError{exitUsage, err} })
	root.AddCommand(serverCommand(), devCommand(), statusCommand(), benchCommand(), dumpCommand(), doctorCommand(), recoverCommand(), versionCommand())
	for _, cmd := range root.Commands() {
		cmd.Args = noArgs
	}
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	if ce, ok := errors.AsType[*codeError](err); ok {
		if ce.err != nil {
			fmt.Fprintln(stderr, "millrace:", ce.err)
		}
		return ce.code
	}
	fmt.Fprintln(stderr, "millrace:", err)
	return node.ExitCode(err)
}

// noArgs refuses arguments that belong to no flag.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usageError("%s takes no argument %q; see millrace %s --help", cmd.Name(), args[0], cmd.Name())
	}
	return nil
}

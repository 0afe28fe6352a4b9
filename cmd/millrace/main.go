// Command millrace is a sharded, replicated, durable stream server that speaks the
// Redis protocol, and the tools around it.
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

	"millrace/node"
)

// The exit codes every subcommand shares. A failing disk has codes of its own, so
// that whatever restarts the process can tell what a restart will not mend.
const (
	exitOK    = 0
	exitError = 1
	exitUsage = 2
	// exitUnhealthy is what status answers for a cluster that is not healthy. The
	// server uses the same number for a full disk: see node.ExitCode.
	exitUnhealthy = 10
)

// codeError carries an exit code up to main; err may be nil when all has been said.
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
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run runs one command and returns its exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	root := &cobra.Command{
		Use:           "millrace",
		Short:         "A sharded, replicated, durable stream server that speaks the Redis protocol",
		SilenceUsage:  true,
		SilenceErrors: true,
		Version:       node.Version,
		Args:          cobra.ArbitraryArgs, // so that RunE has the word on them
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usageError("there is no command %q; see millrace --help", args[0])
			}
			return cmd.Help()
		},
	}
	root.SetOut(stdout)
	root.SetErr(stderr)
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return &codeError{exitUsage, err} })
	root.AddCommand(serverCommand(), devCommand(), statusCommand(), benchCommand(), dumpCommand(), doctorCommand(), recoverCommand())
	for _, cmd := range root.Commands() {
		cmd.Args = noArgs
	}
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	var ce *codeError
	if errors.As(err, &ce) {
		if ce.err != nil {
			fmt.Fprintln(stderr, "millrace:", ce.err)
		}
		return ce.code
	}
	fmt.Fprintln(stderr, "millrace:", err)
	return node.ExitCode(err)
}

// noArgs refuses words that belong to no flag.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usageError("%s takes no %q; see millrace %s --help", cmd.Name(), args[0], cmd.Name())
	}
	return nil
}

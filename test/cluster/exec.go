package cluster

import (
	"bytes"
	"context"
	"errors"
	"os/exec"
	"testing"
	"time"
)

// ExecTimeout limits the run time of a process that is expected to end by itself.
const ExecTimeout = 60 * time.Second

// Exec runs the millrace binary with args until it ends, and returns its exit code and its
// output.
func Exec(tb testing.TB, args ...string) (code int, output string) {
	tb.Helper()
	return ExecEnv(tb, nil, args...)
}

// ExecEnv is Exec with additional environment variables.
func ExecEnv(tb testing.TB, env []string, args ...string) (code int, output string) {
	tb.Helper()
	bin, err := binary()
	if err != nil {
		tb.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), ExecTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, bin, args...)
	cmd.Env = append(cmd.Environ(), env...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err = cmd.Run()
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		tb.Fatalf("%v still ran after %v:\n%s", args, ExecTimeout, &out)
	case err == nil:
		return 0, out.String()
	case errors.As(err, &exit):
		return exit.ExitCode(), out.String()
	}
	tb.Fatal(err)
	return 0, ""
}

// Run runs the cluster's binary until it ends, at most for ExecTimeout, and returns its
// exit code and its output.
func (c *Cluster) Run(args ...string) (code int, output string, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), ExecTimeout)
	defer cancel()
	out, err := exec.CommandContext(ctx, c.bin, args...).CombinedOutput()
	var exit *exec.ExitError
	if ctx.Err() == nil && errors.As(err, &exit) {
		return exit.ExitCode(), string(out), nil
	}
	return 0, string(out), err
}

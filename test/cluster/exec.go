package cluster

import (
	"bytes"
	"context"
	"errors"
	"os/exec"
	"testing"
	"time"
)

// ExecTimeout bounds a process that is expected to end by itself.
const ExecTimeout = 60 * time.Second

// Exec runs the server's binary with args until it ends, and returns its exit code and
// what it wrote.
func Exec(tb testing.TB, args ...string) (code int, output string) {
	tb.Helper()
	return ExecEnv(tb, nil, args...)
}

// ExecEnv is Exec with more variables in the environment.
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

// Command mutants shows that the tests find bugs. For each wrong implementation of package
// mutant it runs one test twice: with the bug, when the test must fail, and without, when
// it must pass. It prints the test that caught each mutant and the seconds it took, and
// exits with 1 if a mutant was not caught.
//
//	go run ./test/mutants [a b …]
package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// catcher is a test that has to catch a mutant.
type catcher struct {
	mutant string        // the letter of its build tag: "a" for mutant_a
	bug    string        // a description
	pkg    string        // the package of the test, below millrace
	run    string        // the pattern for -test.run
	limit  time.Duration // the test must fail earlier
}

var catchers = []catcher{
	{"a", "writes answered before a majority has them", "shard", "^TestPartition$", time.Minute},
	{"b", "the Raft log is not synced", "raftlog", "^TestPowerCut$", time.Minute},
	{"c", "reads behind VerifyLeader", "shard", "^TestReadsCountVotersOnly$", time.Minute},
	{"d", "heartbeats beside Raft's main loop", "node/peer", "^TestHeartbeatsGoThroughConsumer$", time.Minute},
	{"e", "pending entries missing in snapshots", "shard", "^TestGroupsOnAllReplicas$", time.Minute},
	{"f", "the replica's own clock in apply", "shard", "^TestGroupsOnAllReplicas$", time.Minute},
	{"g", "the router repeats a write whose outcome is unknown", "router", "^TestErrorClasses$", time.Minute},
	{"h", "log truncated before the state is durable", "shard", "^TestCrashAlone$", time.Minute},
	{"i", "XACK applied on the leader only", "shard", "^TestGroupsOnAllReplicas$", time.Minute},
	{"j", "blocked reader not registered again", "router", "^TestBlockSurvivesLeaderChange$/^XREADGROUP$", time.Minute},
	{"k", "a non-voter counts", "shard", "^TestReadsCountVotersOnly$", time.Minute},
	{"l", "a stale snapshot is installed", "shard", "^TestStaleSnapshot$", time.Minute},
	{"m", "pending entries of a deleted consumer are seen", "stream", "^TestLeftoversAreHidden$", time.Minute},
	{"n", "an EXEC that is undone stays in memory", "stream", "^TestBudgetUndo$", time.Minute},
	{"s", "the commit index announced without proof", "shard", "^TestAnnouncement$", time.Minute},
	{"t", "keys of replicas in a node's share", "router", "^TestShares$", time.Minute},
}

func main() {
	ok, err := run(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "mutants:", err)
		os.Exit(2)
	}
	if !ok {
		os.Exit(1)
	}
}

// run tries all mutants, or those in only if there are any. It reports whether every mutant
// was caught and every test without a bug passed.
func run(only []string) (ok bool, err error) {
	dir, err := os.MkdirTemp("", "millrace-mutants-")
	if err != nil {
		return false, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	for _, m := range only {
		if !slices.ContainsFunc(catchers, func(c catcher) bool { return c.mutant == m }) {
			return false, fmt.Errorf("there is no mutant %q", m)
		}
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "MUTANT\tBUG\tCAUGHT BY\tSECONDS\tHEALTHY")
	ok = true
	healthy := make(map[string]string)
	for _, c := range catchers {
		if len(only) > 0 && !slices.Contains(only, c.mutant) {
			continue
		}
		fmt.Fprintf(os.Stderr, "%s: %s\n", c.mutant, c.bug)
		well, tried := healthy[c.pkg+c.run]
		if !tried {
			failed, _, err := c.try(dir, "")
			if err != nil {
				return false, err
			}
			if well = "passes"; failed != "" {
				well = "FAILS " + failed
				ok = false
			}
			healthy[c.pkg+c.run] = well
		}
		failed, took, err := c.try(dir, "mutant_"+c.mutant)
		if err != nil {
			return false, err
		}
		by := c.pkg + " " + failed
		if failed == "" || took > c.limit {
			by = "NOTHING: " + c.pkg + " " + c.run + " passes"
			ok = false
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%.1f\t%s\n", c.mutant, c.bug, by, took.Seconds(), well)
	}
	return ok, w.Flush()
}

// failure matches the name of a failed test. In the output, the outermost comes first.
var failure = regexp.MustCompile(`(?m)^\s*--- FAIL: (\S+)|^panic: `)

// try builds the test of c with a build tag and runs it. It returns the name of the test
// that failed, or "" if all passed, and the duration of the run. A test that does not build
// is an error, because its failure would look like a mutant that was caught.
func (c catcher) try(dir, tag string) (failed string, took time.Duration, err error) {
	bin := filepath.Join(dir, strings.ReplaceAll(c.pkg, "/", "-")+"-"+tag+".test")
	args := []string{"test", "-c", "-o", bin}
	if tag != "" {
		args = append(args, "-tags", tag)
	}
	if out, err := exec.Command("go", append(args, "millrace/"+c.pkg)...).CombinedOutput(); err != nil {
		return "", 0, fmt.Errorf("build %s with %q: %w\n%s", c.pkg, tag, err, out)
	}
	defer func() { _ = os.Remove(bin) }()
	// A mutant that is caught after its limit counts as not caught. The test still gets twice
	// that time, so that a test that hangs can say so itself.
	ctx, cancel := context.WithTimeout(context.Background(), 2*c.limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, bin, "-test.run", c.run, "-test.v", "-test.failfast")
	cmd.Dir = c.pkg
	began := time.Now()
	out, err := cmd.CombinedOutput()
	took = time.Since(began)
	var exit *exec.ExitError
	switch {
	case err == nil:
		if !bytes.Contains(out, []byte("\n--- PASS: ")) {
			return "", took, fmt.Errorf("%s has no test %s", c.pkg, c.run)
		}
		return "", took, nil
	case ctx.Err() != nil:
		return "", took, nil
	case !errors.As(err, &exit):
		return "", took, err
	}
	for s := bufio.NewScanner(bytes.NewReader(out)); s.Scan(); {
		if m := failure.FindStringSubmatch(s.Text()); m != nil {
			if m[1] == "" {
				return "a panic", took, nil
			}
			return m[1], took, nil
		}
	}
	return "", took, fmt.Errorf("%s %s: %w, and no test has failed\n%s", c.pkg, c.run, err, out)
}

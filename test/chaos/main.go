package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"millrace/test/chaos/fault"
	"millrace/test/chaos/netlab"
	"millrace/test/chaos/workload"
	"millrace/test/cluster"
)

// options are what a run is told.
type options struct {
	duration   time.Duration
	era        time.Duration
	replay     time.Duration // of the era after the others
	seed       uint64
	nodes      int
	shards     int
	only       []string // kinds of faults; empty: all
	load       workload.Load
	out        string // directory of the report
	network    string // lab or loopback
	logRecords int    // a shard's log holds, so that replicas need snapshots
	smallDisk  int64  // bytes of the last node's disk; 0: it is like the others
	tags       string // more build tags for the server
	// What the outer process hands to the inner one.
	bin     string
	scratch string   // for data directories, removed by the outer process
	lock    *os.File // of scratch, held by the outer process
}

// Exit codes.
const (
	exitClean  = 0
	exitBroken = 1
	exitUsage  = 2
)

func main() { os.Exit(run()) }

func run() int {
	log.SetFlags(log.Ltime)
	o, err := parse()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return exitUsage
	}
	if !netlab.Inside() {
		if err := prepare(&o); err != nil {
			log.Print(err)
			return exitBroken
		}
		defer func() {
			_ = os.RemoveAll(o.scratch) // it is below the system's own for such
			o.lock.Close()
		}()
	}
	if o.network == networkLab {
		inside, code, err := enter(&o)
		switch {
		case errors.Is(err, netlab.ErrUnavailable):
			log.Printf("!!! NO NETWORK FAULTS ARE TRIED: %v", err)
			o.network = networkLoopback
		case err != nil:
			log.Print(err)
			return exitBroken
		case !inside:
			return code
		}
	}
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	if err := newRun(o).run(ctx); err != nil {
		log.Print(err)
		return exitBroken
	}
	return exitClean
}

// maxReplay bounds the era after which logs are replayed: they are kept whole.
const maxReplay = 5 * time.Minute

// Values of -network.
const (
	networkLab      = "lab"
	networkLoopback = "loopback"
)

// The environment by which the outer process tells the inner one what it has prepared.
const (
	binEnv     = "CHAOS_BIN"
	scratchEnv = "CHAOS_SCRATCH"
	seedEnv    = "CHAOS_SEED"
)

func parse() (options, error) {
	var o options
	fs := flag.NewFlagSet("chaos", flag.ContinueOnError)
	fs.DurationVar(&o.duration, "duration", time.Minute, "how long faults are injected")
	fs.DurationVar(&o.era, "era", 5*time.Minute, "after how long all replicas are read and the streams replaced by new ones")
	fs.DurationVar(&o.replay, "replay", 20*time.Second, "how long, after that, faults are injected while nodes keep their logs whole; then every reply is compared with the logs; 0: not at all")
	fs.Uint64Var(&o.seed, "seed", 0, "decides which faults come when; 0: a new one, which is printed")
	fs.IntVar(&o.nodes, "nodes", 3, "how many nodes")
	fs.IntVar(&o.shards, "shards", 4, "how many shards")
	fs.IntVar(&o.load.Writers, "writers", 4, "clients that write in pipelines")
	fs.IntVar(&o.load.Depth, "depth", 16, "how deep their pipelines are")
	fs.Float64Var(&o.load.Rate, "rate", 2000, "entries a second that they write together")
	fs.IntVar(&o.load.Consumers, "consumers", 4, "clients that consume groups")
	fs.IntVar(&o.load.ManyStreams, "many", 60, "streams that are written to now and then")
	fs.StringVar(&o.out, "out", "", "directory for the report (default bin/chaos-SEED)")
	fs.StringVar(&o.network, "network", networkLab, "lab: hosts in namespaces, whose links are broken; loopback: nodes are only killed and paused")
	fs.IntVar(&o.logRecords, "log-records", 400, "how many records a shard's log holds: few, so that a replica that was away needs a snapshot")
	fs.Int64Var(&o.smallDisk, "small-disk", 1<<30, "bytes of the last node's disk, in memory, which is filled now and then; 0: it has a disk like the others")
	fs.StringVar(&o.tags, "tags", "", "more build tags for the server, such as one of test/mutants")
	fs.Func("only", "deal only these faults, NAME[,NAME…]: "+strings.Join(fault.Names(), ", "), func(s string) error {
		o.only = strings.Split(s, ",")
		return nil
	})
	if err := fs.Parse(os.Args[1:]); err != nil {
		return o, err
	}
	if o.seed == 0 {
		if s, err := parseSeed(os.Getenv(seedEnv)); err == nil {
			o.seed = s
		} else {
			o.seed = rand.Uint64() >> 1
		}
	}
	if o.out == "" {
		o.out = filepath.Join("bin", fmt.Sprintf("chaos-%d", o.seed))
	}
	o.bin, o.scratch = os.Getenv(binEnv), os.Getenv(scratchEnv)
	switch {
	case fs.NArg() > 0:
		return o, fmt.Errorf("unexpected %q", fs.Arg(0))
	case o.nodes < 3 || o.nodes > 9:
		return o, fmt.Errorf("-nodes: %d is not between 3 and 9", o.nodes)
	case o.shards < 1 || o.shards > 64:
		return o, fmt.Errorf("-shards: %d is not between 1 and 64", o.shards)
	case o.duration < time.Second || o.era < time.Second:
		return o, errors.New("-duration, -era: at least a second")
	case o.replay != 0 && o.replay < time.Second || o.replay > maxReplay:
		return o, fmt.Errorf("-replay: none, or between a second and %v", maxReplay)
	case o.load.Rate <= 0 || o.load.Writers < 1 || o.load.Depth < 1 || o.load.Consumers < 1 || o.load.ManyStreams < 1:
		return o, errors.New("-rate, -writers, -depth, -consumers, -many: at least one")
	case o.network != networkLab && o.network != networkLoopback:
		return o, fmt.Errorf("-network: %q is not lab or loopback", o.network)
	}
	return o, nil
}

func parseSeed(s string) (seed uint64, err error) {
	_, err = fmt.Sscan(s, &seed)
	return seed, err
}

// scratchName begins the names of directories for data.
const scratchName = "millrace-chaos-"

// prepare builds the server and makes the directory for data, locked by this process.
// What runs that were killed have left over is removed.
func prepare(o *options) (err error) {
	old, err := filepath.Glob(filepath.Join(os.TempDir(), scratchName+"*"))
	if err != nil {
		return err
	}
	for _, dir := range old {
		if lock, err := lockDir(dir); err == nil {
			log.Printf("removing %s, which a run has left over", dir)
			_ = os.RemoveAll(dir) // it may be another user's
			lock.Close()
		}
	}
	if o.scratch, err = os.MkdirTemp("", scratchName); err != nil {
		return err
	}
	if o.lock, err = lockDir(o.scratch); err != nil {
		return err
	}
	o.bin = filepath.Join(o.scratch, "millrace")
	return cluster.Build(o.bin, "-tags", strings.Trim("faults,"+o.tags, ",")) // faults: disks that fail when they are told to
}

// lockDir takes the lock of a directory for data, which the process that made it holds
// while it runs.
func lockDir(dir string) (*os.File, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// enter goes on inside of namespaces of our own. The outer process has prepared what the
// inner one is told of, and removes it after, however the inner one has ended.
func enter(o *options) (inside bool, code int, err error) {
	for k, v := range map[string]string{binEnv: o.bin, scratchEnv: o.scratch, seedEnv: fmt.Sprint(o.seed)} {
		if err := os.Setenv(k, v); err != nil {
			return false, 0, err
		}
	}
	return netlab.Enter()
}

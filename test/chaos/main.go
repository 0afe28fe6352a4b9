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

// options hold the command line of a run.
type options struct {
	duration   time.Duration
	era        time.Duration
	replay     time.Duration // length of the last era, whose replies are compared with the logs; 0: none
	seed       uint64
	nodes      int
	shards     int
	only       []string // the kinds of faults that are dealt; empty: all
	load       workload.Load
	out        string // directory of the report
	network    string // networkLab or networkLoopback
	logRecords int    // the records that a shard's log keeps
	smallDisk  int64  // bytes of the last node's disk; 0: it has a disk like the others
	tags       string // more build tags for the server
	// The outer process sets these and hands bin and scratch to the inner one.
	bin     string   // the server's binary
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
			_ = os.RemoveAll(o.scratch) // leftovers lie in the system's temporary directory
			o.lock.Close()
		}()
	}
	if o.network == networkLab {
		inside, code, err := enter(&o)
		switch {
		case errors.Is(err, netlab.ErrUnavailable):
			log.Printf("!!! THIS RUN INJECTS NO NETWORK FAULTS: %v", err)
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

// maxReplay bounds the era whose logs are replayed, because nodes keep their logs whole
// in it.
const maxReplay = 5 * time.Minute

// Values of -network.
const (
	networkLab      = "lab"
	networkLoopback = "loopback"
)

// The environment variables in which the outer process names its preparations to the
// inner one.
const (
	binEnv     = "CHAOS_BIN"
	scratchEnv = "CHAOS_SCRATCH"
	seedEnv    = "CHAOS_SEED"
)

// parse reads and checks the command line.
func parse() (options, error) {
	var o options
	fs := flag.NewFlagSet("chaos", flag.ContinueOnError)
	fs.DurationVar(&o.duration, "duration", time.Minute, "how long to inject faults")
	fs.DurationVar(&o.era, "era", 5*time.Minute, "length of an era; at its end all replicas are read and compared, and new streams replace the old ones")
	fs.DurationVar(&o.replay, "replay", 20*time.Second, "length of one more era, in which nodes keep their logs whole; then every reply is compared with the logs; 0: no such era")
	fs.Uint64Var(&o.seed, "seed", 0, "seed of the faults and the clients; 0 picks a new one and prints it")
	fs.IntVar(&o.nodes, "nodes", 3, "number of nodes, 3 to 9")
	fs.IntVar(&o.shards, "shards", 4, "number of shards, 1 to 64")
	fs.IntVar(&o.load.Writers, "writers", 4, "number of clients that write in pipelines")
	fs.IntVar(&o.load.Depth, "depth", 16, "commands in each pipeline")
	fs.Float64Var(&o.load.Rate, "rate", 2000, "entries a second of all writers together")
	fs.IntVar(&o.load.Consumers, "consumers", 4, "number of clients that read groups")
	fs.IntVar(&o.load.ManyStreams, "many", 60, "number of streams that get an entry now and then")
	fs.StringVar(&o.out, "out", "", "directory for the report (default bin/chaos-SEED)")
	fs.StringVar(&o.network, "network", networkLab, "lab: each node is a host in a namespace of its own, and links are broken; loopback: no network faults")
	fs.IntVar(&o.logRecords, "log-records", 400, "records that a shard's log keeps; few, so that a replica that was away needs a snapshot")
	fs.Int64Var(&o.smallDisk, "small-disk", 1<<30, "size in bytes of the last node's disk, which is in memory and is filled now and then; 0: it has a disk like the others")
	fs.StringVar(&o.tags, "tags", "", "more build tags for the server, such as a mutant's")
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
		return o, fmt.Errorf("unexpected argument %q", fs.Arg(0))
	case o.nodes < 3 || o.nodes > 9:
		return o, fmt.Errorf("-nodes: %d is not between 3 and 9", o.nodes)
	case o.shards < 1 || o.shards > 64:
		return o, fmt.Errorf("-shards: %d is not between 1 and 64", o.shards)
	case o.duration < time.Second || o.era < time.Second:
		return o, errors.New("-duration, -era: must be at least a second")
	case o.replay != 0 && o.replay < time.Second || o.replay > maxReplay:
		return o, fmt.Errorf("-replay: must be 0 or between a second and %v", maxReplay)
	case o.load.Rate <= 0 || o.load.Writers < 1 || o.load.Depth < 1 || o.load.Consumers < 1 || o.load.ManyStreams < 1:
		return o, errors.New("-rate, -writers, -depth, -consumers, -many: must be at least 1")
	case o.network != networkLab && o.network != networkLoopback:
		return o, fmt.Errorf("-network: %q is not lab or loopback", o.network)
	}
	return o, nil
}

func parseSeed(s string) (seed uint64, err error) {
	_, err = fmt.Sscan(s, &seed)
	return seed, err
}

// scratchName begins the names of scratch directories.
const scratchName = "millrace-chaos-"

// prepare builds the server and makes the scratch directory, which this process keeps
// locked. It first removes the scratch directories of earlier runs that were killed.
func prepare(o *options) (err error) {
	old, err := filepath.Glob(filepath.Join(os.TempDir(), scratchName+"*"))
	if err != nil {
		return err
	}
	for _, dir := range old {
		if lock, err := lockDir(dir); err == nil {
			log.Printf("removing %s, which an earlier run left behind", dir)
			_ = os.RemoveAll(dir) // another user's directory stays
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
	return cluster.Build(o.bin, "-tags", strings.Trim("faults,"+o.tags, ",")) // with tag faults, the server's disks fail on request
}

// lockDir locks a scratch directory. It fails while the process that made the directory
// still runs, because that holds the lock.
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

// enter runs the program again inside of namespaces of its own. The outer process has
// prepared the binary and the scratch directory, names them to the inner process, and
// removes them after it, however that ended. See netlab.Enter for the results.
func enter(o *options) (inside bool, code int, err error) {
	for k, v := range map[string]string{binEnv: o.bin, scratchEnv: o.scratch, seedEnv: fmt.Sprint(o.seed)} {
		if err := os.Setenv(k, v); err != nil {
			return false, 0, err
		}
	}
	return netlab.Enter()
}

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"millrace/node"
	"millrace/test/chaos/check"
	"millrace/test/chaos/fault"
	"millrace/test/chaos/measure"
	"millrace/test/chaos/netlab"
	"millrace/test/chaos/replay"
	"millrace/test/chaos/report"
	"millrace/test/chaos/workload"
	"millrace/test/cluster"
)

const (
	startWithin = 2 * time.Minute
	lineEvery   = time.Minute
	// overtime bounds how much longer than its duration a run may take: it ends there,
	// with whatever report there is.
	overtime = 15 * time.Minute
	lagTick  = 5 * time.Millisecond
	// memoryMiB is the memory budget of each node, and memoryMost what it may be resident
	// with (L4): its program, and what the budget does not see, are half as much again.
	memoryMiB  = 256
	memoryMost = memoryMiB * 3 / 2
)

// chaos is a run.
type chaos struct {
	options
	problems  *check.Problems
	timeline  *measure.Timeline
	shardWrit *measure.Shards
	world     *fault.World
	nemesis   *fault.Nemesis
	events    []fault.Event // of a nemesis before
	lab       *netlab.Lab
	cluster   *cluster.Cluster
	env       *workload.Env
	verdicts  workload.Verdicts
	replayed  replay.Counts
	base      []usage

	installs int // snapshots, in logs that were emptied
	began    time.Time
	eras     int
	ended    string
	missing  []string
	lag      lagging
	memory   atomic.Int64 // the most of a node, in MiB
	present  atomic.Pointer[workload.Era]
	once     sync.Once
}

func newRun(o options) *chaos {
	c := &chaos{options: o, problems: check.NewProblems(), began: time.Now()}
	c.problems.Notify = func(p check.Problem) { log.Printf("VIOLATION of %s: %s", p.Invariant, p.Text) }
	c.timeline = measure.NewTimeline(c.problems.Now)
	c.shardWrit = measure.NewShards(o.shards, c.problems.Now)
	c.verdicts.Dir = o.out
	return c
}

// errBroken says that the run has found something.
var errBroken = errors.New("promises were broken")

// run does everything. It returns nil only when the whole run found nothing wrong.
func (c *chaos) run(ctx context.Context) error {
	if err := os.MkdirAll(c.out, 0o755); err != nil {
		return err
	}
	log.Printf("seed %d: %v, %d nodes, %d shards, network %s; report in %s", c.seed, c.duration, c.nodes, c.shards, c.network, c.out)
	defer time.AfterFunc(c.duration+c.replay+overtime, func() {
		c.ended = "it took too long"
		_ = c.write() // the process ends, with or without
		os.Exit(exitBroken)
	}).Stop()
	stop := make(chan struct{})
	var helpers sync.WaitGroup
	defer helpers.Wait()
	defer close(stop)
	helpers.Go(func() { c.lag.watch(stop) })

	err := c.start()
	defer c.stop()
	if err == nil {
		helpers.Go(func() { c.world.WatchProcesses(stop) })
		helpers.Go(func() { c.world.WatchDigests(stop) })
		helpers.Go(func() { c.lines(stop) })
		helpers.Go(func() { c.watchMemory(stop) })
		err = c.allEras(ctx)
		if err == nil && c.replay > 0 {
			err = c.replayEra(ctx)
		}
	}
	if err != nil {
		c.ended = err.Error()
	}
	for _, p := range c.world.Promises() {
		if !p.Kept {
			c.problems.Add("L1", "%s: %v in 99 of 100 cases, %v at most, of %d; promised are %v", p.Name, p.P99, p.Max, p.Samples, p.Within)
		}
	}
	if werr := c.write(); werr != nil {
		return errors.Join(err, werr)
	}
	c.summary()
	if _, n := c.problems.All(); n > 0 {
		c.keepLogs()
		return errors.Join(err, fmt.Errorf("%w: %d violations", errBroken, n))
	}
	if err != nil {
		c.keepLogs()
	}
	return err
}

// start starts the cluster and waits until it is well.
func (c *chaos) start() error {
	c.world = &fault.World{
		Problems: c.problems, Shards: c.shardWrit, Disturbed: fault.NewDisturbed(c.problems.Now),
		SmallDisk: -1, FaultyDisks: true, LogRecords: c.logRecords, Logf: c.logf, Lag: c.lag.take,
	}
	c.world.Acked = func() int { return c.timeline.Total().Acked }
	c.world.Prepare()
	o := cluster.Options{Nodes: c.nodes, Shards: c.shards, Args: []string{
		"--memory", fmt.Sprintf("%dMiB", memoryMiB), "--replicas", "3", "--enable-debug", "--log-records", fmt.Sprint(c.logRecords),
	}}
	password := fmt.Sprintf("chaos-%d", c.seed)
	if c.network == networkLab {
		var err error
		if c.lab, err = netlab.Open(c.nodes+1, c.seed); err != nil {
			return err
		}
		secret := filepath.Join(c.scratch, "secret")
		if err := os.WriteFile(secret, []byte(fmt.Sprintf("chaos-secret-%d", c.seed)), 0o600); err != nil {
			return err
		}
		o.Args = append(o.Args, "--cluster-secret-file", secret, "--requirepass", password)
		o.Hosts = c.host
		if c.smallDisk > 0 {
			c.world.SmallDisk = c.nodes - 1
			if err := c.mountSmall(); err != nil {
				return err
			}
		}
	} else {
		password = "" // loopback needs none
		c.missing = append(c.missing, "faults of the network and full disks, which need namespaces and /dev/net/tun")
	}
	c.cluster = cluster.New(c.bin, c.scratch, o)
	c.world.Cluster, c.world.Lab, c.world.Password = c.cluster, c.lab, password
	c.world.Overload = func(rng *rand.Rand, d time.Duration) { c.present.Load().Overload(rng, d) }
	var err error
	if c.nemesis, err = fault.New(c.world, c.seed, c.only); err != nil {
		return err
	}
	for _, n := range c.cluster.Nodes {
		if err := c.cluster.Launch(n); err != nil {
			return err
		}
	}
	if err := c.cluster.AwaitHealthy(startWithin); err != nil {
		return err
	}
	st, err := c.cluster.Status(c.cluster.Nodes[0])
	if err != nil {
		return err
	}
	c.env = &workload.Env{
		Book: check.NewBook(c.problems), Timeline: c.timeline, Shards: c.shardWrit, Faults: c.world.Disturbed,
		Addrs: c.cluster.Addrs(), Password: password, Seed: c.seed,
	}
	for _, s := range st.Shards {
		if s.ID > 0 {
			c.env.Slots = append(c.env.Slots, workload.Slots{Shard: s.ID, First: s.FirstSlot, Last: s.LastSlot})
		}
	}
	for _, n := range c.cluster.Nodes {
		u, err := uses(n)
		if err != nil {
			return err
		}
		c.base = append(c.base, u)
	}
	return nil
}

// host says where a node runs in the lab. It is looked at by its second address.
func (c *chaos) host(index int) cluster.Host {
	at := func(port int) string { return fmt.Sprintf("%v:%d", netlab.Addr(index+1), port) }
	h := cluster.Host{
		Addr: node.Addresses{
			Client: at(fault.ClientPort), Peer: at(fault.PeerPort), Gossip: at(fault.GossipPort),
			HTTP: fmt.Sprintf("%v:%d", netlab.SideAddr(index+1), fault.HTTPPort),
		},
		Start: func(cmd *exec.Cmd) error { return c.lab.Start(index+1, cmd) },
	}
	if index == c.world.SmallDisk {
		h.Dir = filepath.Join(c.smallDir(), "node")
	}
	return h
}

func (c *chaos) smallDir() string { return filepath.Join(c.scratch, "small") }

func (c *chaos) mountSmall() error {
	if err := os.Mkdir(c.smallDir(), 0o700); err != nil {
		return err
	}
	return netlab.MountMemory(c.smallDir(), c.smallDisk)
}

func (c *chaos) stop() {
	if c.cluster != nil {
		c.cluster.Close()
	}
	if c.lab != nil {
		if err := c.lab.Close(); err != nil {
			log.Print(err)
		}
	}
}

// allEras runs eras until the time is over.
func (c *chaos) allEras(ctx context.Context) error {
	left := c.duration
	for left > 0 && ctx.Err() == nil {
		took := min(left, c.era)
		if left-took < c.era/4 { // no short one at the end
			took = left
		}
		left -= took
		c.world.HourJumps.Store(left == 0 && c.eras > 0)
		if err := c.oneEra(ctx, took); err != nil {
			return fmt.Errorf("era %d: %w", c.eras, err)
		}
	}
	if ctx.Err() != nil {
		return errors.New("interrupted")
	}
	return nil
}

func (c *chaos) oneEra(ctx context.Context, took time.Duration) error {
	_, err := c.runEra(ctx, took, c.load)
	return err
}

// runEra runs an era with a load, and returns it.
func (c *chaos) runEra(ctx context.Context, took time.Duration, load workload.Load) (*workload.Era, error) {
	c.eras++
	e, err := workload.Start(c.env, c.eras, load, &c.verdicts)
	if err != nil {
		return nil, err
	}
	c.present.Store(e)
	c.shardWrit.Rest()
	faults, cancel := context.WithTimeout(ctx, took)
	defer cancel()
	pause(faults, time.Second) // the load comes up
	err = c.nemesis.Run(faults)
	e.Stop()
	if err != nil {
		return nil, err
	}
	quiet := time.Now()
	if err := c.atRest(); err != nil {
		return nil, err
	}
	if err := c.world.CompareNow(); err != nil {
		return nil, err
	}
	if err := e.Finish(c.replicas); err != nil {
		return nil, err
	}
	if err := c.trimLogs(); err != nil {
		return nil, err
	}
	c.shardWrit.Rest()
	c.logf("era %d: all replicas read and compared in %v", c.eras, time.Since(quiet).Round(time.Millisecond))
	return e, nil
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// atRest checks what must be so within a minute of healing (L3): every shard has a
// leader, all replicas are level, and nobody holds more than before the first fault.
func (c *chaos) atRest() error {
	deadline := time.Now().Add(levelWithin)
	for {
		wrong := c.notLevel()
		if wrong == "" {
			return nil
		}
		if time.Now().After(deadline) {
			c.problems.Add("L3", "%v after healing and without load: %s", levelWithin, wrong)
			return nil
		}
		time.Sleep(200 * time.Millisecond)
	}
}

// notLevel says what is not at rest; empty: all is.
func (c *chaos) notLevel() string {
	for i, n := range c.cluster.Nodes {
		st, err := c.cluster.Status(n)
		if err != nil {
			return fmt.Sprintf("node %d: %v", i+1, err)
		}
		for _, s := range st.Shards {
			if s.Leader == "" {
				return fmt.Sprintf("node %d: shard %d has no leader", i+1, s.ID)
			}
			for _, r := range s.Replicas {
				if !r.Reached || r.Lag > 0 {
					return fmt.Sprintf("node %d: shard %d: a replica is not level: %+v", i+1, s.ID, r)
				}
			}
		}
		u, err := uses(n)
		if err != nil {
			return fmt.Sprintf("node %d: %v", i+1, err)
		}
		if u.above(c.base[i]) {
			return fmt.Sprintf("node %d holds %v, before the first fault it held %v", i+1, u, c.base[i])
		}
	}
	return ""
}

// replicas returns the nodes that have a replica of a shard.
func (c *chaos) replicas(shard uint32) []int {
	st, err := c.cluster.Status(c.cluster.Nodes[0])
	if err != nil && !errors.Is(err, cluster.ErrUnhealthy) { // a leadership may be on its way home
		c.problems.Add("L3", "the status of node 1: %v", err)
		return nil
	}
	var out []int
	for _, s := range st.Shards {
		if s.ID != shard {
			continue
		}
		for _, r := range s.Replicas {
			for i, n := range c.cluster.Nodes {
				if n.ID() == r.Node {
					out = append(out, i)
				}
			}
		}
	}
	if len(out) == 0 {
		c.problems.Add("L3", "shard %d has no replica", shard)
	}
	return out
}

// logf writes a line with how long the run has taken.
func (c *chaos) logf(format string, args ...any) {
	log.Printf("%6s  %s", c.problems.Now().Round(time.Second), fmt.Sprintf(format, args...))
}

// lines writes one line a minute.
func (c *chaos) lines(stop <-chan struct{}) {
	tick := time.NewTicker(lineEvery)
	defer tick.Stop()
	for {
		select {
		case <-stop:
			return
		case <-tick.C:
			c.summary()
		}
	}
}

// memoryEvery is how often the nodes' memory is looked at.
const memoryEvery = 500 * time.Millisecond

// watchMemory keeps the most memory that a node has in use, and tells of processes that
// have more than they may.
func (c *chaos) watchMemory(stop <-chan struct{}) {
	tick := time.NewTicker(memoryEvery)
	defer tick.Stop()
	told := map[int]bool{} // of which process
	for {
		select {
		case <-stop:
			return
		case <-tick.C:
			for i, n := range c.cluster.Nodes {
				pid := n.PID()
				mib := residentMiB(pid)
				c.memory.Store(max(c.memory.Load(), int64(mib)))
				if mib > memoryMost && !told[pid] {
					told[pid] = true
					c.problems.Add("L4", "node %d is resident with %d MiB; its budget is %d MiB, and it may have %d", i+1, mib, memoryMiB, memoryMost)
				}
			}
		}
	}
}

// summary writes what was done so far in one line.
func (c *chaos) summary() {
	t, n := c.timeline.Total(), c.world.Counts()
	_, violations := c.problems.All()
	w := c.verdicts.Sum()
	c.logf("%d XADDs acknowledged, %d unknown, %d refused; %d faults: %d kills, %d pauses, %d partitions; %d histories linearizable, %d not checked; %d replies and %d reads compared with the replayed log; %d violations",
		t.Acked, t.Unknown, t.Refused, n["faults"], n["kills"], n["pauses"], n["partitions"], w.Linearizable, w.NotChecked, c.replayed.Replies, c.replayed.Reads, violations)
}

// write writes the report. The first call counts.
func (c *chaos) write() (err error) {
	c.once.Do(func() {
		kept, n := c.problems.All()
		counts := c.world.Counts()
		counts["most memory of a node, MiB"] = int(c.memory.Load())
		if c.cluster != nil {
			counts["snapshots installed"] = c.installs + c.inLogs(fault.InstalledLine)
		}
		if c.lab != nil {
			passed, dropped := c.lab.Packets()
			counts["packets that passed"], counts["packets dropped on purpose"] = int(passed), int(dropped)
		}
		r := report.Report{
			Version: node.Version, Seed: c.seed, Began: c.began, Took: c.problems.Now(), Nodes: c.nodes, Shards: c.shards,
			Network: c.network, Ended: c.ended, Eras: c.eras, Counts: counts, Total: c.timeline.Total(),
			Again:   c.again(),
			Windows: c.verdicts.Sum(), Replayed: c.replayed, Promises: c.world.Promises(), Violations: n, Problems: kept,
			Longest: c.shardWrit.Longest(), Timeline: c.timeline.Points(), LagMax: time.Duration(c.lag.most.Load()), Missing: c.missing,
		}
		if c.nemesis != nil {
			r.Events = append(c.events, c.nemesis.Events()...)
		}
		err = r.Write(c.out)
	})
	return err
}

// again returns the command that repeats the run.
func (c *chaos) again() string {
	text := fmt.Sprintf("make chaos SEED=%d DURATION=%v NODES=%d SHARDS=%d", c.seed, c.duration, c.nodes, c.shards)
	if len(c.only) > 0 {
		text += fmt.Sprintf(` ARGS='-only "%s"'`, strings.Join(c.only, ","))
	}
	return text
}

// maxLogBytes bounds the nodes' logs: what is older than an era that found nothing wrong
// helps nobody.
const maxLogBytes = 64 << 20

// trimLogs empties logs that have become long, after it has counted what is counted.
func (c *chaos) trimLogs() error {
	if _, n := c.problems.All(); n > 0 {
		return nil
	}
	for _, node := range c.cluster.Nodes {
		path := node.Dir + ".log"
		if st, err := os.Stat(path); err != nil || st.Size() < maxLogBytes {
			continue // the next one is looked at after the next era
		}
		c.installs += countLines(path, fault.InstalledLine)
		if err := os.Truncate(path, 0); err != nil { // the node appends
			return err
		}
	}
	return nil
}

// inLogs returns how many lines of the nodes' logs say so.
func (c *chaos) inLogs(text string) (n int) {
	for _, node := range c.cluster.Nodes {
		n += countLines(node.Dir+".log", text)
	}
	return n
}

// countLines returns how many lines of a file have a text; none of one that is not there.
func countLines(path, text string) (n int) {
	f, err := os.Open(path)
	if err != nil {
		return 0
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, maxLogBytes)
	for lines.Scan() {
		if strings.Contains(lines.Text(), text) {
			n++
		}
	}
	return n
}

// keptLog bounds what is kept of a node's log.
const keptLog = 200_000 // lines

// keepLogs copies the ends of the nodes' logs beside the report.
func (c *chaos) keepLogs() {
	if c.cluster == nil {
		return
	}
	for i, n := range c.cluster.Nodes {
		if err := os.WriteFile(filepath.Join(c.out, fmt.Sprintf("node%d.log", i+1)), []byte(c.cluster.LogTail(n, keptLog)), 0o644); err != nil {
			log.Print(err)
		}
	}
}

// lagging measures how late this process itself runs: what it measures of others is
// worth nothing then.
type lagging struct {
	most  atomic.Int64 // of the run
	since atomic.Int64 // since take
}

func (l *lagging) watch(stop <-chan struct{}) {
	for {
		began := time.Now()
		select {
		case <-stop:
			return
		case <-time.After(lagTick):
		}
		late := int64(time.Since(began) - lagTick)
		for _, v := range []*atomic.Int64{&l.most, &l.since} {
			if late > v.Load() {
				v.Store(late)
			}
		}
	}
}

// take returns the longest since it was last called.
func (l *lagging) take() time.Duration { return time.Duration(l.since.Swap(0)) }

package main

import (
	"fmt"
	"log"
	"sync/atomic"
	"time"
)

const (
	lineEvery = time.Minute
	lagTick   = 5 * time.Millisecond
	// memoryEvery is the time between two looks at the nodes' memory.
	memoryEvery = 500 * time.Millisecond
	// memoryMiB is the memory budget of each node. memoryMost bounds its resident memory
	// (L4): the program itself and everything outside of the budget may take half as much
	// again.
	memoryMiB  = 256
	memoryMost = memoryMiB * 3 / 2
)

// logf logs a line that begins with the time since the start of the run.
func (c *chaos) logf(format string, args ...any) {
	log.Printf("%6s  %s", c.problems.Now().Round(time.Second), fmt.Sprintf(format, args...))
}

// lines logs a summary once a minute.
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

// summary logs the counts so far in one line.
func (c *chaos) summary() {
	t, n := c.timeline.Total(), c.world.Counts()
	_, violations := c.problems.All()
	w := c.verdicts.Sum()
	c.logf("%d XADDs acknowledged, %d unknown, %d refused; %d faults: %d kills, %d pauses, %d partitions; %d histories linearizable, %d not checked; %d replies and %d reads compared with the replayed log; %d violations",
		t.Acked, t.Unknown, t.Refused, n["faults"], n["kills"], n["pauses"], n["partitions"], w.Linearizable, w.NotChecked, c.replayed.Replies, c.replayed.Reads, violations)
}

// watchMemory keeps the most memory that any node had resident, and reports each process
// that exceeds memoryMost, once.
func (c *chaos) watchMemory(stop <-chan struct{}) {
	tick := time.NewTicker(memoryEvery)
	defer tick.Stop()
	told := map[int]bool{} // by process ID
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
					c.problems.Add("L4", "node %d has %d MiB resident; its budget is %d MiB, and the limit is %d MiB", i+1, mib, memoryMiB, memoryMost)
				}
			}
		}
	}
}

// lagging measures how late this process itself runs. When it runs late, the times that
// it measures of the cluster mean nothing, because they include its own delay.
type lagging struct {
	most  atomic.Int64 // nanoseconds, in the whole run
	since atomic.Int64 // nanoseconds, since the last take
}

// watch sleeps for lagTick again and again, and notes how much later it woke up.
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

// take returns the longest delay since take was last called.
func (l *lagging) take() time.Duration { return time.Duration(l.since.Swap(0)) }

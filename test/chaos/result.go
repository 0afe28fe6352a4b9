package main

import (
	"bufio"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"strings"
	"time"

	"millrace/node"
	"millrace/test/chaos/fault"
	"millrace/test/chaos/report"
)

// write writes the report. Only the first call writes; later ones return nil.
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

// maxLogBytes bounds each node's log between eras, because the lines of an era that found
// no violation are of no further use.
const maxLogBytes = 64 << 20

// trimLogs empties the logs that have grown beyond maxLogBytes. It first counts the
// snapshot installations in them, for the report. After a violation it keeps everything.
func (c *chaos) trimLogs() error {
	if _, n := c.problems.All(); n > 0 {
		return nil
	}
	for _, node := range c.cluster.Nodes {
		path := node.Dir + ".log"
		if st, err := os.Stat(path); err != nil || st.Size() < maxLogBytes {
			continue // the log may still be trimmed after a later era
		}
		c.installs += countLines(path, fault.InstalledLine)
		if err := os.Truncate(path, 0); err != nil { // the node appends, so it writes on at offset 0
			return err
		}
	}
	return nil
}

// inLogs returns how many lines of the nodes' logs contain text.
func (c *chaos) inLogs(text string) (n int) {
	for _, node := range c.cluster.Nodes {
		n += countLines(node.Dir+".log", text)
	}
	return n
}

// countLines returns how many lines of a file contain text; 0 when the file is missing.
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

// keptLog bounds the lines that keepLogs copies of each log; it keeps the last ones.
const keptLog = 200_000

// keepLogs copies the ends of the nodes' logs into the directory of the report.
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

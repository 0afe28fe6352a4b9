package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"millrace/node"
	"millrace/test/chaos/check"
	"millrace/test/chaos/fault"
	"millrace/test/chaos/netlab"
	"millrace/test/chaos/workload"
	"millrace/test/cluster"
)

// startWithin bounds how long the cluster may take to become healthy.
const startWithin = 2 * time.Minute

// start starts the cluster and waits until it is healthy. Then it prepares the clients'
// environment, and notes the resources that each node uses before the first fault.
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
	var password string // loopback needs none
	if c.network == networkLab {
		password = fmt.Sprintf("chaos-%d", c.seed)
		if err := c.openLab(&o, password); err != nil {
			return err
		}
	} else {
		c.missing = append(c.missing, "network faults and full disks, because they need namespaces and /dev/net/tun")
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
	if err := c.describe(password); err != nil {
		return err
	}
	return c.measureBase()
}

// openLab opens the network lab, and completes the options of a cluster that runs in it:
// each node has a host of its own, and the last node a small disk, if there is one.
func (c *chaos) openLab(o *cluster.Options, password string) (err error) {
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
		return c.mountSmall()
	}
	return nil
}

// describe fills the environment that clients work in, with the slots of each shard.
func (c *chaos) describe(password string) error {
	st, err := c.cluster.Status(c.cluster.Nodes[0])
	if err != nil {
		return err
	}
	c.env = &workload.Env{
		Book: check.NewBook(c.problems), Timeline: c.timeline, Shards: c.shardWrit, Faults: c.world.Disturbed,
		Addrs: c.cluster.Addrs(), Password: password, Seed: c.seed,
	}
	for _, s := range st.Shards {
		if s.ID > 0 { // shard 0 is the meta group, which holds no slots
			c.env.Slots = append(c.env.Slots, workload.Slots{Shard: s.ID, First: s.FirstSlot, Last: s.LastSlot})
		}
	}
	return nil
}

// measureBase notes the usage of each node, with which atRest compares later ones.
func (c *chaos) measureBase() error {
	for _, n := range c.cluster.Nodes {
		u, err := uses(n)
		if err != nil {
			return err
		}
		c.base = append(c.base, u)
	}
	return nil
}

// host returns where the node with an index runs in the lab. Its HTTP server listens on
// the side address, so that the harness can watch the node while its links are broken.
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

// smallDir is where the small disk is mounted.
func (c *chaos) smallDir() string { return filepath.Join(c.scratch, "small") }

func (c *chaos) mountSmall() error {
	if err := os.Mkdir(c.smallDir(), 0o700); err != nil {
		return err
	}
	return netlab.MountMemory(c.smallDir(), c.smallDisk)
}

package clients

import (
	"context"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"testing"

	"github.com/redis/go-redis/v9"

	"millrace/test/cluster"
)

var installed = flag.Bool("installed", false,
	"also run the clients that are not in Go; needs redis-tools, python3-redis, php-cli, php-redis, php-predis, ruby-redis, libredis-perl, libhiredis-dev, gcc and coreutils")

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(cluster.RunMain(m))
}

// site is the cluster as one client's test sees it. All tests of a run share the nodes;
// each has keys of its own.
type site struct {
	cluster *cluster.Cluster
	addrs   []string // client addresses; the first node leads the shard of key, and is the one to be killed
	key     string
}

// kill ends the first node of addrs with SIGKILL. TestClients starts it again after the
// test.
func (s *site) kill() {
	for _, n := range s.cluster.Nodes {
		if n.Addr.Client == s.addrs[0] {
			s.cluster.Kill(n)
		}
	}
}

// clients are the tests that share a cluster. Tests with a program run only with
// -installed.

var clients = []struct {
	name    string
	program string
	run     func(t *testing.T, s *site)
}{
	{"go-redis/RESP2", "", goRedisPlain(2)},
	{"go-redis/RESP3", "", goRedisPlain(3)},
	{"go-redis/cluster", "", goRedisCluster},
	{"rueidis/plain", "", rueidisPlain},
	{"rueidis/without cache", "", rueidisWithoutCache},
	{"rueidis/pipelining", "", rueidisPipelining},
	{"rueidis/cluster", "", rueidisCluster},
	{"rueidis/caching", "", rueidisCaching},
	{"redis-py/plain", systemPython, redisPy("plain")},
	{"redis-py/cluster", systemPython, redisPy("cluster")},
	{"phpredis", "php", phpRedis},
	{"hiredis", "gcc", hiredis},
	{"redis-rb", "ruby", scanProgram("scan.rb")},
	{"Perl", "perl", scanProgram("scan.pl")},
	{"Predis", "php", scanProgram("scan.php")},
	{"redis-cli/commands", "redis-cli", cliCommands},
	{"redis-cli/operators", "redis-cli", cliOperators},
	{"redis-cli/interactive", "redis-cli", cliInteractive},
	{"redis-cli/scans", "redis-cli", cliScans},
	{"redis-cli/meters", "redis-cli", cliMeters},
	{"redis-cli/pipe", "redis-cli", cliPipe},
	{"redis-cli/cluster", "redis-cli", cliCluster},
	{"redis-benchmark", "redis-benchmark", benchmark},
}

// systemPython is the interpreter that finds Debian's python3-redis. Another Python may come
// first in PATH.
const systemPython = "/usr/bin/python3"

func TestClients(t *testing.T) {
	c := cluster.Start(t, cluster.Options{})
	for i, cl := range clients {
		t.Run(cl.name, func(t *testing.T) {
			if cl.program != "" {
				needs(t, cl.program)
			}
			key := fmt.Sprintf("{test-%d}jobs", i)
			cl.run(t, &site{cluster: c, addrs: leaderFirst(t, c, key), key: key})
		})
		for _, n := range c.Nodes {
			if !n.Running() {
				c.Restart(n)
			}
		}
		c.WaitHealthy()
	}
}

// leaderFirst returns the addresses of all nodes. The first one leads the shard of key.
func leaderFirst(t *testing.T, c *cluster.Cluster, key string) []string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), sessionPatience)
	defer cancel()
	all := c.Addrs()
	asker := redis.NewClient(&redis.Options{Addr: all[0]})
	defer asker.Close()
	slot, err := asker.ClusterKeySlot(ctx, key).Result()
	if err != nil {
		t.Fatal(err)
	}
	shards, err := asker.ClusterShards(ctx).Result()
	if err != nil {
		t.Fatal(err)
	}
	for _, sh := range shards {
		if !slices.ContainsFunc(sh.Slots, func(r redis.SlotRange) bool { return r.Start <= slot && slot <= r.End }) {
			continue
		}
		for _, n := range sh.Nodes {
			if n.Role == "master" {
				first := net.JoinHostPort(n.IP, strconv.FormatInt(n.Port, 10))
				return append([]string{first}, slices.DeleteFunc(all, func(a string) bool { return a == first })...)
			}
		}
	}
	t.Fatalf("no leader for slot %d: %v", slot, shards)
	return nil
}

// needs skips the test of a program unless -installed was given. With -installed, the test
// fails if the program is missing.
func needs(t *testing.T, program string) {
	t.Helper()
	if !*installed {
		t.Skip("only with -installed: make clients")
	}
	if _, err := exec.LookPath(program); err != nil {
		t.Fatalf("%s is not installed: %v", program, err)
	}
}

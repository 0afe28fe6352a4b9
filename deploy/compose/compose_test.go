// Package compose tests the docker-compose cluster in containers. The test writes and
// consumes entries, kills the container of the leader, and checks that nothing is missing.
package compose

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/node"
)

var withCompose = flag.Bool("compose", false, "run against containers; needs a Docker Engine, docker-compose and the image of `make image`")

const (
	project  = "millrace-compose-test"
	password = "millrace-dev"
	entries  = 2000 // written in each phase
	startsIn = 120 * time.Second
)

// service is one node of docker-compose.yml.
type service struct {
	name, client, http string
}

var services = []service{
	{"node1", "127.0.0.1:17001", "127.0.0.1:19001"},
	{"node2", "127.0.0.1:17002", "127.0.0.1:19002"},
	{"node3", "127.0.0.1:17003", "127.0.0.1:19003"},
}

// compose runs docker-compose on the project of this test, which has its own ports.
func compose(args ...string) (string, error) {
	cmd := exec.Command("docker-compose", append([]string{"-p", project}, args...)...)
	cmd.Env = cmd.Environ()
	for i, s := range services {
		cmd.Env = append(cmd.Env, fmt.Sprintf("MILLRACE_PORT%d=%s", i+1, s.client[len("127.0.0.1:"):]),
			fmt.Sprintf("MILLRACE_HTTP%d=%s", i+1, s.http[len("127.0.0.1:"):]))
	}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	if err != nil {
		err = fmt.Errorf("docker-compose %s: %w\n%s", strings.Join(args, " "), err, out.String())
	}
	return out.String(), err
}

func must(t *testing.T, args ...string) {
	t.Helper()
	if _, err := compose(args...); err != nil {
		t.Fatal(err)
	}
}

// status asks node s for the status of the cluster. It returns an error if the cluster is
// not healthy.
func status(s service) (node.Status, error) {
	var st node.Status
	r, err := (&http.Client{Timeout: 5 * time.Second}).Get("http://" + s.http + "/status")
	if err != nil {
		return st, err
	}
	defer r.Body.Close()
	if err := json.NewDecoder(r.Body).Decode(&st); err != nil {
		return st, err
	}
	if !st.Healthy {
		return st, fmt.Errorf("not healthy: %s", strings.Join(st.Problems, "; "))
	}
	return st, nil
}

// waitHealthy waits until node s reports a healthy cluster.
func waitHealthy(t *testing.T, s service) node.Status {
	t.Helper()
	for deadline := time.Now().Add(startsIn); ; time.Sleep(200 * time.Millisecond) {
		st, err := status(s)
		if err == nil {
			return st
		}
		if time.Now().After(deadline) {
			logs, _ := compose("logs", "--tail=40")
			t.Fatalf("%s after %v: %v\n%s", s.name, startsIn, err, logs)
		}
	}
}

func connect(s service) *redis.Client {
	return redis.NewClient(&redis.Options{Addr: s.client, Password: password, MaxRetries: -1, ReadTimeout: 10 * time.Second})
}

func TestCompose(t *testing.T) {
	if !*withCompose {
		t.Skip("only with -compose: make compose-test")
	}
	compose("down", "-v", "--remove-orphans") // remove the remains of an interrupted run
	t.Cleanup(func() { must(t, "down", "-v", "--remove-orphans") })
	must(t, "up", "-d")
	for _, s := range services {
		waitHealthy(t, s)
	}
	ctx := context.Background()
	rdb := connect(services[0])
	defer rdb.Close()
	if err := rdb.XGroupCreateMkStream(ctx, "orders", "workers", "0").Err(); err != nil {
		t.Fatal(err)
	}
	acked := map[string]string{}
	write(t, rdb, acked, "before")
	consumed := map[string]bool{}
	consume(t, rdb, consumed, entries/2)

	leader := leaderOf(t, rdb, "orders")
	t.Logf("killing %s, which leads the shard of \"orders\"", leader.name)
	must(t, "kill", "-s", "SIGKILL", leader.name)
	killed := time.Now()
	survivor := services[0]
	if survivor == leader {
		survivor = services[1]
	}
	rdb2 := connect(survivor)
	defer rdb2.Close()
	for {
		id, err := rdb2.XAdd(ctx, &redis.XAddArgs{Stream: "orders", Values: []string{"n", "first-after-kill"}}).Result()
		if err == nil {
			acked[id] = "first-after-kill"
			break
		}
		if time.Since(killed) > 10*time.Second {
			t.Fatal("no write succeeded within 10 s of the kill:", err)
		}
	}
	t.Logf("writes resumed %v after the kill", time.Since(killed).Round(time.Millisecond))
	write(t, rdb2, acked, "after")
	must(t, "up", "-d", "--no-recreate")
	for _, s := range services {
		waitHealthy(t, s)
	}
	consume(t, rdb2, consumed, len(acked)-len(consumed))

	for _, s := range services {
		checkAll(t, s, acked)
	}
	for id := range acked {
		if !consumed[id] {
			t.Errorf("%s was never delivered to a consumer", id)
		}
	}
}

// write adds entries, all of which must be acknowledged, and adds their IDs and payloads to
// acked.
func write(t *testing.T, rdb *redis.Client, acked map[string]string, phase string) {
	t.Helper()
	for n := 0; n < entries; {
		pipe := rdb.Pipeline()
		first := n
		var cmds []*redis.StringCmd
		for ; n < entries && n < first+100; n++ {
			cmds = append(cmds, pipe.XAdd(context.Background(), &redis.XAddArgs{Stream: "orders", Values: []string{"n", fmt.Sprintf("%s-%d", phase, n)}}))
		}
		if _, err := pipe.Exec(context.Background()); err != nil {
			t.Fatalf("%s the kill: %v", phase, err)
		}
		for i, c := range cmds {
			acked[c.Val()] = fmt.Sprintf("%s-%d", phase, first+i)
		}
	}
}

// consume reads and acknowledges n entries, and adds their IDs to consumed.
func consume(t *testing.T, rdb *redis.Client, consumed map[string]bool, n int) {
	t.Helper()
	ctx := context.Background()
	for n > 0 {
		res, err := rdb.XReadGroup(ctx, &redis.XReadGroupArgs{Group: "workers", Consumer: "c", Streams: []string{"orders", ">"}, Count: int64(min(n, 500)), Block: 5 * time.Second}).Result()
		if err != nil {
			t.Fatalf("%d entries were not delivered: %v", n, err)
		}
		var ids []string
		for _, m := range res[0].Messages {
			if consumed[m.ID] {
				t.Errorf("%s was delivered twice", m.ID)
			}
			consumed[m.ID] = true
			ids = append(ids, m.ID)
		}
		if got, err := rdb.XAck(ctx, "orders", "workers", ids...).Result(); err != nil || got != int64(len(ids)) {
			t.Fatalf("XACK of %d entries: %d, %v", len(ids), got, err)
		}
		n -= len(ids)
	}
}

// leaderOf returns the node that leads the shard of key.
func leaderOf(t *testing.T, rdb *redis.Client, key string) service {
	t.Helper()
	slot, err := rdb.ClusterKeySlot(context.Background(), key).Result()
	if err != nil {
		t.Fatal(err)
	}
	st, err := status(services[0])
	if err != nil {
		t.Fatal(err)
	}
	for _, sh := range st.Shards {
		if sh.ID == 0 || int(slot) < sh.FirstSlot || int(slot) > sh.LastSlot {
			continue
		}
		for _, s := range services {
			if own, err := status(s); err == nil && own.NodeID == sh.Leader {
				return s
			}
		}
	}
	t.Fatalf("no node leads slot %d", slot)
	return service{}
}

// checkAll checks that node s's own replica holds every acknowledged entry.
func checkAll(t *testing.T, s service, acked map[string]string) {
	t.Helper()
	ctx := context.Background()
	rdb := connect(s)
	defer rdb.Close()
	conn := rdb.Conn()
	defer conn.Close()
	if err := conn.ReadOnly(ctx).Err(); err != nil {
		t.Fatal(err)
	}
	var got map[string]string
	for deadline := time.Now().Add(startsIn); ; time.Sleep(200 * time.Millisecond) {
		ms, err := conn.XRange(ctx, "orders", "-", "+").Result()
		if err != nil {
			t.Fatalf("%s: %v", s.name, err)
		}
		got = map[string]string{}
		for _, m := range ms {
			got[m.ID] = m.Values["n"].(string)
		}
		if len(got) >= len(acked) || time.Now().After(deadline) {
			break
		}
	}
	for id, payload := range acked {
		if got[id] != payload {
			t.Errorf("%s: %s is %q, acknowledged as %q", s.name, id, got[id], payload)
		}
	}
	t.Logf("%s holds %d entries, all %d acknowledged ones among them", s.name, len(got), len(acked))
}

package fault

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"millrace/kv"
	"millrace/test/chaos/client"
	"millrace/test/chaos/netlab"
)

// Bounds of the faults that end in a snapshot.
const (
	outrunWithin  = 20 * time.Second // for outrun
	installWithin = 30 * time.Second // from healing to the installed snapshot
	installPoll   = 200 * time.Millisecond
	pushFor       = 500 * time.Millisecond // how long push writes
	pushDepth     = 8                      // commands in its pipeline
	pushBytes     = 600                    // of a value
	pushLength    = 1500                   // entries that its stream keeps
	// slowRate is the rate of the link to a follower, in bytes a second, so that a snapshot
	// takes seconds.
	slowRate = 96 << 10
)

// ledShard is a shard other than the meta group, with its leader.
type ledShard struct {
	id          uint32
	first, last int // slots
	leader      int // index of the node
	followers   []int
	commit      uint64 // commit index
}

// shard returns a random shard with a leader, or the one with the given id unless that is
// 0. It asks only nodes other than except.
func (w *World) shard(rng *rand.Rand, id uint32, except int) (s ledShard, ok bool) {
	st, _, ok := w.survey(except)
	if !ok || len(st.Shards) < 2 {
		return s, false
	}
	index := map[string]int{}
	for i, n := range w.Cluster.Nodes {
		index[n.ID()] = i
	}
	if id == 0 {
		id = st.Shards[1+rng.IntN(len(st.Shards)-1)].ID
	}
	for _, v := range st.Shards {
		if v.ID != id {
			continue
		}
		s = ledShard{id: id, first: v.FirstSlot, last: v.LastSlot, commit: v.Commit}
		if s.leader, ok = index[v.Leader]; !ok {
			return s, false
		}
		for _, r := range v.Replicas {
			if i, ok := index[r.Node]; ok && i != s.leader {
				s.followers = append(s.followers, i)
			}
		}
		return s, len(s.followers) > 0
	}
	return s, false
}

// key returns the name of a stream in the shard that no client uses.
func (s ledShard) key() string {
	for i := 0; ; i++ {
		name := fmt.Sprintf("pushed-%d-%d", s.id, i)
		if slot := int(kv.Slot([]byte(name))); slot >= s.first && slot <= s.last {
			return name
		}
	}
}

// isolate cuts a node off from all other nodes, but not from clients.
func (w *World) isolate(n int) {
	for i := range w.nodes() {
		if i != n {
			w.Lab.SetBoth(host(n), host(i), cut)
		}
	}
	w.Count("partitions", 1)
	w.Count("partition: one node", 1)
}

// outrun writes to a shard through nodes other than away, until the shard has more new
// records than its log keeps. Then the log no longer has the records that away misses, and
// away needs a snapshot. It returns false when outrunWithin is not enough.
func (w *World) outrun(rng *rand.Rand, s ledShard, away int) bool {
	// The margin of an eighth is for the moment in which a full log is truncated.
	target := s.commit + uint64(w.LogRecords) + uint64(w.LogRecords)/8
	for deadline := time.Now().Add(outrunWithin); time.Now().Before(deadline); {
		for i, n := range w.Cluster.Nodes {
			if i != away && n.Running() && w.push(rng, i, s.key()) == nil {
				break
			}
		}
		if now, ok := w.shard(rng, s.id, away); ok && now.commit > target && now.leader != away {
			return true
		}
	}
	return false
}

// push adds entries of random bytes through a node for pushFor. It does not look at the
// replies.
func (w *World) push(rng *rand.Rand, node int, key string) error {
	c, err := client.Dial(node, w.Cluster.Nodes[node].Addr.Client, client.Options{Password: w.Password, Dial: commandTimeout, Reply: commandTimeout})
	if err != nil {
		return err
	}
	defer c.Close()
	value := make([]byte, pushBytes)
	for end := time.Now().Add(pushFor); time.Now().Before(end); {
		var batch [][]string
		for range pushDepth {
			for i := range value {
				value[i] = 'a' + byte(rng.IntN(26))
			}
			batch = append(batch, []string{"XADD", key, "MAXLEN", strconv.Itoa(pushLength), "*", "v", string(value)})
		}
		if err := c.Send(batch...); err != nil {
			return err
		}
		for range batch {
			if _, _, err := c.Receive(); err != nil {
				return err
			}
		}
	}
	return nil
}

// metric returns a node's metric of a shard. It also works while the node is cut off.
func (w *World) metric(node int, name string, shard uint32) (uint64, error) {
	r, err := (&http.Client{Timeout: commandTimeout}).Get("http://" + w.Cluster.Nodes[node].Addr.HTTP + "/metrics")
	if err != nil {
		return 0, err
	}
	defer r.Body.Close()
	return metricOf(r.Body, name, shard)
}

// metricOf returns the metric of a shard from a node's page of metrics.
func metricOf(page io.Reader, name string, shard uint32) (uint64, error) {
	prefix := fmt.Sprintf("millrace_%s{shard=\"%d\"} ", name, shard)
	for lines := bufio.NewScanner(page); lines.Scan(); {
		if v, ok := strings.CutPrefix(lines.Text(), prefix); ok {
			f, err := strconv.ParseFloat(v, 64)
			return uint64(f), err
		}
	}
	return 0, errors.New("no metric " + prefix)
}

// watchInstalls returns a function that reports whether a node has installed a snapshot of
// the shard since watchInstalls was called, by the node's log.
func (w *World) watchInstalls(node int, shard uint32) (func() (bool, error), error) {
	path := w.Cluster.Nodes[node].Dir + ".log"
	st, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	return func() (bool, error) {
		f, err := os.Open(path)
		if err != nil {
			return false, err
		}
		defer f.Close()
		if _, err := f.Seek(st.Size(), io.SeekStart); err != nil {
			return false, err
		}
		b, err := io.ReadAll(f)
		return installed(string(b), shard), err
	}, nil
}

// installed reports whether a node's log has a line about an installed snapshot of a shard.
func installed(log string, shard uint32) bool {
	for line := range strings.Lines(log) {
		if strings.Contains(line, InstalledLine) && strings.Contains(line, fmt.Sprintf(" shard=%d ", shard)) {
			return true
		}
	}
	return false
}

// InstalledLine is part of the line in a node's log for each snapshot that it has installed.
const InstalledLine = `msg="installed a snapshot"`

// awaitInstall waits until done returns true. It returns false after installWithin, because
// the node may have got all records and needed no snapshot.
func awaitInstall(done func() (bool, error)) (bool, error) {
	for deadline := time.Now().Add(installWithin); ; time.Sleep(installPoll) {
		if ok, err := done(); ok || err != nil || time.Now().After(deadline) {
			return ok, err
		}
	}
}

// divergent makes a snapshot replace records that only one node has:
//
//  1. It cuts a leader off from all other nodes, and writes to it. The leader appends
//     records that it can never commit, and so never acknowledge.
//  2. The other nodes elect a leader and outrun the first one.
//  3. After healing, the first leader installs a snapshot and drops its own records.
func divergent(w *World, rng *rand.Rand) (*injury, error) {
	s, ok := w.shard(rng, 0, -1)
	if !ok {
		return noNode("divergent snapshot"), nil
	}
	n := s.leader
	done, err := w.watchInstalls(n, s.id)
	if err != nil {
		return nil, err
	}
	w.isolate(n)
	for range 3 {
		_ = w.push(rng, n, s.key()) // no reply comes, because the records cannot be committed
	}
	outran := w.outrun(rng, s, n)
	last, err := w.metric(n, "shard_last_index", s.id)
	applied, err2 := w.metric(n, "shard_applied_index", s.id)
	alone := last - applied
	if err != nil || err2 != nil || last < applied {
		alone = 0 // the node does not run, because of another fault
	}
	what := fmt.Sprintf("divergent: node %d alone, with %d records of shard %d that no other node has", n+1, alone, s.id)
	return &injury{what: what, nodes: []int{n}, heal: func() error {
		w.Lab.Heal()
		if !outran {
			w.Count("divergent suffixes: the others were too slow", 1)
			return w.unpush(s)
		}
		ok, err := awaitInstall(done)
		if err != nil {
			return err
		}
		switch {
		case ok && alone > 0:
			w.Count("divergent suffixes replaced by a snapshot", 1)
		case ok:
			w.Count("divergent suffixes: none, but a snapshot", 1)
		default:
			w.Count("divergent suffixes: no snapshot was needed", 1)
		}
		return w.unpush(s)
	}}, nil
}

// unpush deletes the stream of push through the first node that answers. If none does, the
// stream stays and does no harm.
func (w *World) unpush(s ledShard) error {
	for i := range w.Cluster.Nodes {
		if _, err := w.command(i, "DEL", s.key()); err == nil {
			break
		}
	}
	return nil
}

// late cuts a follower off until it needs a snapshot, sends that over a slow link, and
// disturbs the transfer: the leader changes, or the sender or the receiver is paused or
// killed.
func late(w *World, rng *rand.Rand) (*injury, error) {
	s, ok := w.shard(rng, 0, -1)
	if !ok {
		return noNode("late snapshot"), nil
	}
	f := s.followers[rng.IntN(len(s.followers))]
	w.isolate(f)
	outran := w.outrun(rng, s, f)
	done, err := w.watchInstalls(f, s.id)
	if err != nil {
		return nil, err
	}
	for i := range w.nodes() {
		if i != f {
			w.Lab.SetBoth(host(i), host(f), netlab.Link{Rate: slowRate})
		}
	}
	w.Disturbed.begin(f)
	time.Sleep(between(rng, 500*time.Millisecond, 3*time.Second)) // the transfer begins
	under, err := done()
	if err != nil {
		return nil, err
	}
	how, restore := w.disturb(rng, s.id, f)
	what := fmt.Sprintf("late snapshot of shard %d to node %d: %s", s.id, f+1, how)
	return &injury{what: what, nodes: []int{f}, hold: between(rng, 500*time.Millisecond, 3*time.Second), heal: func() error {
		if err := restore(); err != nil {
			return err
		}
		w.Lab.Heal()
		w.Disturbed.end(f)
		if !outran {
			w.Count("late snapshots: the others were too slow", 1)
			return w.unpush(s)
		}
		ok, err := awaitInstall(done)
		if err != nil {
			return err
		}
		switch {
		case ok && !under:
			w.Count("late snapshots", 1)
			w.Count("late snapshots: "+how[:strings.IndexByte(how+":", ':')], 1)
		case ok:
			w.Count("late snapshots: installed before the disturbance", 1)
		default:
			w.Count("late snapshots: none was needed", 1)
		}
		return w.unpush(s)
	}}, nil
}

// disturb disturbs the transfer of a snapshot to node f. It returns a description, which
// begins with the kind of the disturbance and a colon, and a function that undoes it.
func (w *World) disturb(rng *rand.Rand, id uint32, f int) (what string, restore func() error) {
	s, ok := w.shard(rng, id, f)
	if !ok {
		return "no leader", func() error { return nil }
	}
	others := slices.DeleteFunc(s.followers, func(i int) bool { return i == f })
	if way := rng.IntN(5); way == 0 && len(others) > 0 {
		to := others[rng.IntN(len(others))]
		if _, err := w.debug(s.leader, "TRANSFER", strconv.FormatUint(uint64(id), 10), w.Cluster.Nodes[to].ID()); err != nil {
			return "no transfer", func() error { return nil }
		}
		w.Count("leadership transfers", 1)
		return fmt.Sprintf("leader changes: to node %d", to+1), func() error { return nil }
	} else if victim, role := []int{s.leader, f}[way%2], []string{"sender", "receiver"}[way%2]; way < 3 {
		nodes := w.kill([]int{victim})
		return role + " dies: " + names(nodes), func() error { return w.revive(nodes) }
	} else {
		nodes := w.pause([]int{victim})
		return role + " stops: " + names(nodes), func() error { w.proceed(nodes); return nil }
	}
}

package fault

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// rot is a kind of file that can be damaged.
//
// A damaged or missing end of a log or a MANIFEST looks like a write that a crash cut
// short, so that no node could report it. These files are damaged well before their ends,
// and only files of the other kinds are cut.
type rot struct {
	name string
	glob string
	// live returns how many bytes at the start of a file may be damaged; 0: none.
	live func(path string) (int64, error)
	cut  bool // the file may be cut short
	// read marks a file that each start of a node reads in full, so that the node must
	// exit with exitCorrupt. The WAL of the state is no such file, because its unsynced
	// part may be damaged by a crash.
	read bool
}

var rots = []rot{
	{name: "raft WAL", glob: "raftlog/*.log", live: liveWAL, read: true},
	{name: "raft table", glob: "raftlog/*.sst", live: wholeFile, cut: true},
	{name: "raft MANIFEST", glob: "raftlog/MANIFEST-*", live: liveManifest, read: true},
	{name: "state WAL", glob: "state/*.log", live: liveWAL},
	{name: "state table", glob: "state/*.sst", live: wholeFile, cut: true},
	{name: "state MANIFEST", glob: "state/MANIFEST-*", live: liveManifest, read: true},
	{name: "identity", glob: "node.json", live: wholeFile, cut: true},
}

// zeroed bounds the bytes that are zeroed.
const zeroed = 4096

// rottenHold is how long a node is watched after a start with a damaged file.
const rottenHold = 4 * time.Second

// rotten kills a node, damages one of its files, and starts it. The node must exit with
// exitCorrupt when it reads the damage, or never read it. Afterwards the node is rebuilt.
func rotten(w *World, rng *rand.Rand) (*injury, error) {
	i, before, ok := w.leaver(rng)
	if !ok {
		return noNode("rotten file"), nil
	}
	defer w.release(i)
	n, old := w.Cluster.Nodes[i], w.Cluster.Nodes[i].ID()
	w.Disturbed.begin(i)
	defer w.Disturbed.end(i)
	w.Cluster.Kill(n)
	w.Count("kills", 1)
	spoilt, what, err := spoil(n.Dir, rng)
	if err != nil {
		return nil, err
	}
	what = fmt.Sprintf("node %d: %s", i+1, what)
	w.Count("rotten files", 1)
	w.allow(i, exitCorrupt)
	defer w.allow(i)
	how := w.onDamage(i, what, spoilt.read)
	w.Count(fmt.Sprintf("rotten %s: %s", spoilt.name, how), 1)
	if err := w.rebuild(i, old); err != nil {
		return nil, fmt.Errorf("after %s: %w", what, err)
	}
	return w.rebuilt(what+": "+how, before)
}

// onDamage starts a node with a damaged file, watches it, and stops it. It checks that the
// node and the doctor report the damage; read is the file's. It returns a description such
// as "exits with 12 at its start, the doctor says why".
func (w *World) onDamage(i int, what string, read bool) string {
	n := w.Cluster.Nodes[i]
	how := "it goes on"
	err := w.Cluster.Launch(n)
	for end := time.Now().Add(rottenHold); err == nil && time.Now().Before(end) && n.Exited() == nil; {
		time.Sleep(50 * time.Millisecond)
	}
	if code, ended := w.ended(i); ended {
		how = fmt.Sprintf("exits with %d", code)
		if err != nil {
			how += " at its start"
		}
	} else if n.Exited() != nil || err != nil {
		w.Problems.Add("F9", "%s: the node ended in another way than by exit code %d: %v, start: %v\n%s", what, exitCorrupt, n.Exited(), err, w.Cluster.LogTail(n, 12))
		how = "ends otherwise"
	} else if read {
		w.Problems.Add("F9", "%s: the node runs, although each start reads this file", what)
	}
	exited := n.Exited() != nil
	w.Cluster.Kill(n)
	code, out, err := w.Cluster.Run("doctor", "--data", n.Dir)
	switch {
	case err == nil && code == exitCorrupt:
		return how + ", the doctor says why"
	case exited:
		w.Problems.Add("F9", "%s: the node %s, but the doctor exits with code %d, %v:\n%s", what, how, code, err, out)
	}
	return how
}

// spoil damages a random file in a data directory. It returns the kind of the file and a
// description of the damage.
func spoil(dir string, rng *rand.Rand) (r *rot, what string, err error) {
	for _, k := range rng.Perm(len(rots)) {
		r := &rots[k]
		paths, err := filepath.Glob(filepath.Join(dir, r.glob))
		if err != nil {
			return nil, "", err
		}
		for _, p := range rng.Perm(len(paths)) {
			live, err := r.live(paths[p])
			if err != nil {
				return nil, "", err
			}
			if live == 0 {
				continue
			}
			what, err := damage(paths[p], live, r.cut, rng)
			return r, fmt.Sprintf("%s, %s %s", what, r.name, filepath.Base(paths[p])), err
		}
	}
	return nil, "", fmt.Errorf("%s has no file that could be damaged", dir)
}

// damage damages one of the first live bytes of a file: it flips a bit there, zeroes up to
// zeroed bytes, or cuts the file there if cut allows it. It returns a description.
func damage(path string, live int64, cut bool, rng *rand.Rand) (what string, err error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	at := rng.Int64N(live)
	ways := 2
	if cut {
		ways = 3
	}
	switch rng.IntN(ways) {
	case 0:
		b[at] ^= 1 << rng.IntN(8)
		what = fmt.Sprintf("a bit flipped in byte %d", at)
	case 1:
		at -= at % zeroed
		end := min(at+zeroed, live)
		clear(b[at:end])
		what = fmt.Sprintf("bytes %d to %d zeroed", at, end-1)
	case 2:
		b = b[:at]
		what = fmt.Sprintf("cut to %d bytes", at)
	}
	return what, os.WriteFile(path, b, 0o600)
}

func wholeFile(path string) (int64, error) {
	st, err := os.Stat(path)
	if err != nil {
		return 0, err
	}
	return st.Size(), nil
}

// liveManifest returns half the size of the MANIFEST in use, and 0 for older ones.
func liveManifest(path string) (int64, error) {
	marks, err := filepath.Glob(filepath.Join(filepath.Dir(path), "marker.manifest.*."+filepath.Base(path)))
	if err != nil || len(marks) == 0 {
		return 0, err
	}
	size, err := wholeFile(path)
	return size / 2, err
}

// A WAL of Pebble consists of blocks, and each block of chunks with this header. Pebble
// recycles the files of old logs. A recycled file still contains chunks of its old log,
// whose log number differs.
//
//	 0     4     6      7        11
//	+-----+-----+------+--------+----------------+
//	| crc | n   | type | log    | sync offset, n |  integers are little-endian
//	| u32 | u16 | u8   | u32    |                |
//	+-----+-----+------+--------+----------------+
const (
	walBlock    = 32 << 10
	walHead     = 11
	walSyncHead = 19 // header with a sync offset, for types from walSyncType on
	walSyncType = 9
	// leastWAL is the smallest log that is damaged, so that its first half is far from its
	// end. Damage there cannot be a write that was cut short, because the chunks behind it
	// were written later.
	leastWAL = 4 * walBlock
)

// liveWAL returns half of the used bytes of the newest WAL, or 0 when it is short. It also
// returns 0 for older ones, because their content may be in tables, and then no start reads
// them.
func liveWAL(path string) (int64, error) {
	logs, err := filepath.Glob(filepath.Join(filepath.Dir(path), "*.log"))
	if err != nil || path != slices.Max(logs) {
		return 0, err
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	number, err := strconv.ParseUint(strings.TrimSuffix(filepath.Base(path), ".log"), 10, 32)
	if err != nil {
		return 0, fmt.Errorf("%s: the number of a log: %w", path, err)
	}
	used := walUsed(b, uint32(number))
	if used < leastWAL {
		return 0, nil
	}
	return used / 2, nil
}

// walUsed returns the number of bytes that the chunks of log number take in its file.
func walUsed(b []byte, number uint32) int64 {
	at := 0
	for at+walHead <= len(b) {
		if rest := walBlock - at%walBlock; rest < walHead {
			at += rest
			continue
		}
		n, kind := int(binary.LittleEndian.Uint16(b[at+4:])), b[at+6]
		if kind == 0 || binary.LittleEndian.Uint32(b[at+7:]) != number {
			break
		}
		head := walHead
		if kind >= walSyncType {
			head = walSyncHead
		}
		at += head + n
	}
	return int64(min(at, len(b)))
}

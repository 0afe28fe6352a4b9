package gossip

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"
)

const (
	// maxPeers bounds the number of peers that are kept. Those not seen for the longest
	// time are dropped first.
	maxPeers = 256
	// peerLife is the time for which a peer is contacted after it was last seen.
	peerLife = 30 * 24 * time.Hour
	// maxPeersFile bounds the bytes that are read from a file.
	maxPeersFile = 1 << 20

	peersVersion = 1
)

// peer is a node that was once a member, with its last address.
type peer struct {
	ID       string    `json:"id"`
	Addr     string    `json:"addr"` // host:port of its gossip
	LastSeen time.Time `json:"last_seen"`
}

// peers holds the nodes that were once members, by ID.
type peers map[string]peer

// peersFile is the content of a peers file. It holds hints. Losing a file that cannot be
// read only slows the next start, so such a file is replaced rather than refused.
type peersFile struct {
	Version int    `json:"version"`
	Peers   []peer `json:"peers"`
}

// loadPeers reads the peers file at path. An empty path, or a file that does not exist, is no
// error and gives no peers. The returned map is never nil, not even with an error.
func loadPeers(path string) (peers, error) {
	if path == "" {
		return peers{}, nil
	}
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return peers{}, nil
	}
	if err != nil {
		return peers{}, err
	}
	defer f.Close()
	var in peersFile
	if err := json.NewDecoder(io.LimitReader(f, maxPeersFile)).Decode(&in); err != nil {
		return peers{}, fmt.Errorf("%s: %w", path, err)
	}
	if in.Version != peersVersion {
		return peers{}, fmt.Errorf("%s: the file has version %d, want %d", path, in.Version, peersVersion)
	}
	p := make(peers)
	for _, v := range in.Peers {
		if validID(v.ID) && v.Addr != "" {
			p[v.ID] = v
		}
	}
	p.prune(time.Now())
	return p, nil
}

// save replaces the file at path, by renaming a new file over it.
func (p peers) save(path string) error {
	out := peersFile{Version: peersVersion, Peers: slices.SortedFunc(maps.Values(p), func(a, b peer) int {
		return cmp.Compare(a.ID, b.ID)
	})}
	b, err := json.MarshalIndent(out, "", "  ")
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*") // mode 0600
	if err != nil {
		return err
	}
	_, err = f.Write(append(b, '\n'))
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
	}
	return err
}

// prune drops the peers not seen for peerLife, and the oldest beyond maxPeers.
func (p peers) prune(now time.Time) {
	maps.DeleteFunc(p, func(_ string, v peer) bool { return now.Sub(v.LastSeen) > peerLife })
	if len(p) <= maxPeers {
		return
	}
	byAge := slices.SortedFunc(maps.Values(p), func(a, b peer) int { return a.LastSeen.Compare(b.LastSeen) })
	for _, v := range byAge[:len(p)-maxPeers] {
		delete(p, v.ID)
	}
}

// meet adds the members of list that are alive, except self. It reports whether a peer
// is new or has another address; a later LastSeen alone does not count.
func (p peers) meet(list []Member, self string, now time.Time) bool {
	changed := false
	for _, m := range list {
		if m.ID == self || !m.Alive {
			continue
		}
		addr := m.GossipAddr()
		changed = changed || p[m.ID].Addr != addr
		p[m.ID] = peer{ID: m.ID, Addr: addr, LastSeen: now}
	}
	p.prune(now)
	return changed
}

package node

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"

	"millrace/placement"
	"millrace/raftlog/disk"
)

// identityFile holds who a data directory belongs to.
const identityFile = "node.json"

// identityFormat is the version of the layout of a data directory.
const identityFormat = 1

// The refusals of a data directory.
var (
	// ErrNewerFormat: a newer version wrote the directory.
	ErrNewerFormat = errors.New("the data directory is of a newer format than this version knows")
	// ErrOtherCluster: the directory belongs to a cluster other than the one joined.
	ErrOtherCluster = errors.New("the data directory belongs to another cluster")
	// ErrForeign: the directory holds something, and it is not a node's.
	ErrForeign = errors.New("the data directory is not Millrace's")
	// ErrIdentity: the directory is a node's, and cannot say any more whose.
	ErrIdentity = fmt.Errorf("the data directory does not say whose it is: %w", disk.ErrCorrupt)
)

// identity is who a node is. The ID is made with the directory and never changes: an
// emptied directory is a new node, so that it cannot vote twice.
type identity struct {
	Format    int    `json:"format"`
	NodeID    string `json:"node_id"`
	ClusterID string `json:"cluster_id,omitempty"` // empty until the node is in a cluster
}

// identityRecord is an identity as its file has it. With one bit flipped, an ID can be
// that of another node, whose replicas these are not: the sum tells.
type identityRecord struct {
	identity
	Sum string `json:"sum,omitempty"` // CRC-32C of the rest; early versions wrote none
}

// sum is what an identity's record has as its Sum. It is the same in every format, so that
// a newer one is told from a damaged one.
func (id identity) sum() string {
	text := fmt.Sprintf("%d %s %s", id.Format, id.NodeID, id.ClusterID)
	return fmt.Sprintf("%08x", crc32.Checksum([]byte(text), crc32.MakeTable(crc32.Castagnoli)))
}

// loadIdentity reads the identity of dir, or makes one where dir is empty.
func loadIdentity(dir string) (identity, error) {
	path := filepath.Join(dir, identityFile)
	b, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		id := identity{Format: identityFormat, NodeID: randomID()}
		return id, id.save(dir)
	}
	if err != nil {
		return identity{}, fmt.Errorf("data directory: %w", err)
	}
	return parseIdentity(path, b)
}

// readIdentity reads the identity of dir, which must have one.
func readIdentity(dir string) (identity, error) {
	path := filepath.Join(dir, identityFile)
	b, err := os.ReadFile(path)
	if err != nil {
		return identity{}, fmt.Errorf("data directory: %w", err)
	}
	return parseIdentity(path, b)
}

func parseIdentity(path string, b []byte) (identity, error) {
	var r identityRecord
	if err := json.Unmarshal(b, &r); err != nil {
		return identity{}, fmt.Errorf("%s: %w: %w", path, ErrIdentity, err)
	}
	id := r.identity
	switch {
	case r.Sum != "" && r.Sum != id.sum():
		return identity{}, fmt.Errorf("%s: %w: its sum is %.20q, that of the rest %q", path, ErrIdentity, r.Sum, id.sum())
	case id.Format > identityFormat:
		return identity{}, fmt.Errorf("%s: format %d, known up to %d: %w", path, id.Format, identityFormat, ErrNewerFormat)
	case id.Format < 1:
		return identity{}, fmt.Errorf("%s: %w: format %d", path, ErrIdentity, id.Format)
	case !placement.ValidID(id.NodeID):
		return identity{}, fmt.Errorf("%s: %w: node_id %.50q is not 40 hex digits", path, ErrIdentity, id.NodeID)
	case id.ClusterID != "" && !placement.ValidID(id.ClusterID):
		return identity{}, fmt.Errorf("%s: %w: cluster_id %.50q is not 40 hex digits", path, ErrIdentity, id.ClusterID)
	}
	return id, nil
}

// prepareDir makes dir, or looks whether it is a node's or empty: one with other
// things in it was probably named by mistake, and nothing is written there.
func prepareDir(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	foreign := ""
	for _, e := range entries {
		switch e.Name() {
		case identityFile:
			return nil
		case raftlogDir, stateDir:
			// The identity is written, synced, before the databases are made.
			return fmt.Errorf("%s: %w: it holds %s, and no %s", dir, ErrIdentity, e.Name(), identityFile)
		case "lost+found", lockFile, identityFile + ".new":
		default:
			foreign = e.Name()
		}
	}
	if foreign != "" {
		return fmt.Errorf("%s: %w: it holds %s, and no %s", dir, ErrForeign, foreign, identityFile)
	}
	return nil
}

// save replaces the identity file, synced: a crash leaves the old one or the new one.
func (id identity) save(dir string) error {
	b, err := json.MarshalIndent(identityRecord{id, id.sum()}, "", "  ")
	if err != nil {
		return err
	}
	return writeFileSync(filepath.Join(dir, identityFile), append(b, '\n'))
}

// writeFileSync replaces path with a file of b's bytes: synced, then renamed, then
// the directory synced.
func writeFileSync(path string, b []byte) error {
	tmp := path + ".new"
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = os.Rename(tmp, path)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return syncDir(filepath.Dir(path))
}

// removeFileSync removes path for good.
func removeFileSync(path string) error {
	if err := os.Remove(path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// syncDir makes what happened to the names in dir last.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := d.Sync(); err != nil {
		return fmt.Errorf("sync %s: %w", dir, err)
	}
	return nil
}

// randomID returns 40 random hex digits: the form of a Redis Cluster node ID.
func randomID() string {
	var b [20]byte
	rand.Read(b[:]) // never fails: see crypto/rand
	return hex.EncodeToString(b[:])
}

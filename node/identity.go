package node

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
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
)

// identity is who a node is. The ID is made with the directory and never changes: an
// emptied directory is a new node, so that it cannot vote twice.
type identity struct {
	Format    int    `json:"format"`
	NodeID    string `json:"node_id"`
	ClusterID string `json:"cluster_id,omitempty"` // empty until the node is in a cluster
}

// loadIdentity reads dir's identity, or makes one where dir is empty or missing.
func loadIdentity(dir string) (identity, error) {
	path := filepath.Join(dir, identityFile)
	b, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		if err := refuseForeign(dir); err != nil {
			return identity{}, err
		}
		id := identity{Format: identityFormat, NodeID: randomID()}
		return id, id.save(dir)
	}
	if err != nil {
		return identity{}, fmt.Errorf("data directory: %w", err)
	}
	var id identity
	if err := json.Unmarshal(b, &id); err != nil {
		return identity{}, fmt.Errorf("data directory: %s: %w", path, err)
	}
	if id.Format > identityFormat {
		return identity{}, fmt.Errorf("%s: format %d, known up to %d: %w", path, id.Format, identityFormat, ErrNewerFormat)
	}
	if len(id.NodeID) != 40 {
		return identity{}, fmt.Errorf("data directory: %s: node_id %q is not 40 hex digits", path, id.NodeID)
	}
	return id, nil
}

// refuseForeign makes dir, or checks that it is empty: a directory with other
// things in it was probably named by mistake.
func refuseForeign(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	for _, e := range entries {
		switch e.Name() {
		case "lost+found", lockFile, identityFile + ".new":
		default:
			return fmt.Errorf("data directory %s holds %s but no %s: it is not Millrace's", dir, e.Name(), identityFile)
		}
	}
	return nil
}

// save replaces the identity file, synced: a crash leaves the old one or the new one.
func (id identity) save(dir string) error {
	b, err := json.MarshalIndent(id, "", "  ")
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
	d, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// randomID returns 40 random hex digits: the form of a Redis Cluster node ID.
func randomID() string {
	var b [20]byte
	rand.Read(b[:]) // never fails: see crypto/rand
	return hex.EncodeToString(b[:])
}

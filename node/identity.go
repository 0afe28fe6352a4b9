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

// identityFile names the node that a data directory belongs to.
const identityFile = "node.json"

// identityFormat is the version of the layout of a data directory.
const identityFormat = 1

// Reasons to refuse a data directory.
var (
	// ErrNewerFormat means that a newer version wrote the directory.
	ErrNewerFormat = errors.New("the data directory is of a newer format than this version knows")
	// ErrOtherCluster means that the directory belongs to another cluster than the one to join.
	ErrOtherCluster = errors.New("the data directory belongs to another cluster")
	// ErrForeign means that the directory holds files that are not a node's.
	ErrForeign = errors.New("the data directory is not Millrace's")
	// ErrIdentity means that the directory is a node's, but its identity is lost or damaged.
	ErrIdentity = fmt.Errorf("the data directory does not say whose it is: %w", disk.ErrCorrupt)
)

// identity names a node and its cluster. The node ID is made with the data directory and
// never changes. An emptied directory therefore becomes a new node: the old one's votes are
// forgotten, and must not be cast a second time under its ID.
type identity struct {
	Format    int    `json:"format"`
	NodeID    string `json:"node_id"`
	ClusterID string `json:"cluster_id,omitempty"` // empty until the node is in a cluster
}

// identityContent is the content of identityFile. Without the sum, one flipped bit could
// turn the ID into that of another node.
type identityContent struct {
	identity
	Sum string `json:"sum,omitempty"` // CRC-32C of the rest; early versions wrote none
}

// sum returns the checksum of id. Every format uses the same one, so that a file of a newer
// format can be told from a damaged file.
func (id identity) sum() string {
	text := fmt.Sprintf("%d %s %s", id.Format, id.NodeID, id.ClusterID)
	return fmt.Sprintf("%08x", crc32.Checksum([]byte(text), crc32.MakeTable(crc32.Castagnoli)))
}

// loadIdentity reads the identity of dir, or makes one if dir has none.
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

// readIdentity reads the identity of dir. It is an error if dir has none.
func readIdentity(dir string) (identity, error) {
	path := filepath.Join(dir, identityFile)
	b, err := os.ReadFile(path)
	if err != nil {
		return identity{}, fmt.Errorf("data directory: %w", err)
	}
	return parseIdentity(path, b)
}

// parseIdentity checks b, the content of the file at path, and returns its identity.
func parseIdentity(path string, b []byte) (identity, error) {
	var r identityContent
	if err := json.Unmarshal(b, &r); err != nil {
		return identity{}, fmt.Errorf("%s: %w: %w", path, ErrIdentity, err)
	}
	id := r.identity
	switch {
	case r.Sum != "" && r.Sum != id.sum():
		return identity{}, fmt.Errorf("%s: %w: its sum is %.20q, but the sum of its content is %q", path, ErrIdentity, r.Sum, id.sum())
	case id.Format > identityFormat:
		return identity{}, fmt.Errorf("%s: format %d, but this version knows formats up to %d: %w", path, id.Format, identityFormat, ErrNewerFormat)
	case id.Format < 1:
		return identity{}, fmt.Errorf("%s: %w: format %d", path, ErrIdentity, id.Format)
	case !placement.ValidID(id.NodeID):
		return identity{}, fmt.Errorf("%s: %w: node_id %.50q is not 40 hex digits", path, ErrIdentity, id.NodeID)
	case id.ClusterID != "" && !placement.ValidID(id.ClusterID):
		return identity{}, fmt.Errorf("%s: %w: cluster_id %.50q is not 40 hex digits", path, ErrIdentity, id.ClusterID)
	}
	return id, nil
}

// prepareDir creates dir, or checks that it is empty or a node's. A directory with other
// files in it was probably named by mistake, so prepareDir refuses it and writes nothing.
func prepareDir(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	files, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	foreign := ""
	for _, f := range files {
		switch f.Name() {
		case identityFile:
			return nil
		case raftlogDir, stateDir:
			// The identity was written and synced before the databases were created.
			return fmt.Errorf("%s: %w: it holds %s, and no %s", dir, ErrIdentity, f.Name(), identityFile)
		case "lost+found", lockFile, identityFile + ".new":
		default:
			foreign = f.Name()
		}
	}
	if foreign != "" {
		return fmt.Errorf("%s: %w: it holds %s, and no %s", dir, ErrForeign, foreign, identityFile)
	}
	return nil
}

// save replaces the identity file. A crash leaves either the old file or the new one.
func (id identity) save(dir string) error {
	b, err := json.MarshalIndent(identityContent{id, id.sum()}, "", "  ")
	if err != nil {
		return err
	}
	return writeFileSync(filepath.Join(dir, identityFile), append(b, '\n'))
}

// writeFileSync replaces the file at path with b. It writes and syncs a new file, renames
// it, and syncs the directory, so that a crash leaves either the old file or the new one.
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

// removeFileSync removes the file at path, and returns once a crash cannot bring it back.
func removeFileSync(path string) error {
	if err := os.Remove(path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// syncDir makes creations, renames and removals in dir durable.
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

// clusterID returns the ID of this node's cluster, or "" while it has not joined one.
func (n *Node) clusterID() string {
	n.identMu.Lock()
	defer n.identMu.Unlock()
	return n.ident.ClusterID
}

// adopt makes this node a member of a cluster and saves that. A node never changes from
// one cluster to another: adopt then returns ErrOtherCluster.
func (n *Node) adopt(clusterID string) error {
	n.identMu.Lock()
	defer n.identMu.Unlock()
	switch n.ident.ClusterID {
	case clusterID:
		return nil
	case "":
	default:
		return fmt.Errorf("%w: the directory belongs to cluster %.8s, but the map to %.8s", ErrOtherCluster, n.ident.ClusterID, clusterID)
	}
	id := n.ident
	id.ClusterID = clusterID
	if err := id.save(n.cfg.DataDir); err != nil {
		return err
	}
	n.ident = id
	return nil
}

// randomID returns 40 random hex digits, the form of a Redis Cluster node ID.
func randomID() string {
	var b [20]byte
	rand.Read(b[:]) // never fails: see crypto/rand
	return hex.EncodeToString(b[:])
}

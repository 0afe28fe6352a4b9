package node

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
)

// AddressesFile is a file in the data directory with the addresses of a running node. Where
// the configuration says port 0, it has the port that the system chose.
const AddressesFile = "addresses.json"

// Addresses is the content of AddressesFile.
type Addresses struct {
	PID    int    `json:"pid"`
	NodeID string `json:"node_id"`
	Client string `json:"client_addr"`
	Peer   string `json:"peer_addr"`
	Gossip string `json:"gossip_addr"`
	HTTP   string `json:"http_addr,omitempty"`
}

// save writes AddressesFile.
func (a Addresses) save(dir string) error {
	b, err := json.MarshalIndent(a, "", "  ")
	if err != nil {
		return err
	}
	return writeFileSync(filepath.Join(dir, AddressesFile), append(b, '\n'))
}

// advertise fills in the addresses under which clients and other nodes reach this node.
func (n *Node) advertise() error {
	n.addrs = Addresses{PID: os.Getpid(), NodeID: n.id}
	var err error
	if n.addrs.Client, err = advertised(n.clients.Addr().String(), n.cfg.Advertise); err != nil {
		return err
	}
	if n.addrs.Peer, err = advertised(n.peers.Addr().String(), n.cfg.Advertise); err != nil {
		return err
	}
	if n.http != nil {
		n.addrs.HTTP, err = advertised(n.http.ln.Addr().String(), n.cfg.Advertise)
	}
	return err
}

// advertised returns the address under which others reach a listener bound to addr. The
// host is advertise if that is not empty. Otherwise it is the host of addr, or the name of
// this machine if addr names all interfaces: "0.0.0.0:6379" becomes "db1:6379".
func advertised(addr, advertise string) (string, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return "", err
	}
	if advertise != "" {
		return net.JoinHostPort(advertise, port), nil
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		name, err := os.Hostname()
		if err != nil {
			return "", fmt.Errorf("%s names no host to advertise, and the name of this machine is unknown: %w", addr, err)
		}
		return net.JoinHostPort(name, port), nil
	}
	return addr, nil
}

// Addresses returns the addresses at which clients and other nodes reach this node.
func (n *Node) Addresses() Addresses { return n.addrs }

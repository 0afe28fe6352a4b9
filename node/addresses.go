package node

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
)

// AddressesFile, in the data directory, says where a running node listens: with port
// 0 in the configuration the system chose.
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

func (a Addresses) save(dir string) error {
	b, err := json.MarshalIndent(a, "", "  ")
	if err != nil {
		return err
	}
	return writeFileSync(filepath.Join(dir, AddressesFile), append(b, '\n'))
}

// advertised returns the address under which others reach a listener bound to addr:
// with the host advertise where it is given, else with a host that means something
// elsewhere.
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
			return "", fmt.Errorf("%s says no host to advertise, and the host name is unknown: %w", addr, err)
		}
		return net.JoinHostPort(name, port), nil
	}
	return addr, nil
}

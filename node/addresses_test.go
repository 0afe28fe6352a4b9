package node

import (
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"testing"
)

func TestAdvertised(t *testing.T) {
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct{ addr, advertise, want string }{
		{"127.0.0.1:6379", "", "127.0.0.1:6379"},
		{"127.0.0.1:6379", "db1", "db1:6379"},
		{"[::1]:6379", "", "[::1]:6379"},
		{"[::]:6379", "fd00::2", "[fd00::2]:6379"},
		{"0.0.0.0:6379", "", net.JoinHostPort(host, "6379")},
		{"[::]:6379", "", net.JoinHostPort(host, "6379")},
	} {
		if got, err := advertised(tc.addr, tc.advertise); got != tc.want || err != nil {
			t.Errorf("%s as %q: %s, %v, want %s", tc.addr, tc.advertise, got, err, tc.want)
		}
	}
	if _, err := advertised("nowhere", ""); err == nil {
		t.Error("an address without a port was advertised")
	}
}

func TestSaveAddresses(t *testing.T) {
	dir := t.TempDir()
	want := Addresses{PID: 7, NodeID: randomID(), Client: "a:1", Peer: "b:2", Gossip: "c:3"}
	if err := want.save(dir); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(dir, AddressesFile))
	if err != nil {
		t.Fatal(err)
	}
	var got Addresses
	if err := json.Unmarshal(b, &got); err != nil || got != want {
		t.Errorf("%+v, %v", got, err)
	}
}

package node

import (
	"errors"
	"strings"
	"testing"
)

// goodConfig returns a configuration that Validate accepts.
func goodConfig() Config {
	c := DefaultConfig()
	c.DataDir = "data"
	return c
}

// testSecret has the least length of a secret.
var testSecret = []byte("sixteen bytes of")

// validateCases change one setting of goodConfig. want is the part of the error that names
// the setting; it is empty if the configuration stays valid.
var validateCases = []struct {
	name   string
	change func(*Config)
	want   string
}{
	{"no directory", func(c *Config) { c.DataDir = "" }, "data:"},
	{"no port", func(c *Config) { c.ClientAddr = "127.0.0.1" }, "client-addr:"},
	{"no client address", func(c *Config) { c.ClientAddr = "" }, "client-addr:"},
	{"port name", func(c *Config) { c.ClientAddr = "127.0.0.1:redis" }, "client-addr:"},
	{"port too great", func(c *Config) { c.PeerAddr = "127.0.0.1:65536" }, "peer-addr:"},
	{"negative port", func(c *Config) { c.GossipAddr = "127.0.0.1:-1" }, "gossip-addr:"},
	{"IPv6 without brackets", func(c *Config) { c.HTTPAddr = "::1:80" }, "http-addr:"},
	{"IPv6", func(c *Config) { c.PeerAddr = "[::1]:0" }, ""},
	{"no HTTP", func(c *Config) { c.HTTPAddr = "" }, ""},
	{"clients on all interfaces", func(c *Config) { c.ClientAddr = "0.0.0.0:6379" }, ""},
	{"join without port", func(c *Config) { c.Join = []string{"a:1", "b"} }, "join:"},
	{"join of port 0", func(c *Config) { c.Join = []string{"a:0"} }, "join:"},
	{"join an empty address", func(c *Config) { c.Join = []string{""} }, "join:"},
	{"advertise with port", func(c *Config) { c.Advertise = "host:6379" }, "advertise:"},
	{"advertise all interfaces", func(c *Config) { c.Advertise = "0.0.0.0" }, "advertise:"},
	{"advertise a URL", func(c *Config) { c.Advertise = "http://host" }, "advertise:"},
	{"advertise an IPv6", func(c *Config) { c.Advertise = "fd00::2" }, ""},
	{"advertise a name", func(c *Config) { c.Advertise = "node-1.millrace_svc.local" }, ""},
	{"advertise too long", func(c *Config) { c.Advertise = strings.Repeat("a", 254) }, "advertise:"},
	{"no shards", func(c *Config) { c.Shards = 0 }, "shards:"},
	{"too many shards", func(c *Config) { c.Shards = MaxShards + 1 }, "shards:"},
	{"no replicas", func(c *Config) { c.Replicas = 0 }, "replicas:"},
	{"too many replicas", func(c *Config) { c.Replicas = MaxReplicas + 1 }, "replicas:"},
	{"expects no nodes", func(c *Config) { c.BootstrapExpect = 0 }, "bootstrap-expect:"},
	{"expects too many", func(c *Config) { c.BootstrapExpect = MaxBootstrapExpect + 1 }, "bootstrap-expect:"},
	{"shortest log", func(c *Config) { c.LogRecords = MinLogRecords }, ""},
	{"log too short", func(c *Config) { c.LogRecords = MinLogRecords - 1 }, "log-records:"},
	{"least memory", func(c *Config) { c.MemoryBytes = MinMemoryBytes }, ""},
	{"too little memory", func(c *Config) { c.MemoryBytes = MinMemoryBytes - 1 }, "memory:"},
	{"peers on all interfaces", func(c *Config) { c.PeerAddr = ":7947" }, "peer-addr:"},
	{"gossip beyond loopback", func(c *Config) { c.GossipAddr = "192.0.2.1:7946" }, "gossip-addr:"},
	{"a name that may not be loopback", func(c *Config) { c.PeerAddr = "example.com:7947" }, "peer-addr:"},
	{"localhost", func(c *Config) { c.PeerAddr = "localhost:7947" }, ""},
	{"peers with a secret", func(c *Config) { c.PeerAddr, c.GossipAddr, c.Secret = ":7947", ":7946", testSecret }, ""},
	{"short secret", func(c *Config) { c.Secret = testSecret[1:] }, "cluster-secret-file:"},
}

func TestValidate(t *testing.T) {
	if err := goodConfig().Validate(); err != nil {
		t.Fatal(err)
	}
	for _, tc := range validateCases {
		c := goodConfig()
		tc.change(&c)
		err := c.Validate()
		switch {
		case tc.want == "" && err != nil:
			t.Errorf("%s: %v", tc.name, err)
		case tc.want != "" && (!errors.Is(err, ErrConfig) || !strings.Contains(err.Error(), ": "+tc.want)):
			t.Errorf("%s: %v, want an error that names %q", tc.name, err, tc.want)
		case ExitCode(err) != 2 && err != nil:
			t.Errorf("%s: exit code %d", tc.name, ExitCode(err))
		}
	}
}

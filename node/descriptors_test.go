package node

import (
	"errors"
	"testing"
)

// TestDivideDescriptors checks that the parts add up to the limit, with what is left for the
// rest, and that a limit that is too low is refused.
func TestDivideDescriptors(t *testing.T) {
	for limit, want := range map[int]descriptors{
		160:     {tables: 20, handshakes: 8, http: 8, gossip: 8, clients: 36},
		200:     {tables: 25, handshakes: 8, http: 8, gossip: 8, clients: 71},
		1024:    {tables: 128, handshakes: 32, http: 32, gossip: 16, clients: 720},
		4096:    {tables: 512, handshakes: 128, http: 128, gossip: 32, clients: 3104},
		65536:   {tables: 2000, handshakes: 128, http: 128, gossip: 32, clients: 63056},
		1 << 20: {tables: 2000, handshakes: 128, http: 128, gossip: 32, clients: 1046096},
	} {
		got, err := divideDescriptors(limit)
		if err != nil || got != want {
			t.Errorf("%d: %+v, %v, want %+v", limit, got, err, want)
		}
	}
	if _, err := divideDescriptors(159); !errors.Is(err, ErrConfig) {
		t.Errorf("159: %v", err)
	}
	if n, err := descriptorLimit(); err != nil || n < minDescriptors {
		t.Errorf("this process: %d, %v", n, err)
	}
}

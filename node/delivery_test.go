package node

import (
	"context"
	"errors"
	"testing"

	"millrace/call"
	"millrace/placement"
)

// TestDelivery sends the same requests to this node, which has a replica of the meta group
// but none of shard 9, and to a node that is not connected.
func TestDelivery(t *testing.T) {
	checkGoroutines(t)
	c := testConfig(t.TempDir())
	c.BootstrapExpect = 3
	n, err := Open(c)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := n.close(); err != nil {
			t.Error(err)
		}
	}()
	other := testID('9')
	for node, want := range map[string]error{n.id: call.ErrNoShard, other: call.ErrNotSent} {
		answer := make(chan call.Result, 1)
		c := &call.Call{Shard: 9, Kind: call.Block, Proto: 2, TimeoutMS: 1000, Done: func(r call.Result) { answer <- r }}
		n.delivery.Submit(node, c)
		if res := <-answer; !errors.Is(res.Err, want) {
			t.Errorf("Submit to %.8s: %v, want %v", node, res.Err, want)
		}
		n.delivery.Cancel(node, c) // nothing is waiting
	}
	for shard, hosted := range map[uint32]bool{placement.MetaShard: true, 9: false} {
		if p, err := n.delivery.Probe(context.Background(), n.id, shard); err != nil || p.Hosted != hosted {
			t.Errorf("Probe of shard %d here: %+v, %v", shard, p, err)
		}
	}
	if _, err := n.delivery.Probe(context.Background(), other, placement.MetaShard); !errors.Is(err, call.ErrNotSent) {
		t.Errorf("Probe of another node: %v", err)
	}
}

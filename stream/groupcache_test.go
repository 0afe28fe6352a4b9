package stream_test

import (
	"fmt"
	"testing"

	"millrace/kv"
	"millrace/kv/pebblekv"
	"millrace/stream"
)

// TestManyGroupsAndConsumers creates more groups and consumers than a State keeps decoded.
// The State must drop some, and none may be lost.
func TestManyGroupsAndConsumers(t *testing.T) {
	r := newRig(t)
	_, bound := stream.GroupsCached(r.state, "s")
	n := bound/2 + bound/4
	r.do("XADD s 1-0 f v")
	for i := range n {
		r.apply(
			argvOf("XGROUP", "CREATE", "s", fmt.Sprintf("g%d", i), "0"),
			argvOf("XREADGROUP", "GROUP", "g0", fmt.Sprintf("c%d", i), "STREAMS", "s", ">"),
		)
		if cached, _ := stream.GroupsCached(r.state, "s"); cached >= bound {
			t.Fatalf("%d groups and consumers are kept", cached)
		}
	}
	if cached, _ := stream.GroupsCached(r.state, "s"); cached >= 2*n {
		t.Fatalf("all %d are kept", cached)
	}
	if got := len(r.do("XINFO GROUPS s").Elems); got != n {
		t.Errorf("there are %d groups, not %d", got, n)
	}
	if got := len(r.do("XINFO CONSUMERS s g0").Elems); got != n {
		t.Errorf("there are %d consumers, not %d", got, n)
	}
	// One command uses all groups. The entry is pending only in the first.
	if got := r.show("XDELEX s DELREF IDS 1 1-0"); got != "[:1]" {
		t.Errorf("XDELEX answers %s", got)
	}
	if got := r.show("XPENDING s g0"); got != "[:0, $-1, $-1, *-1]" {
		t.Errorf("XPENDING answers %s", got)
	}
	if got := r.show(fmt.Sprintf("XGROUP DESTROY s g%d", n-1)); got != ":1" {
		t.Errorf("XGROUP DESTROY answers %s", got)
	}
	if got := r.show("XGROUP DELCONSUMER s g0 c1"); got != ":0" {
		t.Errorf("XGROUP DELCONSUMER answers %s", got)
	}
	if err := stream.Check(pebblekv.Reader{R: r.db}, 0, kv.Slots-1); err != nil {
		t.Error(err)
	}
}

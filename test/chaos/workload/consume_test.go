package workload

import (
	"testing"

	"millrace/resp"
)

// TestClaimedFrom checks that pending entries are told apart from new ones, even if
// RETRYCOUNT has set their delivery count to 0.
func TestClaimedFrom(t *testing.T) {
	entry := func(more ...resp.Value) reply {
		return reply{resp.Array(append([]resp.Value{resp.BulkString("1-1"), resp.Array()}, more...)...)}
	}
	for _, tc := range []struct {
		entry reply
		want  bool
	}{
		{entry(), false}, // without CLAIM
		{entry(resp.Int(0), resp.Int(0)), false},
		{entry(resp.Int(3000), resp.Int(1)), true},
		{entry(resp.Int(3000), resp.Int(0)), true},
		{entry(resp.Int(0), resp.Int(1)), true},
	} {
		if got := claimedFrom(tc.entry); got != tc.want {
			t.Errorf("%v: %v", tc.entry.v, got)
		}
	}
}

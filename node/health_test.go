package node

import "testing"

// TestReplicaProblem shows that only a voter may not be far behind, because a voter must be
// able to stand in for another one.
func TestReplicaProblem(t *testing.T) {
	for _, tc := range []struct {
		r    ReplicaStatus
		want string
	}{
		{ReplicaStatus{Voter: true, Reached: true}, ""},
		{ReplicaStatus{Voter: true, Reached: true, Lag: healthyLag}, ""},
		{ReplicaStatus{Voter: true, Reached: true, Lag: healthyLag + 1}, "is 1025 records behind"},
		{ReplicaStatus{Reached: true, Lag: healthyLag + 1}, ""}, // a non-voter that is catching up
		{ReplicaStatus{Voter: true}, "does not answer"},
		{ReplicaStatus{}, "does not answer"},
	} {
		if got := tc.r.problem(); got != tc.want {
			t.Errorf("%+v: %q, not %q", tc.r, got, tc.want)
		}
	}
}

package node

import "testing"

// A cluster is healthy when each voter can stand in for another.
func TestReplicaProblem(t *testing.T) {
	for _, tc := range []struct {
		r    ReplicaStatus
		want string
	}{
		{ReplicaStatus{Voter: true, Reached: true}, ""},
		{ReplicaStatus{Voter: true, Reached: true, Lag: healthyLag}, ""},
		{ReplicaStatus{Voter: true, Reached: true, Lag: healthyLag + 1}, "is 1025 records behind"},
		{ReplicaStatus{Reached: true, Lag: healthyLag + 1}, ""}, // it is about to join
		{ReplicaStatus{Voter: true}, "does not answer"},
		{ReplicaStatus{}, "does not answer"},
	} {
		if got := tc.r.problem(); got != tc.want {
			t.Errorf("%+v: %q, not %q", tc.r, got, tc.want)
		}
	}
}

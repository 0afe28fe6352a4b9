package shard

import (
	"errors"
	"testing"

	"millrace/call"
)

// A record runs calls only until they have cost enough. The others are refused, on every replica, and
// are not done.
func TestRecordCost(t *testing.T) {
	c := newTestCluster(t, "a", "b", "c")
	c.startAll()
	n := c.leader()
	done, refused := 0, 0
	for refused == 0 { // the proposer decides how many calls share a record
		var answers []<-chan call.Result
		for range 20 {
			cl, answer := newCall(call.Write, n.shard.lead.leads(), "DEAR", "k")
			answers = append(answers, answer)
			n.shard.Submit(cl)
		}
		for _, a := range answers {
			switch _, err := await(t, a); {
			case err == nil:
				done++
			case errors.Is(err, call.ErrOverloaded):
				refused++
			default:
				t.Fatal(err)
			}
		}
	}
	if got := len(values(n.mustDo(t, call.Read, "RANGE", "k"))); got != done {
		t.Errorf("%d of %d calls were done, and %d refused", got, done, refused)
	}
	c.converge()
}

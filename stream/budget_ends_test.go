package stream_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"millrace/kv/pebblekv"
	"millrace/stream"
)

// budgetLines are commands that walk over records, for the state of endsRig.
var budgetLines = []string{
	"XTRIM s MAXLEN 1990", "XTRIM s MAXLEN 500", "XTRIM s MINID 1000000-50", "XADD s MAXLEN 1990 * f v",
	"XADD s MINID 1000000-30 * f v", "XTRIM s MAXLEN 1990 DELREF", "XTRIM s MAXLEN 1990 ACKED",
	"XGROUP DELCONSUMER s g c", "XGROUP SETID s g 0", "XGROUP DESTROY s g",
	"XACK s g 1000000-0 1000000-1 1000000-2 1000000-3", "XDEL s 1000000-0 1000000-1 1000000-2 1000000-3",
	"XCLAIM s g d 0 1000000-0 1000000-1 1000000-2 1000000-3", "XAUTOCLAIM s g d 0 0 COUNT 20",
	"XREADGROUP GROUP g c COUNT 20 STREAMS s 0", "XREADGROUP GROUP g2 c COUNT 20 STREAMS s >",
	"XRANGE s - + COUNT 20", "COPY s t", "RENAME s t", "DEL s", "_FLUSH", "DUMP s",
	"XPENDING s g - + 20", "XPENDING s g IDLE 1 - + 20", "XINFO STREAM s FULL", "MEMORY USAGE s",
	"HDEL h a b", "HSET h c 1", "HGETALL h", "ZREMRANGEBYRANK z 0 20", "ZPOPMIN z 20", "ZADD z 5 m1 6 m2",
	"ZREMRANGEBYSCORE z 0 20", "ZRANGE z 0 20", "ZRANK z m20", "LCS k1 k2", "_KEYS * 10",
}

// endsRig is wideRig with more types, and a string whose GET costs bigUnits and one unit.
func endsRig(t *testing.T) *rig {
	r := wideRig(t)
	r.nowMS += 1000
	r.do("XGROUP CREATE s g2 0")
	for i := range 30 {
		r.do(fmt.Sprintf("ZADD z %d m%d", i, i))
	}
	r.do("SET k1 " + strings.Repeat("ab", 50))
	r.do("SET k2 " + strings.Repeat("ba", 50))
	r.do("SET big " + strings.Repeat("x", bigUnits*128))
	return r
}

// A call may spend budgetUnits in a record.
const budgetUnits, bigUnits = 1 << 16, 8000

// leaving returns commands that leave units of the budget of an EXEC to those after them.
func leaving(units int) []string {
	n := budgetUnits - units
	return append(repeated("GET big", n/(bigUnits+1)), repeated("XLEN s", n%(bigUnits+1))...)
}

// dryRun applies an EXEC to a state without committing it.
func (r *rig) dryRun(s *stream.State, lines ...string) (refused bool, err error) {
	b := r.db.NewIndexedBatch()
	defer b.Close()
	_, refusal, err := s.Apply(pebblekv.NewBatch(b), r.nowMS, execOf(lines...))
	s.Reset()
	return refusal != nil, err
}

// TestBudgetEndsAnywhere lets the budget of an EXEC end at each step of a command. The EXEC is then
// refused. A failure would halt every replica, and halt it again at every start.
func TestBudgetEndsAnywhere(t *testing.T) {
	r := endsRig(t)
	before := dumpState(t, r.db)
	for _, line := range budgetLines {
		refusals := 0
		for left := 0; left < 200; left += 1 + left/20 {
			refused, err := r.dryRun(r.state, append(leaving(left), line)...)
			if err != nil {
				t.Errorf("%s with %d units left: %v", line, left, err)
				break
			}
			if refused {
				refusals++
			}
		}
		if refusals == 0 {
			t.Errorf("%s was never refused", line)
		}
	}
	if after := dumpState(t, r.db); after != before {
		t.Errorf("the state has changed:\n%s", firstDifference(before, after))
	}
}

// TestCachesCostNothing runs commands in random order, and checks that each costs as much on a replica
// without any cache as on one that has run all commands before. Otherwise an EXEC at the end of its
// budget would be done on some replicas and refused on others.
func TestCachesCostNothing(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	lines := append([]string{
		"XADD s MAXLEN 1500 * f v", "XADD s MAXLEN 1500 * f v", "XADD s MAXLEN ~ 1000 * f v", "XTRIM s MAXLEN 1200",
		"XADD s * f v", "XADD s * f v", "XADD s * f v", "XREADGROUP GROUP g d COUNT 5 STREAMS s >",
	}, budgetLines...)
	warm := endsRig(t)
	for i := range 600 {
		cmd := execOf(lines[rng.IntN(len(lines))])
		if warm.show("EXISTS s") == ":0" { // a command has removed or renamed it
			warm = endsRig(t)
		}
		cold := stream.NewState(0, 16383)
		b := warm.db.NewIndexedBatch()
		if _, _, err := cold.Apply(pebblekv.NewBatch(b), warm.nowMS, cmd); err != nil {
			t.Fatal(err)
		}
		b.Close()
		warm.apply(cmd...)
		if cold.Spent() != warm.state.Spent() {
			t.Fatalf("command %d, %s: cold %d units, warm %d", i, cmd[0], cold.Spent(), warm.state.Spent())
		}
	}
}

package shard

import "time"

// pace decides whether the next record goes out now or waits to become fuller.
//
// A record costs a node about as much as thirty commands do, whatever is in it: two
// commits, a sync, the messages. When a record has been applied, its clients are about
// to send their next calls. A record that left at once would carry only the calls that
// came in the meantime, and the two halves of the clients would take turns from then
// on, each in records half as full as they could be. So the next record waits until as
// many calls are there as were answered and were waiting together; for half as long as
// the last record took, and Timing.Linger, at the most: a client waits no longer than
// it would have for the other half's record.
//
// It belongs to the proposer, and is guarded by its mutex.
type pace struct {
	calls   int   // of the record under way that was sent last; 0: none since applied
	sentNS  int64 // when it was
	want    int   // calls that the next record waits for …
	untilNS int64 // … up to this moment
}

// lingerCalls is from how many calls of the last record on the next one waits. With
// fewer there is little to gain, and a client that is alone must not wait for itself.
const lingerCalls = 16

// sent notes that a record with so many calls was proposed.
func (p *pace) sent(calls int, nowNS int64) { *p = pace{calls: calls, sentNS: nowNS} }

// applied notes that no record is under way any more, while so many calls wait.
func (p *pace) applied(waiting int, nowNS int64, linger time.Duration) {
	calls, took := p.calls, nowNS-p.sentNS
	if calls == 0 {
		return
	}
	*p = pace{}
	if calls >= lingerCalls {
		p.want, p.untilNS = waiting+calls, nowNS+min(took/2, int64(linger))
	}
}

// hold returns how much longer so many calls wait for company; zero or less: not at all.
func (p *pace) hold(waiting int, nowNS int64) time.Duration {
	if waiting >= p.want {
		return 0
	}
	return time.Duration(p.untilNS - nowNS)
}

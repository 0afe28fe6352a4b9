package shard

import "time"

// pace decides whether the next record goes out now or waits to become fuller.
//
// A record costs a node about as much as thirty commands, however few are in it: two
// commits, a sync and the messages. When a record has been applied, its clients are about
// to send their next calls. A record that left at once would carry only the calls that
// came in the meantime, and from then on the two halves of the clients would take turns,
// each in records half as full as they could be.
//
// So the next record waits until as many calls are there as were answered and were
// waiting together. Say a record of 40 calls is applied while 35 wait: the next one waits
// for 75. It waits at most half as long as the last record took, and at most
// Timing.Linger: no client waits longer than it would have for the record of the other
// half.
//
// The proposer owns it and guards it with its mutex.
type pace struct {
	calls   int   // calls in the newest record under way; 0 when none is under way
	sentNS  int64 // when that record was sent
	want    int   // number of calls that the next record waits for …
	untilNS int64 // … up to this moment
}

// lingerCalls is the least number of calls in the last record for which the next record
// waits. With fewer there is little to gain, and a client that is alone must not wait for
// itself.
const lingerCalls = 16

// sent notes that a record with calls calls was proposed.
func (p *pace) sent(calls int, nowNS int64) { *p = pace{calls: calls, sentNS: nowNS} }

// applied notes that no record is under way any more, while waiting calls wait.
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

// hold returns how much longer the waiting calls are to wait for more; zero or less means
// not at all.
func (p *pace) hold(waiting int, nowNS int64) time.Duration {
	if waiting >= p.want {
		return 0
	}
	return time.Duration(p.untilNS - nowNS)
}

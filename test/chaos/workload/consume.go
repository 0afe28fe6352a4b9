package workload

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"millrace/test/chaos/check"
	"millrace/test/chaos/client"
)

// claimAfter is the min-idle time of claims. Claims are needed because a reply can get
// lost with its node, and then nobody else acknowledges the entries in it.
const claimAfter = 3 * time.Second

// Bounds of a claim by IDs.
const (
	claimCount  = 20 // entries
	maxSetCount = 10 // RETRYCOUNT is below this
)

// consumerBlock is the BLOCK time of a consumer's XREADGROUP.
const consumerBlock = 400 * time.Millisecond

// consumer takes entries of groups and acknowledges most of them.
type consumer struct {
	*session
	e       *Era
	name    string
	streams []*check.Stream
	byName  map[string]*check.Stream
	drain   bool // claim without a min-idle time, and acknowledge every entry
}

func (e *Era) consumer(id uint64, streams []*check.Stream) *consumer {
	k := &consumer{session: e.env.session(id, int(id)), e: e, name: fmt.Sprintf("c%d", id), streams: streams, byName: map[string]*check.Stream{}}
	for _, st := range streams {
		k.byName[st.Name] = st
	}
	return k
}

// run consumes until ctx ends: seven calls of ten are take, the others claim in some way.
func (k *consumer) run(ctx context.Context) {
	defer k.session.drop()
	for round := 0; ctx.Err() == nil; round++ {
		c := k.get(ctx)
		if c == nil {
			return
		}
		st := k.streams[k.rng.IntN(len(k.streams))]
		var ok bool
		switch n := k.rng.IntN(20); {
		case n < 2:
			ok = k.autoclaim(c, st)
		case n < 4:
			ok = k.takeOrClaim(c, st)
		case n < 6:
			ok = k.claim(c, st)
		default:
			ok = k.take(c)
		}
		if !ok {
			k.fail(ctx)
		}
	}
}

// take reads new entries of all streams, and waits up to consumerBlock for some.
func (k *consumer) take(c *client.Conn) bool {
	words := []string{"XREADGROUP", "GROUP", groupName, k.name, "COUNT", "25", "BLOCK", strconv.FormatInt(consumerBlock.Milliseconds(), 10), "STREAMS"}
	for _, st := range k.streams {
		words = append(words, st.Name)
	}
	for range k.streams {
		words = append(words, ">")
	}
	return k.taken(c, check.Fresh, 0, consumerBlock, k.streams, words)
}

// takeOrClaim reads the entries of one stream that have been idle for claimAfter, and then
// new ones.
func (k *consumer) takeOrClaim(c *client.Conn, st *check.Stream) bool {
	return k.taken(c, check.Fresh, claimAfter, 0, []*check.Stream{st}, []string{"XREADGROUP", "GROUP", groupName, k.name,
		"COUNT", "10", "CLAIM", strconv.FormatInt(claimAfter.Milliseconds(), 10), "STREAMS", st.Name, ">"})
}

// taken sends an XREADGROUP, whose BLOCK time is block, records its entries, and settles
// them. It returns false after a failure.
func (k *consumer) taken(c *client.Conn, how check.Hand, minIdle, block time.Duration, streams []*check.Stream, words []string) bool {
	began := k.env.Book.Now()
	c.SetTimeout(block + hangSlack + time.Second)
	r, o, err := k.do(c, words...)
	c.SetTimeout(replyTimeout)
	ended := k.env.Book.Now()
	if block > 0 && ended-began > block+hangSlack && k.env.Faults.Calm(c.Node, began-time.Second, ended) {
		k.env.Book.Add("G9", "XREADGROUP BLOCK %d took %v through node %d, which was never disturbed: %v %v", block.Milliseconds(), ended-began, c.Node+1, o, err)
	}
	if o != client.Replied {
		if o == client.Unknown {
			for _, st := range streams {
				st.GroupUnknown()
			}
		}
		return false
	}
	if r.isError() {
		k.env.Book.Add("reply", "XREADGROUP returned %q", r.text())
		return false
	}
	var got []handed
	r.streams(func(name string, entry reply) {
		st := k.byName[name]
		if st == nil {
			k.env.Book.Add("reply", "XREADGROUP returned the stream %q, which was not asked for", name)
			return
		}
		d := check.Delivery{Consumer: k.name, How: how, Began: began, Ended: ended}
		if claimedFrom(entry) {
			d.How, d.MinIdle = check.Claimed, minIdle
		}
		it := entry.item()
		st.Delivered(d, it, k.env.Faults.Clocks())
		got = append(got, handed{st, it})
	})
	return k.settle(c, got)
}

// claimedFrom reports whether an entry in a reply of XREADGROUP CLAIM was pending before. A
// new entry has idle time 0 and delivery count 0. A pending one may also have count 0, set
// by RETRYCOUNT, but then its idle time is not 0.
func claimedFrom(entry reply) bool {
	return entry.len() == 4 && (entry.at(2).int() > 0 || entry.at(3).int() > 0)
}

// autoclaim takes over the idle entries of one stream; one time in three with JUSTID,
// which does not count as a delivery.
func (k *consumer) autoclaim(c *client.Conn, st *check.Stream) bool {
	d := check.Delivery{Consumer: k.name, How: check.Claimed, MinIdle: claimAfter}
	words := []string{"XAUTOCLAIM", st.Name, groupName, k.name, strconv.FormatInt(claimAfter.Milliseconds(), 10), "0", "COUNT", "50"}
	switch {
	case k.drain:
		d.MinIdle, words[4] = 0, "0"
	case k.rng.IntN(3) == 0:
		d.How, words = check.ClaimedID, append(words, "JUSTID")
	}
	return k.claimed(c, st, d, nil, words, func(r reply) reply { return r.at(1) })
}

// claim takes over some idle entries of one stream by their IDs: half of the times with
// JUSTID, and one time in three with RETRYCOUNT.
func (k *consumer) claim(c *client.Conn, st *check.Stream) bool {
	idle := strconv.FormatInt(claimAfter.Milliseconds(), 10)
	r, o, _ := k.do(c, "XPENDING", st.Name, groupName, "IDLE", idle, "-", "+", strconv.Itoa(claimCount))
	if o != client.Replied || r.isError() {
		return o == client.Replied
	}
	d := check.Delivery{Consumer: k.name, How: check.Claimed, MinIdle: claimAfter}
	words := []string{"XCLAIM", st.Name, groupName, k.name, idle}
	var ids []check.ID
	for i := range r.len() {
		ids = append(ids, r.at(i).at(0).id())
		words = append(words, r.at(i).at(0).text())
	}
	if len(ids) == 0 {
		return true
	}
	if k.rng.IntN(2) == 0 {
		d.How, words = check.ClaimedID, append(words, "JUSTID")
	}
	if k.rng.IntN(3) == 0 {
		d.Sets, d.Count = true, int32(k.rng.IntN(maxSetCount))
		words = append(words, "RETRYCOUNT", strconv.Itoa(int(d.Count)))
	}
	return k.claimed(c, st, d, ids, words, func(r reply) reply { return r })
}

// claimed sends a claim, records its entries, and settles them. ids are the IDs that the
// claim names, if it does. list returns the entries in the reply.
func (k *consumer) claimed(c *client.Conn, st *check.Stream, d check.Delivery, ids []check.ID, words []string, list func(reply) reply) bool {
	d.Began = k.env.Book.Now()
	r, o, _ := k.do(c, words...)
	d.Ended = k.env.Book.Now()
	switch {
	case o == client.Unknown && d.Sets:
		st.SetUnknown(ids)
	case o == client.Unknown && d.How != check.ClaimedID:
		st.GroupUnknown()
	}
	if o != client.Replied {
		return false
	}
	if r.isError() {
		k.env.Book.Add("reply", "%s returned %q", words[0], r.text())
		return false
	}
	var got []handed
	for rows, i := list(r), 0; i < rows.len(); i++ {
		it := rows.at(i).item()
		if d.How == check.ClaimedID {
			it = check.Item{ID: rows.at(i).id()}
			it.Payload, _ = st.Payload(it.ID) // empty as long as no reply has shown the entry
		}
		st.Delivered(d, it, k.env.Faults.Clocks())
		if it.Payload != "" {
			got = append(got, handed{st, it})
		}
	}
	return k.settle(c, got)
}

// handed is an entry that this consumer received.
type handed struct {
	st *check.Stream
	it check.Item
}

// settle acknowledges 94 of 100 entries, gives back 3 by XNACK, and forgets 3. A consumer
// that drains acknowledges all.
func (k *consumer) settle(c *client.Conn, got []handed) bool {
	if len(got) == 0 {
		return true
	}
	words := make([][]string, 0, len(got))
	acks := make([]handed, 0, len(got))
	for _, h := range got {
		n := k.rng.IntN(100)
		switch {
		case k.drain || n < 94:
			h.st.Acking(h.it.Payload)
			words = append(words, []string{"XACK", h.st.Name, groupName, h.it.ID.String()})
			acks = append(acks, h)
		case n < 97:
			h.st.Nacking(h.it.Payload)
			words = append(words, []string{"XNACK", h.st.Name, groupName, [...]string{"SILENT", "FAIL", "FATAL"}[n-94], "IDS", "1", h.it.ID.String()})
			acks = append(acks, handed{})
		}
	}
	if len(words) == 0 {
		return true
	}
	at := time.Now()
	_ = c.Send(words...) // Receive returns the error
	ok := true
	for _, h := range acks {
		v, o, _ := c.Receive()
		k.count(o, time.Since(at), 0)
		ok = ok && o == client.Replied
		if o == client.Replied && v.IsErr() {
			k.env.Book.Add("reply", "XACK or XNACK returned %q", v.Str)
		}
		if h.st != nil && o == client.Replied && v.Int == 1 {
			h.st.Finished(h.it.Payload, h.it.ID, k.name, k.env.Book.Now())
		}
	}
	return ok
}

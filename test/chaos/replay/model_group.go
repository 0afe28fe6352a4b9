package replay

import (
	"fmt"
	"maps"
	"slices"

	"millrace/resp"
)

// unknownRead is the entries-read of a group whose count is not known.
const unknownRead = -1

type group struct {
	delivered ID    // last-delivered-id
	read      int64 // entries-read
	consumers map[string]*consumer
	pel       map[ID]*pending
	released  int // number of XNACKs of entries so far
}

type consumer struct {
	name             string
	seenMS, activeMS int64 // activeMS is -1 until the consumer receives an entry
}

// pending is a pending entry.
type pending struct {
	owner  *consumer // nil: an XNACK gave it back
	atMS   int64     // when it was last handed out
	rank   int       // without an owner: its place among the entries that were given back
	counts int64     // deliveries
}

// inGroup returns a command that runs on the group named by the word after the key.
func inGroup(run func(m *Model, s *stream, g *group, words []string) resp.Value) func(*Model, *stream, []string) resp.Value {
	return func(m *Model, s *stream, words []string) resp.Value {
		g := s.groups[words[2]]
		if g == nil {
			panic(fmt.Sprintf("no group %q", words[2]))
		}
		return run(m, s, g, words)
	}
}

// createGroup is XGROUP CREATE key group 0 MKSTREAM.
func (m *Model) createGroup(s *stream, words []string) resp.Value {
	if s.groups[words[2]] != nil {
		return resp.Err("BUSYGROUP Consumer Group name already exists")
	}
	s.groups[words[2]] = &group{delivered: parseID(words[3], 0), read: unknownRead, consumers: map[string]*consumer{}, pel: map[ID]*pending{}}
	return resp.OK
}

// setID is XGROUP SETID key group id.
func (m *Model) setID(s *stream, g *group, words []string) resp.Value {
	g.delivered, g.read = s.last, unknownRead
	if words[3] != "$" {
		g.delivered = parseID(words[3], 0)
	}
	return resp.OK
}

// attend returns a consumer, which it creates if necessary, and sets its seen time.
func (m *Model) attend(g *group, name string) *consumer {
	c := g.consumers[name]
	if c == nil {
		c = &consumer{name: name, activeMS: -1}
		g.consumers[name] = c
	}
	c.seenMS = m.NowMS
	return c
}

// wait is the attends command: it creates the consumer of a call that begins to wait.
func (m *Model) wait(s *stream, words []string) resp.Value {
	if g := s.groups[words[1]]; g != nil {
		m.attend(g, words[2])
	}
	return resp.NullArray()
}

// delConsumer is XGROUP DELCONSUMER key group consumer.
func (m *Model) delConsumer(_ *stream, g *group, words []string) resp.Value {
	c := g.consumers[words[3]]
	if c == nil {
		return resp.Int(0)
	}
	owned := g.owned(c)
	for _, id := range owned {
		delete(g.pel, id)
	}
	delete(g.consumers, words[3])
	return resp.Int(int64(len(owned)))
}

// ids returns the pending IDs in order.
func (g *group) ids() []ID { return slices.SortedFunc(maps.Keys(g.pel), compareIDs) }

// owned returns the IDs that are pending for a consumer, in order.
func (g *group) owned(c *consumer) []ID {
	return slices.DeleteFunc(g.ids(), func(id ID) bool { return g.pel[id].owner != c })
}

// give makes c the owner of p, handed out now, with a delivery count.
func (m *Model) give(c *consumer, p *pending, counts int64) {
	c.activeMS = m.NowMS
	p.owner, p.atMS, p.counts = c, m.NowMS, counts
}

// idle returns the idle time of p in ms; -1 without an owner.
func (m *Model) idle(p *pending) int64 {
	if p.owner == nil {
		return -1
	}
	return m.NowMS - p.atMS
}

// claimable reports whether p has been idle for minIdle ms, or has no owner.
func (m *Model) claimable(p *pending, minIdle int64) bool {
	return p.owner == nil || m.NowMS-p.atMS >= minIdle
}

// readGroup is XREADGROUP GROUP group consumer [COUNT n] [BLOCK ms] [CLAIM ms] [NOACK]
// STREAMS key id.
func (m *Model) readGroup(s *stream, words []string) resp.Value {
	g := s.groups[words[2]]
	options := words[4 : len(words)-3]
	count := optional(options, "COUNT", 0)
	c := m.attend(g, words[3])
	var out []resp.Value
	full := func() bool { return count > 0 && int64(len(out)) >= count }
	if after := words[len(words)-1]; after != ">" {
		out = []resp.Value{}
		for _, id := range g.owned(c) {
			if full() || !parseID(after, 0).Less(id) {
				continue
			}
			i, ok := s.find(id)
			if !ok {
				out = append(out, resp.Array(idValue(id), resp.NullArray()))
				continue
			}
			out = append(out, s.entries[i].value())
			g.pel[id].atMS = m.NowMS
			g.pel[id].counts++
		}
		return resp.Array(resp.Array(resp.BulkString(s.name), resp.Array(out...)))
	}
	var extra []resp.Value
	if claims, ok := option(options, "CLAIM"); ok {
		for _, id := range g.byClaim() {
			p := g.pel[id]
			i, there := s.find(id)
			if full() || !there || !m.claimable(p, number(claims)) {
				continue
			}
			out = append(out, s.entries[i].value(resp.Int(m.idle(p)), resp.Int(p.counts)))
			m.give(c, p, p.counts+1)
		}
		extra = []resp.Value{resp.Int(0), resp.Int(0)}
	}
	for _, e := range s.entries {
		if full() || !g.delivered.Less(e.id) {
			continue
		}
		out = append(out, e.value(extra...))
		g.advance(s, e.id)
		if flag(options, "NOACK") {
			continue
		}
		if g.pel[e.id] == nil {
			g.pel[e.id] = &pending{}
		}
		m.give(c, g.pel[e.id], 1)
	}
	if out == nil {
		return resp.NullArray()
	}
	return resp.Array(resp.Array(resp.BulkString(s.name), resp.Array(out...)))
}

// byClaim returns the pending IDs in the order of XREADGROUP CLAIM: first the entries that
// were given back, the earliest first, then the others, the longest idle first.
func (g *group) byClaim() []ID {
	ids := g.ids()
	slices.SortStableFunc(ids, func(a, b ID) int {
		p, q := g.pel[a], g.pel[b]
		switch {
		case p.owner == nil && q.owner == nil:
			return p.rank - q.rank
		case p.owner == nil:
			return -1
		case q.owner == nil:
			return 1
		}
		return int(p.atMS - q.atMS)
	})
	return ids
}

// advance moves a group to an entry that it hands out. entries-read goes on counting when
// no delete can have changed the distance, otherwise it is set anew at the ends of the
// stream, or becomes unknown.
func (g *group) advance(s *stream, id ID) {
	tombstones := s.maxDeleted != ID{} && !s.maxDeleted.Less(s.first()) && !s.maxDeleted.Less(g.delivered)
	switch {
	case g.read != unknownRead && !g.delivered.Less(s.first()) && !tombstones:
		g.read++
	case id == s.last:
		g.read = s.added
	case s.maxDeleted != ID{} && !s.maxDeleted.Less(s.first()), s.first().Less(id):
		g.read = unknownRead
	default: // id is the first entry
		g.read = s.added - int64(len(s.entries)) + 1
	}
	g.delivered = id
}

func (m *Model) ack(_ *stream, g *group, words []string) resp.Value {
	n := int64(0)
	for _, id := range parseIDs(words[3:]) {
		if g.pel[id] != nil {
			delete(g.pel, id)
			n++
		}
	}
	return resp.Int(n)
}

// nack is XNACK key group SILENT|FAIL IDS n id ….
func (m *Model) nack(s *stream, g *group, words []string) resp.Value {
	n := int64(0)
	for _, id := range listed(words) {
		p := g.pel[id]
		if p == nil || !s.has(id) {
			continue
		}
		p.owner, p.rank = nil, g.released
		g.released++
		if words[3] == "SILENT" {
			p.counts = max(p.counts-1, 0)
		}
		n++
	}
	return resp.Int(n)
}

// taken gives a pending entry to the consumer that claims it, and returns the entry's part
// of the reply.
func (m *Model) taken(e entry, c *consumer, p *pending, options []string) resp.Value {
	counts := p.counts
	justID := flag(options, "JUSTID")
	if !justID {
		counts++
	}
	m.give(c, p, optional(options, "RETRYCOUNT", counts))
	if justID {
		return idValue(e.id)
	}
	return e.value()
}

// claim is XCLAIM key group consumer min-idle id … [RETRYCOUNT n] [JUSTID].
func (m *Model) claim(s *stream, g *group, words []string) resp.Value {
	at := slices.IndexFunc(words[5:], func(w string) bool { return w[0] < '0' || w[0] > '9' })
	ids, options := words[5:], []string(nil)
	if at >= 0 {
		ids, options = words[5:5+at], words[5+at:]
	}
	c := m.attend(g, words[3])
	out := []resp.Value{}
	for _, id := range parseIDs(ids) {
		p := g.pel[id]
		if p == nil {
			continue
		}
		i, ok := s.find(id)
		switch {
		case !ok:
			delete(g.pel, id)
		case m.claimable(p, number(words[4])):
			out = append(out, m.taken(s.entries[i], c, p, options))
		}
	}
	return resp.Array(out...)
}

// looksPerClaim is the number of entries that XAUTOCLAIM examines for each one that it may
// take.
const looksPerClaim = 10

// autoClaim is XAUTOCLAIM key group consumer min-idle start [COUNT n] [JUSTID].
func (m *Model) autoClaim(s *stream, g *group, words []string) resp.Value {
	c := m.attend(g, words[3])
	count := int(optional(words, "COUNT", 100))
	looks := looksPerClaim * count
	next, out, gone := ID{}, []resp.Value{}, []resp.Value{}
	for _, id := range g.ids() {
		if id.Less(parseID(words[5], 0)) {
			continue
		}
		if looks == 0 || len(out)+len(gone) == count {
			next = id
			break
		}
		looks--
		i, ok := s.find(id)
		switch {
		case !ok:
			delete(g.pel, id)
			gone = append(gone, idValue(id))
		case m.claimable(g.pel[id], number(words[4])):
			out = append(out, m.taken(s.entries[i], c, g.pel[id], words[6:]))
		}
	}
	return resp.Array(idValue(next), resp.Array(out...), resp.Array(gone...))
}

// referenced reports whether some group has not yet read or not yet acknowledged an ID.
func (s *stream) referenced(id ID) bool {
	for _, g := range s.groups {
		if g.delivered.Less(id) || g.pel[id] != nil {
			return true
		}
	}
	return false
}

// deleteAs deletes an entry by the policy of XDELEX and XACKDEL, and returns the entry's
// part of the reply: 1 deleted, -1 no such entry, 2 kept because a group references it.
func (s *stream) deleteAs(id ID, options []string) int64 {
	switch {
	case flag(options, "ACKED") && s.referenced(id):
		return 2
	case flag(options, "DELREF"):
		for _, g := range s.groups {
			delete(g.pel, id)
		}
	}
	if s.remove(id, true) {
		return 1
	}
	return -1
}

// delEx is XDELEX key [policy] IDS n id ….
func (m *Model) delEx(s *stream, words []string) resp.Value {
	out := []resp.Value{}
	for _, id := range listed(words) {
		out = append(out, resp.Int(s.deleteAs(id, words[2:])))
	}
	return resp.Array(out...)
}

// ackDel is XACKDEL key group [policy] IDS n id ….
func (m *Model) ackDel(s *stream, g *group, words []string) resp.Value {
	out := []resp.Value{}
	for _, id := range listed(words) {
		n := int64(-1)
		if g.pel[id] != nil {
			delete(g.pel, id)
			n = max(s.deleteAs(id, words[3:]), 1) // 1 also when the entry is gone
		}
		out = append(out, resp.Int(n))
	}
	return resp.Array(out...)
}

// name returns the name of the owner; empty without one.
func (p *pending) name() string {
	if p.owner == nil {
		return ""
	}
	return p.owner.name
}

// names returns the names of the consumers in order.
func (g *group) names() []string { return slices.Sorted(maps.Keys(g.consumers)) }

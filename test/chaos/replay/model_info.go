package replay

import (
	"maps"
	"slices"
	"strconv"

	"millrace/resp"
	"millrace/test/chaos/check"
)

// infoStream is XINFO STREAM key [FULL COUNT 0], without the unmodelled fields.
func (m *Model) infoStream(s *stream, words []string) resp.Value {
	out := []resp.Value{
		resp.BulkString("length"), resp.Int(int64(len(s.entries))),
		resp.BulkString("last-generated-id"), idValue(s.last),
		resp.BulkString("max-deleted-entry-id"), idValue(s.maxDeleted),
		resp.BulkString("entries-added"), resp.Int(s.added),
		resp.BulkString("recorded-first-entry-id"), idValue(s.first()),
		resp.BulkString("iids-added"), resp.Int(int64(len(s.tokens))),
		resp.BulkString("iids-duplicates"), resp.Int(s.duplicates),
	}
	if len(words) > 2 {
		out = append(out, resp.BulkString("entries"), s.between("-", "+", nil, false), resp.BulkString("groups"), s.fullGroups())
		return resp.Array(out...)
	}
	first, last := resp.Null(), resp.Null()
	if n := len(s.entries); n > 0 {
		first, last = s.entries[0].value(), s.entries[n-1].value()
	}
	return resp.Array(append(out, resp.BulkString("groups"), resp.Int(int64(len(s.groups))),
		resp.BulkString("first-entry"), first, resp.BulkString("last-entry"), last)...)
}

// pending is XPENDING key group [from to count].
func (m *Model) pending(_ *stream, g *group, words []string) resp.Value {
	ids := g.ids()
	if len(words) > 3 {
		lo, openLo := rangeID(words[3], 0)
		hi, openHi := rangeID(words[4], maxID.Seq)
		out := []resp.Value{}
		for _, id := range ids {
			below, above := id.Less(lo) || openLo && id == lo, hi.Less(id) || openHi && id == hi
			if below || above || int64(len(out)) == number(words[5]) {
				continue
			}
			p := g.pel[id]
			out = append(out, resp.Array(idValue(id), resp.BulkString(p.name()), resp.Int(m.idle(p)), resp.Int(p.counts)))
		}
		return resp.Array(out...)
	}
	if len(ids) == 0 {
		return resp.Array(resp.Int(0), resp.Null(), resp.Null(), resp.NullArray())
	}
	owners := []resp.Value{}
	for _, name := range g.names() {
		if n := len(g.owned(g.consumers[name])); n > 0 {
			owners = append(owners, resp.Array(resp.BulkString(name), resp.BulkString(strconv.Itoa(n))))
		}
	}
	return resp.Array(resp.Int(int64(len(ids))), idValue(ids[0]), idValue(ids[len(ids)-1]), resp.Array(owners...))
}

func (m *Model) infoConsumers(_ *stream, g *group, _ []string) resp.Value {
	out := []resp.Value{}
	for _, name := range g.names() {
		c := g.consumers[name]
		inactive := int64(-1)
		if c.activeMS >= 0 {
			inactive = m.NowMS - c.activeMS
		}
		out = append(out, resp.Array(
			resp.BulkString("name"), resp.BulkString(name), resp.BulkString("pending"), resp.Int(int64(len(g.owned(c)))),
			resp.BulkString("idle"), resp.Int(m.NowMS-c.seenMS), resp.BulkString("inactive"), resp.Int(inactive)))
	}
	return resp.Array(out...)
}

// progress returns entries-read and lag for XINFO.
func (g *group) progress(s *stream) (read, lag resp.Value) {
	count := func(n int64) resp.Value {
		if n < 0 {
			return resp.Null()
		}
		return resp.Int(n)
	}
	p := check.Progress{
		Length: int64(len(s.entries)), Added: s.added, First: s.first(), Last: s.last, MaxDeleted: s.maxDeleted,
		Position: g.delivered, Read: g.read,
	}
	return count(g.read), count(p.RedisLag())
}

func (m *Model) infoGroups(s *stream, _ []string) resp.Value {
	out := []resp.Value{}
	for _, name := range slices.Sorted(maps.Keys(s.groups)) {
		g := s.groups[name]
		read, lag := g.progress(s)
		out = append(out, resp.Array(
			resp.BulkString("name"), resp.BulkString(name), resp.BulkString("consumers"), resp.Int(int64(len(g.consumers))),
			resp.BulkString("pending"), resp.Int(int64(len(g.pel))), resp.BulkString("last-delivered-id"), idValue(g.delivered),
			resp.BulkString("entries-read"), read, resp.BulkString("lag"), lag))
	}
	return resp.Array(out...)
}

// fullGroups returns the groups in the reply of XINFO STREAM key FULL COUNT 0.
func (s *stream) fullGroups() resp.Value {
	out := []resp.Value{}
	for _, name := range slices.Sorted(maps.Keys(s.groups)) {
		g := s.groups[name]
		all, members := []resp.Value{}, []resp.Value{}
		for _, id := range g.ids() {
			p := g.pel[id]
			at := p.atMS
			if p.owner == nil {
				at = 0
			}
			all = append(all, resp.Array(idValue(id), resp.BulkString(p.name()), resp.Int(at), resp.Int(p.counts)))
		}
		for _, name := range g.names() {
			c := g.consumers[name]
			owned := []resp.Value{}
			for _, id := range g.owned(c) {
				owned = append(owned, resp.Array(idValue(id), resp.Int(g.pel[id].atMS), resp.Int(g.pel[id].counts)))
			}
			members = append(members, resp.Array(
				resp.BulkString("name"), resp.BulkString(name), resp.BulkString("seen-time"), resp.Int(c.seenMS),
				resp.BulkString("active-time"), resp.Int(c.activeMS), resp.BulkString("pel-count"), resp.Int(int64(len(owned))),
				resp.BulkString("pending"), resp.Array(owned...)))
		}
		read, lag := g.progress(s)
		out = append(out, resp.Array(
			resp.BulkString("name"), resp.BulkString(name), resp.BulkString("last-delivered-id"), idValue(g.delivered),
			resp.BulkString("entries-read"), read, resp.BulkString("lag"), lag, resp.BulkString("pel-count"), resp.Int(int64(len(all))),
			resp.BulkString("pending"), resp.Array(all...), resp.BulkString("consumers"), resp.Array(members...)))
	}
	return resp.Array(out...)
}

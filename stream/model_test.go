package stream_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"millrace/stream"
)

// model is a simple model of one stream with its groups. It has no index, bound or count that
// could be wrong. Its methods return replies in the form of resp.Print.
type model struct {
	entries []stream.ID // the live ones, in order; each has the fields of entryText
	last    stream.ID
	groups  map[string]*modelGroup
	nowMS   int64
	// exact is false after a command because of which the lag may not be exact.
	exact bool
}

type modelGroup struct {
	delivered stream.ID
	consumers map[string]*modelConsumer
	pending   map[stream.ID]*modelPending
	released  int
	exact     bool
}

type modelConsumer struct{ seenMS, activeMS int64 }

type modelPending struct {
	owner      string // empty: released
	timeMS     int64
	rank       int // of a released entry: its place in the order of release
	deliveries int64
}

func newModel() *model { return &model{groups: make(map[string]*modelGroup), exact: true} }

func (m *model) has(id stream.ID) bool { return slices.Contains(m.entries, id) }

// entryText prints an entry, with extra after its fields.
func entryText(id stream.ID, extra string) string {
	return fmt.Sprintf(`["%v", ["f", "v%v"]%s]`, id, id, extra)
}

func list(parts []string) string { return "[" + strings.Join(parts, ", ") + "]" }

func quote(id stream.ID) string { return `"` + id.String() + `"` }

func (m *model) add(id stream.ID) string {
	m.entries = append(m.entries, id)
	m.last = id
	return quote(id)
}

func (m *model) del(ids []stream.ID) string {
	n := 0
	for _, id := range ids {
		if m.remove(id) {
			n++
			m.exact = false
		}
	}
	return fmt.Sprintf(":%d", n)
}

func (m *model) remove(id stream.ID) bool {
	i := slices.Index(m.entries, id)
	if i >= 0 {
		m.entries = slices.Delete(m.entries, i, i+1)
	}
	return i >= 0
}

func (m *model) referenced(id stream.ID) bool {
	for _, g := range m.groups {
		if g.delivered.Less(id) || g.pending[id] != nil {
			return true
		}
	}
	return false
}

func (m *model) dropReferences(id stream.ID) {
	for _, g := range m.groups {
		delete(g.pending, id)
	}
}

func (m *model) trim(maxLen int, policy string) string {
	n := 0
	for _, id := range slices.Clone(m.entries) {
		if len(m.entries) <= maxLen {
			break
		}
		if policy == "ACKED" {
			m.exact = false // it may leave gaps without raising max-deleted-entry-id
			if m.referenced(id) {
				continue
			}
		}
		if policy == "DELREF" {
			m.dropReferences(id)
		}
		m.remove(id)
		n++
	}
	return fmt.Sprintf(":%d", n)
}

// deleteOne does the work of XDELEX for one ID, and the second half of XACKDEL.
func (m *model) deleteOne(id stream.ID, policy string) int {
	if policy == "ACKED" && m.referenced(id) {
		return 2
	}
	if policy == "DELREF" {
		m.dropReferences(id)
	}
	if !m.remove(id) {
		return -1
	}
	m.exact = false
	return 1
}

func (m *model) delEx(ids []stream.ID, policy string) string {
	var out []string
	for _, id := range ids {
		out = append(out, fmt.Sprintf(":%d", m.deleteOne(id, policy)))
	}
	return list(out)
}

func (m *model) ackDel(group string, ids []stream.ID, policy string) string {
	var out []string
	for _, id := range ids {
		n := -1
		if g := m.groups[group]; g != nil && g.pending[id] != nil {
			delete(g.pending, id)
			n = max(m.deleteOne(id, policy), 1) // 1 even if the entry was gone
		}
		out = append(out, fmt.Sprintf(":%d", n))
	}
	return list(out)
}

func (m *model) create(group string, at stream.ID) string {
	if m.groups[group] != nil {
		return "-BUSYGROUP Consumer Group name already exists"
	}
	m.groups[group] = &modelGroup{
		delivered: at, consumers: make(map[string]*modelConsumer), pending: make(map[stream.ID]*modelPending), exact: true,
	}
	return "+OK"
}

func (m *model) noGroup(group string) string {
	return fmt.Sprintf("-NOGROUP No such consumer group '%s' for key name 's'", group)
}

func (m *model) setID(group string, at stream.ID) string {
	g := m.groups[group]
	if g == nil {
		return m.noGroup(group)
	}
	g.delivered = at
	return "+OK"
}

func (m *model) destroy(group string) string {
	if m.groups[group] == nil {
		return ":0"
	}
	delete(m.groups, group)
	return ":1"
}

func (m *model) createConsumer(group, name string) string {
	g := m.groups[group]
	switch {
	case g == nil:
		return m.noGroup(group)
	case g.consumers[name] != nil:
		return ":0"
	}
	m.attend(g, name)
	return ":1"
}

func (m *model) delConsumer(group, name string) string {
	g := m.groups[group]
	switch {
	case g == nil:
		return m.noGroup(group)
	case g.consumers[name] == nil:
		return ":0"
	}
	n := 0
	for id, p := range g.pending {
		if p.owner == name {
			delete(g.pending, id)
			n++
		}
	}
	delete(g.consumers, name)
	return fmt.Sprintf(":%d", n)
}

func (m *model) attend(g *modelGroup, name string) *modelConsumer {
	c := g.consumers[name]
	if c == nil {
		c = &modelConsumer{activeMS: -1}
		g.consumers[name] = c
	}
	c.seenMS = m.nowMS
	return c
}

// ids returns the pending IDs of g in the order of the IDs.
func (g *modelGroup) ids() []stream.ID {
	return slices.SortedFunc(maps.Keys(g.pending), stream.ID.Compare)
}

// order returns the pending IDs of g in the order of claims.
func (g *modelGroup) order() []stream.ID {
	ids := g.ids()
	slices.SortStableFunc(ids, func(a, b stream.ID) int {
		p, q := g.pending[a], g.pending[b]
		switch {
		case p.owner == "" && q.owner == "":
			return p.rank - q.rank
		case p.owner == "":
			return -1
		case q.owner == "":
			return 1
		}
		return int(p.timeMS - q.timeMS)
	})
	return ids
}

func (m *model) idle(p *modelPending) int64 {
	if p.owner == "" {
		return -1
	}
	return m.nowMS - p.timeMS
}

func (m *model) claimable(p *modelPending, minIdle int64) bool {
	return p.owner == "" || m.nowMS-p.timeMS >= minIdle
}

func (m *model) noGroupToRead(group string) string {
	return fmt.Sprintf("-NOGROUP No such key 's' or consumer group '%s' in XREADGROUP with GROUP option", group)
}

// read is XREADGROUP with ">". A negative claim means no CLAIM, and count zero means all.
func (m *model) read(group, name string, count int, claim int64, noAck bool) string {
	g := m.groups[group]
	if g == nil {
		return m.noGroupToRead(group)
	}
	c := m.attend(g, name)
	var out []string
	extra := ""
	if claim >= 0 {
		for _, id := range g.order() {
			p := g.pending[id]
			if count > 0 && len(out) == count || !m.claimable(p, claim) || !m.has(id) {
				continue
			}
			out = append(out, entryText(id, fmt.Sprintf(", :%d, :%d", m.idle(p), p.deliveries)))
			m.give(c, p, name, p.deliveries+1)
		}
		extra = ", :0, :0"
	}
	for _, id := range m.entries {
		if !g.delivered.Less(id) || count > 0 && len(out) == count {
			continue
		}
		out = append(out, entryText(id, extra))
		g.delivered = id
		if noAck {
			continue
		}
		p := g.pending[id]
		if p == nil {
			p = &modelPending{}
			g.pending[id] = p
		}
		m.give(c, p, name, 1)
	}
	if out == nil {
		return "*-1"
	}
	return `[["s", ` + list(out) + `]]`
}

// give makes the consumer c, called name, the owner of p.
func (m *model) give(c *modelConsumer, p *modelPending, name string, deliveries int64) {
	c.activeMS = m.nowMS
	p.owner, p.timeMS, p.deliveries = name, m.nowMS, deliveries
}

func (m *model) history(group, name string, after stream.ID, count int) string {
	g := m.groups[group]
	if g == nil {
		return m.noGroupToRead(group)
	}
	m.attend(g, name)
	var out []string
	for _, id := range g.ids() {
		p := g.pending[id]
		if p.owner != name || !after.Less(id) || count > 0 && len(out) == count {
			continue
		}
		if !m.has(id) {
			out = append(out, fmt.Sprintf(`["%v", *-1]`, id))
			continue
		}
		out = append(out, entryText(id, ""))
		p.timeMS = m.nowMS
		p.deliveries++
	}
	return `[["s", ` + list(out) + `]]`
}

func (m *model) ack(group string, ids []stream.ID) string {
	n := 0
	if g := m.groups[group]; g != nil {
		for _, id := range ids {
			if g.pending[id] != nil {
				delete(g.pending, id)
				n++
			}
		}
	}
	return fmt.Sprintf(":%d", n)
}

type modelClaim struct {
	minIdle, timeMS, retries int64
	force, justID            bool
	lastID                   stream.ID
}

func (m *model) noGroupPlain(group string) string {
	return fmt.Sprintf("-NOGROUP No such key 's' or consumer group '%s'", group)
}

func (m *model) claim(group, name string, ids []stream.ID, a modelClaim) string {
	g := m.groups[group]
	if g == nil {
		return m.noGroupPlain(group)
	}
	if g.delivered.Less(a.lastID) {
		g.delivered = a.lastID
		g.exact = false // entries-read does not move with it
	}
	c := m.attend(g, name)
	var out []string
	for _, id := range ids {
		p := g.pending[id]
		if !m.has(id) {
			delete(g.pending, id)
			continue
		}
		if p == nil {
			if !a.force {
				continue
			}
			p = &modelPending{deliveries: 1}
			g.pending[id] = p
		} else if !m.claimable(p, a.minIdle) {
			continue
		}
		out = append(out, m.take(c, p, name, id, a))
	}
	return list(out)
}

func (m *model) take(c *modelConsumer, p *modelPending, name string, id stream.ID, a modelClaim) string {
	n := p.deliveries
	if a.retries >= 0 {
		n = a.retries
	} else if !a.justID {
		n++
	}
	m.give(c, p, name, n)
	p.timeMS = a.timeMS
	if a.justID {
		return quote(id)
	}
	return entryText(id, "")
}

func (m *model) autoClaim(group, name string, start stream.ID, count int, minIdle int64, justID bool) string {
	g := m.groups[group]
	if g == nil {
		return m.noGroupPlain(group)
	}
	c := m.attend(g, name)
	cursor := stream.ID{}
	var out, deleted []string
	looks := 10 * count
	for _, id := range g.ids() {
		if id.Less(start) {
			continue
		}
		if looks == 0 || len(out)+len(deleted) == count {
			cursor = id
			break
		}
		looks--
		p := g.pending[id]
		if !m.has(id) {
			delete(g.pending, id)
			deleted = append(deleted, quote(id))
		} else if m.claimable(p, minIdle) {
			out = append(out, m.take(c, p, name, id, modelClaim{timeMS: m.nowMS, retries: -1, justID: justID}))
		}
	}
	return list([]string{quote(cursor), list(out), list(deleted)})
}

func (m *model) nack(group, mode string, ids []stream.ID, retries int64, force bool) string {
	g := m.groups[group]
	if g == nil {
		return m.noGroupPlain(group)
	}
	n := 0
	for _, id := range ids {
		p := g.pending[id]
		if p == nil && !force || !m.has(id) {
			continue
		}
		if p == nil {
			p = &modelPending{}
			g.pending[id] = p
		}
		p.owner, p.rank = "", g.released
		g.released++
		switch {
		case retries >= 0:
			p.deliveries = retries
		case mode == "SILENT":
			p.deliveries = max(p.deliveries-1, 0)
		}
		n++
	}
	return fmt.Sprintf(":%d", n)
}

func (m *model) pendingSummary(group string) string {
	g := m.groups[group]
	if g == nil {
		return m.noGroupPlain(group)
	}
	ids := g.ids()
	if len(ids) == 0 {
		return "[:0, $-1, $-1, *-1]"
	}
	var owners []string
	for _, name := range slices.Sorted(maps.Keys(g.consumers)) {
		if n := len(m.owned(g, name)); n > 0 {
			owners = append(owners, fmt.Sprintf(`["%s", "%d"]`, name, n))
		}
	}
	return fmt.Sprintf(`[:%d, "%v", "%v", %s]`, len(ids), ids[0], ids[len(ids)-1], list(owners))
}

func (m *model) owned(g *modelGroup, name string) []stream.ID {
	return slices.DeleteFunc(g.ids(), func(id stream.ID) bool { return g.pending[id].owner != name })
}

func (m *model) pendingRange(group, name string, from, to stream.ID, count int, minIdle int64) string {
	g := m.groups[group]
	if g == nil {
		return m.noGroupPlain(group)
	}
	var out []string
	for _, id := range g.ids() {
		p := g.pending[id]
		if id.Less(from) || to.Less(id) || len(out) == count || !m.claimable(p, minIdle) {
			continue
		}
		if name != "" && (p.owner != name || g.consumers[name] == nil) {
			continue
		}
		out = append(out, fmt.Sprintf(`["%v", "%s", :%d, :%d]`, id, p.owner, m.idle(p), p.deliveries))
	}
	return list(out)
}

func (m *model) infoConsumers(group string) string {
	g := m.groups[group]
	if g == nil {
		return m.noGroup(group)
	}
	var out []string
	for _, name := range slices.Sorted(maps.Keys(g.consumers)) {
		c := g.consumers[name]
		inactive := int64(-1)
		if c.activeMS >= 0 {
			inactive = m.nowMS - c.activeMS
		}
		out = append(out, fmt.Sprintf(`["name", "%s", "pending", :%d, "idle", :%d, "inactive", :%d]`,
			name, len(m.owned(g, name)), m.nowMS-c.seenMS, inactive))
	}
	return list(out)
}

package stream_test

import (
	"bytes"
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"pgregory.net/rapid"

	"millrace/kv"
	"millrace/kv/pebblekv"
	"millrace/resp"
	"millrace/stream"
)

// TestGroupsAgainstModel runs random commands on one stream and compares every reply with
// a model. After each command Check must find no disagreement. A second state runs the same
// commands in larger batches and never drops its caches, while the first state sometimes
// does. In the end both must hold the same bytes.
func TestGroupsAgainstModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		p := &player{T: rt, first: openRig(rt), second: &lazyRig{rig: openRig(rt)}, m: newModel()}
		defer p.first.close()
		defer p.second.close()
		p.m.nowMS = p.first.nowMS
		p.send("XADD s 1-0 f v1-0", p.m.add(stream.ID{MS: 1}))
		p.send("XGROUP CREATE s g 0", p.m.create("g", stream.ID{}))
		for range 4 {
			p.T.Repeat(actionsOf(p.actions()))
		}
		p.second.commit()
		p.sameBytes()
	})
}

// player is one run of the test.
type player struct {
	*rapid.T
	first  *rig
	second *lazyRig
	m      *model
}

// lazyRig is a rig that applies writes to one batch until commit is called.
type lazyRig struct {
	*rig
	batch *pebble.Batch
}

func (r *lazyRig) close() {
	if r.batch != nil {
		r.batch.Close()
	}
	r.rig.close()
}

func (r *lazyRig) run(argv [][]byte) resp.Value {
	if r.batch == nil {
		r.batch = r.db.NewIndexedBatch()
	}
	v, _, err := r.state.Apply(pebblekv.NewBatch(r.batch), r.nowMS, [][][]byte{argv})
	if err != nil {
		r.t.Fatalf("%s: %v", argv, err)
	}
	return v[0]
}

func (r *lazyRig) commit() {
	if r.batch == nil {
		return
	}
	err := r.state.Flush(pebblekv.NewBatch(r.batch))
	if err == nil {
		err = r.batch.Commit(pebble.NoSync)
	}
	if err != nil {
		r.t.Fatalf("commit: %v", err)
	}
	r.batch = nil
	r.state.Committed()
}

// send runs a command on both states, compares both replies with the model's reply want,
// and checks the keys of the first state.
func (p *player) send(line, want string) {
	p.Helper()
	p.compare(line, want)
	if err := stream.Check(pebblekv.Reader{R: p.first.db}, 0, kv.Slots-1); err != nil {
		p.Fatalf("%s\nleft %v", line, err)
	}
}

// compare is send without the check of the keys.
func (p *player) compare(line, want string) {
	p.Helper()
	argv := argvOf(strings.Fields(line)...)
	p.first.nowMS, p.second.nowMS = p.m.nowMS, p.m.nowMS
	if got := resp.Print(p.first.run(argv), 2); got != want {
		p.Fatalf("%s\n got %s\nwant %s", line, got, want)
	}
	if got := resp.Print(p.second.run(argv), 2); got != want {
		p.Fatalf("%s, in a batch\n got %s\nwant %s", line, got, want)
	}
}

// sameBytes compares all keys and values of the two states.
func (p *player) sameBytes() {
	a, errA := p.first.db.NewIter(nil)
	b, errB := p.second.db.NewIter(nil)
	if errA != nil || errB != nil {
		p.Fatal(errA, errB)
	}
	defer a.Close()
	defer b.Close()
	okA, okB := a.First(), b.First()
	for ; okA && okB; okA, okB = a.Next(), b.Next() {
		if !bytes.Equal(a.Key(), b.Key()) || !bytes.Equal(a.Value(), b.Value()) {
			p.Fatalf("states differ:\n%s = %x\n%s = %x", stream.PrintKey(a.Key()), a.Value(), stream.PrintKey(b.Key()), b.Value())
		}
	}
	if okA || okB {
		p.Fatal("one state holds more keys than the other")
	}
}

func (p *player) intn(name string, n int) int { return rapid.IntRange(0, n-1).Draw(p.T, name) }

func (p *player) pick(name string, from ...string) string {
	return rapid.SampledFrom(from).Draw(p.T, name)
}

func (p *player) id() stream.ID {
	return stream.ID{MS: uint64(1 + p.intn("ms", int(p.m.last.MS)+1)), Seq: uint64(p.intn("seq", 2))}
}

// ids draws IDs, most of them pending in the group.
func (p *player) ids(group string) []stream.ID {
	ids := make([]stream.ID, 1+p.intn("more", 3))
	for i := range ids {
		ids[i] = p.id()
		if g := p.m.groups[group]; g != nil && len(g.pending) > 0 && p.intn("pending", 4) > 0 {
			ids[i] = rapid.SampledFrom(g.ids()).Draw(p.T, "id")
		}
	}
	return ids
}

func words(ids []stream.ID) string {
	out := make([]string, len(ids))
	for i, id := range ids {
		out[i] = id.String()
	}
	return strings.Join(out, " ")
}

func (p *player) group() string     { return p.pick("group", "g", "g", "g", "h", "none") }
func (p *player) consumer() string  { return p.pick("consumer", "a", "b", "c") }
func (p *player) policy() string    { return p.pick("policy", "KEEPREF", "DELREF", "ACKED") }
func (p *player) chance(n int) bool { return p.intn("chance", n) == 0 }

// actions returns all actions of a run by their names.
func (p *player) actions() map[string]func() {
	out := map[string]func(){
		"wait":    func() { p.m.nowMS += int64(p.intn("ms", 40)) },
		"restart": func() { p.first.state.Reset() },
		"commit":  func() { p.second.commit() },
	}
	maps.Copy(out, p.entryActions())
	maps.Copy(out, p.groupActions())
	maps.Copy(out, p.pendingActions())
	return out
}

// entryActions adds and deletes entries.
func (p *player) entryActions() map[string]func() {
	return map[string]func(){
		"add": func() {
			id := stream.ID{MS: p.m.last.MS + uint64(1+p.intn("gap", 2))}
			p.send(fmt.Sprintf("XADD s %v f v%v", id, id), p.m.add(id))
		},
		"del": func() {
			ids := p.ids("g")
			p.send("XDEL s "+words(ids), p.m.del(ids))
		},
		"trim": func() {
			n, policy := p.intn("maxlen", 12), p.policy()
			p.send(fmt.Sprintf("XTRIM s MAXLEN %d %s", n, policy), p.m.trim(n, policy))
		},
		"delEx": func() {
			ids, policy := p.ids("g"), p.policy()
			p.send(fmt.Sprintf("XDELEX s %s IDS %d %s", policy, len(ids), words(ids)), p.m.delEx(ids, policy))
		},
		"ackDel": func() {
			group, policy := p.group(), p.policy()
			ids := p.ids(group)
			p.send(fmt.Sprintf("XACKDEL s %s %s IDS %d %s", group, policy, len(ids), words(ids)), p.m.ackDel(group, ids, policy))
		},
	}
}

// groupActions creates, changes and destroys groups and consumers.
func (p *player) groupActions() map[string]func() {
	return map[string]func(){
		"create": func() {
			group := p.pick("group", "g", "h")
			if p.chance(2) {
				p.send("XGROUP CREATE s "+group+" 0", p.m.create(group, stream.ID{}))
			} else {
				p.send("XGROUP CREATE s "+group+" $", p.m.create(group, p.m.last))
			}
		},
		"setID": func() {
			group, id := p.group(), p.id()
			p.send(fmt.Sprintf("XGROUP SETID s %s %v", group, id), p.m.setID(group, id))
		},
		"destroy": func() {
			if p.chance(3) {
				group := p.group()
				p.send("XGROUP DESTROY s "+group, p.m.destroy(group))
			}
		},
		"createConsumer": func() {
			group, name := p.group(), p.consumer()
			p.send(fmt.Sprintf("XGROUP CREATECONSUMER s %s %s", group, name), p.m.createConsumer(group, name))
		},
		"delConsumer": func() {
			group, name := p.group(), p.consumer()
			p.send(fmt.Sprintf("XGROUP DELCONSUMER s %s %s", group, name), p.m.delConsumer(group, name))
		},
		"infoConsumers": func() { g := p.group(); p.send("XINFO CONSUMERS s "+g, p.m.infoConsumers(g)) },
		"infoGroups":    p.infoGroups,
	}
}

// pendingActions delivers, acknowledges, claims and releases entries.
func (p *player) pendingActions() map[string]func() {
	return map[string]func(){
		"read":      p.read,
		"readAgain": p.read,
		"flood":     p.flood,
		"history": func() {
			group, name, after, count := p.group(), p.consumer(), p.id(), p.intn("count", 4)
			if p.chance(2) {
				after = stream.ID{}
			}
			p.send(fmt.Sprintf("XREADGROUP GROUP %s %s COUNT %d STREAMS s %v", group, name, count, after),
				p.m.history(group, name, after, count))
		},
		"ack": func() {
			group := p.group()
			ids := p.ids(group)
			p.send(fmt.Sprintf("XACK s %s %s", group, words(ids)), p.m.ack(group, ids))
		},
		"claim":     p.claim,
		"autoClaim": p.autoClaim,
		"nack":      p.nack,
		"pending": func() {
			group := p.group()
			p.send("XPENDING s "+group, p.m.pendingSummary(group))
		},
		"pendingRange": p.pendingRange,
	}
}

// flood delivers 150 entries and acknowledges most of them. These are enough for bounds to
// be made exact and for walks to pass their first strides.
func (p *player) flood() {
	if !p.chance(8) {
		return
	}
	for range 150 {
		id := stream.ID{MS: p.m.last.MS + 1}
		p.compare(fmt.Sprintf("XADD s %v f v%v", id, id), p.m.add(id))
	}
	name := p.consumer()
	p.send("XREADGROUP GROUP g "+name+" STREAMS s >", p.m.read("g", name, 0, -1, false))
	g := p.m.groups["g"]
	if g == nil {
		return
	}
	for _, name := range []string{"a", "b"} {
		if p.chance(2) {
			continue // many stay pending
		}
		ids := p.m.owned(g, name)
		if keep := p.intn("keep", 4); len(ids) > keep {
			from := p.intn("from", keep+1)
			p.send("XACK s g "+words(ids[from:len(ids)-keep+from]), p.m.ack("g", ids[from:len(ids)-keep+from]))
		}
	}
}

func (p *player) read() {
	group, name, count := p.group(), p.consumer(), p.intn("count", 5)
	line := fmt.Sprintf("XREADGROUP GROUP %s %s", group, name)
	if count > 0 {
		line += fmt.Sprintf(" COUNT %d", count)
	}
	claim, noAck := int64(-1), p.chance(5)
	if p.chance(3) {
		claim = int64(p.intn("idle", 3) * 20)
		line += fmt.Sprintf(" CLAIM %d", claim)
	}
	if noAck {
		line += " NOACK"
	}
	p.send(line+" STREAMS s >", p.m.read(group, name, count, claim, noAck))
}

func (p *player) claim() {
	group, name := p.group(), p.consumer()
	ids := p.ids(group)
	a := modelClaim{minIdle: int64(p.intn("idle", 3) * 20), timeMS: p.m.nowMS, retries: -1}
	line := fmt.Sprintf("XCLAIM s %s %s %d %s", group, name, a.minIdle, words(ids))
	if p.chance(3) {
		a.force = true
		line += " FORCE"
	}
	if p.chance(3) {
		a.justID = true
		line += " JUSTID"
	}
	if p.chance(4) {
		a.retries = int64(p.intn("retries", 9))
		line += fmt.Sprintf(" RETRYCOUNT %d", a.retries)
	}
	if p.chance(4) {
		ago := int64(p.intn("ago", 60))
		a.timeMS -= ago
		line += fmt.Sprintf(" IDLE %d", ago)
	}
	if p.chance(8) {
		a.lastID = p.id()
		line += fmt.Sprintf(" LASTID %v", a.lastID)
	}
	p.send(line, p.m.claim(group, name, ids, a))
}

func (p *player) autoClaim() {
	group, name, start, count := p.group(), p.consumer(), p.id(), 1+p.intn("count", 4)
	minIdle, justID := int64(p.intn("idle", 3)*20), p.chance(2)
	if p.chance(2) {
		start = stream.ID{}
	}
	line := fmt.Sprintf("XAUTOCLAIM s %s %s %d %v COUNT %d", group, name, minIdle, start, count)
	if justID {
		line += " JUSTID"
	}
	p.send(line, p.m.autoClaim(group, name, start, count, minIdle, justID))
}

func (p *player) nack() {
	group, mode := p.group(), p.pick("mode", "SILENT", "FAIL")
	ids := p.ids(group)
	line := fmt.Sprintf("XNACK s %s %s IDS %d %s", group, mode, len(ids), words(ids))
	retries, force := int64(-1), p.chance(3)
	if p.chance(4) {
		retries = int64(p.intn("retries", 9))
		line += fmt.Sprintf(" RETRYCOUNT %d", retries)
	}
	if force {
		line += " FORCE"
	}
	p.send(line, p.m.nack(group, mode, ids, retries, force))
}

func (p *player) pendingRange() {
	group, count, minIdle := p.group(), p.intn("count", 6), int64(p.intn("idle", 4)*15)
	from, to, name := p.id(), p.id(), ""
	if p.chance(2) {
		from, to = stream.ID{}, stream.MaxID
	}
	line := fmt.Sprintf("XPENDING s %s IDLE %d %v %v %d", group, minIdle, from, to, count)
	if p.chance(2) {
		name = p.consumer()
		line += " " + name
	}
	p.send(line, p.m.pendingRange(group, name, from, to, count, minIdle))
}

// infoGroups compares XINFO GROUPS with the model. It compares the lag only when the reply
// has one and it must be exact.
func (p *player) infoGroups() {
	p.second.commit()
	for _, row := range p.first.run(argvOf("XINFO", "GROUPS", "s")).Elems {
		name := string(row.Elems[1].Str)
		g := p.m.groups[name]
		if g == nil {
			p.Fatalf("XINFO GROUPS lists the unknown group %q", name)
		}
		got := resp.Print(resp.Array(row.Elems[:8]...), 2)
		want := fmt.Sprintf(`["name", "%s", "consumers", :%d, "pending", :%d, "last-delivered-id", "%v"]`,
			name, len(g.consumers), len(g.pending), g.delivered)
		if got != want {
			p.Fatalf("XINFO GROUPS\n got %s\nwant %s", got, want)
		}
		lag := row.Elems[11]
		if lag.IsNull() || !p.m.exact || !g.exact {
			continue
		}
		ahead := 0
		for _, id := range p.m.entries {
			if g.delivered.Less(id) {
				ahead++
			}
		}
		if lag.Int != int64(ahead) {
			p.Fatalf("group %q has not read %d entries, but its lag is %d", name, ahead, lag.Int)
		}
	}
}

// TestPendingIdle compares XPENDING IDLE with a filtered reply of XPENDING. There are so
// many entries that the walks over both indexes take turns, and either may end first.
func TestPendingIdle(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		r := openRig(rt)
		defer r.close()
		const n = 1500
		var cmds [][][]byte
		for i := 1; i <= n; i++ {
			cmds = append(cmds, argvOf("XADD", "s", fmt.Sprintf("%d-0", i), "f", "v"))
		}
		r.apply(cmds...)
		r.do("XGROUP CREATE s g 0")
		r.do(fmt.Sprintf("XREADGROUP GROUP g a COUNT %d STREAMS s >", n/2))
		r.do("XREADGROUP GROUP g b STREAMS s >")
		r.nowMS += 1000
		// Some spans of entries get other idle times and owners, or are released.
		for range rapid.IntRange(0, 4).Draw(rt, "spans") {
			from := rapid.IntRange(1, n).Draw(rt, "from")
			to := min(n, from+rapid.IntRange(0, 600).Draw(rt, "length"))
			var ids []stream.ID
			for i := from; i <= to; i++ {
				ids = append(ids, stream.ID{MS: uint64(i)})
			}
			if rapid.IntRange(0, 4).Draw(rt, "release") == 0 {
				r.do(fmt.Sprintf("XNACK s g FAIL IDS %d %s", len(ids), words(ids)))
			} else {
				idle := rapid.IntRange(0, 3000).Draw(rt, "idle")
				r.do(fmt.Sprintf("XCLAIM s g %s 0 %s IDLE %d JUSTID", rapid.SampledFrom([]string{"a", "b", "c"}).Draw(rt, "owner"), words(ids), idle))
			}
		}
		from, to := rapid.IntRange(1, n).Draw(rt, "least"), rapid.IntRange(1, n).Draw(rt, "greatest")
		minIdle := rapid.IntRange(1, 3001).Draw(rt, "minIdle")
		count := rapid.SampledFrom([]int{1, 10, 300, n + 1}).Draw(rt, "count")
		owner := rapid.SampledFrom([]string{"", " a", " b", " c"}).Draw(rt, "by")
		var want []resp.Value
		for _, row := range r.do(fmt.Sprintf("XPENDING s g %d %d %d%s", from, to, n, owner)).Elems {
			if idle := row.Elems[2].Int; (idle < 0 || idle >= int64(minIdle)) && len(want) < count {
				want = append(want, row)
			}
		}
		line := fmt.Sprintf("XPENDING s g IDLE %d %d %d %d%s", minIdle, from, to, count, owner)
		if got := r.do(line); got.String() != resp.Array(want...).String() {
			rt.Fatalf("%s\n got %v\nwant %v", line, got, want)
		}
	})
}

// TestPendingIdleByClaim sets up pending entries so that the walk in the order of claims
// ends first: by ID, a thousand young entries come before the idle ones.
func TestPendingIdleByClaim(t *testing.T) {
	r := newRig(t)
	span := func(from, to int) string {
		var ids []stream.ID
		for i := from; i <= to; i++ {
			ids = append(ids, stream.ID{MS: uint64(i)})
		}
		return words(ids)
	}
	for i := 1; i <= 1500; i++ {
		r.do(fmt.Sprintf("XADD s %d-0 f v", i))
	}
	r.do("XGROUP CREATE s g 0")
	r.do("XREADGROUP GROUP g a STREAMS s >")
	r.do("XCLAIM s g b 0 " + span(1400, 1430) + " IDLE 2000 JUSTID")
	r.do("XCLAIM s g c 0 " + span(1300, 1330) + " IDLE 1500 JUSTID")
	r.do("XNACK s g FAIL IDS 10 " + span(1450, 1459))
	r.do("XCLAIM s g b 0 2-0 IDLE 2000 JUSTID")
	for _, test := range []struct{ args, want string }{
		{"- + 10", span(2, 2) + " " + span(1300, 1308)},
		{"3 + 10", span(1300, 1309)},
		{"3 + 40", span(1300, 1330) + " " + span(1400, 1408)},
		{"3 1405 1000", span(1300, 1330) + " " + span(1400, 1405)},
		{"3 + 1000", span(1300, 1330) + " " + span(1400, 1430) + " " + span(1450, 1459)},
		{"1310 1405 1000", span(1310, 1330) + " " + span(1400, 1405)},
		{"1320 1425 20", span(1320, 1330) + " " + span(1400, 1408)},
		{"3 + 5 b", span(1400, 1404)},
		{"- + 1000 c", span(1300, 1330)},
		{"- + 1000 a", ""},
	} {
		var got []string
		for _, row := range r.do("XPENDING s g IDLE 1200 " + test.args).Elems {
			got = append(got, string(row.Elems[0].Str))
		}
		if got := strings.Join(got, " "); got != test.want {
			t.Errorf("IDLE 1200 %s\n got %s\nwant %s", test.args, got, test.want)
		}
	}
}

package stream_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"millrace/kv"
	"millrace/kv/pebblekv"
	"millrace/resp"
	"millrace/stream"
)

// streamMaker draws commands that build the stream "s".
type streamMaker struct {
	*rapid.T
	lastMS  uint64
	deleted bool // whether a command may have deleted entries
	idmp    bool // whether to use idempotent producers, which Redis 7.0 does not know
	nack    bool // whether to use XNACK, which Redis 8.6 does not know
}

func (m *streamMaker) intn(name string, n int) int { return rapid.IntRange(0, n-1).Draw(m.T, name) }

func (m *streamMaker) pick(name string, from ...string) string {
	return rapid.SampledFrom(from).Draw(m.T, name)
}

// command draws one command. No word of it has blanks.
func (m *streamMaker) command() string {
	id := func() string { return fmt.Sprintf("%d-%d", m.intn("ms", int(m.lastMS)+2), m.intn("seq", 3)) }
	group := func() string { return m.pick("group", "g", "g", "12", "other") }
	consumer := func() string { return m.pick("consumer", "alice", "bob", "-7") }
	switch n := m.intn("command", 24); {
	case n < 8:
		m.lastMS += uint64(m.intn("gap", 3))
		return fmt.Sprintf("XADD s %d-* %s", m.lastMS, m.words())
	case n < 13:
		return fmt.Sprintf("XREADGROUP GROUP %s %s COUNT %d STREAMS s >", group(), consumer(), 1+m.intn("count", 4))
	case n < 15:
		return fmt.Sprintf("XACK s %s %s %s", group(), id(), id())
	case n < 17:
		return fmt.Sprintf("XGROUP CREATE s %s %s", group(), m.pick("from", "0", "$", "3-1"))
	case n == 17:
		return fmt.Sprintf("XGROUP CREATECONSUMER s %s %s", group(), consumer())
	case n == 18:
		return fmt.Sprintf("XCLAIM s %s %s 0 %s TIME %d RETRYCOUNT %d %s", group(), consumer(), id(), m.intn("time", 1000),
			m.intn("retries", 300), m.pick("force", "FORCE", "JUSTID"))
	case n == 19:
		m.deleted = true
		return fmt.Sprintf("XDEL s %s %s", id(), id())
	case n == 20:
		m.deleted = true
		return fmt.Sprintf("XTRIM s MAXLEN %s %d", m.pick("how", "=", "~"), m.intn("maxlen", 10))
	case n == 21:
		return fmt.Sprintf("XSETID s %d-0 ENTRIESADDED %d", m.lastMS+uint64(m.intn("ahead", 2)), m.intn("added", 100000))
	case n == 22:
		return fmt.Sprintf("XGROUP SETID s %s %s ENTRIESREAD %d", group(), id(), m.intn("read", 30)-1)
	}
	more := []string{fmt.Sprintf("XGROUP DELCONSUMER s %s %s", group(), consumer())}
	if m.idmp {
		more = append(more, fmt.Sprintf("XADD s IDMP %s %s * f v", m.pick("producer", "p", "q"), m.pick("iid", "1", "2", "3", "x")),
			"XCFGSET s IDMP-MAXSIZE 2")
	}
	if m.nack {
		more = append(more, fmt.Sprintf("XNACK s %s FAIL IDS 1 %s", group(), id()),
			fmt.Sprintf("XNACK s %s FATAL IDS 1 %s FORCE", group(), id()))
	}
	return m.pick("more", more...)
}

// words draws fields and values. The fields are often the same, and the values have all
// encodings of a listpack.
func (m *streamMaker) words() string {
	value := func() string {
		return m.pick("value", "0", "-1", "127", "128", "4095", "4096", "-4097", "32768", "-8388609", "2147483648",
			"-9223372036854775808", "9223372036854775808", "01", "v", "text", strings.Repeat("x", 63), strings.Repeat("y", 64),
			strings.Repeat("ab", 2100), strings.Repeat("z", 17000))
	}
	switch m.intn("fields", 4) {
	case 0:
		return "g " + value()
	case 1:
		return "f " + value() + " 12 " + value()
	}
	return "f " + value()
}

// full returns the replies of XINFO STREAM FULL, XRANGE, XPENDING and XINFO CONSUMERS for the
// stream s.
func full(do func(line string) resp.Value) string {
	out := []string{resp.Print(do("XINFO STREAM s FULL COUNT 0"), 2), resp.Print(do("XRANGE s - +"), 2)}
	for _, g := range []string{"g", "12", "other"} {
		out = append(out, resp.Print(do("XPENDING s "+g+" - + 1000"), 2), resp.Print(do("XINFO CONSUMERS s "+g), 2))
	}
	return strings.Join(out, "\n")
}

// TestDumpRestore dumps a stream and restores it in another state. All replies about it must
// be as before, all records must agree, and it must dump to the same bytes.
func TestDumpRestore(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		from, to := openRig(rt), openRig(rt)
		defer from.close()
		defer to.close()
		m := &streamMaker{T: rt, idmp: true, nack: true}
		from.do(fmt.Sprintf("_setting stream-node-max-entries %d", 1+m.intn("chunk", 6)))
		for range m.intn("commands", 60) {
			from.do(m.command())
			from.nowMS += int64(m.intn("wait", 30))
		}
		to.nowMS = from.nowMS
		payload := from.do("DUMP s")
		if payload.Kind != resp.KindBulk {
			if got := from.show("EXISTS s"); got != ":0" {
				rt.Fatalf("DUMP answers %v, EXISTS %s", payload, got)
			}
			return
		}
		if got := to.restore(payload.Str); got != "+OK" {
			rt.Fatalf("RESTORE answers %s to %x", got, payload.Str)
		}
		if err := stream.Check(pebblekv.Reader{R: to.db}, 0, kv.Slots-1); err != nil {
			rt.Fatal(err)
		}
		if a, b := full(from.do), full(to.do); a != b {
			rt.Fatalf("dumped:\n%s\nrestored:\n%s", a, b)
		}
		if again := to.do("DUMP s"); !bytes.Equal(again.Str, payload.Str) {
			rt.Fatalf("dumps to\n%x and, once restored, to\n%x", payload.Str, again.Str)
		}
	})
}

// restore runs RESTORE on s and shows the reply.
func (r *rig) restore(payload []byte, options ...string) string {
	r.t.Helper()
	return resp.Print(r.run(slices.Concat(argvOf("RESTORE", "s", "0"), [][]byte{payload}, argvOf(options...))), 2)
}

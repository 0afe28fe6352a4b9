package stream_test

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"millrace/kv"
	"millrace/kv/pebblekv"
	"millrace/resp"
	"millrace/stream"
)

// entryModel is one stream without groups, written down as plainly as can be. It
// trims exactly, and knows nothing of chunks.
type entryModel struct {
	exists     bool
	ids        []stream.ID
	fields     map[stream.ID]string // the printed fields
	last       stream.ID
	maxDeleted stream.ID
	added      int
}

func (m *entryModel) add(id stream.ID, fields string) {
	if !m.exists {
		*m = entryModel{exists: true, fields: make(map[stream.ID]string)}
	}
	m.ids = append(m.ids, id)
	m.fields[id] = fields
	m.last = id
	m.added++
}

func (m *entryModel) remove(id stream.ID, tombstone bool) bool {
	i := slices.Index(m.ids, id)
	if i < 0 {
		return false
	}
	m.ids = slices.Delete(m.ids, i, i+1)
	delete(m.fields, id)
	if tombstone && m.maxDeleted.Less(id) {
		m.maxDeleted = id
	}
	return true
}

// between prints the entries from from to to.
func (m *entryModel) between(from, to stream.ID, count int, reverse bool) string {
	var out []string
	ids := slices.Clone(m.ids)
	if reverse {
		slices.Reverse(ids)
	}
	for _, id := range ids {
		if !id.Less(from) && !to.Less(id) && (count == 0 || len(out) < count) {
			out = append(out, fmt.Sprintf(`["%v", %s]`, id, m.fields[id]))
		}
	}
	return "[" + strings.Join(out, ", ") + "]"
}

// entryWalk draws the commands of one run.
type entryWalk struct {
	*rapid.T
	top     uint64 // of the IDs given so far
	deleted bool   // something was deleted other than by a trim
}

func (w *entryWalk) id(label string) stream.ID {
	return stream.ID{MS: rapid.Uint64Range(0, w.top+2).Draw(w.T, label), Seq: rapid.Uint64Range(0, 2).Draw(w.T, label+" seq")}
}

// newID draws an ID above all others.
func (w *entryWalk) newID() stream.ID {
	w.top += rapid.Uint64Range(1, 300).Draw(w.T, "step")
	return stream.ID{MS: w.top, Seq: rapid.Uint64Range(0, 3).Draw(w.T, "seq")}
}

// fields draws the fields and values of an entry.
func (w *entryWalk) fields() []string {
	value := rapid.OneOf(
		rapid.SampledFrom([]string{"", "x", "7", "-1", "127", "128", "4096", "-4097", "32768", "8388608", "2147483648", "9223372036854775807", "007"}),
		rapid.Map(rapid.SampledFrom([]int{20, 63, 64, 127, 128, 200, 4095, 4096, 20000}), func(n int) string { return strings.Repeat("v", n) }))
	words := []string{"f", value.Draw(w.T, "value")}
	for range rapid.IntRange(0, 2).Draw(w.T, "more fields") {
		words = append(words, rapid.SampledFrom([]string{"f", "g", "12", strings.Repeat("n", 70)}).Draw(w.T, "field"), value.Draw(w.T, "value"))
	}
	return words
}

// trim draws the words of a trim that can be exact only, or any.
func (w *entryWalk) trim(m *entryModel, exact bool) (words []string, by string, threshold uint64) {
	by = rapid.SampledFrom([]string{"MAXLEN", "MINID"}).Draw(w.T, "by")
	threshold = rapid.Uint64Range(0, w.top+1).Draw(w.T, "minid")
	if by == "MAXLEN" {
		threshold = rapid.Uint64Range(0, uint64(len(m.ids))+1).Draw(w.T, "maxlen")
	}
	words = []string{by}
	approx := !exact && rapid.Bool().Draw(w.T, "approx")
	if !exact && by == "MINID" && w.deleted {
		// Redis leaves a chunk of deleted entries alone behind where all live ones of it
		// go and its last, deleted ID does not. Here such a chunk goes.
		approx = true
	}
	if approx {
		words = append(words, "~")
	} else if rapid.Bool().Draw(w.T, "equal sign") {
		words = append(words, "=")
	}
	words = append(words, fmt.Sprint(threshold))
	if approx && rapid.Bool().Draw(w.T, "limited") {
		words = append(words, "LIMIT", fmt.Sprint(rapid.IntRange(0, 12).Draw(w.T, "limit")))
	}
	return words, by, threshold
}

// trimmed trims the model exactly, and returns how many went.
func (m *entryModel) trimmed(by string, threshold uint64) int {
	n := 0
	for len(m.ids) > 0 && (by == "MAXLEN" && uint64(len(m.ids)) > threshold || by == "MINID" && m.ids[0].MS < threshold) {
		m.remove(m.ids[0], false)
		n++
	}
	return n
}

func printFields(words []string) string {
	quoted := make([]string, len(words))
	for i, w := range words {
		quoted[i] = `"` + w + `"`
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}

// TestEntriesAgainstModel runs random commands on one stream, and compares every reply
// with a model's. All records must agree with each other after each.
func TestEntriesAgainstModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w, m, r := &entryWalk{T: rt}, &entryModel{}, openRig(rt)
		defer r.close()
		expect := func(want string, words ...string) {
			rt.Helper()
			if got := resp.Print(r.run(argvOf(words...)), 2); got != want {
				rt.Fatalf("%q\n got %s\nwant %s", words, got, want)
			}
		}
		expect("+OK", "_setting", "stream-node-max-entries", fmt.Sprint(rapid.IntRange(1, 5).Draw(rt, "chunk size")))
		rt.Repeat(map[string]func(*rapid.T){
			"": func(rt *rapid.T) {
				if err := stream.Check(pebblekv.Reader{R: r.db}, 0, kv.Slots-1); err != nil {
					rt.Fatal(err)
				}
			},
			"forget": func(*rapid.T) { r.state.Reset() },
			"add": func(*rapid.T) {
				for range rapid.IntRange(1, 6).Draw(rt, "how many") {
					id, fields := w.newID(), w.fields()
					m.add(id, printFields(fields))
					expect(`"`+id.String()+`"`, append([]string{"XADD", "s", id.String()}, fields...)...)
				}
			},
			"add and trim": func(*rapid.T) {
				trim, by, threshold := w.trim(m, true)
				id, fields := w.newID(), w.fields()
				m.add(id, printFields(fields))
				m.trimmed(by, threshold)
				expect(`"`+id.String()+`"`, slices.Concat([]string{"XADD", "s"}, trim, []string{id.String()}, fields)...)
			},
			"trim": func(*rapid.T) {
				trim, by, threshold := w.trim(m, true)
				expect(fmt.Sprintf(":%d", m.trimmed(by, threshold)), append([]string{"XTRIM", "s"}, trim...)...)
			},
			"delete": func(*rapid.T) {
				words, n := []string{"XDEL", "s"}, 0
				for range rapid.IntRange(1, 5).Draw(rt, "how many") {
					id := w.id("id")
					if len(m.ids) > 0 && rapid.Bool().Draw(rt, "there") {
						id = rapid.SampledFrom(m.ids).Draw(rt, "which")
					}
					words = append(words, id.String())
					if m.remove(id, true) {
						n++
					}
				}
				expect(fmt.Sprintf(":%d", n), words...)
			},
			"range": func(*rapid.T) {
				from, to, count := w.id("from"), w.id("to"), rapid.IntRange(0, 4).Draw(rt, "count")
				words := []string{from.String(), to.String()}
				if count > 0 {
					words = append(words, "COUNT", fmt.Sprint(count))
				}
				expect(m.between(from, to, count, false), append([]string{"XRANGE", "s"}, words...)...)
				words[0], words[1] = words[1], words[0]
				expect(m.between(from, to, count, true), append([]string{"XREVRANGE", "s"}, words...)...)
			},
			"read": func(*rapid.T) {
				after := w.id("after")
				from, err := after.Succ()
				if err != nil {
					rt.Fatal(err)
				}
				want := "*-1"
				if all := m.between(from, stream.MaxID, 0, false); all != "[]" {
					want = `[["s", ` + all + `]]`
				}
				expect(want, "XREAD", "STREAMS", "s", after.String())
				ready, err := r.state.Block(argvOf("XREAD", "BLOCK", "0", "STREAMS", "s", after.String())).Ready(pebblekv.Reader{R: r.db}, r.nowMS)
				if err != nil || ready != (want != "*-1") {
					rt.Fatalf("ready after %v: %v, %v", after, ready, err)
				}
			},
			"info": func(*rapid.T) {
				if !m.exists {
					expect("-ERR no such key", "XINFO", "STREAM", "s")
					return
				}
				info := r.run(argvOf("XINFO", "STREAM", "s"))
				got := make(map[string]string)
				for i := 0; i < len(info.Elems); i += 2 {
					got[string(info.Elems[i].Str)] = resp.Print(info.Elems[i+1], 2)
				}
				var first stream.ID
				if len(m.ids) > 0 {
					first = m.ids[0]
				}
				for field, want := range map[string]string{
					"length":                  fmt.Sprintf(":%d", len(m.ids)),
					"entries-added":           fmt.Sprintf(":%d", m.added),
					"last-generated-id":       `"` + m.last.String() + `"`,
					"max-deleted-entry-id":    `"` + m.maxDeleted.String() + `"`,
					"recorded-first-entry-id": `"` + first.String() + `"`,
				} {
					if got[field] != want {
						rt.Fatalf("%s: got %s, want %s", field, got[field], want)
					}
				}
				expect(fmt.Sprintf(":%d", len(m.ids)), "XLEN", "s")
			},
			"remove": func(*rapid.T) {
				if rapid.IntRange(0, 9).Draw(rt, "seldom") > 0 {
					return
				}
				n := 0
				if m.exists {
					n = 1
				}
				*m = entryModel{}
				expect(fmt.Sprintf(":%d", n), "DEL", "s")
			},
		})
	})
}

// TestEntriesAgainstRedis runs random commands on one stream here and on a live Redis
// 7.0 or newer: trims with "~" included, and what XINFO says of the radix tree.
func TestEntriesAgainstRedis(t *testing.T) {
	redis := newLiveRedis(t)
	rapid.Check(t, func(rt *rapid.T) {
		redis.t = rt
		w, m, r := &entryWalk{T: rt}, &entryModel{}, openRig(rt)
		defer r.close()
		redis.do(argvOf("FLUSHALL"))
		both := func(words ...string) resp.Value {
			rt.Helper()
			ours, theirs := r.run(argvOf(words...)), redis.do(argvOf(words...))
			if a, b := resp.Print(ours, 2), resp.Print(theirs, 2); a != b {
				rt.Fatalf("%q\nhere  %s\nRedis %s", words, a, b)
			}
			return ours
		}
		set := func(name string, value int) {
			r.run(argvOf("_setting", name, fmt.Sprint(value)))
			redis.do(argvOf("CONFIG", "SET", name, fmt.Sprint(value)))
		}
		set("stream-node-max-entries", rapid.SampledFrom([]int{0, 1, 2, 3, 10, 100, 200}).Draw(rt, "chunk size"))
		set("stream-node-max-bytes", rapid.SampledFrom([]int{0, 100, 400, 4096}).Draw(rt, "chunk bytes"))
		add := func(before ...string) {
			id, fields := w.newID(), w.fields()
			m.ids = append(m.ids, id)
			both(slices.Concat([]string{"XADD", "s"}, before, []string{id.String()}, fields)...)
		}
		rt.Repeat(map[string]func(*rapid.T){
			"": func(rt *rapid.T) {
				both("XLEN", "s")
				ours, theirs := r.run(argvOf("XINFO", "STREAM", "s")), redis.do(argvOf("XINFO", "STREAM", "s"))
				if ours.IsErr() && theirs.IsErr() {
					return
				}
				known := make(map[string]string)
				for i := 0; i < len(theirs.Elems); i += 2 {
					known[string(theirs.Elems[i].Str)] = resp.Print(theirs.Elems[i+1], 2)
				}
				compared := 0
				for i := 0; i < len(ours.Elems); i += 2 {
					field := string(ours.Elems[i].Str)
					want, ok := known[field]
					if !ok {
						continue
					}
					compared++
					if got := resp.Print(ours.Elems[i+1], 2); got != want {
						rt.Fatalf("%s: here %s, Redis %s", field, got, want)
					}
				}
				if compared < 10 {
					rt.Fatalf("only %d fields were compared", compared)
				}
			},
			"forget": func(*rapid.T) { r.state.Reset() },
			"add": func(*rapid.T) {
				for range rapid.IntRange(1, 8).Draw(rt, "how many") {
					add()
				}
			},
			"add many": func(*rapid.T) {
				fields := w.fields()[:2]
				for range rapid.IntRange(20, 60).Draw(rt, "how many") {
					w.top++
					m.ids = append(m.ids, stream.ID{MS: w.top})
					both("XADD", "s", fmt.Sprint(w.top), fields[0], fields[1])
				}
			},
			"add and trim": func(*rapid.T) {
				trim, _, _ := w.trim(m, false)
				add(trim...)
			},
			"trim": func(*rapid.T) {
				trim, _, _ := w.trim(m, false)
				both(append([]string{"XTRIM", "s"}, trim...)...)
			},
			"delete": func(*rapid.T) {
				w.deleted = true
				words := []string{"XDEL", "s"}
				for range rapid.IntRange(1, 10).Draw(rt, "how many") {
					id := w.id("id")
					if len(m.ids) > 0 && rapid.IntRange(0, 4).Draw(rt, "there") > 0 {
						id = rapid.SampledFrom(m.ids).Draw(rt, "which")
					}
					words = append(words, id.String())
				}
				both(words...)
			},
			"delete the end": func(*rapid.T) {
				w.deleted = true
				for range rapid.IntRange(1, 5).Draw(rt, "how many") {
					v := both("XREVRANGE", "s", "+", "-", "COUNT", "1")
					if len(v.Elems) == 1 {
						both("XDEL", "s", string(v.Elems[0].Elems[0].Str))
					}
				}
			},
			"set the greatest ID": func(*rapid.T) {
				w.top += rapid.Uint64Range(0, math.MaxUint16).Draw(rt, "step")
				both("XSETID", "s", fmt.Sprint(w.top)+"-9")
			},
			"all": func(*rapid.T) { both("XRANGE", "s", "-", "+") },
		})
	})
}

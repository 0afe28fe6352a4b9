package stream_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/zeebo/xxh3"
	"pgregory.net/rapid"

	"millrace/command"
	"millrace/kv"
	"millrace/kv/pebblekv"
	"millrace/resp"
	"millrace/stream"
)

// names is what some names hold, written down as plainly as can be. Streams are here
// only for what they have in common with strings.
type names struct {
	nowMS int64
	held  map[string]*named
}

type named struct {
	isStream bool
	value    string
	entries  int
	atMS     int64 // deadline; zero: none
}

// get returns what a name holds now; nil is nothing.
func (m *names) get(name string) *named {
	if n := m.held[name]; n != nil && n.atMS != 0 && n.atMS <= m.nowMS {
		delete(m.held, name)
	}
	return m.held[name]
}

const wrongType = "-WRONGTYPE Operation against a key holding the wrong kind of value"

// read returns the reply of GET.
func (m *names) read(name string) string {
	switch n := m.get(name); {
	case n == nil:
		return "$-1"
	case n.isStream:
		return wrongType
	default:
		return strconv.Quote(n.value)
	}
}

// put makes a name a string with a deadline.
func (m *names) put(name, value string, atMS int64) {
	m.held[name] = &named{value: value, atMS: atMS}
	m.get(name) // a deadline that has passed leaves nothing
}

// namesWalk draws the commands of one run.
type namesWalk struct {
	*rapid.T
	m *names
}

func (w *namesWalk) name() string {
	return rapid.SampledFrom([]string{"a", "b", "c"}).Draw(w.T, "name")
}

func (w *namesWalk) value() string {
	return rapid.SampledFrom([]string{"", "0", "41", "-7", "9223372036854775807", "x", "01"}).Draw(w.T, "value")
}

// deadline draws a time to live in one of its forms, and returns the words and the time.
// There are few times, so that some meet.
func (w *namesWalk) deadline() (words []string, atMS int64) {
	ms := rapid.Int64Range(1, 8).Draw(w.T, "seconds") * 1000
	switch rapid.IntRange(0, 3).Draw(w.T, "form") {
	case 0:
		return []string{"EX", fmt.Sprint(ms / 1000)}, w.m.nowMS + ms
	case 1:
		return []string{"PX", fmt.Sprint(ms)}, w.m.nowMS + ms
	case 2: // in whole seconds, so it may have passed
		at := (w.m.nowMS+ms)/1000 - 1
		return []string{"EXAT", fmt.Sprint(at)}, at * 1000
	}
	at := w.m.nowMS + ms - 2000
	return []string{"PXAT", fmt.Sprint(at)}, at
}

func digestOf(v string) string { return fmt.Sprintf("%016x", xxh3.HashString(v)) }

// set draws a SET and returns its words and reply.
func (w *namesWalk) set() (words []string, want string) {
	name, value := w.name(), w.value()
	words = []string{"SET", name, value}
	n, old := w.m.get(name), w.m.read(name)
	typed, allowed := false, true
	switch rapid.IntRange(0, 6).Draw(w.T, "condition") {
	case 1:
		words, allowed = append(words, "NX"), n == nil
	case 2:
		words, allowed = append(words, "XX"), n != nil
	case 3:
		v := w.value()
		words, typed, allowed = append(words, "IFEQ", v), true, n != nil && n.value == v
	case 4:
		v := w.value()
		words, typed, allowed = append(words, "IFNE", v), true, n == nil || n.value != v
	case 5:
		v := w.value()
		words, typed, allowed = append(words, "IFDEQ", digestOf(v)), true, n != nil && n.value == v
	case 6:
		v := w.value()
		words, typed, allowed = append(words, "IFDNE", digestOf(v)), true, n == nil || n.value != v
	}
	get := rapid.Bool().Draw(w.T, "get")
	if get {
		words, typed = append(words, "GET"), true
	}
	atMS := int64(0)
	switch rapid.IntRange(0, 2).Draw(w.T, "time") {
	case 1:
		words = append(words, "KEEPTTL")
		if n != nil {
			atMS = n.atMS
		}
	case 2:
		var more []string
		more, atMS = w.deadline()
		words = append(words, more...)
	}
	switch {
	case typed && n != nil && n.isStream:
		return words, wrongType
	case allowed:
		w.m.put(name, value, atMS)
		want = "+OK"
	default:
		want = "$-1"
	}
	if get {
		want = old
	}
	return words, want
}

// add draws an INCRBY or a DECRBY.
func (w *namesWalk) add() (words []string, want string) {
	name, step := w.name(), rapid.SampledFrom([]int64{1, -1, 40, 9223372036854775807}).Draw(w.T, "step")
	words = []string{"INCRBY", name, fmt.Sprint(step)}
	if rapid.Bool().Draw(w.T, "down") {
		words = []string{"DECRBY", name, fmt.Sprint(-step)}
	}
	n := w.m.get(name)
	var was, atMS int64
	switch {
	case n != nil && n.isStream:
		return words, wrongType
	case n != nil:
		var err error
		was, err = strconv.ParseInt(n.value, 10, 64)
		if err != nil || strconv.FormatInt(was, 10) != n.value {
			return words, "-ERR value is not an integer or out of range"
		}
		atMS = n.atMS
	}
	sum := was + step
	if (sum > was) != (step > 0) {
		return words, "-ERR increment or decrement would overflow"
	}
	w.m.put(name, fmt.Sprint(sum), atMS)
	return words, fmt.Sprint(":", sum)
}

// expire draws an EXPIRE or one of its like.
func (w *namesWalk) expire() (words []string, want string) {
	name := w.name()
	form, atMS := w.deadline()
	words = []string{map[string]string{"EX": "EXPIRE", "PX": "PEXPIRE", "EXAT": "EXPIREAT", "PXAT": "PEXPIREAT"}[form[0]], name, form[1]}
	n := w.m.get(name)
	allowed := n != nil
	switch rapid.IntRange(0, 4).Draw(w.T, "condition") {
	case 1:
		words, allowed = append(words, "NX"), allowed && n.atMS == 0
	case 2:
		words, allowed = append(words, "XX"), allowed && n.atMS != 0
	case 3:
		words, allowed = append(words, "GT"), allowed && n.atMS != 0 && atMS > n.atMS
	case 4:
		words, allowed = append(words, "LT"), allowed && (n.atMS == 0 || atMS < n.atMS)
	}
	if !allowed {
		return words, ":0"
	}
	n.atMS = atMS
	w.m.get(name)
	return words, ":1"
}

// getEx draws a GETEX.
func (w *namesWalk) getEx() (words []string, want string) {
	name := w.name()
	words, want = []string{"GETEX", name}, w.m.read(name)
	atMS, change := int64(0), true
	switch rapid.IntRange(0, 2).Draw(w.T, "option") {
	case 0:
		change = false
	case 1:
		words = append(words, "PERSIST")
	case 2:
		var more []string
		more, atMS = w.deadline()
		words = append(words, more...)
	}
	if n := w.m.get(name); n != nil && !n.isStream && change {
		n.atMS = atMS
		w.m.get(name)
	}
	return words, want
}

// TestStringsAgainstModel runs random commands on a few names while time passes, and
// compares every reply with a model's. All keys must agree with each other. A second
// state applies the same writes in other batches: it must answer them alike, and hold
// the same bytes in the end.
func TestStringsAgainstModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := &namesWalk{T: rt, m: &names{nowMS: 1_000_000, held: make(map[string]*named)}}
		first, second := openRig(rt), &lazyRig{rig: openRig(rt)}
		defer first.close()
		defer second.close()
		p := &player{T: rt, first: first, second: second}
		m := w.m
		send := func(words []string, want string) {
			rt.Helper()
			argv := argvOf(words...)
			first.nowMS, second.nowMS = m.nowMS, m.nowMS
			got := resp.Print(first.run(argv), 2)
			if want != "" && got != want {
				rt.Fatalf("%q\n got %s\nwant %s", words, got, want)
			}
			if c, _ := stream.Lookup(argv); c.Is(command.Write) {
				if other := resp.Print(second.run(argv), 2); other != got {
					rt.Fatalf("%q answers %s, and in a batch %s", words, got, other)
				}
			}
		}
		actions := map[string]func(*rapid.T){
			"": func(rt *rapid.T) {
				if err := stream.Check(pebblekv.Reader{R: first.db}, 0, kv.Slots-1); err != nil {
					rt.Fatal(err)
				}
			},
			"forget": func(*rapid.T) { first.state.Reset() },
			"commit": func(*rapid.T) { second.commit() },
			"time":   func(*rapid.T) { m.nowMS += rapid.Int64Range(0, 5).Draw(rt, "halves") * 500 },
			"set":    func(*rapid.T) { send(w.set()) },
			"add":    func(*rapid.T) { send(w.add()) },
			"expire": func(*rapid.T) { send(w.expire()) },
			"getex":  func(*rapid.T) { send(w.getEx()) },
			"getdel": func(*rapid.T) {
				name := w.name()
				want := m.read(name)
				if n := m.get(name); n != nil && !n.isStream {
					delete(m.held, name)
				}
				send([]string{"GETDEL", name}, want)
			},
			"append": func(*rapid.T) {
				name, value, atMS := w.name(), w.value(), int64(0)
				words := []string{"APPEND", name, value}
				if n := m.get(name); n != nil {
					if n.isStream {
						send(words, wrongType)
						return
					}
					value, atMS = n.value+value, n.atMS
				}
				if len(value) > 100 {
					return
				}
				m.put(name, value, atMS)
				send(words, fmt.Sprint(":", len(value)))
			},
			"xadd": func(*rapid.T) {
				name := w.name()
				n := m.get(name)
				if n == nil {
					n = &named{isStream: true}
					m.held[name] = n
				}
				want := wrongType
				if n.isStream {
					n.entries++
					want = ""
				}
				send([]string{"XADD", name, "*", "f", "v"}, want)
			},
			"delete": func(*rapid.T) {
				name, want := w.name(), ":0"
				if m.get(name) != nil {
					want = ":1"
				}
				delete(m.held, name)
				send([]string{"DEL", name}, want)
			},
			"persist": func(*rapid.T) {
				name, want := w.name(), ":0"
				if n := m.get(name); n != nil && n.atMS != 0 {
					n.atMS, want = 0, ":1"
				}
				send([]string{"PERSIST", name}, want)
			},
			// What the leader proposes leaves what is alive, and nothing else.
			"sweep": func(*rapid.T) {
				send([]string{"_EXPIRE"}, "")
				live := 0
				for _, name := range []string{"a", "b", "c"} {
					if m.get(name) != nil {
						live++
					}
				}
				send([]string{"_DBSIZE"}, fmt.Sprint(":", live))
			},
			"read": func(*rapid.T) {
				name := w.name()
				n := m.get(name)
				kind, length, ttl, at := "+none", ":0", ":-2", ":-2"
				if n != nil {
					kind, length, ttl, at = "+string", fmt.Sprint(":", len(n.value)), ":-1", ":-1"
					if n.isStream {
						kind, length = "+stream", wrongType
					}
					if n.atMS != 0 {
						ttl, at = fmt.Sprint(":", n.atMS-m.nowMS), fmt.Sprint(":", n.atMS)
					}
				}
				send([]string{"TYPE", name}, kind)
				send([]string{"STRLEN", name}, length)
				send([]string{"PTTL", name}, ttl)
				send([]string{"PEXPIRETIME", name}, at)
				send([]string{"GET", name}, m.read(name))
				send([]string{"MGET", name}, "["+strings.ReplaceAll(m.read(name), wrongType, "$-1")+"]")
				if n != nil && n.isStream {
					send([]string{"XLEN", name}, fmt.Sprint(":", n.entries))
				}
			},
		}
		for range 3 {
			rt.Repeat(actions)
		}
		second.commit()
		p.sameBytes()
	})
}

// expired makes count names that go away at the same time.
func (r *rig) expired(count int, make func(i int) [][][]byte) {
	r.t.Helper()
	for i := range count {
		r.apply(make(i)...)
	}
}

// TestExpireIsBounded removes many names, and many keys, in several steps.
func TestExpireIsBounded(t *testing.T) {
	for _, test := range []struct {
		name  string
		count int
		make  func(i int) [][][]byte
		want  []int64 // answers of _EXPIRE
	}{
		{"strings", 450, func(i int) [][][]byte {
			return [][][]byte{argvOf("SET", fmt.Sprint("k", i), "v", "PXAT", "2000000")}
		}, []int64{200, 200, 50, 0}},
		// 301 keys each, and 4096 in a step.
		{"small streams", 30, func(i int) [][][]byte {
			name := fmt.Sprint("s", i)
			var cmds [][][]byte
			for id := range 300 {
				cmds = append(cmds, argvOf("XADD", name, fmt.Sprint(id+1), "f", "v"))
			}
			return append(cmds, argvOf("PEXPIREAT", name, "2000000"))
		}, []int64{14, 14, 2, 0}},
		// Each goes with one range tombstone.
		{"large streams", 20, func(i int) [][][]byte {
			name := fmt.Sprint("s", i)
			var cmds [][][]byte
			for id := range 600 {
				cmds = append(cmds, argvOf("XADD", name, fmt.Sprint(id+1), "f", "v"))
			}
			return append(cmds, argvOf("PEXPIREAT", name, "2000000"))
		}, []int64{20, 0}},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := newRig(t)
			r.expired(test.count, test.make)
			r.apply(argvOf("SET", "stays", "v", "PXAT", "2000001"))
			r.nowMS = 2_000_000
			for i, want := range test.want {
				argv, againMS, err := r.state.Due(pebblekv.Reader{R: r.db}, r.nowMS)
				if err != nil {
					t.Fatal(err)
				}
				if last := i == len(test.want)-1; (argv == nil) != last || last && againMS != 2_000_001 {
					t.Fatalf("before step %d %q is due, or at %d", i, argv, againMS)
				}
				if got := r.do("_EXPIRE").Int; got != want {
					t.Fatalf("step %d removed %d names, not %d", i, got, want)
				}
				if err := stream.Check(pebblekv.Reader{R: r.db}, 0, kv.Slots-1); err != nil {
					t.Fatal(err)
				}
			}
			if got := r.show("_DBSIZE"); got != ":1" {
				t.Errorf("%s names are left", got)
			}
		})
	}
}

// TestExpireTouches wakes whoever waits for a name that goes away, by whatever command
// that comes to light.
func TestExpireTouches(t *testing.T) {
	const call = "XREADGROUP GROUP g c BLOCK 0 STREAMS s >"
	for _, last := range []string{"_EXPIRE", "DEL s", "EXPIRE s 10", "SET s v", "XADD s NOMKSTREAM 1 f v", "PEXPIRE s -1"} {
		r := newRig(t)
		r.do("XGROUP CREATE s g 0 MKSTREAM")
		r.do("XGROUP CREATECONSUMER s g c")
		r.do("PEXPIRE s 100")
		r.touched()
		r.nowMS += 99
		if r.ready(call) {
			t.Error("the call is ready while the stream is there")
		}
		if r.nowMS++; last == "PEXPIRE s -1" {
			r.nowMS--
		}
		r.do(last)
		if got := r.touched(); got != "s" {
			t.Errorf("%s touched %q", last, got)
		}
		if !r.ready(call) {
			t.Errorf("after %s the call is not ready", last)
		}
		if got := r.show(call); !strings.HasPrefix(got, "-NOGROUP ") && !strings.HasPrefix(got, "-WRONGTYPE ") {
			t.Errorf("after %s the call answers %s", last, got)
		}
	}
}

// TestDueOfAnEmptyShard has nothing to propose, also before anything was written.
func TestDueOfAnEmptyShard(t *testing.T) {
	r := newRig(t)
	for range 2 {
		if argv, againMS, err := r.state.Due(pebblekv.Reader{R: r.db}, 1<<50); argv != nil || againMS != 0 || err != nil {
			t.Fatalf("%q, %d, %v", argv, againMS, err)
		}
		r.do("SET k v PX 1")
		r.do("DEL k")
	}
}

// TestStringBounds stores what is as long as may be, and refuses what is longer.
func TestStringBounds(t *testing.T) {
	const most = 4 << 20
	const tooLong = "-ERR string exceeds maximum allowed size (proto-max-bulk-len)"
	r := newRig(t)
	long := strings.Repeat("x", most)
	for _, words := range [][]string{
		{"SET", "k", long + "x"}, {"SETNX", "k", long + "x"}, {"GETSET", "k", long + "x"}, {"SETEX", "k", "1", long + "x"},
		{"APPEND", "k", long + "x"},
	} {
		if got := resp.Print(r.run(argvOf(words...)), 2); got != tooLong {
			t.Errorf("%s: %.100s", words[0], got)
		}
	}
	if got := r.show("EXISTS k"); got != ":0" {
		t.Errorf("what was refused is there: %s", got)
	}
	if v := r.run(argvOf("SET", "k", long)); v.IsErr() {
		t.Fatal(v)
	}
	if got := r.show("APPEND k y"); got != tooLong {
		t.Errorf("APPEND: %s", got)
	}
	if got := r.show("STRLEN k"); got != fmt.Sprint(":", most) {
		t.Errorf("STRLEN: %s", got)
	}
	// An MGET returns no more than 64 MiB.
	if n := len(r.do("MGET" + strings.Repeat(" k", 16)).Elems); n != 16 {
		t.Errorf("MGET returns %d values", n)
	}
	if got := r.show("MGET nokey" + strings.Repeat(" k", 17)); got != "-ERR the reply would take more than 64 MiB of memory; ask for fewer keys" {
		t.Errorf("MGET: %.100s", got)
	}
}

// TestBrokenDeadline makes an index name what is not there: that is no refusal, it must
// stop the shard.
func TestBrokenDeadline(t *testing.T) {
	r := newRig(t)
	r.do("SET k v PX 10")
	key := []byte(nil)
	it, err := r.db.NewIter(nil)
	if err != nil {
		t.Fatal(err)
	}
	for ok := it.First(); ok; ok = it.Next() {
		if strings.HasPrefix(stream.PrintKey(it.Key()), "head ") {
			key = append(key, it.Key()...)
		}
	}
	if err := it.Close(); err != nil {
		t.Fatal(err)
	}
	if err := r.db.Delete(key, pebble.NoSync); err != nil {
		t.Fatal(err)
	}
	r.state.Reset()
	b := r.db.NewIndexedBatch()
	defer b.Close()
	if v, err := r.state.Apply(pebblekv.NewBatch(b), r.nowMS+10, [][][]byte{argvOf("_EXPIRE")}); err == nil {
		t.Errorf("it answers %v", v)
	}
	if err := stream.Check(pebblekv.Reader{R: r.db}, 0, kv.Slots-1); err == nil {
		t.Error("Check finds nothing")
	}
}

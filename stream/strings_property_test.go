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

// names is a simple model of strings and their deadlines. It has streams only as values of
// another type.
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

// get returns the value of a name, or nil when it has none or has expired.
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
	m.get(name) // removes it when the deadline has passed
}

// namesWalk draws the commands of one run, and runs them on two states and the model.
type namesWalk struct {
	*rapid.T
	m      *names
	first  *rig
	second *lazyRig
}

func (w *namesWalk) name() string {
	return rapid.SampledFrom([]string{"a", "b", "c"}).Draw(w.T, "name")
}

func (w *namesWalk) value() string {
	return rapid.SampledFrom([]string{"", "0", "41", "-7", "9223372036854775807", "x", "01"}).Draw(w.T, "value")
}

// deadline draws a time to live in one of its forms, and returns the words and the time.
// There are only a few different times, so that some names expire together.
func (w *namesWalk) deadline() (words []string, atMS int64) {
	ms := rapid.Int64Range(1, 8).Draw(w.T, "seconds") * 1000
	switch rapid.IntRange(0, 3).Draw(w.T, "form") {
	case 0:
		return []string{"EX", fmt.Sprint(ms / 1000)}, w.m.nowMS + ms
	case 1:
		return []string{"PX", fmt.Sprint(ms)}, w.m.nowMS + ms
	case 2: // rounded down to seconds, so it may have passed
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

// expire draws an EXPIRE, PEXPIRE, EXPIREAT or PEXPIREAT.
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
// compares every reply with a model. Check must find no disagreement. A second state applies
// the same writes in larger batches. Its replies must be equal, and in the end both states
// must hold the same bytes.
func TestStringsAgainstModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := &namesWalk{T: rt, m: &names{nowMS: 1_000_000, held: make(map[string]*named)}, first: openRig(rt), second: &lazyRig{rig: openRig(rt)}}
		defer w.first.close()
		defer w.second.close()
		actions := actionsOf(map[string]func(){
			"":        w.check,
			"forget":  w.first.state.Reset,
			"commit":  w.second.commit,
			"time":    func() { w.m.nowMS += rapid.Int64Range(0, 5).Draw(rt, "halves") * 500 },
			"set":     func() { w.send(w.set()) },
			"add":     func() { w.send(w.add()) },
			"expire":  func() { w.send(w.expire()) },
			"getex":   func() { w.send(w.getEx()) },
			"getdel":  w.getDel,
			"append":  w.appendValue,
			"xadd":    w.xadd,
			"delete":  w.delete,
			"persist": w.persist,
			"sweep":   w.sweep,
			"read":    w.readAll,
		})
		for range 3 {
			rt.Repeat(actions)
		}
		w.second.commit()
		(&player{T: rt, first: w.first, second: w.second}).sameBytes()
	})
}

// send runs a command on the first state, and on the second when it writes. The replies
// must be equal, and equal to want unless that is empty.
func (w *namesWalk) send(words []string, want string) {
	w.Helper()
	argv := argvOf(words...)
	w.first.nowMS, w.second.nowMS = w.m.nowMS, w.m.nowMS
	got := resp.Print(w.first.run(argv), 2)
	if want != "" && got != want {
		w.Fatalf("%q\n got %s\nwant %s", words, got, want)
	}
	if c, _ := stream.Lookup(argv); c.Is(command.Write) {
		if other := resp.Print(w.second.run(argv), 2); other != got {
			w.Fatalf("%q answers %s, but %s in a larger batch", words, got, other)
		}
	}
}

func (w *namesWalk) check() {
	if err := stream.Check(pebblekv.Reader{R: w.first.db}, 0, kv.Slots-1); err != nil {
		w.Fatal(err)
	}
}

func (w *namesWalk) getDel() {
	name := w.name()
	want := w.m.read(name)
	if n := w.m.get(name); n != nil && !n.isStream {
		delete(w.m.held, name)
	}
	w.send([]string{"GETDEL", name}, want)
}

func (w *namesWalk) appendValue() {
	name, value, atMS := w.name(), w.value(), int64(0)
	words := []string{"APPEND", name, value}
	if n := w.m.get(name); n != nil {
		if n.isStream {
			w.send(words, wrongType)
			return
		}
		value, atMS = n.value+value, n.atMS
	}
	if len(value) > 100 {
		return
	}
	w.m.put(name, value, atMS)
	w.send(words, fmt.Sprint(":", len(value)))
}

func (w *namesWalk) xadd() {
	name := w.name()
	n := w.m.get(name)
	if n == nil {
		n = &named{isStream: true}
		w.m.held[name] = n
	}
	want := wrongType
	if n.isStream {
		n.entries++
		want = ""
	}
	w.send([]string{"XADD", name, "*", "f", "v"}, want)
}

func (w *namesWalk) delete() {
	name, want := w.name(), ":0"
	if w.m.get(name) != nil {
		want = ":1"
	}
	delete(w.m.held, name)
	w.send([]string{"DEL", name}, want)
}

func (w *namesWalk) persist() {
	name, want := w.name(), ":0"
	if n := w.m.get(name); n != nil && n.atMS != 0 {
		n.atMS, want = 0, ":1"
	}
	w.send([]string{"PERSIST", name}, want)
}

// sweep runs _EXPIRE, after which only live names are left.
func (w *namesWalk) sweep() {
	w.send([]string{"_EXPIRE"}, "")
	live := 0
	for _, name := range []string{"a", "b", "c"} {
		if w.m.get(name) != nil {
			live++
		}
	}
	w.send([]string{"_DBSIZE"}, fmt.Sprint(":", live))
}

// readAll runs all reading commands on one name.
func (w *namesWalk) readAll() {
	name := w.name()
	n := w.m.get(name)
	kind, length, ttl, at := "+none", ":0", ":-2", ":-2"
	if n != nil {
		kind, length, ttl, at = "+string", fmt.Sprint(":", len(n.value)), ":-1", ":-1"
		if n.isStream {
			kind, length = "+stream", wrongType
		}
		if n.atMS != 0 {
			ttl, at = fmt.Sprint(":", n.atMS-w.m.nowMS), fmt.Sprint(":", n.atMS)
		}
	}
	w.send([]string{"TYPE", name}, kind)
	w.send([]string{"STRLEN", name}, length)
	w.send([]string{"PTTL", name}, ttl)
	w.send([]string{"PEXPIRETIME", name}, at)
	w.send([]string{"GET", name}, w.m.read(name))
	w.send([]string{"MGET", name}, "["+strings.ReplaceAll(w.m.read(name), wrongType, "$-1")+"]")
	if n != nil && n.isStream {
		w.send([]string{"XLEN", name}, fmt.Sprint(":", n.entries))
	}
}

// expired runs the commands that make returns for each of count names.
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
		// Each has 301 keys. One step deletes about 4096.
		{"small streams", 30, func(i int) [][][]byte {
			name := fmt.Sprint("s", i)
			var cmds [][][]byte
			for id := range 300 {
				cmds = append(cmds, argvOf("XADD", name, fmt.Sprint(id+1), "f", "v"))
			}
			return append(cmds, argvOf("PEXPIREAT", name, "2000000"))
		}, []int64{14, 14, 2, 0}},
		// One range tombstone deletes each.
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

// TestExpireTouches checks that the name of an expired stream is touched, so that blocked
// calls wake up, whichever command removes it.
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

// TestDueOfAnEmptyShard checks that an empty shard proposes nothing, before and after its
// first write.
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

// TestStringBounds stores a value of the greatest length, and checks that longer ones are
// refused.
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
		t.Errorf("after a refusal, EXISTS answers %s", got)
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

// TestBrokenDeadline deletes the head of a name that still has a deadline key. _EXPIRE must
// return an error, which stops the shard, and not a reply.
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
	if v, _, err := r.state.Apply(pebblekv.NewBatch(b), r.nowMS+10, [][][]byte{argvOf("_EXPIRE")}); err == nil {
		t.Errorf("it answers %v", v)
	}
	if err := stream.Check(pebblekv.Reader{R: r.db}, 0, kv.Slots-1); err == nil {
		t.Error("Check finds nothing")
	}
}

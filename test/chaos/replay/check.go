package replay

import (
	"math"
	"slices"
	"strings"
	"time"

	"millrace/resp"
	"millrace/test/chaos/client"
)

// Counts says what was compared.
type Counts struct {
	Replies  int `json:"replies"`  // of writes, with the model at their place in the log
	Reads    int `json:"reads"`    // with the model while they ran
	Unknown  int `json:"unknown"`  // writes with an unknown outcome
	Refused  int `json:"refused"`  // writes that were refused, and are not in the log
	Commands int `json:"commands"` // of the log, run through the model
	Again    int `json:"again"`    // times that a call which blocks was served without being answered so
	Finals   int `json:"finals"`   // streams whose end was compared, of each replica
}

// Add adds up.
func (c *Counts) Add(o Counts) {
	c.Replies += o.Replies
	c.Reads += o.Reads
	c.Unknown += o.Unknown
	c.Refused += o.Refused
	c.Commands += o.Commands
	c.Again += o.Again
	c.Finals += o.Finals
}

// Shard is all that is known of one shard.
type Shard struct {
	Log []Record // see Merge
	// ClockMS is the shard's clock at the first record of Log: it may be above what that
	// says.
	ClockMS int64
	Ops     []Op // in the order in which they were invoked
	// Setup are the commands that belong to no session.
	Setup [][]string
	// Finals are what replicas answered to XINFO STREAM … FULL COUNT 0, by stream, after
	// the last operation.
	Finals map[string]map[string]resp.Value
}

// never is when an operation returns whose outcome is unknown.
const never = time.Duration(math.MaxInt64)

// returned is when the effect of o must have come, if it comes.
func (o *Op) returned() time.Duration {
	if o.Outcome == client.Unknown {
		return never
	}
	return o.Returned
}

// checker is the state of a Check.
type checker struct {
	s      *Shard
	add    func(format string, args ...any)
	counts Counts
	model  *Model

	writes  map[uint64][]*Op // of each session those that were not refused, and are not matched
	refused map[uint64][]*Op
	found   map[*Op][]resp.Value // what those that block have found
	version map[string]int       // of each stream: how many calls were on it
	reads   []*read              // that were not explained yet, in the order of their invocation
	latest  *Op                  // the operation so far that was invoked last
}

// read is a read that is looked for in the states between lo and hi, counted in calls.
type read struct {
	*Op
	lo, hi int
	tried  int // version of the stream that does not explain it; -1: none
}

// Check compares a shard's history with its log. Problems are told to add.
func Check(s *Shard, add func(format string, args ...any)) Counts {
	c := &checker{s: s, add: add, model: NewModel(), writes: map[uint64][]*Op{}, refused: map[uint64][]*Op{}, found: map[*Op][]resp.Value{}, version: map[string]int{}}
	calls := c.order()
	c.bounds(calls)
	c.model.NowMS = s.ClockMS
	c.explain(0)
	at := 0
	for _, r := range s.Log {
		c.model.NowMS = max(c.model.NowMS, r.NowMS)
		for _, call := range r.Calls {
			c.run(r.Index, call, calls[at])
			at++
			c.explain(at)
		}
	}
	for _, r := range c.reads {
		c.add("%s: %q was answered %s, which is in no state between calls %d and %d of the log, with the reads before it", r.Stream, r.Commands, shown(r.Reply), r.lo, r.hi)
	}
	c.leftOver()
	c.blocked()
	c.finals()
	return c.counts
}

// order finds the operation of each call of the log: those of a session stand there in
// their order. A nil is a call of setup, or one of which that was told.
func (c *checker) order() []*Op {
	for i := range c.s.Ops {
		o := &c.s.Ops[i]
		switch {
		case o.Reads:
		case o.Outcome == client.Refused && !o.Blocks:
			c.refused[o.Session] = append(c.refused[o.Session], o)
			c.counts.Refused++
		default:
			c.writes[o.Session] = append(c.writes[o.Session], o)
			if o.Outcome == client.Unknown {
				c.counts.Unknown++
			}
		}
	}
	var calls []*Op
	for _, r := range c.s.Log {
		for _, call := range r.Calls {
			calls = append(calls, c.match(r.Index, call))
		}
	}
	return calls
}

// match returns the next operation of a call's session. One that blocks, whose words no
// other has, stays next: a server may have tried it in vain.
func (c *checker) match(index uint64, call Call) *Op {
	id := sessionOf(call)
	if id == 0 {
		if len(call.Commands) != 1 || !slices.ContainsFunc(c.s.Setup, func(w []string) bool { return slices.Equal(w, call.Commands[0]) }) {
			c.add("record %d holds %q, which nobody has sent", index, call.Commands)
		}
		return nil
	}
	next := c.writes[id]
	for i, o := range next {
		if attendedFor(o, call) {
			return o // any call of its stream and group: it answers nothing
		}
		if sameCommands(o.Commands, call.Commands) && call.Multi == (len(o.Commands) > 1) {
			if o.Blocks {
				c.writes[id] = next[i:]
			} else {
				c.writes[id] = next[i+1:]
			}
			return o
		}
		if !o.Blocks {
			break
		}
	}
	for _, o := range c.refused[id] {
		if sameCommands(o.Commands, call.Commands) {
			c.add("record %d holds %q, which was refused", index, call.Commands)
			return nil
		}
	}
	c.add("record %d holds %q of session %d, out of its order or a second time", index, call.Commands, id)
	return nil
}

// bounds says between which calls each read has run.
func (c *checker) bounds(calls []*Op) {
	n := len(calls)
	for i := range c.s.Ops {
		o := &c.s.Ops[i]
		if !o.Reads || o.Outcome != client.Replied {
			continue
		}
		r := &read{Op: o, hi: n, tried: -1}
		for at, w := range calls {
			if w == nil {
				continue
			}
			// One that blocks may have been tried in vain before: its last call counts, and
			// which that is, is not known here.
			if !w.Blocks && w.returned() < o.Invoked {
				r.lo = at + 1
			}
			if w.Invoked > o.Returned {
				r.hi = min(r.hi, at)
			}
		}
		c.reads = append(c.reads, r)
	}
}

// run runs a call, and compares its reply with what its operation was answered.
func (c *checker) run(index uint64, call Call, o *Op) {
	var replies []resp.Value
	for _, words := range call.Commands {
		v, err := c.model.Do(words)
		if err != nil {
			c.add("record %d: %v", index, err)
			return
		}
		c.counts.Commands++
		replies = append(replies, v)
		c.version[streamOf(words)]++
	}
	if o == nil {
		return
	}
	v := replies[0]
	if call.Multi {
		v = resp.Array(replies...)
	}
	if o.Blocks && v.IsNull() {
		return // in vain: it is tried again, or its time ends
	}
	if o.Blocks {
		c.found[o] = append(c.found[o], v) // see blocked
		return
	}
	if c.latest != nil && o.returned() < c.latest.Invoked {
		c.add("record %d: %q had been answered when %q was sent, and stands behind it in the log", index, o.Commands, c.latest.Commands)
	}
	if c.latest == nil || o.Invoked > c.latest.Invoked {
		c.latest = o
	}
	if o.Outcome != client.Replied {
		return
	}
	c.counts.Replies++
	if got, want := shown(o.Reply), shown(v); got != want {
		c.add("record %d: %q was answered\n  %s, by the log it is\n  %s", index, o.Commands, got, want)
	}
}

// explain drops the reads that are explained by the state after so many calls. Of two
// reads of which one ended before the other began, that one is explained first.
func (c *checker) explain(at int) {
	ended := never // the first end of those that are not explained
	kept := c.reads[:0]
	for i, r := range c.reads {
		if r.Invoked > ended {
			kept = append(kept, c.reads[i:]...)
			break
		}
		if r.lo <= at && at <= r.hi && r.tried != c.version[r.Stream] {
			v, err := c.model.Do(r.Commands[0])
			if err == nil && shown(timeless(r.Commands[0], r.Reply)) == shown(timeless(r.Commands[0], v)) {
				c.counts.Reads++
				continue
			}
			r.tried = c.version[r.Stream]
		}
		ended = min(ended, r.Returned)
		kept = append(kept, r)
	}
	c.reads = kept
}

// leftOver tells of writes that were answered and are not in the log.
func (c *checker) leftOver() {
	for _, ops := range c.writes {
		for _, o := range ops {
			if o.Outcome == client.Replied && !o.Blocks {
				c.missing(o)
			}
		}
	}
}

// blocked compares what calls that block were answered with what they found. A router
// registers such a call anew when the leader is lost that had it, and that may just have
// served it: then it was answered one of what it found, or that there was nothing, and
// the rest is pending. That is counted.
func (c *checker) blocked() {
	for i := range c.s.Ops {
		o := &c.s.Ops[i]
		if !o.Blocks {
			continue
		}
		found := c.found[o]
		answered := slices.ContainsFunc(found, func(v resp.Value) bool { return shown(v) == shown(o.Reply) })
		switch {
		case o.Outcome == client.Unknown:
			continue
		case o.Outcome == client.Refused && len(found) > 0:
			c.add("%q was refused (%s), and has found %s", o.Commands, shown(o.Reply), shown(found[0]))
		case o.Outcome == client.Refused:
		case answered:
			c.counts.Replies++
			c.counts.Again += len(found) - 1
		case o.Reply.IsNull():
			c.counts.Again += len(found)
		default:
			c.missing(o)
		}
	}
}

func (c *checker) missing(o *Op) {
	c.add("%q was answered %s, and is not in the log", o.Commands, shown(o.Reply))
}

// finals compares what replicas hold in the end.
func (c *checker) finals() {
	for stream, replicas := range c.s.Finals {
		words := []string{"XINFO", "STREAM", stream, "FULL", "COUNT", "0"}
		v, err := c.model.Do(words)
		if err != nil {
			c.add("%s: %v", stream, err)
			continue
		}
		for where, got := range replicas {
			c.counts.Finals++
			if got, want := shown(timeless(words, got)), shown(v); got != want {
				c.add("%s: %s holds in the end\n  %s, by the log it is\n  %s", stream, where, got, want)
			}
		}
	}
}

// shown prints a reply as RESP2 has it.
func shown(v resp.Value) string { return resp.Print(v, 2) }

// streamOf returns the stream of a command.
func streamOf(words []string) string {
	switch words[0] {
	case "XREADGROUP":
		return words[len(words)-2]
	case attends:
		return words[3]
	case "XGROUP", "XINFO":
		return words[2]
	}
	return words[1]
}

// unmodelled are what XINFO STREAM says of how a stream is kept.
var unmodelled = []string{"radix-tree-keys", "radix-tree-nodes", "idmp-duration", "idmp-maxsize", "pids-tracked", "iids-tracked"}

// timeless takes from the reply of a read what the model does not know: by which clock
// it ran, and how a stream is kept.
func timeless(words []string, v resp.Value) resp.Value {
	switch {
	case words[0] == "XINFO" && words[1] == "STREAM":
		return without(v, unmodelled)
	case words[0] == "XINFO" && words[1] == "CONSUMERS":
		rows := make([]resp.Value, len(v.Elems))
		for i, row := range v.Elems {
			rows[i] = without(row, []string{"idle", "inactive"})
		}
		return resp.Array(rows...)
	case words[0] == "XPENDING" && len(words) > 3:
		rows := make([]resp.Value, len(v.Elems))
		for i, row := range v.Elems {
			rows[i] = row
			if len(row.Elems) == 4 && row.Elems[2].Int >= 0 {
				rows[i] = resp.Array(row.Elems[0], row.Elems[1], resp.Int(0), row.Elems[3])
			}
		}
		return resp.Array(rows...)
	}
	return v
}

// without takes fields from a flat map.
func without(v resp.Value, fields []string) resp.Value {
	if v.IsErr() {
		return v
	}
	var out []resp.Value
	for i := 0; i+1 < len(v.Elems); i += 2 {
		if !slices.Contains(fields, strings.ToLower(string(v.Elems[i].Str))) {
			out = append(out, v.Elems[i], v.Elems[i+1])
		}
	}
	return resp.Array(out...)
}

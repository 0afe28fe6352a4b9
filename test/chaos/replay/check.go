package replay

import (
	"math"
	"slices"
	"strings"
	"time"

	"millrace/resp"
	"millrace/test/chaos/client"
)

// Counts are the numbers of comparisons.
type Counts struct {
	Replies  int `json:"replies"`  // replies of writes, compared with the model's at their place in the log
	Reads    int `json:"reads"`    // reads that a state of the model explains
	Unknown  int `json:"unknown"`  // writes with an unknown outcome
	Refused  int `json:"refused"`  // refused writes, which must not be in the log
	Commands int `json:"commands"` // commands of the log that the model ran
	Again    int `json:"again"`    // times that a blocking call was served in the log without a matching reply
	Finals   int `json:"finals"`   // replicas of streams that were compared with the model's end
}

// Add adds o to c.
func (c *Counts) Add(o Counts) {
	c.Replies += o.Replies
	c.Reads += o.Reads
	c.Unknown += o.Unknown
	c.Refused += o.Refused
	c.Commands += o.Commands
	c.Again += o.Again
	c.Finals += o.Finals
}

// Shard is the log of one shard and the clients' knowledge about it.
type Shard struct {
	Log []Record // the result of Merge
	// ClockMS is the shard's clock at the first record of Log. It may be ahead of that
	// record's NowMS, because a shard's clock never goes back.
	ClockMS int64
	Ops     []Op // in the order of Invoked
	// Setup holds the commands that belong to no session.
	Setup [][]string
	// Finals holds the replies to XINFO STREAM … FULL COUNT 0 after the last operation, by
	// stream and replica.
	Finals map[string]map[string]resp.Value
}

// never is the end of an operation with an unknown outcome.
const never = time.Duration(math.MaxInt64)

// returned returns the time by which o must have taken effect, if it does at all.
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

	writes  map[uint64][]*Op     // by session: the writes that were not refused and have no call yet
	refused map[uint64][]*Op     // by session
	found   map[*Op][]resp.Value // by blocking call: the model's replies with entries
	version map[string]int       // by stream: the number of calls so far
	reads   []*read              // reads that no state has explained yet, in the order of Invoked
	latest  *Op                  // the operation with the latest Invoked so far
}

// read is a read that must be explained by a state of the model after at least lo and at
// most hi calls of the log.
type read struct {
	*Op
	lo, hi int
	tried  int // the last version of the stream that did not explain it; -1: none
}

// Check compares a shard's history with its log, and calls add for each problem.
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
		c.add("%s: %q returned %s, but no state between calls %d and %d of the log explains it and the reads before it", r.Stream, r.Commands, shown(r.Reply), r.lo, r.hi)
	}
	c.leftOver()
	c.blocked()
	c.finals()
	return c.counts
}

// order returns the operation of each call of the log. The operations of one session must
// stand there in their order. The operation is nil for a call of the setup, and for a call
// that order has reported.
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

// match returns the operation of a call: the next one of its session. A blocking operation
// stays next after its call, because the server tries it again when it finds no entries.
// Its words are unique, so that no other operation can be mistaken for it.
func (c *checker) match(index uint64, call Call) *Op {
	id := sessionOf(call)
	if id == 0 {
		if len(call.Commands) != 1 || !slices.ContainsFunc(c.s.Setup, func(w []string) bool { return slices.Equal(w, call.Commands[0]) }) {
			c.add("record %d holds %q, which no client sent", index, call.Commands)
		}
		return nil
	}
	next := c.writes[id]
	for i, o := range next {
		if attendedFor(o, call) {
			return o // it has no reply, so that any waiting call of the consumer will do
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
	c.add("record %d holds %q of session %d out of order or for the second time", index, call.Commands, id)
	return nil
}

// bounds sets lo and hi of each read: a read runs after all writes that had returned when
// it was invoked, and before all writes that were invoked after it returned.
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
			// A blocking operation can have several calls. Only its last one ends before it
			// returns, and which one is last is not known here.
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

// run runs a call in the model, and compares the model's reply with its operation's.
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
		return // it found no entries; it is tried again, or its time ends
	}
	if o.Blocks {
		c.found[o] = append(c.found[o], v) // see blocked
		return
	}
	if c.latest != nil && o.returned() < c.latest.Invoked {
		c.add("record %d: %q had returned before %q was sent, but stands behind it in the log", index, o.Commands, c.latest.Commands)
	}
	if c.latest == nil || o.Invoked > c.latest.Invoked {
		c.latest = o
	}
	if o.Outcome != client.Replied {
		return
	}
	c.counts.Replies++
	if got, want := shown(o.Reply), shown(v); got != want {
		c.add("record %d: %q returned\n  %s\nbut by the log it should return\n  %s", index, o.Commands, got, want)
	}
}

// explain removes the reads that the present state explains, which is the one after at
// calls. When one read ended before another one began, the first must be explained first.
// So explain stops at a read that began after the end of an unexplained one.
func (c *checker) explain(at int) {
	ended := never // the earliest end of the unexplained reads
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

// leftOver reports the writes with a reply that are not in the log.
func (c *checker) leftOver() {
	for _, ops := range c.writes {
		for _, o := range ops {
			if o.Outcome == client.Replied && !o.Blocks {
				c.missing(o)
			}
		}
	}
}

// blocked compares the reply of each blocking call with the model's replies to its calls
// in the log. There can be several with entries: when a leader is lost, the router makes
// the call again at the next one, although the lost leader may just have served it. Then
// the client received one of these replies, or null, and the entries of the others are
// pending. Counts.Again counts the others.
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
			c.add("%q was refused (%s), but by the log it returned %s", o.Commands, shown(o.Reply), shown(found[0]))
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
	c.add("%q returned %s, but is not in the log", o.Commands, shown(o.Reply))
}

// finals compares the streams of each replica in the end with the model's.
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
				c.add("%s: in the end %s holds\n  %s\nbut by the log it should hold\n  %s", stream, where, got, want)
			}
		}
	}
}

// shown prints a reply in its RESP2 form.
func shown(v resp.Value) string { return resp.Print(v, 2) }

// streamOf returns the key of a command.
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

// unmodelled lists the fields of XINFO STREAM that the model lacks, because they depend on
// how a server stores a stream.
var unmodelled = []string{"radix-tree-keys", "radix-tree-nodes", "idmp-duration", "idmp-maxsize", "pids-tracked", "iids-tracked"}

// timeless removes from the reply of a read the parts that the model cannot compute: times
// relative to the clock of the read, and the unmodelled fields.
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

// without returns a flat map without some fields. An error is returned as it is.
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

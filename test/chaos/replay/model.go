package replay

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"millrace/resp"
	"millrace/test/chaos/check"
)

// ID is the ID of an entry.
type ID = check.ID

var maxID = ID{MS: 1<<64 - 1, Seq: 1<<64 - 1}

// compareIDs compares IDs for slices.SortFunc.
func compareIDs(a, b ID) int {
	switch {
	case a.Less(b):
		return -1
	case b.Less(a):
		return 1
	}
	return 0
}

// Model is a set of streams, and the plainest implementation of commands on them.
type Model struct {
	NowMS   int64 // the clock of the record whose commands run
	streams map[string]*stream
}

// NewModel returns a model without streams.
func NewModel() *Model { return &Model{streams: map[string]*stream{}} }

// stream is a stream. It has no index, no bound, and no count that follows from the rest.
type stream struct {
	name       string
	entries    []entry // by rising ID
	last       ID      // last-generated-id
	maxDeleted ID      // max-deleted-entry-id
	added      int64   // entries-added
	groups     map[string]*group
	tokens     map[token]ID // the ID that each idempotency token added; never forgotten
	duplicates int64        // XADDs that repeated a token
}

type entry struct {
	id     ID
	fields []string // names and values in turn
}

// token is an idempotency token of XADD.
type token struct{ producer, id string }

// value returns an entry as a reply, followed by extra.
func (e entry) value(extra ...resp.Value) resp.Value {
	fields := make([]resp.Value, len(e.fields))
	for i, f := range e.fields {
		fields[i] = resp.BulkString(f)
	}
	return resp.Array(append([]resp.Value{idValue(e.id), resp.Array(fields...)}, extra...)...)
}

func idValue(id ID) resp.Value { return resp.BulkString(id.String()) }

// find returns the index of an entry, or the one at which it would be, and false.
func (s *stream) find(id ID) (int, bool) {
	return slices.BinarySearchFunc(s.entries, id, func(e entry, id ID) int { return compareIDs(e.id, id) })
}

func (s *stream) has(id ID) bool {
	_, ok := s.find(id)
	return ok
}

// first returns the ID of the first entry; zero when the stream is empty.
func (s *stream) first() ID {
	if len(s.entries) == 0 {
		return ID{}
	}
	return s.entries[0].id
}

// remove removes an entry, if it is there. A delete raises maxDeleted; a trim does not.
func (s *stream) remove(id ID, deleted bool) bool {
	i, ok := s.find(id)
	if !ok {
		return false
	}
	s.entries = slices.Delete(s.entries, i, i+1)
	if deleted && s.maxDeleted.Less(id) {
		s.maxDeleted = id
	}
	return true
}

// Do runs a command. It returns an error for a command that the model does not know, and
// for a use that the command itself would refuse; a Player draws neither.
func (m *Model) Do(words []string) (v resp.Value, err error) {
	defer func() {
		if p := recover(); p != nil { // a word is missing or is no number
			err = fmt.Errorf("replay: %q: %v", words, p)
		}
	}()
	name := strings.ToUpper(words[0])
	if name == "XINFO" || name == "XGROUP" {
		name += " " + strings.ToUpper(words[1])
		words = words[1:]
	}
	key := words[1]
	switch name {
	case "XREADGROUP":
		key = words[len(words)-2]
	case attends:
		key = words[3]
	}
	s := m.streams[key]
	if s == nil {
		switch {
		case name == "XADD" || name == "XGROUP CREATE" && slices.Contains(words, "MKSTREAM"):
			s = &stream{name: key, groups: map[string]*group{}, tokens: map[token]ID{}}
			m.streams[key] = s
		case name == "XLEN":
			return resp.Int(0), nil
		default:
			return v, fmt.Errorf("replay: %q: the stream does not exist", words)
		}
	}
	run := commands[name]
	if run == nil {
		return v, fmt.Errorf("replay: the model does not know %s", name)
	}
	return run(m, s, words), nil
}

// attends is the internal command that a shard logs for an XREADGROUP that begins to wait:
// _XGROUPATTEND group consumer key.
const attends = "_XGROUPATTEND"

// commands are the commands on an existing stream. words begin with the last word of the
// name: those of "XINFO STREAM s" begin with STREAM.
var commands = map[string]func(m *Model, s *stream, words []string) resp.Value{
	"XADD":               (*Model).add,
	"XDEL":               (*Model).del,
	"XTRIM":              (*Model).trim,
	"XLEN":               func(_ *Model, s *stream, _ []string) resp.Value { return resp.Int(int64(len(s.entries))) },
	"XRANGE":             func(_ *Model, s *stream, w []string) resp.Value { return s.between(w[2], w[3], w[4:], false) },
	"XREVRANGE":          func(_ *Model, s *stream, w []string) resp.Value { return s.between(w[3], w[2], w[4:], true) },
	"XCFGSET":            func(*Model, *stream, []string) resp.Value { return resp.OK },
	"XINFO STREAM":       (*Model).infoStream,
	"XINFO GROUPS":       (*Model).infoGroups,
	"XINFO CONSUMERS":    inGroup((*Model).infoConsumers),
	"XGROUP CREATE":      (*Model).createGroup,
	"XGROUP SETID":       inGroup((*Model).setID),
	"XGROUP DELCONSUMER": inGroup((*Model).delConsumer),
	"XREADGROUP":         (*Model).readGroup,
	attends:              (*Model).wait,
	"XACK":               inGroup((*Model).ack),
	"XNACK":              inGroup((*Model).nack),
	"XCLAIM":             inGroup((*Model).claim),
	"XAUTOCLAIM":         inGroup((*Model).autoClaim),
	"XPENDING":           inGroup((*Model).pending),
	"XACKDEL":            inGroup((*Model).ackDel),
	"XDELEX":             (*Model).delEx,
}

// option returns the word after an option, or false when the option is missing. It stops
// at "*", because the fields of an entry follow there.
func option(words []string, name string) (string, bool) {
	for i, w := range words {
		if w == "*" {
			break
		}
		if strings.EqualFold(w, name) && i+1 < len(words) {
			return words[i+1], true
		}
	}
	return "", false
}

func flag(words []string, name string) bool {
	return slices.ContainsFunc(words, func(w string) bool { return strings.EqualFold(w, name) })
}

func number(word string) int64 {
	n, err := strconv.ParseInt(word, 10, 64)
	if err != nil {
		panic(err)
	}
	return n
}

// optional returns the number after an option, or other when the option is missing.
func optional(words []string, name string, other int64) int64 {
	if w, ok := option(words, name); ok {
		return number(w)
	}
	return other
}

// parseID reads an ID. seq is the sequence number of an ID without one.
func parseID(word string, seq uint64) ID {
	if ms, err := strconv.ParseUint(word, 10, 64); err == nil {
		return ID{MS: ms, Seq: seq}
	}
	id, ok := check.ParseID(word)
	if !ok {
		panic("no ID: " + word)
	}
	return id
}

func parseIDs(words []string) []ID {
	ids := make([]ID, len(words))
	for i, w := range words {
		ids[i] = parseID(w, 0)
	}
	return ids
}

// listed returns the IDs of an IDS n id … clause.
func listed(words []string) []ID {
	at := slices.Index(words, "IDS")
	n := int(number(words[at+1]))
	return parseIDs(words[at+2 : at+2+n])
}

// add is XADD key [MAXLEN|MINID = n] [IDMP producer id] * field value ….
func (m *Model) add(s *stream, words []string) resp.Value {
	at := slices.Index(words, "*")
	options := words[2:at]
	var tok token
	if i := slices.Index(options, "IDMP"); i >= 0 {
		tok = token{options[i+1], options[i+2]}
		if id, ok := s.tokens[tok]; ok {
			s.duplicates++
			return idValue(id)
		}
	}
	id := ID{MS: uint64(m.NowMS)}
	if !s.last.Less(id) {
		id = ID{MS: s.last.MS, Seq: s.last.Seq + 1}
	}
	s.entries = append(s.entries, entry{id, words[at+1:]})
	s.last = id
	s.added++
	if tok != (token{}) {
		s.tokens[tok] = id
	}
	s.cut(options)
	return idValue(id)
}

// cut trims exactly by the MAXLEN or MINID option, if there is one, and returns the number
// of removed entries. Pending entries stay pending.
func (s *stream) cut(options []string) (n int64) {
	at := slices.IndexFunc(options, func(w string) bool { return w == "MAXLEN" || w == "MINID" })
	if at < 0 {
		return 0
	}
	if options[at+1] != "=" {
		panic("the trim is not exact")
	}
	limit := options[at+2]
	for len(s.entries) > 0 {
		if options[at] == "MAXLEN" && int64(len(s.entries)) <= number(limit) || options[at] == "MINID" && !s.first().Less(parseID(limit, 0)) {
			break
		}
		s.entries = s.entries[1:]
		n++
	}
	return n
}

func (m *Model) trim(s *stream, words []string) resp.Value { return resp.Int(s.cut(words[2:])) }

func (m *Model) del(s *stream, words []string) resp.Value {
	n := int64(0)
	for _, id := range parseIDs(words[2:]) {
		if s.remove(id, true) {
			n++
		}
	}
	return resp.Int(n)
}

// rangeID reads one end of a range; seq completes an ID without a sequence number. An open
// end does not belong to the range.
func rangeID(word string, seq uint64) (id ID, open bool) {
	switch {
	case word == "-":
		return ID{}, false
	case word == "+":
		return maxID, false
	case word[0] == '(':
		return parseID(word[1:], seq), true
	}
	return parseID(word, seq), false
}

// between is XRANGE, and with reverse XREVRANGE.
func (s *stream) between(from, to string, options []string, reverse bool) resp.Value {
	lo, openLo := rangeID(from, 0)
	hi, openHi := rangeID(to, maxID.Seq)
	count := optional(options, "COUNT", -1)
	out := []resp.Value{}
	for i := range s.entries {
		e := s.entries[i]
		if reverse {
			e = s.entries[len(s.entries)-1-i]
		}
		below, above := e.id.Less(lo) || openLo && e.id == lo, hi.Less(e.id) || openHi && e.id == hi
		if !below && !above && int64(len(out)) != count {
			out = append(out, e.value())
		}
	}
	return resp.Array(out...)
}

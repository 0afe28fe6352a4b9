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

// compareIDs orders IDs as slices.SortFunc wants it.
func compareIDs(a, b ID) int {
	switch {
	case a.Less(b):
		return -1
	case b.Less(a):
		return 1
	}
	return 0
}

// Model is a set of streams.
type Model struct {
	NowMS   int64 // the clock of the record whose commands are run
	streams map[string]*stream
}

// NewModel returns a model without streams.
func NewModel() *Model { return &Model{streams: map[string]*stream{}} }

// stream is a stream: no index, no bound, no count that could be told from the rest.
type stream struct {
	name       string
	entries    []entry
	last       ID
	maxDeleted ID
	added      int64
	groups     map[string]*group
	tokens     map[token]ID // idempotent IDs, which are never forgotten
	duplicates int64        // entries that were not added again
}

type entry struct {
	id     ID
	fields []string
}

type token struct{ producer, id string }

func (e entry) value(extra ...resp.Value) resp.Value {
	fields := make([]resp.Value, len(e.fields))
	for i, f := range e.fields {
		fields[i] = resp.BulkString(f)
	}
	return resp.Array(append([]resp.Value{idValue(e.id), resp.Array(fields...)}, extra...)...)
}

func idValue(id ID) resp.Value { return resp.BulkString(id.String()) }

// find returns the place of an entry, or where it would be.
func (s *stream) find(id ID) (int, bool) {
	return slices.BinarySearchFunc(s.entries, id, func(e entry, id ID) int { return compareIDs(e.id, id) })
}

func (s *stream) has(id ID) bool {
	_, ok := s.find(id)
	return ok
}

// first returns the ID of the first entry, zero where there is none.
func (s *stream) first() ID {
	if len(s.entries) == 0 {
		return ID{}
	}
	return s.entries[0].id
}

// remove takes an entry away; a delete, other than a trim, is remembered.
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

// Do runs a command. What the model does not know is an error: the workload must not
// use it.
func (m *Model) Do(words []string) (v resp.Value, err error) {
	defer func() {
		if p := recover(); p != nil { // words are missing, or are no numbers
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
			return v, fmt.Errorf("replay: %q: there is no such stream", words)
		}
	}
	run := commands[name]
	if run == nil {
		return v, fmt.Errorf("replay: the model does not know %s", name)
	}
	return run(m, s, words), nil
}

// attends is what a shard runs for an XREADGROUP that is to wait: group consumer key.
const attends = "_XGROUPATTEND"

// commands run on a stream that is there; words begin with the last word of the name.
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

// option returns the word after one, and whether that is there. It is looked for up to
// a word at which names of fields may begin.
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

// optional returns the number after an option, or other.
func optional(words []string, name string, other int64) int64 {
	if w, ok := option(words, name); ok {
		return number(w)
	}
	return other
}

// parseID reads an ID; one without a sequence gets seq.
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

// listed returns the IDs after IDS and their number.
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

// cut trims as options say, exactly, and returns how many entries that took. What
// groups know of an entry stays.
func (s *stream) cut(options []string) (n int64) {
	at := slices.IndexFunc(options, func(w string) bool { return w == "MAXLEN" || w == "MINID" })
	if at < 0 {
		return 0
	}
	if options[at+1] != "=" {
		panic("a trim that is not exact")
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

// rangeID reads an end of a range.
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

// between is XRANGE, and XREVRANGE in reverse.
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

// infoStream is XINFO STREAM key [FULL COUNT 0], without what Check leaves out.
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

package stream

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"millrace/command"
	"millrace/resp"
)

// _SETTING name value: sets one of Redis's stream-* parameters for this shard. The
// router sends it to every shard for CONFIG SET.
var setting = Command{
	Command: command.Command{
		Name: "_setting", Arity: 3, Flags: command.Write | command.Internal, Group: "server",
		Summary: "Sets a stream-* parameter of one shard.",
		Check: func(argv [][]byte) *resp.Value {
			_, _, refusal := parseSetting(new(settings), argv)
			return refusal
		},
	},
	Run: func(tx *Tx, argv [][]byte) (resp.Value, error) {
		field, n, refusal := parseSetting(tx.settings(), argv)
		if refusal != nil {
			return *refusal, nil
		}
		*field = n
		tx.state.sys.dirty = true
		return resp.OK, nil
	},
}

// _SETTINGS: the stream-* parameters of this shard, as a map.
var settingsCmd = Command{
	Command: command.Command{
		Name: "_settings", Arity: 1, Flags: command.ReadOnly | command.Internal, Group: "server",
		Summary: "Returns the stream-* parameters of one shard.",
	},
	Run: func(tx *Tx, _ [][]byte) (resp.Value, error) {
		sys, err := tx.system()
		if err != nil {
			return resp.Value{}, err
		}
		var out []resp.Value
		for _, p := range settingTable {
			n := strconv.FormatUint(*p.field(&sys.settings), 10)
			out = append(out, resp.BulkString(p.name), resp.BulkString(n))
		}
		return resp.Map(out...), nil
	},
}

// settingTable lists the parameters and their bounds.
var settingTable = []struct {
	name     string
	memory   bool // whether it is a number of bytes, which may have a unit
	min, max int64
	field    func(*settings) *uint64
}{
	{"stream-node-max-bytes", true, 0, math.MaxInt64, func(s *settings) *uint64 { return &s.chunkMaxBytes }},
	{"stream-node-max-entries", false, 0, math.MaxInt64, func(s *settings) *uint64 { return &s.chunkMaxEntries }},
	{"stream-idmp-duration", false, minIDMPSeconds, maxIDMPSeconds, func(s *settings) *uint64 { return &s.idmpSeconds }},
	{"stream-idmp-maxsize", false, minIDMPSize, maxIDMPSize, func(s *settings) *uint64 { return &s.idmpMaxSize }},
}

func parseSetting(s *settings, argv [][]byte) (field *uint64, n uint64, refusal *resp.Value) {
	for _, p := range settingTable {
		if string(argv[1]) != p.name {
			continue
		}
		n, ok := command.ParseInt(argv[2])
		fault := "argument couldn't be parsed into an integer"
		if p.memory {
			n, ok = parseMemory(argv[2])
			fault = "argument must be a memory value"
		}
		if ok {
			fault = fmt.Sprintf("argument must be between %d and %d inclusive", p.min, p.max)
		}
		if !ok || n < p.min || n > p.max {
			e := resp.Err("ERR CONFIG SET failed (possibly related to argument '" + p.name + "') - " + fault)
			return nil, 0, &e
		}
		return p.field(s), uint64(n), nil
	}
	e := resp.Err("ERR Unknown option or number of arguments for CONFIG SET - '" + command.Printable(argv[1], 128) + "'")
	return nil, 0, &e
}

// memoryUnits holds the units of a number of bytes, in lower case.
var memoryUnits = map[string]int64{
	"": 1, "b": 1, "k": 1e3, "kb": 1 << 10, "m": 1e6, "mb": 1 << 20, "g": 1e9, "gb": 1 << 30,
}

// parseMemory reads a number of bytes: digits and a unit, such as "4kb". The rule is that
// of Redis's memtoull.
func parseMemory(b []byte) (int64, bool) {
	digits := 0
	for digits < len(b) && '0' <= b[digits] && b[digits] <= '9' {
		digits++
	}
	unit, ok := memoryUnits[strings.ToLower(string(b[digits:]))]
	n, err := strconv.ParseInt(string(b[:digits]), 10, 64)
	if !ok || err != nil || n > math.MaxInt64/unit {
		return 0, false
	}
	return n * unit, true
}

// SettingNames returns the names of the stream-* parameters.
func SettingNames() []string {
	names := make([]string, len(settingTable))
	for i, p := range settingTable {
		names[i] = p.name
	}
	return names
}

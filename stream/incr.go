package stream

import (
	"math"
	"strconv"

	"millrace/command"
	"millrace/resp"
)

// INCR key: adds one to the number in the string at key, which is 0 where there is
// none, and answers the sum.
var incr = counting("incr", "key", 2, "1.0.0",
	"Increments the integer value of a key by one. Uses 0 as initial value if the key doesn't exist.",
	func([][]byte) (int64, *resp.Value) { return 1, nil })

// DECR key: as INCR, and takes one away.
var decr = counting("decr", "key", 2, "1.0.0",
	"Decrements the integer value of a key by one. Uses 0 as initial value if the key doesn't exist.",
	func([][]byte) (int64, *resp.Value) { return -1, nil })

// INCRBY key n: as INCR, and adds n.
var incrby = counting("incrby", "key increment:int", 3, "1.0.0",
	"Increments the integer value of a key by a number. Uses 0 as initial value if the key doesn't exist.", parseStep)

// DECRBY key n: as INCR, and takes n away.
var decrby = counting("decrby", "key decrement:int", 3, "1.0.0",
	"Decrements a number from the integer value of a key. Uses 0 as initial value if the key doesn't exist.",
	func(argv [][]byte) (int64, *resp.Value) {
		n, refusal := parseStep(argv)
		if n == math.MinInt64 {
			return 0, &errDecrOverflow
		}
		return -n, refusal
	})

// Refusals of numbers that do not fit.
var (
	errIncrOverflow = resp.Err("ERR increment or decrement would overflow")
	errDecrOverflow = resp.Err("ERR decrement would overflow")
)

func parseStep(argv [][]byte) (int64, *resp.Value) {
	n, ok := command.ParseInt(argv[2])
	if !ok {
		return 0, &command.ErrNotInteger
	}
	return n, nil
}

// counting makes a command that adds what step reads from its words.
func counting(name, usage string, arity int, since, summary string, step func(argv [][]byte) (int64, *resp.Value)) Command {
	return Command{
		Command: command.Command{
			Name: name, Usage: usage, Arity: arity, Flags: command.Write | command.DenyOOM | command.Fast,
			Keys:       command.Keys{First: 1, Last: 1, Step: 1, Access: "RW access update"},
			Categories: []string{"write", "string", "fast"},
			Since:      since, Group: "string", Summary: summary, Complexity: "O(1)",
			Check: func(argv [][]byte) *resp.Value {
				_, refusal := step(argv)
				return refusal
			},
		},
		Run: func(tx *Tx, argv [][]byte) (resp.Value, error) {
			n, refusal := step(argv)
			if refusal != nil {
				return *refusal, nil
			}
			return tx.addTo(argv[1], n)
		},
	}
}

// addTo adds n to the number in the string at name.
func (tx *Tx) addTo(name []byte, n int64) (resp.Value, error) {
	old, h, refusal, err := tx.bulkAt(name)
	if err != nil || refusal != nil {
		return refused(refusal, err)
	}
	was, atMS := int64(0), int64(0)
	if h != nil {
		var ok bool
		if was, ok = command.ParseInt(old.Str); !ok {
			return command.ErrNotInteger, nil
		}
		atMS = h.ExpireAtMS
	}
	sum := was + n
	if n > 0 && sum < was || n < 0 && sum > was {
		return errIncrOverflow, nil
	}
	return resp.Int(sum), tx.putString(name, h, strconv.AppendInt(nil, sum, 10), atMS)
}

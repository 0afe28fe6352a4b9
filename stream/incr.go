package stream

import (
	"math"
	"strconv"

	"millrace/command"
	"millrace/resp"
)

// INCR key: adds one to the number in the string at key and answers the sum. A missing string
// counts as 0.
var incr = counting(command.Command{
	Name: "incr", Usage: "key", Arity: 2,
	Summary: "Adds one to the number in a string, which is 0 before the first call.",
}, func([][]byte) (int64, *resp.Value) { return 1, nil })

// DECR key: subtracts one, otherwise like INCR.
var decr = counting(command.Command{
	Name: "decr", Usage: "key", Arity: 2,
	Summary: "Subtracts one from the number in a string, which is 0 before the first call.",
}, func([][]byte) (int64, *resp.Value) { return -1, nil })

// INCRBY key n: adds n, otherwise like INCR.
var incrby = counting(command.Command{
	Name: "incrby", Usage: "key increment:int", Arity: 3,
	Summary: "Adds an integer to the number in a string, which is 0 before the first call.",
}, parseStep)

// DECRBY key n: subtracts n, otherwise like INCR.
var decrby = counting(command.Command{
	Name: "decrby", Usage: "key decrement:int", Arity: 3,
	Summary: "Subtracts an integer from the number in a string, which is 0 before the first call.",
}, func(argv [][]byte) (int64, *resp.Value) {
	n, refusal := parseStep(argv)
	if n == math.MinInt64 {
		return 0, &errDecrOverflow // -n would overflow
	}
	return -n, refusal
})

// Refusals of the INCR family for numbers outside the range of int64.
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

// counting returns a command of the INCR family. c gives the parts of its description in
// which the commands differ; step returns the number to add.
func counting(c command.Command, step func(argv [][]byte) (int64, *resp.Value)) Command {
	c.Flags = command.Write | command.DenyOOM | command.Fast
	c.Keys = command.Keys{First: 1, Last: 1, Step: 1, Access: "RW access update"}
	c.Categories = []string{"write", "string", "fast"}
	c.Since, c.Group, c.Complexity = "1.0.0", "string", "O(1)"
	c.Check = func(argv [][]byte) *resp.Value {
		_, refusal := step(argv)
		return refusal
	}
	run := func(tx *Tx, argv [][]byte) (resp.Value, error) {
		n, refusal := step(argv)
		if refusal != nil {
			return *refusal, nil
		}
		return tx.addTo(argv[1], n)
	}
	return Command{Command: c, Run: run}
}

// addTo adds n to the number in the string at name and answers the sum. The deadline stays.
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

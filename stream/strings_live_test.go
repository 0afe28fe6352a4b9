package stream_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"millrace/resp"
)

// TestStringsLive runs random commands on strings and deadlines here and on a live Redis.
// Some are malformed: options come in any order and number, and numbers may not fit. All
// deadlines are far in the future or long past, so that no name expires during the test.
func TestStringsLive(t *testing.T) {
	redis := newLiveRedis(t)
	options := []string{"NX", "XX", "GET", "KEEPTTL", "EX", "PX", "EXAT", "PXAT", "PERSIST", "GT", "LT", "nx", "Get", "FOO", ""}
	if version := redis.do(argvOf("INFO", "server")); !strings.Contains(string(version.Str), "redis_version:7.") {
		options = append(options, "IFEQ", "IFNE", "IFDEQ", "IFDNE")
	}
	numbers := []string{
		"0", "1000000", "-1", "33177117420", "33177117421", "33177117420123", "9223372036854775", "9223372036854776", "-9223372036854775", "-9223372036854776",
		"9223372036854775807", "9223372036854775808", "-9223372036854775808", "-9223372036854775809", "01", "+1", " 1", "1.0", "x", "",
	}
	rapid.Check(t, func(rt *rapid.T) {
		redis.do(argvOf("FLUSHALL"))
		r := openRig(rt)
		defer r.close()
		name := func() string { return rapid.SampledFrom([]string{"a", "b", "s"}).Draw(rt, "name") }
		number := func() string { return rapid.SampledFrom(numbers).Draw(rt, "number") }
		for range rapid.IntRange(1, 40).Draw(rt, "length") {
			var words []string
			command := rapid.SampledFrom([]string{
				"SET", "SET", "SET", "GETEX", "GETEX", "EXPIRE", "PEXPIRE", "EXPIREAT", "PEXPIREAT", "SETEX", "PSETEX", "SETNX", "GETSET", "GETDEL",
				"INCR", "DECR", "INCRBY", "DECRBY", "APPEND", "XADD", "PERSIST", "DEL",
			}).Draw(rt, "command")
			switch command {
			case "SET":
				words = []string{command, name(), number()}
			case "GETEX", "GETDEL", "INCR", "DECR", "PERSIST", "DEL":
				words = []string{command, name()}
			case "XADD":
				words = []string{command, "s", "*", "f", "v"}
			case "SETEX", "PSETEX":
				words = []string{command, name(), number(), "v"}
			default:
				words = []string{command, name(), number()}
			}
			if command == "SET" || command == "GETEX" || strings.Contains(command, "EXPIRE") {
				for range rapid.IntRange(0, 4).Draw(rt, "options") {
					if kind := rapid.IntRange(0, 5).Draw(rt, "kind"); kind <= 1 {
						words = append(words, number())
					} else if kind == 2 {
						words = append(words, digestOf(number()))
					} else {
						words = append(words, rapid.SampledFrom(options).Draw(rt, "option"))
					}
				}
			}
			if slices.Contains(words, "IFDEQ") || slices.Contains(words, "IFDNE") {
				// Redis 8.6 sends two replies to a SET with GET and a digest of a wrong length.
				words = slices.DeleteFunc(words, func(w string) bool { return strings.EqualFold(w, "GET") })
			}
			for _, words := range [][]string{words, {"MGET", "a", "b", "s"}, {"EXISTS", "a", "b", "s"}, {"PEXPIRETIME", words[1]}, {"EXPIRETIME", words[1]}} {
				r.nowMS = time.Now().UnixMilli()
				argv := argvOf(words...)
				ours, theirs := resp.Print(r.run(argv), 2), resp.Print(redis.do(argv), 2)
				if command != "XADD" && ours != theirs && !aMoment(words, ours, theirs) {
					rt.Fatalf("%q\nis %s\nin Redis %s", words, ours, theirs)
				}
			}
		}
	})
}

// aMoment reports whether two replies are deadlines that differ only because the two sides
// read their clocks at different moments.
func aMoment(words []string, ours, theirs string) bool {
	var a, b int64
	if !strings.HasSuffix(words[0], "EXPIRETIME") {
		return false
	}
	_, err := fmt.Sscanf(ours+theirs, ":%d:%d", &a, &b)
	return err == nil && a > 0 && b > 0 && max(a-b, b-a) < 10_000
}

package faultfs

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// MaxRules bounds the number of rules of a file system.
const MaxRules = 64

// ErrRule is wrapped by the errors of Parse and Add.
var ErrRule = errors.New("faultfs: bad rule")

// effects lists each effect with the operations that it applies to. A rule has no effect
// on other operations.
var effects = map[string][]string{
	"full":  {"create", "write", "sync"}, // ENOSPC; the disk reports no free space
	"eio":   {"read", "write", "sync"},   // EIO
	"delay": {"create", "read", "write", "sync"},
	"stall": {"create", "read", "write", "sync"}, // hangs until the rule is cleared
	"flip":  {"read", "write"},                   // flips one bit in the middle
	"torn":  {"write"},                           // writes the first half, and the process dies
	"space": {},                                  // the disk reports this many free bytes
}

// kinds lists the kinds of files that a rule may be restricted to.
var kinds = []string{"log", "sst", "manifest", "other"}

// Rule describes a fault and the operations that it strikes. For example, the rule
// "eio ops=sync files=log after=3 times=1" lets three syncs of WALs succeed and fails the
// fourth.
type Rule struct {
	Effect string
	Ops    []string      // operations; nil means all that the effect applies to
	Files  []string      // kinds of files; nil means all
	Under  string        // only paths that contain this text
	After  int           // number of operations that succeed first
	Times  int           // number of operations that are struck then; 0 means all
	Delay  time.Duration // of the effect "delay"
	Bytes  uint64        // of the effect "space"

	ID      int           // set by Add
	Seen    int           // operations that matched, counted by FS
	Struck  int           // operations that were struck, counted by FS
	cleared chan struct{} // closed when the rule is cleared
}

// Parse reads a rule: an effect, followed by a time for "delay" or a number of bytes for
// "space", and then any of ops=write,sync files=log,sst under=PATH after=N times=N.
func Parse(words []string) (Rule, error) {
	if len(words) == 0 {
		return badRule("no effect is given")
	}
	r := Rule{Effect: words[0]}
	if effects[r.Effect] == nil {
		return badRule("unknown effect %q", r.Effect)
	}
	words = words[1:]
	if r.Effect == "delay" || r.Effect == "space" {
		if len(words) == 0 {
			return badRule("%s needs a number", r.Effect)
		}
		if !r.setAmount(words[0]) {
			return badRule("%s %q", r.Effect, words[0])
		}
		words = words[1:]
	}
	for _, w := range words {
		if err := r.setOption(w); err != nil {
			return Rule{}, err
		}
	}
	return r, nil
}

func badRule(format string, args ...any) (Rule, error) {
	return Rule{}, fmt.Errorf("%w: %s", ErrRule, fmt.Sprintf(format, args...))
}

// setAmount reads the time of "delay" or the bytes of "space", and reports whether text
// is valid.
func (r *Rule) setAmount(text string) bool {
	var err error
	if r.Effect == "delay" {
		r.Delay, err = time.ParseDuration(text)
	} else {
		r.Bytes, err = strconv.ParseUint(text, 10, 64)
	}
	return err == nil && r.Delay >= 0
}

// setOption reads an option such as times=1.
func (r *Rule) setOption(word string) error {
	var err error
	key, value, _ := strings.Cut(word, "=")
	switch key {
	case "ops":
		r.Ops = strings.Split(value, ",")
		for _, op := range r.Ops {
			if !slices.Contains(effects[r.Effect], op) {
				return fmt.Errorf("%w: %s does not apply to %q", ErrRule, r.Effect, op)
			}
		}
	case "files":
		r.Files = strings.Split(value, ",")
		for _, k := range r.Files {
			if !slices.Contains(kinds, k) {
				return fmt.Errorf("%w: unknown kind of files %q", ErrRule, k)
			}
		}
	case "under":
		r.Under = value
	case "after":
		r.After, err = strconv.Atoi(value)
	case "times":
		r.Times, err = strconv.Atoi(value)
	default:
		err = ErrRule
	}
	if err != nil || r.After < 0 || r.Times < 0 {
		return fmt.Errorf("%w: %q", ErrRule, word)
	}
	return nil
}

// String returns the rule in the form that Parse reads, preceded by its ID and followed
// by its counts: "2: eio ops=sync (fits 5, struck 1)".
func (r Rule) String() string {
	s := fmt.Sprintf("%d: %s", r.ID, r.Effect)
	switch r.Effect {
	case "delay":
		s += " " + r.Delay.String()
	case "space":
		s += " " + strconv.FormatUint(r.Bytes, 10)
	}
	if r.Ops != nil {
		s += " ops=" + strings.Join(r.Ops, ",")
	}
	if r.Files != nil {
		s += " files=" + strings.Join(r.Files, ",")
	}
	if r.Under != "" {
		s += " under=" + r.Under
	}
	if r.After > 0 {
		s += fmt.Sprintf(" after=%d", r.After)
	}
	if r.Times > 0 {
		s += fmt.Sprintf(" times=%d", r.Times)
	}
	return s + fmt.Sprintf(" (fits %d, struck %d)", r.Seen, r.Struck)
}

// matches reports whether the rule applies to an operation on a file.
func (r *Rule) matches(op, path string) bool {
	return (r.Ops == nil || slices.Contains(r.Ops, op)) && slices.Contains(effects[r.Effect], op) &&
		(r.Files == nil || slices.Contains(r.Files, kindOf(path))) && strings.Contains(path, r.Under)
}

// kindOf returns the kind of a file, by its name.
func kindOf(path string) string {
	base := path[strings.LastIndexByte(path, '/')+1:]
	switch {
	case strings.HasSuffix(base, ".log"):
		return "log"
	case strings.HasSuffix(base, ".sst"):
		return "sst"
	case strings.HasPrefix(base, "MANIFEST-"):
		return "manifest"
	}
	return "other"
}

package check

import (
	"strconv"
	"strings"
)

// ID is the ID of an entry, as a client reads it. It does not use the server's code,
// because a mistake in shared code would stay hidden.
type ID struct{ MS, Seq uint64 }

// ParseID reads an ID of the form "ms-seq", and returns false for anything else.
func ParseID(s string) (ID, bool) {
	ms, seq, ok := strings.Cut(s, "-")
	a, err := strconv.ParseUint(ms, 10, 64)
	b, err2 := strconv.ParseUint(seq, 10, 64)
	return ID{a, b}, ok && err == nil && err2 == nil
}

func (a ID) String() string {
	return strconv.FormatUint(a.MS, 10) + "-" + strconv.FormatUint(a.Seq, 10)
}

// Less reports whether a comes before b.
func (a ID) Less(b ID) bool { return a.MS < b.MS || a.MS == b.MS && a.Seq < b.Seq }

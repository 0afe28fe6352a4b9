package diff

import (
	"bytes"
	"slices"
	"strconv"
	"strings"
	"time"

	"millrace/resp"
)

// nearMS is the greatest difference between two times that count as the same. No sequence
// takes longer.
const nearMS = 60_000

// forget returns copies of two replies without the parts on which two servers cannot
// agree: times that are near each other, and the layout of memory.
func forget(argv []string, ours, theirs resp.Value) (resp.Value, resp.Value) {
	ours, theirs = clone(ours), clone(theirs)
	a, b := times(argv, &ours), times(argv, &theirs)
	if len(a) != len(b) {
		return ours, theirs // they differ in more than times
	}
	for i := range a {
		near := a[i].Int-b[i].Int < nearMS && b[i].Int-a[i].Int < nearMS
		if near && (a[i].Int < 0) == (b[i].Int < 0) {
			a[i].Int, b[i].Int = 0, 0
		}
	}
	for _, v := range []*resp.Value{&ours, &theirs} {
		if is(argv[0], "XINFO") {
			// The number of nodes depends on the implementation of the radix tree.
			for _, f := range []string{"radix-tree-keys", "radix-tree-nodes"} {
				if p := field(v, f); p != nil {
					p.Int = 0
				}
			}
		}
		if is(argv[0], "KEYS") { // the order is undefined
			slices.SortFunc(v.Elems, func(a, b resp.Value) int { return bytes.Compare(a.Str, b.Str) })
		}
		if is(argv[0], "HELLO") {
			for _, f := range []string{"server", "version", "id", "mode", "modules"} {
				if p := field(v, f); p != nil {
					*p = resp.Null()
				}
			}
		}
	}
	return ours, theirs
}

// times returns the parts of a reply that are times or ages. There, -1 means never.
func times(argv []string, v *resp.Value) []*resp.Value {
	var out []*resp.Value
	add := func(p *resp.Value) {
		if p != nil && p.Kind == resp.KindInt {
			out = append(out, p)
		}
	}
	// pending adds the field with index at of each element.
	pending := func(list *resp.Value, at int) {
		if list == nil {
			return
		}
		for i := range list.Elems {
			if e := &list.Elems[i]; len(e.Elems) > at {
				add(&e.Elems[at])
			}
		}
	}
	sub := ""
	if len(argv) > 1 {
		sub = strings.ToUpper(argv[1])
	}
	switch strings.ToUpper(argv[0]) {
	case "TTL":
		// The seconds of the two servers do not begin at the same moment.
		if v.Kind == resp.KindInt && v.Int > 0 {
			v.Int *= 1000
			add(v)
		}
	case "PTTL", "EXPIRETIME", "PEXPIRETIME":
		add(v)
	case "XPENDING":
		for i := range v.Elems {
			if e := &v.Elems[i]; len(e.Elems) == 4 {
				add(&e.Elems[2])
			}
		}
	case "XREADGROUP": // with CLAIM: [id, fields, idle, deliveries]
		for _, entries := range streamsOf(v) {
			for i := range entries.Elems {
				if e := &entries.Elems[i]; len(e.Elems) == 4 {
					add(&e.Elems[2])
				}
			}
		}
	case "XINFO":
		if sub == "CONSUMERS" {
			for i := range v.Elems {
				add(field(&v.Elems[i], "idle"))
				add(field(&v.Elems[i], "inactive"))
			}
			break
		}
		groups := field(v, "groups")
		if groups == nil {
			break
		}
		for i := range groups.Elems {
			g := &groups.Elems[i]
			pending(field(g, "pending"), 2)
			consumers := field(g, "consumers")
			if consumers == nil {
				continue
			}
			for j := range consumers.Elems {
				c := &consumers.Elems[j]
				add(field(c, "seen-time"))
				add(field(c, "active-time"))
				pending(field(c, "pending"), 1)
			}
		}
	}
	return out
}

// byClock reports whether a reply is an ID that comes from a server's clock.
func byClock(v resp.Value) bool {
	ms, _, _ := strings.Cut(string(v.Str), "-")
	n, err := strconv.ParseInt(ms, 10, 64)
	now := time.Now().UnixMilli()
	return err == nil && now-nearMS < n && n <= now
}

// streamsOf returns the lists of entries in a reply of XREAD or XREADGROUP.
func streamsOf(v *resp.Value) []*resp.Value {
	var out []*resp.Value
	for i := range v.Elems {
		switch e := &v.Elems[i]; {
		case v.Kind == resp.KindMap && i%2 == 1:
			out = append(out, e)
		case v.Kind == resp.KindArray && len(e.Elems) == 2:
			out = append(out, &e.Elems[1])
		}
	}
	return out
}

// field returns the value of a field in a map, or in the flat array that replaces a map in
// RESP2. It returns nil if there is none.

func field(v *resp.Value, name string) *resp.Value {
	for i := 0; i+1 < len(v.Elems); i += 2 {
		if string(v.Elems[i].Str) == name && v.Elems[i].Kind == resp.KindBulk {
			return &v.Elems[i+1]
		}
	}
	return nil
}

func clone(v resp.Value) resp.Value {
	if v.Elems != nil {
		elems := make([]resp.Value, len(v.Elems))
		for i, e := range v.Elems {
			elems[i] = clone(e)
		}
		v.Elems = elems
	}
	return v
}

func is(word, name string) bool { return strings.EqualFold(word, name) }

package workload

import (
	"millrace/resp"
	"millrace/test/chaos/check"
)

// reply reads a reply in the expected shape. A part with another shape reads as zero, so
// that the checks report it.
type reply struct{ v resp.Value }

func (r reply) isError() bool { return r.v.IsErr() }
func (r reply) text() string  { return string(r.v.Str) }
func (r reply) int() int64    { return r.v.Int }
func (r reply) len() int      { return len(r.v.Elems) }

func (r reply) at(i int) reply {
	if i < len(r.v.Elems) {
		return reply{r.v.Elems[i]}
	}
	return reply{}
}

func (r reply) id() check.ID {
	id, _ := check.ParseID(r.text())
	return id
}

// field returns the value that follows a name in a flat map.
func (r reply) field(name string) reply {
	for i := 0; i+1 < r.len(); i += 2 {
		if r.at(i).text() == name {
			return r.at(i + 1)
		}
	}
	return reply{}
}

// items returns the entries of an array.
func (r reply) items() []check.Item {
	items := make([]check.Item, 0, r.len())
	for i := range r.len() {
		items = append(items, r.at(i).item())
	}
	return items
}

// item returns an entry with its fields p, the payload, and v, the filler.
func (r reply) item() check.Item {
	fields := r.at(1)
	return check.Item{ID: r.at(0).id(), Payload: fields.field("p").text(), Filler: fields.field("v").text()}
}

// count returns a number, or -1 for null.
func (r reply) count() int64 {
	if r.v.IsNull() {
		return -1
	}
	return r.v.Int
}

// progress returns the progress of a group from XINFO STREAM and one row of XINFO GROUPS.
func progress(where string, info, group reply) check.Progress {
	return check.Progress{
		Where: where, Length: info.field("length").int(), Added: info.field("entries-added").int(),
		First: info.field("recorded-first-entry-id").id(), Last: info.field("last-generated-id").id(),
		MaxDeleted: info.field("max-deleted-entry-id").id(), Position: group.field("last-delivered-id").id(),
		Read: group.field("entries-read").count(), Lag: group.field("lag").count(),
	}
}

// streams calls f for each entry in a reply of XREAD or XREADGROUP.
func (r reply) streams(f func(name string, entry reply)) {
	for i := range r.len() {
		entries := r.at(i).at(1)
		for j := range entries.len() {
			f(r.at(i).at(0).text(), entries.at(j))
		}
	}
}

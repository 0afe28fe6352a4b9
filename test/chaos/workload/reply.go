package workload

import (
	"millrace/resp"
	"millrace/test/chaos/check"
)

// reply reads a reply as what it should be; what it is not comes out as zero, which the
// checks then find wrong.
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

// field returns the value after a name in a flat map.
func (r reply) field(name string) reply {
	for i := 0; i+1 < r.len(); i += 2 {
		if r.at(i).text() == name {
			return r.at(i + 1)
		}
	}
	return reply{}
}

// items reads an array of entries.
func (r reply) items() []check.Item {
	items := make([]check.Item, 0, r.len())
	for i := range r.len() {
		items = append(items, r.at(i).item())
	}
	return items
}

// item reads an entry: its ID, and the fields p (payload) and v (filler).
func (r reply) item() check.Item {
	fields := r.at(1)
	return check.Item{ID: r.at(0).id(), Payload: fields.field("p").text(), Filler: fields.field("v").text()}
}

// count reads a number, which is negative where the reply is null.
func (r reply) count() int64 {
	if r.v.IsNull() {
		return -1
	}
	return r.v.Int
}

// progress reads what XINFO STREAM and one row of XINFO GROUPS say of a group.
func progress(where string, info, group reply) check.Progress {
	return check.Progress{
		Where: where, Length: info.field("length").int(), Added: info.field("entries-added").int(),
		First: info.field("recorded-first-entry-id").id(), Last: info.field("last-generated-id").id(),
		MaxDeleted: info.field("max-deleted-entry-id").id(), Position: group.field("last-delivered-id").id(),
		Read: group.field("entries-read").count(), Lag: group.field("lag").count(),
	}
}

// streams reads what XREAD and XREADGROUP answer: entries by stream.
func (r reply) streams(f func(name string, entry reply)) {
	for i := range r.len() {
		entries := r.at(i).at(1)
		for j := range entries.len() {
			f(r.at(i).at(0).text(), entries.at(j))
		}
	}
}

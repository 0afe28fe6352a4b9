package router

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"millrace/command"
	"millrace/resp"
)

// infoLines are the commands that describe the server.
func infoLines() []line {
	dbsize := serverLine("dbsize", 1, 0, "1.0.0", "Counts the keys.", runDBSize).inGroup("server").costs("O(S) for S shards.")
	dbsize.cmd.Flags = command.ReadOnly | command.Fast
	return []line{
		dbsize.inCategories("keyspace", "read", "fast"),
		serverLine("info [section...]", -1, 0, "1.0.0", "Describes the server: one field a line, by section.", runInfo).
			inGroup("server").costs("O(N) for N commands and connections.").inCategories("slow", "dangerous").tips("nondeterministic_output").
			history("7.0.0 Takes several sections in one call."),
		serverLine("time", 1, command.Fast, "2.6.0", "Tells the time on this node's clock.", runTime).
			inGroup("server").tips("nondeterministic_output"),
		serverLine("role", 1, command.NoScript|command.Fast, "2.8.12", "Tells whether this node is a master or a replica.", runRole).
			inGroup("server").inCategories("admin", "fast", "dangerous"),
		serverLine("lolwut [VERSION version:int]", -1, command.ReadOnly|command.Fast, "5.0.0", "Draws a mill race, and names the versions.", runLolwut).
			inGroup("server").inCategories("read", "fast").runningOnly(),
	}
}

// TIME: seconds since the Unix epoch, and microseconds of the second.
func runTime(c *conn, q *request, _ [][]byte) { c.answer(q, timeNow()) }

// ROLE: the role of this node, as the connection sees it.
func runRole(c *conn, q *request, _ [][]byte) {
	master, replicas := c.seenRole()
	if master.ID != "" {
		c.answer(q, resp.Array(resp.BulkString("slave"), resp.BulkString(master.Host), resp.Int(int64(master.Port)),
			resp.BulkString("connected"), resp.Int(0)))
		return
	}
	var rows []resp.Value
	for _, n := range replicas {
		rows = append(rows, resp.Array(resp.BulkString(n.Host), resp.BulkString(strconv.Itoa(n.Port)), resp.BulkString("0")))
	}
	c.answer(q, resp.Array(resp.BulkString("master"), resp.Int(0), resp.Array(rows...)))
}

// LOLWUT [VERSION version]: a mill race, drawn as a sine.
func runLolwut(c *conn, q *request, argv [][]byte) {
	if len(argv) >= 3 && command.IsWord(argv[1], "VERSION") {
		if _, ok := command.ParseInt(argv[2]); !ok {
			c.refuse(q, textNotInt)
			return
		}
	}
	var b strings.Builder
	for y := range 5 {
		for x := range 60 {
			switch d := 2 + 1.6*math.Sin(float64(x)/6) - float64(y); {
			case math.Abs(d) < 0.5:
				b.WriteByte('~')
			case d < 0:
				b.WriteByte('=')
			default:
				b.WriteByte(' ')
			}
		}
		b.WriteByte('\n')
	}
	fmt.Fprintf(&b, "\nMillrace ver. %s, Redis ver. %s\n", c.r.version, RedisVersion)
	c.answer(q, resp.Verbatim(b.String()))
}

// INFO [section …]. Sections come in the order of infoSections, each once; the order of
// the arguments does not matter. An unknown name adds nothing.
func runInfo(c *conn, q *request, argv [][]byte) {
	var names []string
	for _, w := range argv[1:] {
		names = append(names, strings.ToLower(string(cut(w, maxEcho))))
	}
	if len(names) == 0 {
		names = []string{"default"}
	}
	all := slices.Contains(names, "all") || slices.Contains(names, "everything")
	byDefault := slices.Contains(names, "default")
	var b strings.Builder
	for i := range infoSections {
		s := &infoSections[i]
		if !all && !(byDefault && s.byDefault) && !slices.Contains(names, s.name) {
			continue
		}
		if b.Len() > 0 {
			b.WriteString("\r\n")
		}
		b.WriteString("# " + s.title + "\r\n")
		fields := c.r.infoFields(s)
		if s.name == "replication" {
			fields = c.setRole(fields)
		}
		for _, f := range fields {
			b.WriteString(f.Name + ":" + f.Value + "\r\n")
		}
	}
	c.answer(q, resp.Verbatim(b.String()))
}

// infoFields returns the fields of a section: the router's own, then those of the node. A
// field of the node takes the place of the router's field with the same name. The field
// x_human shows the final value of the field x.
func (r *Router) infoFields(s *infoSection) infoFields {
	var fields infoFields
	if s.fill != nil {
		s.fill(r, &fields)
	}
	for _, f := range r.info(s.name) {
		if own := fields.named(f.Name); own != nil {
			own.Value = f.Value
		} else {
			fields = append(fields, f)
		}
	}
	if s.name == "memory" {
		r.setPeak(fields)
	}
	for i, f := range fields {
		bytes, ok := strings.CutSuffix(f.Name, "_human")
		if !ok {
			continue
		}
		if of := fields.named(bytes); of != nil {
			if n, err := strconv.ParseUint(of.Value, 10, 64); err == nil {
				fields[i].Value = human(n)
			}
		}
	}
	return fields
}

// named returns the field with a name, nil if there is none.
func (f infoFields) named(name string) *InfoField {
	i := slices.IndexFunc(f, func(o InfoField) bool { return o.Name == name })
	if i < 0 {
		return nil
	}
	return &f[i]
}

// setPeak fills in the fields about the peak of used_memory.
func (r *Router) setPeak(fields infoFields) {
	used, err := strconv.ParseUint(fields.named("used_memory").Value, 10, 64)
	if err != nil {
		return // the node replaced it by something that is not a number
	}
	peak := r.peakMemory(used)
	fields.named("used_memory_peak").Value = strconv.FormatUint(peak, 10)
	fields.named("used_memory_peak_perc").Value = fmt.Sprintf("%.2f%%", 100*float64(used)/float64(max(peak, 1)))
}

// peakMemory returns the largest used_memory that any INFO has seen, used included.
func (r *Router) peakMemory(used uint64) uint64 {
	for {
		peak := r.stats.peak.Load()
		if used <= peak {
			return peak
		}
		if r.stats.peak.CompareAndSwap(peak, used) {
			return used
		}
	}
}

// maxMemory returns the field maxmemory, which the node sets to its bound.
func (r *Router) maxMemory() string {
	i := slices.IndexFunc(infoSections, func(s infoSection) bool { return s.name == "memory" })
	return r.infoFields(&infoSections[i]).named("maxmemory").Value
}

// human shows a number of bytes as INFO does: 2013266 is 1.92M.
func human(n uint64) string {
	if n < 1024 {
		return fmt.Sprintf("%dB", n)
	}
	f, units := float64(n), "BKMGT"
	for len(units) > 1 && f >= 1024 {
		f, units = f/1024, units[1:]
	}
	return fmt.Sprintf("%.2f%c", f, units[0])
}

// port returns the port of an address.
func port(addr string) string { return addr[strings.LastIndexByte(addr, ':')+1:] }

// host returns the host of an address.
func host(addr string) string {
	h, _, _ := strings.Cut(addr[:strings.LastIndexByte(addr, ':')], "%")
	return strings.Trim(h, "[]")
}

package report

import (
	"fmt"
	"html/template"
	"io"
	"math"
	"slices"
	"strings"
	"time"

	"millrace/test/chaos/fault"
	"millrace/test/chaos/measure"
)

// The picture, in points.
const (
	width      = 1100
	left       = 70 // where time begins
	plotHeight = 160
	laneHeight = 16
	gap        = 34
)

func (r *Report) page(w io.Writer) error {
	return pageTemplate.Execute(w, map[string]any{
		"R": r, "Picture": template.HTML(r.picture()), "Counts": sortedCounts(r.Counts),
	})
}

type count struct {
	Name string
	N    int
}

func sortedCounts(m map[string]int) []count {
	var out []count
	for k, v := range m {
		out = append(out, count{k, v})
	}
	slices.SortFunc(out, func(a, b count) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// picture draws throughput, latency and faults over time.
func (r *Report) picture() string {
	points := shrink(r.Timeline, width-left)
	end := max(r.Took, time.Second)
	x := func(d time.Duration) float64 { return left + float64(d)/float64(end)*(width-left-10) }
	var b strings.Builder
	lanes := laneNames(r.Events)
	height := 2*(plotHeight+gap) + len(lanes)*laneHeight + gap
	fmt.Fprintf(&b, `<svg viewBox="0 0 %d %d" role="img" aria-label="throughput, latency and faults over time">`, width, height)

	rate, slow := 1.0, 1000.0
	for _, p := range points {
		rate = max(rate, float64(p.Acked))
		slow = max(slow, float64(p.MaxUs))
	}
	top := 16.0
	yRate := func(v float64) float64 { return top + plotHeight*(1-v/rate) }
	fmt.Fprintf(&b, `<text x="4" y="12" class="t">acknowledged XADDs a second (highest %.0f)</text>`, rate)
	b.WriteString(`<path class="rate" d="`)
	for i, p := range points {
		fmt.Fprintf(&b, "%s%.1f %.1f", letter(i), x(at(p)), yRate(float64(p.Acked)))
	}
	b.WriteString(`"/>`)
	for _, p := range points {
		if p.Acked == 0 {
			fmt.Fprintf(&b, `<rect class="none" x="%.1f" y="%.1f" width="1.5" height="%d"/>`, x(at(p)), top, plotHeight)
		}
	}

	second := top + plotHeight + gap
	lo, hi := math.Log10(100), math.Log10(slow)
	yLat := func(us int64) float64 {
		return second + plotHeight*(1-(math.Log10(max(float64(us), 100))-lo)/(hi-lo))
	}
	fmt.Fprintf(&b, `<text x="4" y="%.0f" class="t">latency, logarithmic: half (dark), 99 %% and the slowest (light)</text>`, second-4)
	for us := int64(1000); float64(us) <= slow; us *= 10 {
		fmt.Fprintf(&b, `<line class="grid" x1="%d" x2="%d" y1="%.1f" y2="%.1f"/><text x="4" y="%.1f" class="t">%v</text>`,
			left, width-10, yLat(us), yLat(us), yLat(us)+4, time.Duration(us)*time.Microsecond)
	}
	for _, line := range []struct {
		class string
		value func(measure.Point) int64
	}{
		{"max", func(p measure.Point) int64 { return p.MaxUs }},
		{"p99", func(p measure.Point) int64 { return p.P99us }},
		{"p50", func(p measure.Point) int64 { return p.P50us }},
	} {
		fmt.Fprintf(&b, `<path class="%s" d="`, line.class)
		n := 0
		for _, p := range points {
			if p.Replied > 0 {
				fmt.Fprintf(&b, "%s%.1f %.1f", letter(n), x(at(p)), yLat(line.value(p)))
				n++
			}
		}
		b.WriteString(`"/>`)
	}

	third := second + plotHeight + gap
	fmt.Fprintf(&b, `<text x="4" y="%.0f" class="t">faults</text>`, third-6)
	for i, name := range lanes {
		y := third + float64(i*laneHeight)
		fmt.Fprintf(&b, `<text x="4" y="%.1f" class="lane">%s</text>`, y+11, template.HTMLEscapeString(name))
		for _, e := range r.Events {
			if e.Name == name {
				fmt.Fprintf(&b, `<rect class="fault" x="%.1f" y="%.1f" width="%.1f" height="%d"><title>%s, %v to %v</title></rect>`,
					x(e.From), y+2, max(x(e.To)-x(e.From), 1.5), laneHeight-4, template.HTMLEscapeString(e.What),
					e.From.Round(time.Millisecond), e.To.Round(time.Millisecond))
			}
		}
	}
	bottom := third + float64(len(lanes)*laneHeight) + 14
	for i := range 11 {
		d, anchor := end*time.Duration(i)/10, "middle"
		if i == 10 {
			anchor = "end"
		}
		fmt.Fprintf(&b, `<text x="%.1f" y="%.1f" class="t" text-anchor="%s">%v</text>`, x(d), bottom, anchor, d.Round(time.Second))
	}
	for _, p := range r.Problems {
		fmt.Fprintf(&b, `<line class="wrong" x1="%.1f" x2="%.1f" y1="%.1f" y2="%.1f"><title>%s</title></line>`,
			x(p.At), x(p.At), top, bottom-14, template.HTMLEscapeString(p.Invariant))
	}
	b.WriteString("</svg>")
	return b.String()
}

func at(p measure.Point) time.Duration { return time.Duration(p.Second) * time.Second }

func letter(i int) string {
	if i == 0 {
		return "M"
	}
	return "L"
}

// shrink makes at most n points of many: the lowest throughput and the highest latency
// of each run stay, since those are what is looked for.
func shrink(points []measure.Point, n int) []measure.Point {
	if len(points) <= n {
		return points
	}
	out := make([]measure.Point, 0, n)
	for i := range n {
		some := points[i*len(points)/n : (i+1)*len(points)/n]
		p := some[0]
		for _, q := range some[1:] {
			p.Acked, p.Replied = min(p.Acked, q.Acked), max(p.Replied, q.Replied)
			p.P50us, p.P99us, p.MaxUs = max(p.P50us, q.P50us), max(p.P99us, q.P99us), max(p.MaxUs, q.MaxUs)
		}
		out = append(out, p)
	}
	return out
}

// laneNames are the kinds of faults that were done, in order of their names.
func laneNames(events []fault.Event) []string {
	var names []string
	for _, e := range events {
		if !slices.Contains(names, e.Name) {
			names = append(names, e.Name)
		}
	}
	slices.Sort(names)
	return names
}

var pageTemplate = template.Must(template.New("page").Funcs(template.FuncMap{
	"ms":  func(d time.Duration) string { return d.Round(time.Millisecond).String() },
	"sec": func(d time.Duration) string { return d.Round(time.Second).String() },
}).Parse(`<!doctype html>
<meta charset="utf-8">
<title>Millrace: chaos run {{.R.Seed}}</title>
<style>
body { font: 15px/1.5 system-ui, sans-serif; max-width: 1140px; margin: 2em auto; padding: 0 1em; color: #1c2733; background: #fff }
h1 { font-size: 1.4em } h2 { font-size: 1.1em; margin-top: 2em }
.good { color: #17663a } .bad { color: #a3122a }
table { border-collapse: collapse } td, th { padding: .15em 1em .15em 0; text-align: left; vertical-align: top } td.n { text-align: right; font-variant-numeric: tabular-nums }
pre { background: #f3f5f7; padding: .7em; overflow-x: auto; white-space: pre-wrap }
svg { width: 100% } .t { font: 11px system-ui, sans-serif; fill: #55636f } .lane { font: 10px system-ui, sans-serif; fill: #1c2733 }
path { fill: none; stroke-width: 1 } .rate { stroke: #1f6fb2 } .max { stroke: #e3c9a8 } .p99 { stroke: #cf8a2e } .p50 { stroke: #6b3d00 }
.grid { stroke: #e3e7ea } .none { fill: #f2b8b5 } .fault { fill: #7d8b99 } .wrong { stroke: #a3122a; stroke-dasharray: 3 2 }
</style>
{{with .R}}
<h1>Chaos run of {{sec .Took}}: {{if .Violations}}<span class="bad">{{.Violations}} violations</span>{{else}}<span class="good">no violations</span>{{end}}</h1>
<p>Millrace {{.Version}}, {{.Nodes}} nodes, {{.Shards}} shards, {{.Eras}} eras, began {{.Began.Format "2006-01-02 15:04:05 MST"}}. Network: {{.Network}}.<br>
Repeat it: <code>{{.Again}}</code></p>
{{if .Ended}}<p class="bad">It ended before its time: {{.Ended}}</p>{{end}}
{{range .Missing}}<p class="bad">Not run: {{.}}</p>{{end}}
{{end}}
{{.Picture}}
{{with .R}}
{{if .Problems}}<h2>Violations</h2>{{range .Problems}}<p class="bad"><b>{{.Invariant}}</b> at {{ms .At}}</p><pre>{{.Text}}</pre>{{end}}{{end}}
<h2>What clients saw</h2>
<table>
<tr><td>XADDs acknowledged<td class="n">{{.Total.Acked}}
<tr><td>commands answered<td class="n">{{.Total.Replied}}
<tr><td>certainly not done<td class="n">{{.Total.Refused}}
<tr><td>outcome unknown<td class="n">{{.Total.Unknown}}
<tr><td>latency: half, 99 %, slowest<td class="n">{{.Total.P50us}} µs, {{.Total.P99us}} µs, {{.Total.MaxUs}} µs
<tr><td>histories checked by Porcupine: linearizable, not checked, violations<td class="n">{{.Windows.Linearizable}}, {{.Windows.NotChecked}}, {{.Windows.Violations}}
<tr><td>operations in them<td class="n">{{.Windows.Operations}}
<tr><td>replies, reads and ends of streams compared with the replayed log<td class="n">{{.Replayed.Replies}}, {{.Replayed.Reads}}, {{.Replayed.Finals}}
<tr><td>the harness itself ran late by at most<td class="n">{{ms .LagMax}}
</table>
<h2>Availability</h2>
<table><tr><th>promise<th>within<th>samples<th>half<th>99 %<th>longest<th>
{{range .Promises}}<tr><td>{{.Name}}<td>{{ms .Within}}<td class="n">{{.Samples}}<td class="n">{{ms .P50}}<td class="n">{{ms .P99}}<td class="n">{{ms .Max}}<td>{{if .Kept}}kept{{else}}<b class="bad">broken</b>{{end}}{{end}}
</table>
<p>The longest time without an acknowledged write, whatever the faults:</p>
<table><tr><th>shard<th>took<th>from
{{range .Longest}}<tr><td>{{.Shard}}<td class="n">{{ms .Took}}<td class="n">{{ms .From}}{{end}}
</table>
{{end}}
<h2>What was done</h2>
<table>{{range .Counts}}<tr><td>{{.Name}}<td class="n">{{.N}}{{end}}</table>
<h2>Faults</h2>
<table><tr><th>round<th>from<th>to<th>whole again<th>fault<th>its shards served after<th>others stalled
{{range .R.Events}}<tr><td>{{.Round}}<td class="n">{{ms .From}}<td class="n">{{ms .To}}<td class="n">{{ms .Healthy}}<td>{{.What}}<td class="n">{{if .Resumed}}{{ms .Resumed}}{{end}}<td class="n">{{if .Stalled}}{{ms .Stalled}}{{end}}{{end}}
</table>
`))

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

// Sizes in the picture, in points.
const (
	width      = 1100
	left       = 70 // position of the start of the run
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

// drawing is the picture while it is drawn, from top to bottom: the throughput, the
// latency, a lane for each kind of fault, and the time axis.
type drawing struct {
	strings.Builder
	r      *Report
	points []measure.Point
	end    time.Duration // the time at the right edge
	lanes  []string      // names of the lanes of faults
}

// plotTop is the top of the first plot.
const plotTop = 16.0

// picture draws throughput, latency and faults over time, as SVG.
func (r *Report) picture() string {
	d := &drawing{r: r, points: shrink(r.Timeline, width-left), end: max(r.Took, time.Second), lanes: laneNames(r.Events)}
	height := 2*(plotHeight+gap) + len(d.lanes)*laneHeight + gap
	fmt.Fprintf(d, `<svg viewBox="0 0 %d %d" role="img" aria-label="throughput, latency and faults over time">`, width, height)
	d.throughput(plotTop)
	d.latency(plotTop + plotHeight + gap)
	bottom := d.faults(plotTop + 2*(plotHeight+gap))
	d.axis(bottom)
	d.violations(plotTop, bottom-14)
	d.WriteString("</svg>")
	return d.String()
}

// x returns the horizontal position of a time.
func (d *drawing) x(t time.Duration) float64 {
	return left + float64(t)/float64(d.end)*(width-left-10)
}

// throughput draws the acknowledged XADDs of each second, and a bar where there are none.
func (d *drawing) throughput(top float64) {
	rate := 1.0
	for _, p := range d.points {
		rate = max(rate, float64(p.Acked))
	}
	y := func(v float64) float64 { return top + plotHeight*(1-v/rate) }
	fmt.Fprintf(d, `<text x="4" y="12" class="t">acknowledged XADDs a second (highest %.0f)</text>`, rate)
	d.WriteString(`<path class="rate" d="`)
	for i, p := range d.points {
		fmt.Fprintf(d, "%s%.1f %.1f", letter(i), d.x(at(p)), y(float64(p.Acked)))
	}
	d.WriteString(`"/>`)
	for _, p := range d.points {
		if p.Acked == 0 {
			fmt.Fprintf(d, `<rect class="none" x="%.1f" y="%.1f" width="1.5" height="%d"/>`, d.x(at(p)), top, plotHeight)
		}
	}
}

// latency draws three lines over a logarithmic scale that begins at 100 µs.
func (d *drawing) latency(top float64) {
	slow := 1000.0
	for _, p := range d.points {
		slow = max(slow, float64(p.MaxUs))
	}
	lo, hi := math.Log10(100), math.Log10(slow)
	y := func(us int64) float64 {
		return top + plotHeight*(1-(math.Log10(max(float64(us), 100))-lo)/(hi-lo))
	}
	fmt.Fprintf(d, `<text x="4" y="%.0f" class="t">latency on a logarithmic scale: median (dark), 99th percentile, and slowest (light)</text>`, top-4)
	for us := int64(1000); float64(us) <= slow; us *= 10 {
		fmt.Fprintf(d, `<line class="grid" x1="%d" x2="%d" y1="%.1f" y2="%.1f"/><text x="4" y="%.1f" class="t">%v</text>`,
			left, width-10, y(us), y(us), y(us)+4, time.Duration(us)*time.Microsecond)
	}
	for _, line := range []struct {
		class string
		value func(measure.Point) int64
	}{
		{"max", func(p measure.Point) int64 { return p.MaxUs }},
		{"p99", func(p measure.Point) int64 { return p.P99us }},
		{"p50", func(p measure.Point) int64 { return p.P50us }},
	} {
		fmt.Fprintf(d, `<path class="%s" d="`, line.class)
		n := 0
		for _, p := range d.points {
			if p.Replied > 0 {
				fmt.Fprintf(d, "%s%.1f %.1f", letter(n), d.x(at(p)), y(line.value(p)))
				n++
			}
		}
		d.WriteString(`"/>`)
	}
}

// faults draws a lane for each kind of fault, with a bar for each fault, and returns the
// base line of the time axis below.
func (d *drawing) faults(top float64) (bottom float64) {
	fmt.Fprintf(d, `<text x="4" y="%.0f" class="t">faults</text>`, top-6)
	for i, name := range d.lanes {
		y := top + float64(i*laneHeight)
		fmt.Fprintf(d, `<text x="4" y="%.1f" class="lane">%s</text>`, y+11, template.HTMLEscapeString(name))
		for _, e := range d.r.Events {
			if e.Name == name {
				fmt.Fprintf(d, `<rect class="fault" x="%.1f" y="%.1f" width="%.1f" height="%d"><title>%s, %v to %v</title></rect>`,
					d.x(e.From), y+2, max(d.x(e.To)-d.x(e.From), 1.5), laneHeight-4, template.HTMLEscapeString(e.What),
					e.From.Round(time.Millisecond), e.To.Round(time.Millisecond))
			}
		}
	}
	return top + float64(len(d.lanes)*laneHeight) + 14
}

// axis draws eleven times from the start to the end of the run.
func (d *drawing) axis(y float64) {
	for i := range 11 {
		t, anchor := d.end*time.Duration(i)/10, "middle"
		if i == 10 {
			anchor = "end"
		}
		fmt.Fprintf(d, `<text x="%.1f" y="%.1f" class="t" text-anchor="%s">%v</text>`, d.x(t), y, anchor, t.Round(time.Second))
	}
}

// violations draws a line across all plots at the time of each violation.
func (d *drawing) violations(top, bottom float64) {
	for _, p := range d.r.Problems {
		fmt.Fprintf(d, `<line class="wrong" x1="%.1f" x2="%.1f" y1="%.1f" y2="%.1f"><title>%s</title></line>`,
			d.x(p.At), d.x(p.At), top, bottom, template.HTMLEscapeString(p.Invariant))
	}
}

func at(p measure.Point) time.Duration { return time.Duration(p.Second) * time.Second }

// letter returns the command of point i in an SVG path: move to the first, line to the rest.
func letter(i int) string {
	if i == 0 {
		return "M"
	}
	return "L"
}

// shrink returns at most n points. Each stands for a run of seconds and keeps their lowest
// throughput and their highest latency, because a reader looks for these.
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

// laneNames returns the names of the faults in events, each once, in order.
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
{{if .Ended}}<p class="bad">The run ended early: {{.Ended}}</p>{{end}}
{{range .Missing}}<p class="bad">Not run: {{.}}</p>{{end}}
{{end}}
{{.Picture}}
{{with .R}}
{{if .Problems}}<h2>Violations</h2>{{range .Problems}}<p class="bad"><b>{{.Invariant}}</b> at {{ms .At}}</p><pre>{{.Text}}</pre>{{end}}{{end}}
<h2>Results of the clients</h2>
<table>
<tr><td>XADDs acknowledged<td class="n">{{.Total.Acked}}
<tr><td>commands answered<td class="n">{{.Total.Replied}}
<tr><td>certainly not done<td class="n">{{.Total.Refused}}
<tr><td>outcome unknown<td class="n">{{.Total.Unknown}}
<tr><td>latency: median, 99th percentile, slowest<td class="n">{{.Total.P50us}} µs, {{.Total.P99us}} µs, {{.Total.MaxUs}} µs
<tr><td>histories checked by Porcupine: linearizable, not checked, violations<td class="n">{{.Windows.Linearizable}}, {{.Windows.NotChecked}}, {{.Windows.Violations}}
<tr><td>operations in these histories<td class="n">{{.Windows.Operations}}
<tr><td>replies, reads and final streams compared with the replayed log<td class="n">{{.Replayed.Replies}}, {{.Replayed.Reads}}, {{.Replayed.Finals}}
<tr><td>longest delay of the harness itself<td class="n">{{ms .LagMax}}
</table>
<h2>Availability</h2>
<table><tr><th>promise<th>within<th>samples<th>median<th>99th percentile<th>longest<th>
{{range .Promises}}<tr><td>{{.Name}}<td>{{ms .Within}}<td class="n">{{.Samples}}<td class="n">{{ms .P50}}<td class="n">{{ms .P99}}<td class="n">{{ms .Max}}<td>{{if .Kept}}kept{{else}}<b class="bad">broken</b>{{end}}{{end}}
</table>
<p>The longest time without an acknowledged write, under all faults:</p>
<table><tr><th>shard<th>took<th>from
{{range .Longest}}<tr><td>{{.Shard}}<td class="n">{{ms .Took}}<td class="n">{{ms .From}}{{end}}
</table>
{{end}}
<h2>Counts</h2>
<table>{{range .Counts}}<tr><td>{{.Name}}<td class="n">{{.N}}{{end}}</table>
<h2>Faults</h2>
<table><tr><th>round<th>from<th>to<th>cluster healthy<th>fault<th>its shards served after<th>other shards stalled for
{{range .R.Events}}<tr><td>{{.Round}}<td class="n">{{ms .From}}<td class="n">{{ms .To}}<td class="n">{{ms .Healthy}}<td>{{.What}}<td class="n">{{if .Resumed}}{{ms .Resumed}}{{end}}<td class="n">{{if .Stalled}}{{ms .Stalled}}{{end}}{{end}}
</table>
`))

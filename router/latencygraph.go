package router

import (
	"fmt"
	"strings"
)

// The shape of a graph of LATENCY GRAPH: redis src/latency.c and src/sparkline.c.
const (
	graphColumns = 80 // samples side by side; the next 80 follow below
	graphRows    = 4
)

// graphSteps are the characters for the three heights within one row.
const graphSteps = "_o#"

// latencyGraph draws the samples of an event, at least one, as Redis does: a column for
// each, and under it the age of the sample at nowUnix, read downwards.
func latencyGraph(event string, samples []eventSample, maxMS, nowUnix int64) string {
	low, high := samples[0].ms, samples[0].ms
	for _, s := range samples {
		low, high = min(low, s.ms), max(high, s.ms)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s - high %d ms, low %d ms (all time high %d ms)\n", event, high, low, maxMS)
	b.WriteString(strings.Repeat("-", graphColumns) + "\n")
	for at := 0; at < len(samples); at += graphColumns {
		if at > 0 {
			b.WriteByte('\n')
		}
		part := samples[at:min(at+graphColumns, len(samples))]
		for row := graphRows - 1; row >= 0; row-- {
			for _, s := range part {
				b.WriteByte(graphCell(s.ms-low, high-low, row))
			}
			b.WriteByte('\n')
		}
		writeAges(&b, part, nowUnix)
	}
	return b.String()
}

// graphCell is the character in a row (0 is the lowest) of a column. The highest column
// has the height most.
func graphCell(height, most int64, row int) byte {
	const perRow = int64(len(graphSteps))
	const steps = graphRows * perRow
	step := min(height*steps/max(most, 1), steps-1) - int64(row)*perRow
	switch {
	case step < 0:
		return ' '
	case step < perRow:
		return graphSteps[step]
	}
	return '|'
}

// writeAges writes the ages of samples downwards, after an empty row.
func writeAges(b *strings.Builder, samples []eventSample, nowUnix int64) {
	b.WriteString(strings.Repeat(" ", len(samples)) + "\n")
	ages, longest := make([]string, len(samples)), 0
	for i, s := range samples {
		ages[i] = shortAge(nowUnix - s.unix)
		longest = max(longest, len(ages[i]))
	}
	for row := range longest {
		for _, age := range ages {
			if row < len(age) {
				b.WriteByte(age[row])
			} else {
				b.WriteByte(' ')
			}
		}
		b.WriteByte('\n')
	}
}

// shortAge is an age in the largest unit that fits: 90 seconds is 1m.
func shortAge(seconds int64) string {
	const minute, hour, day = 60, 60 * 60, 24 * 60 * 60
	switch {
	case seconds < minute:
		return fmt.Sprintf("%ds", seconds)
	case seconds < hour:
		return fmt.Sprintf("%dm", seconds/minute)
	case seconds < day:
		return fmt.Sprintf("%dh", seconds/hour)
	}
	return fmt.Sprintf("%dd", seconds/day)
}

package main

import (
	"bytes"
	"cmp"
	"fmt"
	"html"
	"maps"
	"math"
	"slices"
	"strings"
)

// Sizes of a panel, in pixels. There are two panels in a row.
const (
	wide, high          = 440, 250
	left, right         = 58, 16
	top, bottom         = 34, 44
	heading             = 30
	lineHeight          = 15
	columns             = 2
	steps       float64 = 4 // on the vertical axis, approximately
)

var colours = []string{"#1f6feb", "#d1570c", "#1a7f37", "#8250df", "#bf3989"}

// panel is the part of the chart with the series of one unit.
type panel struct {
	unit   string
	series []string
}

// panels groups the series by unit, which is after the last comma of the name.
func (c *curve) panels() []panel {
	var out []panel
	names := map[string]bool{}
	for _, p := range c.Points {
		for name := range p.Y {
			names[name] = true
		}
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		unit := unitOf(name)
		i := slices.IndexFunc(out, func(p panel) bool { return p.unit == unit })
		if i < 0 {
			out, i = append(out, panel{unit: unit}), len(out)
		}
		out[i].series = append(out[i].series, name)
	}
	return out
}

func unitOf(series string) string {
	if i := strings.LastIndex(series, ", "); i >= 0 {
		return series[i+2:]
	}
	return series
}

// svg draws the curve. The horizontal axis is logarithmic if it spans more than a factor of ten;
// the vertical axes begin at 0.
func (c *curve) svg() []byte {
	ps := c.panels()
	rows := (len(ps) + columns - 1) / columns
	most := 0
	for _, p := range ps {
		most = max(most, len(p.series))
	}
	tall := high + most*lineHeight
	var w bytes.Buffer
	fmt.Fprintf(&w, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="system-ui, sans-serif" font-size="12" fill="#24292f">`+"\n",
		min(columns, len(ps))*wide, heading+rows*tall)
	fmt.Fprintf(&w, `<rect width="100%%" height="100%%" fill="#ffffff"/>`+"\n"+`<text x="12" y="20" font-size="15" font-weight="600">%s</text>`+"\n", html.EscapeString(c.Title))
	for i, p := range ps {
		fmt.Fprintf(&w, `<g transform="translate(%d %d)">`+"\n", i%columns*wide, heading+i/columns*tall)
		c.draw(&w, p)
		w.WriteString("</g>\n")
	}
	w.WriteString("</svg>\n")
	return w.Bytes()
}

func (c *curve) draw(w *bytes.Buffer, p panel) {
	lowest, highest, ceiling := c.Points[0].X, c.Points[0].X, 0.0
	for _, at := range c.Points {
		lowest, highest = min(lowest, at.X), max(highest, at.X)
		for _, s := range p.series {
			ceiling = max(ceiling, at.Y[s])
		}
	}
	step := nice(ceiling / steps)
	ceiling = max(step, math.Ceil(ceiling/step)*step)
	scale := func(x float64) float64 { return x }
	if highest > 10*lowest {
		scale = math.Log
	}
	px := func(x float64) float64 {
		share := 0.5
		if highest > lowest {
			share = (scale(x) - scale(lowest)) / (scale(highest) - scale(lowest))
		}
		return left + share*(wide-left-right)
	}
	py := func(y float64) float64 { return top + (1-y/ceiling)*(high-top-bottom) }

	fmt.Fprintf(w, `<text x="%d" y="%d" fill="#57606a">%s</text>`+"\n", left, top-12, html.EscapeString(p.unit))
	for y := 0.0; y <= ceiling*1.001; y += step {
		fmt.Fprintf(w, `<path d="M%d %.1fH%d" stroke="#d0d7de"/><text x="%d" y="%.1f" text-anchor="end">%s</text>`+"\n",
			left, py(y), wide-right, left-6, py(y)+4, short(y))
	}
	for _, at := range c.Points {
		fmt.Fprintf(w, `<text x="%.1f" y="%d" text-anchor="middle">%s</text>`+"\n", px(at.X), high-bottom+18, short(at.X))
	}
	fmt.Fprintf(w, `<text x="%d" y="%d" text-anchor="middle" fill="#57606a">%s</text>`+"\n", (left+wide-right)/2, high-bottom+36, html.EscapeString(c.X))
	for i, s := range p.series {
		colour := colours[i%len(colours)]
		var line strings.Builder
		for _, at := range c.Points {
			y, ok := at.Y[s]
			if !ok {
				continue
			}
			fmt.Fprintf(&line, "%.1f,%.1f ", px(at.X), py(y))
			fmt.Fprintf(w, `<circle cx="%.1f" cy="%.1f" r="3" fill="%s"><title>%s: %s</title></circle>`+"\n", px(at.X), py(y), colour, short(at.X), short(y))
		}
		fmt.Fprintf(w, `<polyline points="%s" fill="none" stroke="%s" stroke-width="2"/>`+"\n", strings.TrimSpace(line.String()), colour)
		y := high + i*lineHeight + 8
		fmt.Fprintf(w, `<path d="M%d %dh18" stroke="%s" stroke-width="2"/><text x="%d" y="%d">%s</text>`+"\n", left, y-4, colour, left+24, y,
			html.EscapeString(strings.TrimSuffix(s, ", "+p.unit)))
	}
}

// nice returns the smallest step of 1, 2 or 5 times a power of ten that is not below n.
func nice(n float64) float64 {
	if n <= 0 {
		return 1
	}
	power := math.Pow(10, math.Floor(math.Log10(n)))
	for _, f := range []float64{1, 2, 5} {
		if f*power >= n {
			return f * power
		}
	}
	return 10 * power
}

// short returns a number in the form of an axis label: 1k, 50k, 1M.
func short(n float64) string {
	for _, u := range []struct {
		of   float64
		name string
	}{{1e6, "M"}, {1e3, "k"}} {
		if n >= u.of {
			return fmt.Sprintf("%.3g%s", n/u.of, u.name)
		}
	}
	return cmp.Or(fmt.Sprintf("%.3g", n), "0")
}

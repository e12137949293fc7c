package bench

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
)

// Report is a result that can be printed.
type Report interface {
	Print(w io.Writer) error
	// Fault returns an error if the server broke a guarantee.
	Fault() error
}

// lines are the lines of a report, each with a name and a value.
type lines []string

func (l *lines) add(name, format string, args ...any) {
	*l = append(*l, fmt.Sprintf("%-14s %s\n", name, fmt.Sprintf(format, args...)))
}

func (l lines) print(w io.Writer) error {
	for _, line := range l {
		if _, err := io.WriteString(w, line); err != nil {
			return err
		}
	}
	return nil
}

func (l Latency) String() string {
	return fmt.Sprintf("p50 %.2f ms, p99 %.2f ms, p99.9 %.2f ms, max %.2f ms", l.P50, l.P99, l.P999, l.Max)
}

func (r Delivery) String() string {
	s := fmt.Sprintf("%d of %d received, %d lost, %d duplicated, %d misrouted", r.Received, r.Expected, r.Lost, r.Duplicated, r.Misrouted)
	if r.Unpromised > 0 {
		s += fmt.Sprintf(", %d without their 201", r.Unpromised)
	}
	if r.Foreign > 0 {
		s += fmt.Sprintf(", %d of other posters", r.Foreign)
	}
	return s
}

func (c Cost) String() string {
	if c.Server == 0 {
		return fmt.Sprintf("%.1f µs by this generator", c.Generator)
	}
	return fmt.Sprintf("%.1f µs by the server, %.1f µs by this generator", c.Server, c.Generator)
}

// Print writes the result as text.
func (p PostResult) Print(w io.Writer) error {
	var l lines
	pace := "each after the other"
	if p.Rate > 0 {
		pace = fmt.Sprintf("%d a second, timed from when due", p.Rate)
	}
	l.add("load", "%d posters, %s; %d users, %d devices each; bodies of %d bytes; %.1f s", p.Posters, pace, p.Users, p.Devices, p.Size, p.Seconds)
	l.add("posts", "%.0f/s", p.PerSecond)
	l.add("answer", "%v", p.Answer)
	if p.Devices > 0 {
		l.add("deliveries", "%.0f/s", p.Deliveries)
		l.add("post to device", "%v", p.Delivered)
		l.add("copies", "%v", p.Delivery)
	}
	l.add("CPU a post", "%v", p.CPU)
	for _, status := range slices.Sorted(maps.Keys(p.Refused)) {
		l.add("answered", "%d: %d times", status, p.Refused[status])
	}
	if p.PosterErrors+p.DevicesBroken > 0 {
		l.add("broken", "%d posts, %d devices", p.PosterErrors, p.DevicesBroken)
	}
	return l.print(w)
}

// Fault returns an error if notifications were lost, duplicated or misrouted, or if no post
// succeeded at all.
func (p PostResult) Fault() error {
	if p.Posts == 0 {
		return errors.New("no post got a 201")
	}
	if p.Devices == 0 {
		return nil
	}
	return p.Delivery.Fault()
}

// Print writes the result as text.
func (i IdleResult) Print(w io.Writer) error {
	var l lines
	for n, v := range i.Waves {
		l.add(fmt.Sprintf("wave %d", n+1), "%d connected in %.1f s, %d retries, %d broken", i.Connections, v.Seconds, v.Retries, v.Broken)
		if v.Held > 0 {
			l.add("", "resident %.1f MiB before, %.1f held, %.1f after: %.1f KiB a connection",
				mib(v.Before), mib(v.Held), mib(v.After), v.PerConnection)
		}
	}
	l.add("CPU a connect", "%v", i.CPU)
	return l.print(w)
}

func mib(n int64) float64 { return float64(n) / (1 << 20) }

// Fault returns an error if the server closed connections.
func (i IdleResult) Fault() error {
	for _, w := range i.Waves {
		if w.Broken > 0 {
			return fmt.Errorf("%d connections broke", w.Broken)
		}
	}
	return nil
}

// Print writes the result as text.
func (c ConnectResult) Print(w io.Writer) error {
	var l lines
	l.add("logins", "%.0f/s by %d workers, %d refused, %d failed; %.1f s", c.PerSecond, c.Workers, c.Refused, c.Failed, c.Seconds)
	for _, limit := range slices.Sorted(maps.Keys(c.RefusedBy)) {
		l.add("refused", "%s: %d times", limit, c.RefusedBy[limit])
	}
	l.add("login", "%v", c.Latency)
	l.add("CPU a login", "%v", c.CPU)
	return l.print(w)
}

// Fault returns an error if logins failed for another reason than a limit.
func (c ConnectResult) Fault() error {
	if c.Failed > 0 {
		return fmt.Errorf("%d logins failed", c.Failed)
	}
	return nil
}

// Print writes the result as text.
func (r ReplayResult) Print(w io.Writer) error {
	var l lines
	l.add("replay", "%d devices, %d missed each: %.0f/s, %.2f s", r.Devices, r.Missed, r.PerSecond, r.Seconds)
	l.add("a device", "%v", r.Device)
	l.add("copies", "%v, %d out of order", r.Delivery, r.Disorder)
	l.add("CPU a copy", "%v", r.CPU)
	return l.print(w)
}

// Fault returns an error if notifications were lost, duplicated, misrouted or out of order.
func (r ReplayResult) Fault() error {
	if r.Disorder > 0 {
		return fmt.Errorf("%d out of order", r.Disorder)
	}
	return r.Delivery.Fault()
}

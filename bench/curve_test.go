package bench

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/falconalert/falconbridge/internal/bench"
)

var (
	curves   = flag.String("bench.curves", "", "folder to write the points of cost curves to, for ./bench/chart")
	growth   = flag.Int("bench.growth", 1_000_000, "users at the end of the growth, ten notifications each")
	stormers = flag.Int("bench.stormers", 2000, "connects under way at once in a storm")
)

// curve is what something costs as a quantity grows. bench/chart draws it.
type curve struct {
	Name   string    `json:"name"`
	Title  string    `json:"title"`
	X      string    `json:"x"` // the quantity that grows
	When   time.Time `json:"when"`
	Load   string    `json:"load_average"`
	Points []point   `json:"points"`
}

// point is one measurement. The keys of Y are what was measured, with the unit.
type point struct {
	X float64            `json:"x"`
	Y map[string]float64 `json:"y"`
}

func newCurve(name, title, x string) *curve {
	return &curve{Name: name, Title: title, X: x, When: time.Now().UTC().Truncate(time.Second), Load: loadAverage()}
}

func (c *curve) add(b *testing.B, x float64, y map[string]float64) {
	b.Helper()
	c.Points = append(c.Points, point{x, y})
	b.Logf("%s %v: %v", c.X, x, y)
}

// save writes the curve to the directory -bench.curves.
func (c *curve) save(b *testing.B) {
	b.Helper()
	if *curves == "" || b.Failed() {
		return
	}
	c.Load += " → " + loadAverage()
	raw, err := json.MarshalIndent(c, "", " ")
	if err == nil {
		err = os.WriteFile(filepath.Join(*curves, c.Name+".json"), append(raw, '\n'), 0o644)
	}
	if err != nil {
		b.Error(err)
	}
}

// once fails unless b.N is 1: one iteration takes minutes.
func once(b *testing.B) {
	b.Helper()
	if b.N > 1 {
		b.Fatal("run it with -benchtime 1x: one iteration takes minutes")
	}
}

// loaded runs a load, and fails if anything was lost, duplicated or misrouted.
func loaded(b *testing.B, load bench.Post, t *bench.Target) bench.PostResult {
	b.Helper()
	load.Duration, load.Warm = time.Duration(*seconds)*time.Second, 2*time.Second
	load.Max, load.Connect, load.Grace = 3_000_000, 3*time.Minute, 10*time.Second
	res, err := load.Run(b.Context(), t)
	if err == nil {
		err = res.Fault()
	}
	if err == nil && len(res.Refused) > 0 {
		err = fmt.Errorf("refused posts: %v", res.Refused)
	}
	if err != nil {
		b.Fatal(err)
	}
	return res
}

// median returns the run with the median of the figure that of returns.
func median(rs []bench.PostResult, of func(bench.PostResult) float64) bench.PostResult {
	slices.SortFunc(rs, func(a, b bench.PostResult) int {
		if of(a) < of(b) {
			return -1
		}
		return 1
	})
	return rs[len(rs)/2]
}

// cpuBelow returns the CPU time of a process's children, including those that have ended.
func cpuBelow(b *testing.B, parent int) (sum time.Duration) {
	b.Helper()
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil || len(stats) == 0 {
		b.Fatalf("/proc: %v", err)
	}
	for _, name := range stats {
		raw, err := os.ReadFile(name)
		if err != nil {
			continue // it has ended meanwhile
		}
		_, after, _ := bytes.Cut(raw, []byte(") "))
		f := strings.Fields(string(after)) // from the state on, field 3 in proc_pid_stat(5)
		own, waited := [2]string{f[11], f[12]}, [2]string{f[13], f[14]}
		switch strconv.Itoa(parent) {
		case f[1]:
			sum += ticks(own)
		case filepath.Base(filepath.Dir(name)):
			sum += ticks(waited)
		}
	}
	return sum
}

// ticks returns the sum of user and system time, in hundredths of a second.
func ticks(times [2]string) (sum time.Duration) {
	for _, t := range times {
		n, _ := strconv.Atoi(t)
		sum += time.Duration(n) * 10 * time.Millisecond
	}
	return sum
}

// spent returns the CPU time that the children of a process spend on each post of load.
func spent(b *testing.B, parent int, load func() bench.PostResult) (bench.PostResult, float64) {
	b.Helper()
	before := cpuBelow(b, parent)
	res := load()
	// This includes the posts of the warm-up, which are assumed to cost as much.
	posts := float64(res.Posts) * (res.Seconds + 2) / res.Seconds
	return res, float64((cpuBelow(b, parent) - before).Microseconds()) / posts
}

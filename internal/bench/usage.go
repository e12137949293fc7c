package bench

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"time"
)

// Usage is the memory and CPU time that a process uses.
type Usage struct {
	Resident int64         // bytes in memory
	CPU      time.Duration // spent since its start
}

// ticks is USER_HZ, the number of units of CPU time in /proc per second: 100 on every architecture
// that Go supports.
const ticks = 100

// UsageOf reads a process's usage from /proc, which only Linux has.
func UsageOf(pid int) (u Usage, err error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return u, fmt.Errorf("the process %d cannot be watched: %w", pid, err)
	}
	_, after, _ := bytes.Cut(stat, []byte(") ")) // the name before it may contain blanks
	f := bytes.Fields(after)
	if len(f) < 22 {
		return u, fmt.Errorf("the process %d cannot be watched: its stat is not that of Linux", pid)
	}
	number := func(i int) (n int64) {
		n, _ = strconv.ParseInt(string(f[i]), 10, 64)
		return n
	}
	u.CPU = time.Duration(number(11)+number(12)) * time.Second / ticks
	u.Resident = number(21) * int64(os.Getpagesize())
	return u, nil
}

// meter measures the CPU time that the server's processes and this one use during a load.
type meter struct {
	pids              []int         // of the server
	server, generator time.Duration // at the start of the load
}

// meter starts measuring.
func (t *Target) meter() meter {
	m := meter{generator: cpuOf(os.Getpid())}
	if t.PID != 0 {
		m.pids = append([]int{t.PID}, t.Helpers...)
	}
	m.server = cpuOf(m.pids...)
	return m
}

// cpuOf returns the CPU time that the processes have used since they started. A process that has
// ended counts as 0.
func cpuOf(pids ...int) (sum time.Duration) {
	for _, pid := range pids {
		if u, err := UsageOf(pid); err == nil {
			sum += u.CPU
		}
	}
	return sum
}

// Cost is CPU time per unit of work, in microseconds.
type Cost struct {
	Server    float64 `json:"server_us,omitempty"`
	Generator float64 `json:"generator_us"`
}

// per returns the CPU time used since m was made, divided by n.
func (m meter) per(n uint64) (c Cost) {
	if n == 0 {
		return c
	}
	share := func(now, before time.Duration) float64 {
		return float64((now-before)/time.Microsecond) / float64(n)
	}
	c.Generator = share(cpuOf(os.Getpid()), m.generator)
	c.Server = max(0, share(cpuOf(m.pids...), m.server))
	return c
}

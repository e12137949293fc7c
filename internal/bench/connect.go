package bench

import (
	"context"
	"errors"
	"sync"
	"time"
)

// Connect logs in and disconnects again and again.
type Connect struct {
	Workers   int
	Users     int
	Subscribe bool // also subscribe before disconnecting
	Duration  time.Duration
	Max       int // the most logins
}

// ConnectResult is the result of a Connect.
type ConnectResult struct {
	Mode      string            `json:"mode"`
	Workers   int               `json:"workers"`
	Seconds   float64           `json:"seconds"`
	Logins    uint64            `json:"logins"`
	PerSecond float64           `json:"logins_per_second"`
	Refused   uint64            `json:"refused"`              // because the server was busy, or the address exceeded its rate
	RefusedBy map[string]uint64 `json:"refused_by,omitempty"` // by reason code and reason string
	Failed    uint64            `json:"failed"`
	Latency   Latency           `json:"login"` // from the TCP connect to the CONNACK
	CPU       Cost              `json:"cpu_per_login"`
}

// Run runs c until its bounds or ctx end it.
func (c Connect) Run(ctx context.Context, t *Target) (ConnectResult, error) {
	res := ConnectResult{Mode: "connect", Workers: c.Workers, RefusedBy: make(map[string]uint64)}
	if err := t.Check(); err != nil {
		return res, err
	}
	ctx, cancel := context.WithTimeout(ctx, c.Duration)
	defer cancel()
	var hs histograms
	var mu sync.Mutex
	var first error
	next := 0
	draw := func() (int, bool) {
		mu.Lock()
		defer mu.Unlock()
		next++
		return next - 1, next <= c.Max && ctx.Err() == nil
	}
	m, begun := t.meter(), time.Now()
	var wg sync.WaitGroup
	for range c.Workers {
		wg.Go(func() {
			for n, ok := draw(); ok; n, ok = draw() {
				took, err := c.once(t, n)
				mu.Lock()
				switch {
				case err == nil:
					res.Logins++
					hs.of(n).add(took)
				case temporary(err):
					res.Refused++
					if r := (refusal{}); errors.As(err, &r) {
						res.RefusedBy[r.limit()]++
					}
				default:
					res.Failed++
					if first == nil {
						first = err
					}
				}
				enough := res.Failed > 100
				mu.Unlock()
				if enough {
					return
				}
			}
		})
	}
	wg.Wait()
	res.Seconds = time.Since(begun).Seconds()
	res.PerSecond = float64(res.Logins) / res.Seconds
	res.Latency, res.CPU = hs.latency(), m.per(res.Logins)
	if res.Logins == 0 && first != nil {
		return res, first
	}
	return res, nil
}

func (c Connect) once(t *Target, n int) (time.Duration, error) {
	d := t.device(n%c.Users, n)
	begun := time.Now()
	if err := d.connect(); err != nil {
		return 0, err
	}
	took := time.Since(begun)
	defer d.close()
	if c.Subscribe {
		return took, d.subscribe()
	}
	return took, nil
}

package bench

import (
	"cmp"
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/falconalert/falconbridge/internal/mqttwire"
)

// Idle opens connections and keeps them open, sending only pings.
type Idle struct {
	Connections int
	First       int           // the number of the first user
	PerUser     int           // connections of each user, at most maxDevices
	AtOnce      int           // how many connect at once; 0 means 64
	Waves       int           // how often all connect and disconnect; 0 means once
	Hold        time.Duration // how long the connections of a wave stay open
	Settle      time.Duration // how long to wait before memory is read
	Connect     time.Duration // how long connecting a wave may take
}

// Wave is one round of idle connections.
type Wave struct {
	Seconds       float64 `json:"connect_seconds"`
	Retries       int     `json:"retries"` // how often connecting was refused and tried again
	Broken        int     `json:"broken"`  // connections that the server or the network ended
	Before        int64   `json:"resident_before_bytes,omitempty"`
	Held          int64   `json:"resident_held_bytes,omitempty"`
	PerConnection float64 `json:"resident_kib_per_connection,omitempty"` // relative to Before of the first wave
	After         int64   `json:"resident_after_bytes,omitempty"`
}

// IdleResult is the result of an Idle.
type IdleResult struct {
	Mode        string `json:"mode"`
	Connections int    `json:"connections"`
	Waves       []Wave `json:"waves"`
	CPU         Cost   `json:"cpu_per_connect"`
}

// Run runs i until its bounds or ctx end it.
func (i Idle) Run(ctx context.Context, t *Target) (IdleResult, error) {
	res := IdleResult{Mode: "idle", Connections: i.Connections}
	if err := t.Check(); err != nil {
		return res, err
	}
	i.PerUser = max(1, min(i.PerUser, maxDevices))
	m := t.meter()
	for n := 0; n < max(1, i.Waves) && (n == 0 || ctx.Err() == nil); n++ {
		w, err := i.wave(ctx, t)
		if err != nil {
			return res, err
		}
		if len(res.Waves) > 0 {
			w.Before = res.Waves[0].Before
		}
		if w.Held > 0 {
			w.PerConnection = float64(w.Held-w.Before) / float64(i.Connections) / 1024
		}
		res.Waves = append(res.Waves, w)
	}
	res.CPU = m.per(uint64(len(res.Waves) * i.Connections))
	return res, nil
}

func (i Idle) wave(ctx context.Context, t *Target) (w Wave, err error) {
	w.Before = t.resident()
	ds := make([]*device, i.Connections)
	for n := range ds {
		ds[n] = t.device(i.First+n/i.PerUser, n%i.PerUser)
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	begun := time.Now()
	err = connectMany(ds, cmp.Or(i.AtOnce, dialers), begun.Add(i.Connect), func(d *device) error {
		if err := d.subscribe(); err != nil {
			return err
		}
		wg.Go(func() {
			if d.receive(func(mqttwire.Message) {}) != nil {
				mu.Lock()
				w.Broken++
				mu.Unlock()
			}
		})
		return ctx.Err()
	})
	w.Seconds = time.Since(begun).Seconds()
	defer wg.Wait()
	defer closeAll(ds)
	if err != nil {
		return w, fmt.Errorf("connect %d devices: %w", len(ds), err)
	}
	for _, d := range ds {
		w.Retries += d.retries
	}
	pause(ctx, i.Settle)
	w.Held = t.resident()
	i.keep(ctx, ds, t.pingEvery())
	closeAll(ds)
	wg.Wait()
	pause(ctx, i.Settle)
	w.After = t.resident()
	return w, nil
}

// pingEvery returns the interval of pings: half the keepalive, which over WebSocket is the
// Server Keep Alive of 50 s.
func (t *Target) pingEvery() time.Duration {
	if s := t.Devices.Scheme; s == "ws" || s == "wss" {
		return 25 * time.Second
	}
	return 150 * time.Second
}

// keep keeps the connections open for i.Hold, with a ping at each interval.
func (i Idle) keep(ctx context.Context, ds []*device, every time.Duration) {
	end := time.Now().Add(i.Hold)
	for ctx.Err() == nil {
		left := time.Until(end)
		if left <= 0 {
			return
		}
		pause(ctx, min(left, every))
		if time.Until(end) > 0 {
			for _, d := range ds {
				d.ping()
			}
		}
	}
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// resident returns the server's memory in bytes, or 0 if its process is unknown.
func (t *Target) resident() int64 {
	if t.PID == 0 {
		return 0
	}
	u, err := UsageOf(t.PID)
	if err != nil {
		return 0
	}
	return u.Resident
}

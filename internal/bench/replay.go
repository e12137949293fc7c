package bench

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/falconalert/falconbridge/internal/mqttwire"
)

// Replay lets persistent devices miss notifications, and reconnect.
type Replay struct {
	Devices int           // one per user; all reconnect at once
	Missed  int           // notifications that each misses; the server replays at most 1,000
	Size    int           // of a body, in bytes
	Connect time.Duration // how long connecting the devices may take
	Limit   time.Duration // how long the replay may take
}

// ReplayResult is the result of a Replay.
type ReplayResult struct {
	Mode      string   `json:"mode"`
	Devices   int      `json:"devices"`
	Missed    int      `json:"missed"`
	Seconds   float64  `json:"seconds"` // from the first reconnect to the last message
	PerSecond float64  `json:"replayed_per_second"`
	Device    Latency  `json:"device"` // from a device's CONNECT to its last message
	Delivery  Delivery `json:"delivery"`
	Disorder  uint64   `json:"disordered"` // messages that arrived after a later one
	CPU       Cost     `json:"cpu_per_message"`
}

// Run runs r until its bounds or ctx end it.
func (r Replay) Run(ctx context.Context, t *Target) (ReplayResult, error) {
	res := ReplayResult{Mode: "replay", Devices: r.Devices, Missed: r.Missed}
	if err := t.Check(); err != nil {
		return res, err
	}
	y := newTally(t.run, r.Devices, r.Devices*r.Missed)
	ds := make([]*device, r.Devices)
	for i := range ds {
		ds[i] = t.device(i, 0)
		ds[i].resume = true
	}
	defer r.forget(ds)
	err := connectAll(ds, time.Now().Add(r.Connect), func(d *device) error {
		if err := d.subscribe(); err != nil {
			return err
		}
		d.close()
		d.closing = false
		return ctx.Err()
	})
	if err != nil {
		return res, fmt.Errorf("connect %d devices: %w", len(ds), err)
	}
	if err := r.miss(ctx, t, y); err != nil {
		return res, err
	}
	return res, r.resume(ctx, t, y, ds, &res)
}

// batchSize is how many notifications go into one call.
const batchSize = 500

// miss posts the notifications that the devices miss, in batches.
func (r Replay) miss(ctx context.Context, t *Target, y *tally) error {
	token, err := t.PostToken()
	if err != nil {
		return err
	}
	c := &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{TLSClientConfig: t.PostTLS},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	defer c.CloseIdleConnections()
	u := t.Posts.JoinPath("batch")
	for n := 0; n < r.Devices*r.Missed; n += batchSize {
		b := []byte(`{"notifications":[`)
		last := min(n+batchSize, r.Devices*r.Missed)
		for i := n; i < last; i++ {
			y.due[i].Store(1)
			b = append(appendBody(b, y, i, r.Size), ',')
		}
		if err := batch(ctx, c, u, token, string(b[:len(b)-1])+"]}"); err != nil {
			return err
		}
		for i := n; i < last; i++ {
			y.marks[i].Or(answered)
		}
	}
	return nil
}

func batch(ctx context.Context, c *http.Client, u *url.URL, token, body string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, u.String(), strings.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Content-Type", "application/json")
	resp, err := c.Do(req)
	if err != nil {
		return fmt.Errorf("post a batch: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 1<<20))
	if resp.StatusCode != http.StatusCreated {
		return fmt.Errorf("post a batch: the server returned %d", resp.StatusCode)
	}
	return nil
}

// resume reconnects the devices and waits until each has received what it missed.
func (r Replay) resume(ctx context.Context, t *Target, y *tally, ds []*device, res *ReplayResult) error {
	var hs histograms
	var wg sync.WaitGroup
	var mu sync.Mutex
	y.begun = time.Now()
	m := t.meter()
	ctx, cancel := context.WithTimeout(ctx, r.Limit)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { closeAll(ds) })
	defer stop()
	err := connectAll(ds, time.Now().Add(r.Connect), func(d *device) error {
		at := time.Now()
		wg.Go(func() {
			seen, last, late := 0, -1, uint64(0)
			_ = d.receive(func(m mqttwire.Message) {
				y.got(d, m.Payload)
				if n, ok := y.find(m.Payload); ok {
					if n < last {
						late++
					}
					last = max(last, n)
				}
				if seen++; seen == r.Missed {
					hs.of(d.user).add(time.Since(at))
					go d.close() // most likely after the acknowledgements of this read
				}
			})
			mu.Lock()
			res.Disorder += late
			mu.Unlock()
		})
		return ctx.Err()
	})
	if err != nil {
		closeAll(ds)
	}
	wg.Wait()
	res.Seconds = time.Duration(y.last.Load()).Seconds()
	res.Delivery = y.count(len(y.marks), 1)
	res.PerSecond = float64(res.Delivery.Received) / max(res.Seconds, 1e-9)
	res.Device, res.CPU = hs.latency(), m.per(res.Delivery.Received)
	return err
}

// forget removes the devices' sessions, by connecting again without one.
func (r Replay) forget(ds []*device) {
	for _, d := range ds {
		d.resume, d.closing = false, false
	}
	_ = connectAll(ds, time.Now().Add(r.Connect), func(d *device) error {
		d.close()
		return nil
	})
}

package bench

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/falconalert/falconbridge/internal/mqttwire"
)

// Post posts notifications and counts them as they arrive at the devices.
type Post struct {
	Posters  int           // connections that post, each one request at a time
	Users    int           // posted to in rotation
	Devices  int           // of each user; with 0 only the responses are measured
	Rate     int           // posts per second, timed from when each is due; with 0 each follows the one before
	Size     int           // of a body, in bytes
	Duration time.Duration // how long to post, unless Max posts come earlier
	Warm     time.Duration // how long to post at first without measuring
	Max      int           // the most posts; memory is reserved for them
	Connect  time.Duration // how long connecting the devices may take
	Grace    time.Duration // how long to wait for the next delivery at the end
}

// PostResult is the result of a Post.
type PostResult struct {
	Mode           string         `json:"mode"`
	Posters        int            `json:"posters"`
	Users          int            `json:"users"`
	Devices        int            `json:"devices"`
	Size           int            `json:"size"`
	Rate           int            `json:"rate,omitempty"`
	Seconds        float64        `json:"seconds"` // measured
	Posts          uint64         `json:"posts"`
	PerSecond      float64        `json:"posts_per_second"`
	Deliveries     float64        `json:"deliveries_per_second"`
	Answer         Latency        `json:"answer"`    // from when a post is due to its 201
	Delivered      Latency        `json:"delivered"` // from when a post is due to the device
	Delivery       Delivery       `json:"delivery"`
	Refused        map[int]uint64 `json:"refused,omitempty"` // responses other than 201, by status
	PosterErrors   uint64         `json:"poster_errors,omitempty"`
	DevicesBroken  uint64         `json:"devices_broken,omitempty"`
	CPU            Cost           `json:"cpu_per_post"`
	ServerResident int64          `json:"server_resident_bytes,omitempty"`
}

// postRun is a running Post.
type postRun struct {
	Post
	t       *Target
	y       *tally
	answers histograms
	next    atomic.Int64
	slots   chan int // with a rate: posts that are due
	stop    atomic.Bool

	warmAt  atomic.Uint64 // how many first copies had been received at the end of the warm-up
	good    atomic.Uint64
	errs    atomic.Uint64
	broken  atomic.Uint64
	mu      sync.Mutex
	refused map[int]uint64
	first   error // the first error of a poster
}

// Run runs p until its bounds or ctx end it.
func (p Post) Run(ctx context.Context, t *Target) (PostResult, error) {
	if err := t.Check(); err != nil {
		return PostResult{}, err
	}
	if p.Devices > maxDevices {
		return PostResult{}, fmt.Errorf("a user can have at most %d devices", maxDevices)
	}
	r := &postRun{Post: p, t: t, y: newTally(t.run, p.Users, p.Max), refused: make(map[int]uint64)}
	ds := make([]*device, 0, p.Users*p.Devices)
	for u := range p.Users {
		for s := range p.Devices {
			ds = append(ds, t.device(u, s))
		}
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	defer closeAll(ds)
	err := connectAll(ds, time.Now().Add(p.Connect), func(d *device) error {
		if err := d.subscribe(); err != nil {
			return err
		}
		wg.Go(func() {
			if err := d.receive(func(m mqttwire.Message) { r.y.got(d, m.Payload) }); err != nil {
				r.broken.Add(1)
			}
		})
		return ctx.Err()
	})
	if err != nil {
		return PostResult{}, fmt.Errorf("connect %d devices: %w", len(ds), err)
	}
	return r.load(ctx)
}

func closeAll(ds []*device) {
	work := make(chan *device)
	var wg sync.WaitGroup
	for range dialers {
		wg.Go(func() {
			for d := range work {
				d.close()
			}
		})
	}
	for _, d := range ds {
		work <- d
	}
	close(work)
	wg.Wait()
}

// load posts, waits for outstanding deliveries, and returns the result.
func (r *postRun) load(ctx context.Context) (PostResult, error) {
	posters := make([]Poster, r.Posters)
	for i := range posters {
		p, err := r.t.poster()
		if err != nil {
			return PostResult{}, err
		}
		defer func() { _ = p.Close() }()
		posters[i] = p
	}
	r.y.begun = time.Now()
	timer := time.AfterFunc(r.Warm+r.Duration, func() { r.stop.Store(true) })
	defer timer.Stop()
	defer context.AfterFunc(ctx, func() { r.stop.Store(true) })()

	var begun time.Duration
	var m meter
	var goodBefore uint64
	warm := make(chan struct{})
	begin := func() {
		r.y.setFrom(int(r.next.Load()))
		begun, m, goodBefore = time.Since(r.y.begun), r.t.meter(), r.good.Load()
		r.warmAt.Store(r.y.received.Load())
		close(warm)
	}
	if r.Warm == 0 {
		begin()
	} else {
		time.AfterFunc(r.Warm, begin)
	}
	if r.Rate > 0 {
		r.slots = make(chan int, r.Max)
		go r.pace(ctx)
	}
	var wg sync.WaitGroup
	for i, p := range posters {
		wg.Go(func() { r.work(i, p) })
	}
	wg.Wait()
	posted := time.Since(r.y.begun)
	if posted < r.Warm {
		return PostResult{}, errors.Join(errors.New("the run ended during the warm-up: raise --max-posts"), ctx.Err())
	}
	<-warm
	if r.good.Load() == 0 && r.first != nil {
		return PostResult{}, fmt.Errorf("no post got a response: %w", r.first)
	}
	r.drain(context.WithoutCancel(ctx)) // even if ctx ended the posting
	return r.sum(begun, posted, m, r.good.Load()-goodBefore), nil
}

// work posts until the run ends. If its connection breaks, it opens another.
func (r *postRun) work(i int, p Poster) {
	var body []byte
	for !r.stop.Load() {
		n, due, ok := r.draw()
		if !ok {
			return
		}
		r.y.due[n].Store(due + 1)
		body = appendBody(body[:0], r.y, n, r.Size)
		status, err := p.Post(user(r.y.userOf(n)), body)
		if err != nil {
			r.errs.Add(1)
			r.failed(err)
			_ = p.Close()
			if p, err = r.t.poster(); err != nil {
				return
			}
			defer func() { _ = p.Close() }()
			continue
		}
		if status != 201 {
			r.mu.Lock()
			r.refused[status]++
			r.mu.Unlock()
			continue
		}
		r.y.marks[n].Or(answered)
		r.good.Add(1)
		if n >= r.y.measuredFrom() {
			r.answers.of(i).add(time.Since(r.y.begun) - time.Duration(due))
		}
	}
}

func (r *postRun) failed(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.first == nil {
		r.first = err
	}
}

// draw returns the number of the next post and when it is due, in ns after the beginning. ok is
// false if there are no posts left.
func (r *postRun) draw() (n int, due int64, ok bool) {
	if r.Rate > 0 {
		n, ok = <-r.slots
		return n, r.dueAt(n), ok
	}
	n = int(r.next.Add(1)) - 1
	return n, int64(time.Since(r.y.begun)), n < r.Max
}

func (r *postRun) dueAt(n int) int64 { return int64(n) * int64(time.Second) / int64(r.Rate) }

// drain waits until every accepted notification has arrived, or none has for Grace.
func (r *postRun) drain(ctx context.Context) {
	deadline := time.Now().Add(r.Grace)
	seen := r.y.received.Load()
	for ctx.Err() == nil && time.Now().Before(deadline) {
		if d := r.y.count(int(r.next.Load()), r.Devices); d.Lost == 0 {
			return
		}
		time.Sleep(20 * time.Millisecond)
		if now := r.y.received.Load(); now != seen {
			seen, deadline = now, time.Now().Add(r.Grace)
		}
	}
}

func (r *postRun) sum(begun, posted time.Duration, m meter, good uint64) PostResult {
	s := PostResult{Mode: "post", Posters: r.Posters, Users: r.Users, Devices: r.Devices, Size: r.Size, Rate: r.Rate,
		Seconds: (posted - begun).Seconds(), Posts: good, Answer: r.answers.latency(), Delivered: r.y.latency.latency(),
		Delivery: r.y.count(int(r.next.Load()), r.Devices), Refused: r.refused, PosterErrors: r.errs.Load(), DevicesBroken: r.broken.Load()}
	s.PerSecond = float64(good) / s.Seconds
	s.CPU = m.per(good)
	if last := time.Duration(r.y.last.Load()); last > begun {
		s.Deliveries = float64(r.y.received.Load()-r.warmAt.Load()) / (last - begun).Seconds()
	}
	if r.t.PID != 0 {
		u, err := UsageOf(r.t.PID)
		if err == nil {
			s.ServerResident = u.Resident
		}
	}
	return s
}

package redis

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

// Rate holds callers to a rate that all nodes together allow. It fails open: while
// Redis is unavailable every call fails at once, and whoever asks decides alone.
type Rate struct {
	client *redis.Client
	prefix string
	log    *slog.Logger
	begun  time.Time

	askAgain atomic.Int64 // ns after begun; until then Redis counts as away
	away     atomic.Bool
	failures atomic.Int64
}

const (
	rateLimit = 100 * time.Millisecond // the longest a request waits for an answer
	ratePause = time.Second            // after a failure Redis is not called for so long
	rateConns = 16
)

// NewRate returns a rate over o, of which Node, Probe, Queue and Plain are not
// used. It does not connect yet.
func NewRate(o Options) (*Rate, error) {
	opt, err := parse(o.URL)
	if err != nil {
		return nil, err
	}
	opt.DialTimeout, opt.ReadTimeout, opt.WriteTimeout, opt.PoolTimeout = rateLimit, rateLimit, rateLimit, rateLimit
	opt.PoolSize = rateConns
	return &Rate{
		client: redis.NewClient(opt),
		prefix: fmt.Sprintf("falcon:%d:rate:", opt.DB),
		log:    cmp.Or(o.Logger, slog.Default()).With("component", "rate"),
		begun:  time.Now(),
	}, nil
}

// take is the generic cell rate algorithm by the server's clock: the key holds when
// all calls so far would have come at the rate, in µs. ARGV are the µs between two
// calls and how many may come at once. It answers the µs to wait, 0: none.
var take = redis.NewScript(`
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local gap, burst = tonumber(ARGV[1]), tonumber(ARGV[2])
local due = math.max(now, tonumber(redis.call('GET', KEYS[1]) or 0))
local wait = due - now - gap * (burst - 1)
if wait > 0 then return math.ceil(wait) end
due = due + gap
redis.call('SET', KEYS[1], string.format('%.0f', due), 'PX', math.ceil((due - now) / 1000) + 1)
return 0
`)

var errPaused = errors.New("ask the rate: Redis was unavailable a moment ago")

// Take counts one call of key, which may make perSecond calls and burst at once. Where the
// rate is used up it counts none and returns how long to wait. It fails within 100 ms when
// Redis is unavailable.
func (r *Rate) Take(ctx context.Context, key string, perSecond float64, burst int) (wait time.Duration, err error) {
	if time.Since(r.begun) < time.Duration(r.askAgain.Load()) {
		return 0, errPaused
	}
	ctx, cancel := context.WithTimeout(ctx, rateLimit)
	defer cancel()
	gap := math.Max(1, 1e6/perSecond)
	us, err := take.Run(ctx, r.client, []string{r.prefix + key}, gap, burst).Int64()
	if err != nil {
		if errors.Is(ctx.Err(), context.Canceled) {
			return 0, fmt.Errorf("ask the rate: %w", err) // the caller has gone, Redis has not
		}
		r.failures.Add(1)
		r.askAgain.Store(int64(time.Since(r.begun) + ratePause))
		if !r.away.Swap(true) {
			r.log.Warn("Redis does not answer: until it does, each node limits requests alone", "error", err)
		}
		return 0, fmt.Errorf("ask the rate: %w", err)
	}
	if r.away.CompareAndSwap(true, false) {
		r.log.Info("Redis answers again: requests are limited by all nodes together")
	}
	return time.Duration(us) * time.Microsecond, nil
}

// Failures counts the calls that Redis did not answer.
func (r *Rate) Failures() int64 { return r.failures.Load() }

// Close closes the connections.
func (r *Rate) Close() error { return r.client.Close() }

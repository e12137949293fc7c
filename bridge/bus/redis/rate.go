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

// Rate limits the calls of each key to a rate that all nodes share. While Redis is unavailable,
// Take fails quickly, and the caller falls back to a limit per node.
type Rate struct {
	client *redis.Client
	prefix string
	log    *slog.Logger
	begun  time.Time

	retryAt     atomic.Int64 // in ns after begun; Redis is not called before
	unavailable atomic.Bool  // whether the last call failed
	failures    atomic.Int64
}

const (
	rateTimeout = 100 * time.Millisecond // for connecting, and for each call
	ratePause   = time.Second            // after a failure, no call is made for so long
	rateConns   = 16
)

// NewRate returns a Rate over the server at o.URL. The options Node, Probe, Queue and Plain are
// not used. It does not connect yet.
func NewRate(o Options) (*Rate, error) {
	opt, err := parse(o.URL)
	if err != nil {
		return nil, err
	}
	opt.DialTimeout, opt.ReadTimeout, opt.WriteTimeout, opt.PoolTimeout = rateTimeout, rateTimeout, rateTimeout, rateTimeout
	opt.PoolSize = rateConns
	return &Rate{
		client: redis.NewClient(opt),
		prefix: fmt.Sprintf("falcon:%d:rate:", opt.DB),
		log:    cmp.Or(o.Logger, slog.Default()).With("component", "rate"),
		begun:  time.Now(),
	}, nil
}

// takeScript implements the generic cell rate algorithm by the server's clock. The key stores the
// time, in µs, at which the calls so far would be complete if they had come at exactly the rate.
// ARGV are the µs between two calls and how many calls may come at once. It returns the µs to
// wait; 0 means that the call is allowed.
var takeScript = redis.NewScript(`
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

var errPaused = errors.New("check the rate: Redis was unavailable a moment ago")

// Take counts one call of key, whose rate is perSecond calls, of which burst may come at once. If
// the rate is used up, it counts nothing and returns how long to wait. While Redis is unavailable it
// fails within 100 ms.
func (r *Rate) Take(ctx context.Context, key string, perSecond float64, burst int) (wait time.Duration, err error) {
	if time.Since(r.begun) < time.Duration(r.retryAt.Load()) {
		return 0, errPaused
	}
	ctx, cancel := context.WithTimeout(ctx, rateTimeout)
	defer cancel()
	gap := math.Max(1, 1e6/perSecond)
	us, err := takeScript.Run(ctx, r.client, []string{r.prefix + key}, gap, burst).Int64()
	if err != nil {
		if errors.Is(ctx.Err(), context.Canceled) {
			return 0, fmt.Errorf("check the rate: %w", err) // the caller gave up; Redis may be fine
		}
		r.failures.Add(1)
		r.retryAt.Store(int64(time.Since(r.begun) + ratePause))
		if !r.unavailable.Swap(true) {
			r.log.Warn("Redis does not respond: until it does, each node limits requests on its own", "error", err)
		}
		return 0, fmt.Errorf("check the rate: %w", err)
	}
	if r.unavailable.CompareAndSwap(true, false) {
		r.log.Info("Redis responds again: all nodes limit requests together")
	}
	return time.Duration(us) * time.Microsecond, nil
}

// Failures returns how many calls failed because Redis did not respond.
func (r *Rate) Failures() int64 { return r.failures.Load() }

// Close closes the connections.
func (r *Rate) Close() error { return r.client.Close() }

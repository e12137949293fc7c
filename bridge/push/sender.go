// Package push sends Web Push messages to devices that have not acknowledged in time. It
// implements RFC 8030 (the protocol), RFC 8291 (encryption) and RFC 8292 (VAPID). Browsers,
// installed web apps and UnifiedPush apps support them. Package late decides what is sent to
// whom.
package push

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/SherClockHolmes/webpush-go"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/bridge/late"
	"github.com/falconalert/falconbridge/internal/edge"
)

// Options sets up a Sender. Key and Contact are required.
type Options struct {
	Key     *Key
	Contact string        // mailto: or https: URL for the operators of push services
	Hosts   Hosts         // allowed hosts; empty: all with globally routable addresses
	Base    *url.URL      // URL of the inbox, against which relative links are resolved; nil: links remain relative
	Locale  bridge.Locale // language of summaries

	RatePerUser float64 // messages a second to all devices of a user; 0 means 5
	RatePerHost float64 // messages a second to one push service; 0 means 500

	roots    *x509.CertPool // nil: the system's
	resolver *net.Resolver  // nil: the system's
}

// WithRoots returns o with the certificate authorities for push services, instead of the
// system's.
func (o Options) WithRoots(roots *x509.CertPool) Options {
	o.roots = roots
	return o
}

// Sender sends Web Push messages. It implements [late.Pusher].
type Sender struct {
	o      Options
	client *http.Client
	users  *edge.Rates[bridge.UserID]
	hosts  *edge.Rates[string]
}

// NewSender returns a Sender.
func NewSender(o Options) *Sender {
	return &Sender{
		o: o, client: o.Hosts.client(o.roots, o.resolver),
		users: edge.NewRates[bridge.UserID](cmp.Or(o.RatePerUser, 5)),
		hosts: edge.NewRates[string](cmp.Or(o.RatePerHost, 500)),
	}
}

// PublicKey returns the key with which browsers subscribe.
func (s *Sender) PublicKey() string { return s.o.Key.Public() }

// CheckEndpoint returns an error that says why nothing would be sent to endpoint, or nil.
func (s *Sender) CheckEndpoint(endpoint string) error { return s.o.Hosts.CheckEndpoint(endpoint) }

// maxTTL is the longest TTL, and that of notifications that do not expire.
const maxTTL = 7 * 24 * time.Hour

// Send sends ns, which belong to one user and are ordered by seq, to a device in one message: a
// single notification as it is, several as a summary.
func (s *Sender) Send(ctx context.Context, r bridge.Registration, ns []bridge.Notification) late.Outcome {
	if len(ns) != 1 {
		return s.send(ctx, r, summaryPayload(ns, s.o.Base, s.o.Locale), s.o.Key.topic(r.Device.User, "\x00summary"), maxTTL)
	}
	n := &ns[0]
	topic, ttl := "", maxTTL
	if n.Replaces != "" {
		topic = s.o.Key.topic(r.Device.User, n.Replaces)
	}
	if !n.ExpiresAt.IsZero() {
		ttl = min(ttl, time.Until(n.ExpiresAt))
	}
	return s.send(ctx, r, singlePayload(n, s.o.Base), topic, ttl)
}

// Test sends a test message, which shows that the device is registered.
func (s *Sender) Test(ctx context.Context, r bridge.Registration) late.Outcome {
	return s.send(ctx, r, testPayload(s.o.Base, s.o.Locale), "", 5*time.Minute)
}

func (s *Sender) send(ctx context.Context, r bridge.Registration, payload []byte, topic string, ttl time.Duration) late.Outcome {
	if err := s.CheckEndpoint(r.Endpoint); err != nil { // --push-hosts may have changed
		return late.Outcome{Result: late.Rejected, Err: fmt.Errorf("%w: it %w", late.ErrBlocked, err)}
	}
	if wait := s.limit(r); wait > 0 {
		return late.Outcome{Result: late.Limited, After: wait}
	}
	res, err := webpush.SendNotificationWithContext(ctx, payload,
		&webpush.Subscription{Endpoint: r.Endpoint, Keys: webpush.Keys{P256dh: r.P256DH, Auth: r.Auth}},
		&webpush.Options{
			HTTPClient: s.client, Topic: topic, TTL: int(max(1, (ttl+time.Second-1)/time.Second)),
			// The library adds mailto: itself.
			Subscriber:     strings.TrimPrefix(s.o.Contact, "mailto:"),
			VAPIDPublicKey: s.o.Key.public, VAPIDPrivateKey: s.o.Key.private,
		})
	if err != nil {
		return late.Outcome{Result: late.Failed, Err: withoutURL(err)}
	}
	defer res.Body.Close()
	_, _ = io.CopyN(io.Discard, res.Body, maxResponse) // after a short response the connection can be used again
	return outcomeOf(res)
}

// limit counts one message for the rates of r's user and push service. It returns 0 if the
// message may be sent, and otherwise how long to wait.
func (s *Sender) limit(r bridge.Registration) time.Duration {
	if wait := s.users.Take(r.Device.User); wait > 0 {
		return wait
	}
	u, err := url.Parse(r.Endpoint)
	if err != nil {
		return 0 // impossible: CheckEndpoint has parsed it
	}
	return s.hosts.Take(strings.ToLower(u.Host))
}

// withoutURL returns err without the endpoint's URL, which is a secret of the device.
func withoutURL(err error) error {
	var withURL *url.Error
	if errors.As(err, &withURL) {
		return withURL.Err
	}
	return err
}

// maxRetryAfter is the longest time for which a push service may defer a message.
const maxRetryAfter = 24 * time.Hour

func outcomeOf(res *http.Response) late.Outcome {
	o := late.Outcome{Status: res.StatusCode, Err: fmt.Errorf("the push service returned %d", res.StatusCode)}
	switch s := res.StatusCode; {
	case s >= 200 && s < 300:
		o.Result, o.Err = late.Sent, nil
	case s == http.StatusNotFound || s == http.StatusGone: // RFC 8030 §7.3
		o.Result = late.Gone
	case s == http.StatusTooManyRequests || s >= 500:
		o.Result, o.After = late.Failed, retryAfter(res.Header.Get("Retry-After"))
	default:
		o.Result = late.Rejected
	}
	return o
}

// retryAfter parses a Retry-After header, which has seconds or a date (RFC 9110 §10.2.3). It
// returns 0 if the header is missing or invalid.
func retryAfter(text string) time.Duration {
	if n, err := strconv.ParseInt(text, 10, 64); err == nil && n > 0 {
		return min(time.Duration(min(n, int64(maxRetryAfter/time.Second)))*time.Second, maxRetryAfter)
	}
	if at, err := http.ParseTime(text); err == nil {
		return min(max(0, time.Until(at)), maxRetryAfter)
	}
	return 0
}

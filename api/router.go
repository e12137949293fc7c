// Package api is the REST API: it reads HTTP, checks rights, calls the domain's service and
// writes JSON. The handler that [New] returns serves everything on the HTTP port: the API
// and its documents, and the pages and MQTT over WebSocket that it gets in [Options].
//
// routes.go lists all operations. A resource has a file of its own (notification.go,
// report.go, settings.go, device.go, audit.go, explain.go, health.go; admin.go has the
// operators' other calls) with its handlers, and the types of its requests and responses,
// which huma reads, writes and documents. operation.go has the checks that precede every
// handler: rate, token, scope and body. errors.go maps errors to problems, and language.go
// translates their texts.
package api

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"github.com/rs/cors"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/bridge/late"
	"github.com/falconalert/falconbridge/internal/edge"
)

// Options sets up the API. Service, Verifier and Devices are required.
type Options struct {
	Service  *bridge.Service
	Verifier Verifier
	Origins  edge.Origins  // browser origins allowed in addition to the server's own
	Topics   bridge.Topics // for the AsyncAPI document
	Locale   bridge.Locale // language of built-in texts where the request asks for none; "" means Spanish
	MQTT     http.Handler  // GET /mqtt; nil: there is none
	Pages    http.Handler  // everything no route takes; nil: 404
	Devices  bridge.Devices
	Pusher   Pusher       // nil: no Web Push
	Version  string       // shown in the documents; "" means "dev"
	Logger   *slog.Logger // nil means slog.Default

	// Redeliver sends a webhook again. ref is the part of its id after late.WebhookPrefix;
	// an unknown one is bridge.ErrNotFound. nil: there are no webhooks.
	Redeliver func(ctx context.Context, ref string) error
	// Late returns figures of the pushes and webhooks for notifications that no device
	// acknowledged; nil: there are none.
	Late func(ctx context.Context) (late.Stats, error)

	// Ready returns nil while the database and the bus respond and the node is not
	// draining; nil: always ready.
	Ready func(ctx context.Context) error

	// RequestRatePerUser is how many requests per second a user may make, and how many in
	// a burst. It does not apply to the scope notifications:write. 0: no limit.
	RequestRatePerUser float64
	// RequestRatePerAddress is the same per client address. It includes refused tokens,
	// pages and documents; probes have the same rate for themselves. 0: no limit.
	RequestRatePerAddress float64
	// SharedRate counts both rates for all nodes together; nil: each node for itself.
	SharedRate SharedRate
	// TrustedProxies are the proxies whose X-Forwarded-For is trusted.
	TrustedProxies edge.Proxies
	// Limited is called with each limit that a request exceeded, one of Limits. It may be
	// nil, and must not block.
	Limited func(limit string)

	MaxBody      int64         // longest body, in bytes; 0 means the constant MaxBody, which the texts name
	MaxBatchBody int64         // longest body of a batch; 0 means the constant MaxBatchBody
	MaxBodies    int64         // of all bodies over 4 KiB at one time; 0 means 128 MiB. Past it: 503
	Query        time.Duration // longest wait for the database; 0 means 1.9 s, so that the response takes at most 2
	Steps        time.Duration // longest wait for work that is done in steps, then 202; 0 means 25 s
}

func (o Options) withDefaults() Options {
	o.Locale = cmp.Or(o.Locale, bridge.Spanish)
	o.Version = cmp.Or(o.Version, "dev")
	o.Logger = cmp.Or(o.Logger, slog.Default()).With("component", "api")
	o.MaxBody = cmp.Or(o.MaxBody, MaxBody)
	o.MaxBatchBody = cmp.Or(o.MaxBatchBody, MaxBatchBody)
	o.MaxBodies = cmp.Or(o.MaxBodies, maxBodies)
	o.Query = cmp.Or(o.Query, 1900*time.Millisecond)
	o.Steps = cmp.Or(o.Steps, 25*time.Second)
	return o
}

// api serves the routes.
type api struct {
	o         Options
	mux       *http.ServeMux  // every route, and unrouted for all else
	routes    *http.ServeMux  // the same without unrouted: it knows which methods a path has
	reserved  map[string]bool // first segments of the paths below which no page is served
	huma      huma.API
	languages edge.Languages // of built-in texts
	byUser    *limiter[bridge.UserID]
	byAddress *limiter[netip.Addr]
	faults    *edge.Rates[struct{}] // warnings about 503
	backEnds  *recent               // tokens of scope notifications:write

	audited      *edge.Rates[bridge.UserID] // refused calls recorded, per user
	auditedTotal *edge.Rates[struct{}]      // refused calls recorded, all users together

	// probes have a rate of their own, which each node counts alone: devices that share an
	// address with a load balancer must not make it consider the node dead.
	probes    *limiter[netip.Addr]
	readiness readiness
	bodies    budget
}

// New returns the handler of everything on the HTTP port.
func New(o Options) (http.Handler, error) {
	if o.Service == nil || o.Verifier == nil {
		return nil, errors.New("the API needs a service and a verifier")
	}
	a := newAPI(o.withDefaults())
	if err := a.addDocuments(); err != nil {
		return nil, err
	}
	if a.o.MQTT != nil {
		a.HandleFunc("GET /mqtt", a.o.MQTT.ServeHTTP)
	}
	return secured(named(a.behind(a.cors().Handler(a)))), nil
}

func newAPI(o Options) *api {
	a := &api{
		o: o, mux: http.NewServeMux(), routes: http.NewServeMux(), reserved: make(map[string]bool), languages: Languages(o.Locale),
		byUser:    newLimiter[bridge.UserID](o.RequestRatePerUser, o.SharedRate, "user:"),
		byAddress: newLimiter[netip.Addr](o.RequestRatePerAddress, o.SharedRate, "address:"),
		probes:    newLimiter[netip.Addr](o.RequestRatePerAddress, nil, ""),
		faults:    edge.NewRates[struct{}](10),
		backEnds:  newRecent(),
		readiness: readiness{ask: o.Ready, wait: o.Query},

		audited:      edge.NewRates[bridge.UserID](1),
		auditedTotal: edge.NewRates[struct{}](20),
	}
	a.bodies.limit = o.MaxBodies
	config := huma.Config{
		OpenAPI:       newDocument(o.Version),
		Formats:       map[string]huma.Format{"application/json": strictJSON, problemType: strictJSON},
		DefaultFormat: "application/json",
	}
	config.AllowAdditionalPropertiesByDefault = true // unknown fields are ignored, ours and theirs
	a.huma = &documented{humago.New(a, config)}
	a.registerInbox()
	a.registerDevices()
	a.registerBackEnd()
	a.registerAdmin()
	a.mux.HandleFunc("/", a.metered(a.unrouted))
	a.HandleFunc("GET /problems/{name}", a.metered(a.problemPage))
	return a
}

// ServeHTTP finds the route. Everything else is a page, except below the paths of the
// API, which are reserved.
func (a *api) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if redirected(r.URL.EscapedPath()) {
		a.metered(func(w http.ResponseWriter, r *http.Request) { noPath.write(w, a.language(r)) })(w, r)
		return
	}
	a.mux.ServeHTTP(w, r)
}

// HandleFunc registers a route. No page is served at its path's first segment or below.
func (a *api) HandleFunc(pattern string, h func(http.ResponseWriter, *http.Request)) {
	a.reserved[firstSegment(pattern[strings.Index(pattern, "/"):])] = true
	a.mux.HandleFunc(pattern, h)
	a.routes.HandleFunc(pattern, h)
}

// unrouted serves a request that matches no route. It asks the mux of the routes whether
// the path has other methods, which would respond in plain text with 405 and an Allow
// header, or with 404.
func (a *api) unrouted(w http.ResponseWriter, r *http.Request) {
	h, _ := a.routes.Handler(r)
	probe := &probe{header: http.Header{}}
	h.ServeHTTP(probe, r)
	switch {
	case probe.status == http.StatusMethodNotAllowed:
		w.Header()["Allow"] = probe.header["Allow"]
		(&problem{kind: notAllowed, detail: "this path allows " + probe.header.Get("Allow")}).write(w, a.language(r))
	case a.o.Pages != nil && !a.reserved[firstSegment(r.URL.Path)]:
		h := w.Header() // the pages have a policy of their own
		h.Del("Content-Security-Policy")
		h.Del("Cache-Control")
		a.o.Pages.ServeHTTP(w, r)
	default:
		noPath.write(w, a.language(r))
	}
}

func firstSegment(path string) string {
	first, _, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	return first
}

// probe is a response writer that records how the mux would respond.
type probe struct {
	header http.Header
	status int
}

func (p *probe) Header() http.Header         { return p.header }
func (p *probe) Write(b []byte) (int, error) { return len(b), nil }
func (p *probe) WriteHeader(status int)      { p.status = status }

// cors lets the allowed origins call from a browser. The API uses no cookies, so a
// browser adds no credentials that the page does not have.
func (a *api) cors() *cors.Cors {
	o := cors.Options{
		AllowedMethods: []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"},
		AllowedHeaders: []string{"Authorization", "Content-Type", "Idempotency-Key", "Traceparent", requestID},
		ExposedHeaders: []string{"Link", "Location", "Retry-After", "WWW-Authenticate", "X-Last-Seq", "X-Unread-Count", "X-Epoch", "X-Rev", "Idempotency-Replayed", requestID, "X-Unknown-Fields"},
		MaxAge:         600,
	}
	if a.o.Origins.Any() {
		o.AllowedOrigins = []string{"*"}
	} else {
		o.AllowOriginVaryRequestFunc = func(r *http.Request, origin string) (bool, []string) {
			return a.o.Origins.Allows(origin, r.Host), nil
		}
	}
	return cors.New(o)
}

// secured sets the security headers of every response.
func secured(next http.Handler) http.Handler {
	var (
		nosniff  = []string{"nosniff"}
		referrer = []string{"no-referrer"}
		frame    = []string{"DENY"}
		policy   = []string{"default-src 'none'; frame-ancestors 'none'"}
		noStore  = []string{"no-store"}
		// Without includeSubDomains: this server does not decide for other hosts of the domain.
		transport = []string{"max-age=31536000"}
	)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h["X-Content-Type-Options"] = nosniff
		h["Referrer-Policy"] = referrer
		h["X-Frame-Options"] = frame
		h["Content-Security-Policy"] = policy
		h["Cache-Control"] = noStore
		if r.TLS != nil {
			h["Strict-Transport-Security"] = transport
		}
		next.ServeHTTP(w, r)
	})
}

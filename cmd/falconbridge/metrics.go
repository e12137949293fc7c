package main

import (
	"cmp"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/falconalert/falconbridge/api"
)

// metrics are the program's figures, in a registry of their own. What the rooms
// count themselves is read when somebody asks, see collect.go.
type metrics struct {
	registry *prometheus.Registry
	requests *prometheus.CounterVec
	latency  *prometheus.HistogramVec
	delivery prometheus.Histogram
	keySet   *prometheus.CounterVec
	limits   *prometheus.CounterVec // requests; the broker counts its own
}

const limitHelp = "What was refused, by the limit it went past."

func newMetrics(s *server) *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "falconbridge_http_requests_total",
			Help: "HTTP requests answered, by route and status code.",
		}, []string{"route", "code"}),
		latency: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "falconbridge_http_request_duration_seconds",
			Help:    "Time from the request's headers to the end of its answer, by route.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 14),
		}, []string{"route"}),
		delivery: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "falconbridge_delivery_duration_seconds",
			Help:    "Time from an append to the device's socket, of live messages.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 14),
		}),
		keySet: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "falconbridge_jwks_refreshes_total",
			Help: "Times the key set was asked for, by result.",
		}, []string{"result"}),
		limits: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "falconbridge_limited_total",
			Help: limitHelp,
		}, []string{"limit"}),
	}
	for _, limit := range api.Limits {
		m.limits.WithLabelValues(limit) // 0 until it is hit
	}
	m.registry.MustRegister(m.requests, m.latency, m.delivery, m.keySet, m.limits, roomCollector{s},
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// delivered hears how long each live message took.
func (m *metrics) delivered(d time.Duration) { m.delivery.Observe(d.Seconds()) }

// limited hears of a limit that a request went past.
func (m *metrics) limited(limit string) { m.limits.WithLabelValues(limit).Inc() }

// refreshed hears how each asking of the key set fared.
func (m *metrics) refreshed(err error) {
	result := "ok"
	if err != nil {
		result = "failed"
	}
	m.keySet.WithLabelValues(result).Inc()
}

// watch counts and times the responses of next. A WebSocket is counted as its
// upgrade, with code 101, and not timed.
func (m *metrics) watch(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		sw := &statusWriter{ResponseWriter: w}
		if r.URL.Path == "/mqtt" {
			next.ServeHTTP(sw, r)
			m.requests.WithLabelValues(routeOf(r), strconv.Itoa(cmp.Or(sw.status, http.StatusSwitchingProtocols))).Inc()
			return
		}
		begun := time.Now()
		next.ServeHTTP(sw, r)
		route := routeOf(r)
		m.latency.WithLabelValues(route).Observe(time.Since(begun).Seconds())
		m.requests.WithLabelValues(route, strconv.Itoa(sw.code())).Inc()
	})
}

// routeOf is the pattern that took r, never its path, whose values are without
// number.
func routeOf(r *http.Request) string {
	switch {
	case r.Pattern != "":
		return r.Pattern
	case r.Method == http.MethodPost && r.URL.Path == "/notifications": // the API's short cut
		return "POST /notifications"
	case r.Method == http.MethodGet && (r.URL.Path == "/" || strings.HasPrefix(r.URL.Path, "/assets/")):
		return "pages"
	}
	return "other"
}

// statusWriter remembers the status of an answer.
type statusWriter struct {
	http.ResponseWriter
	status int
}

func (w *statusWriter) WriteHeader(status int) {
	if w.status == 0 && status >= 200 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *statusWriter) code() int {
	if w.status == 0 {
		return http.StatusOK
	}
	return w.status
}

// Unwrap lets http.ResponseController through.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// reasonCode is an MQTT reason code as the standard writes it.
func reasonCode(c byte) string { return fmt.Sprintf("0x%02X", c) }

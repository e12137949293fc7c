package app

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/falconalert/falconbridge/api"
	"github.com/falconalert/falconbridge/bridge/relay"
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

func newMetrics(a *App) *metrics {
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
	m.registry.MustRegister(m.requests, m.latency, m.delivery, m.keySet, m.limits, roomCollector{a},
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

// roomCollector reads what the rooms count when Prometheus asks.
type roomCollector struct{ s *App }

// Describe sends nothing: which figures there are depends on what runs, which
// makes this an unchecked collector.
func (roomCollector) Describe(chan<- *prometheus.Desc) {}

// Collect sends the figures of what has started.
func (r roomCollector) Collect(ch chan<- prometheus.Metric) {
	s := r.s
	out := sink{ch}
	out.gauge("build_info", "The version that runs.", 1, "version", s.version)
	if s.started.Load() {
		r.rooms(out)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	for _, p := range s.parts() {
		out.gauge("ready", "1 where the part answers and the node does not drain.", one(p.ready(ctx) == nil), "part", p.name)
	}
	if s.cert != nil {
		out.gauge("certificate_expiry_timestamp_seconds", "When the served certificate ends.", float64(s.cert.expires().Unix()))
		out.count("certificate_failures_total", "Looks at certificate files that could not be used.", s.cert.failures.Load())
	}
}

func (r roomCollector) rooms(out sink) {
	h := r.s.hub.Figures()
	out.gauge("connections", "Devices connected to this node.", float64(h.Connections))
	out.count("messages_sent_total", "Messages handed to devices' connections.", h.Sent)
	out.count("messages_acknowledged_total", "Messages completed by PUBACK.", h.Acked)
	out.count("messages_oversize_total", "Messages left out: over the device's Maximum Packet Size.", h.Oversize)
	out.count("log_reads_total", "Reads of the log to deliver from.", h.Reads)

	bus := r.s.bus.Stats()
	out.count("bus_sent_hints_total", "Hints handed to the bus's server.", bus.Sent)
	out.count("bus_dropped_hints_total", "Hints lost before they left.", bus.Dropped)
	out.count("bus_received_hints_total", "Other nodes' hints.", bus.Received)
	out.count("bus_reconnects_total", "Times the bus came back.", bus.Reconnects)

	if r.s.relay != nil {
		relayFigures(out, r.s.relay.Stats())
	}

	for pool, p := range r.s.db.Pools() {
		out.gauge("database_connections", "Connections of a pool, in use and idle.", float64(p.InUse), "pool", pool, "state", "used")
		out.gauge("database_connections", "Connections of a pool, in use and idle.", float64(p.Idle), "pool", pool, "state", "idle")
		out.gauge("database_connections_max", "Connections a pool may have.", float64(p.MaxOpenConnections), "pool", pool)
		out.count("database_waits_total", "Times a pool had no connection free.", p.WaitCount, "pool", pool)
		out.seconds("database_wait_seconds_total", "Time waited for a free connection.", p.WaitDuration, "pool", pool)
	}

	b := r.s.broker.Stats()
	out.gauge("mqtt_pending_connections", "Sockets before login.", float64(b.Pending))
	out.count("mqtt_accepted_total", "Sockets accepted, WebSockets included.", b.Accepted)
	out.count("mqtt_logins_total", "CONNECTs granted.", b.Logins)
	out.count("mqtt_turned_away_total", "Sockets closed at once: too many before login.", b.TurnedAway)
	out.count("mqtt_ended_total", "Connections the server ended.", b.Ended)
	out.count("mqtt_engine_panics_total", "Packets that made the engine panic.", b.Panics)
	out.count("mqtt_accept_errors_total", "Failed accepts.", b.AcceptErrors)
	out.count("mqtt_received_bytes_total", "MQTT bytes read.", b.BytesIn)
	out.count("mqtt_sent_bytes_total", "MQTT bytes written.", b.BytesOut)
	for limit, n := range b.Limited {
		out.count("limited_total", limitHelp, n, "limit", limit.String())
	}
	if r.s.rate != nil {
		out.count("shared_rate_failures_total", "Questions about the rate of requests that Redis did not answer.", r.s.rate.Failures())
	}
	for code, n := range b.Refused {
		out.count("mqtt_refused_total", "CONNECTs refused, by MQTT 5 reason code.", n, "code", reasonCode(code))
	}
}

func relayFigures(out sink, f relay.Stats) {
	out.gauge("relay_active", "1 where this node relays.", one(f.Active))
	out.gauge("relay_connected", "1 while connected to the external broker.", one(f.Connected))
	out.count("relay_published_total", "Messages the external broker acknowledged.", f.Published)
	out.count("relay_cleared_total", "Retained messages cleared or replaced there.", f.Cleared)
	out.count("relay_oversize_total", "Messages left out: over the external broker's Maximum Packet Size.", f.Oversize)
	out.count("relay_failures_total", "Attempts that ended in an error.", f.Failed)
}

func one(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}

// sink makes metrics of figures. Labels are pairs of a name and a value.
type sink struct{ ch chan<- prometheus.Metric }

func (s sink) gauge(name, help string, v float64, labels ...string) {
	s.send(name, help, prometheus.GaugeValue, v, labels)
}

func (s sink) count(name, help string, n int64, labels ...string) {
	s.send(name, help, prometheus.CounterValue, float64(n), labels)
}

func (s sink) seconds(name, help string, d time.Duration, labels ...string) {
	s.send(name, help, prometheus.CounterValue, d.Seconds(), labels)
}

func (s sink) send(name, help string, kind prometheus.ValueType, v float64, labels []string) {
	var names, values []string
	for i := 0; i+1 < len(labels); i += 2 {
		names, values = append(names, labels[i]), append(values, labels[i+1])
	}
	d := prometheus.NewDesc("falconbridge_"+name, help, names, nil)
	s.ch <- prometheus.MustNewConstMetric(d, kind, v, values...)
}

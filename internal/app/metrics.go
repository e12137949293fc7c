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
	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/bridge/delivery"
	"github.com/falconalert/falconbridge/bridge/relay"
)

// metrics are the program's metrics, in a registry of their own. Counters that the packages
// keep themselves are read at each scrape, see packageCollector.
type metrics struct {
	registry *prometheus.Registry
	requests *prometheus.CounterVec
	latency  *prometheus.HistogramVec
	delivery prometheus.Histogram
	sent     map[string]*[2]prometheus.Observer // by transport; 0: replayed, 1: live
	acked    map[string]*[2]prometheus.Observer // the same
	created  map[bridge.Source]prometheus.Counter
	keySet   *prometheus.CounterVec
	keyFiles *prometheus.CounterVec
	limits   *prometheus.CounterVec // of HTTP; the broker has counters of its own
}

const limitHelp = "Requests and packets refused, by the limit they exceeded."

func newMetrics(a *App) *metrics {
	m := &metrics{
		created:  make(map[bridge.Source]prometheus.Counter),
		registry: prometheus.NewRegistry(),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "falconbridge_http_requests_total",
			Help: "HTTP responses, by method, route and class of the status (2xx, 4xx, ...).",
		}, []string{"method", "route", "class"}),
		latency: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "falconbridge_http_request_duration_seconds",
			Help:    "Time from the request's headers to the end of the response, by method and route.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 14),
		}, []string{"method", "route"}),
		delivery: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "falconbridge_delivery_duration_seconds",
			Help:    "Time from an append to the device's socket, for live messages.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 14),
		}),
		keySet: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "falconbridge_jwks_refreshes_total",
			Help: "Fetches of the key set, by result.",
		}, []string{"result"}),
		keyFiles: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "falconbridge_key_file_failures_total",
			Help: "Times a file of secrets or keys was read again and could not be used, by its setting; the former content stays in use.",
		}, []string{"setting"}),
		limits: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "falconbridge_limited_total",
			Help: limitHelp,
		}, []string{"limit"}),
	}
	sinceCommit := func(name, help string) map[string]*[2]prometheus.Observer {
		vec := prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: name, Help: help, Buckets: sinceCommitBuckets, NativeHistogramBucketFactor: 1.2, NativeHistogramMaxBucketNumber: 100,
		}, []string{"transport", "kind"})
		m.registry.MustRegister(vec)
		of := make(map[string]*[2]prometheus.Observer)
		for _, t := range delivery.Transports {
			of[t] = &[2]prometheus.Observer{vec.WithLabelValues(t, "replay"), vec.WithLabelValues(t, "live")}
		}
		return of
	}
	m.sent = sinceCommit("falconbridge_commit_to_send_seconds",
		"Time from the commit of a notification to its first PUBLISH to a device, by transport; live: committed while the device was connected.")
	m.acked = sinceCommit("falconbridge_commit_to_ack_seconds",
		"Time from the commit of a notification to its PUBACK, of devices' own topics, by transport; live: committed while the device was connected.")
	created := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "falconbridge_notifications_created_total",
		Help: "Notifications created, by source. sql: those of falcon_notify, counted once per user and transaction by every node of the cluster.",
	}, []string{"source"})
	m.registry.MustRegister(created)
	for _, s := range []bridge.Source{bridge.SourceREST, bridge.SourceBatch, bridge.SourceReport, bridge.SourceSQL, bridge.SourceImport} {
		m.created[s] = created.WithLabelValues(string(s))
	}
	// Other series begin with their first request. These exist from the start, because the
	// objective for POST /notifications is a rate of errors.
	for _, class := range []string{"2xx", "4xx", "5xx"} {
		m.requests.WithLabelValues(http.MethodPost, "/notifications", class)
	}
	m.latency.WithLabelValues(http.MethodPost, "/notifications")
	for _, result := range []string{"ok", "failed"} {
		m.keySet.WithLabelValues(result)
	}
	for _, setting := range []string{"jwt-secret-file", "jwt-public-key-file", "webhook-secret-file"} {
		m.keyFiles.WithLabelValues(setting)
	}
	for _, limit := range api.Limits {
		m.limits.WithLabelValues(limit) // 0 until it is hit
	}
	m.registry.MustRegister(m.requests, m.latency, m.delivery, m.keySet, m.keyFiles, m.limits, packageCollector{a},
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// sinceCommitBuckets are in seconds. They reach from the time that a live delivery takes to
// the time that a device waits when it was off over the weekend.
var sinceCommitBuckets = []float64{0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 3600, 86400, 259200}

// observe is called for each message that was sent or acknowledged.
func (m *metrics) observe(o delivery.Observation) {
	of, kind := m.sent, 0
	if o.Acked {
		of = m.acked
	}
	if o.Live {
		kind = 1
	}
	seconds := o.After.Seconds()
	if h := of[o.Transport]; h != nil {
		h[kind].Observe(seconds)
	}
	if o.Live && !o.Acked {
		m.delivery.Observe(seconds)
	}
}

// appended counts notifications by their source.
func (m *metrics) appended(s bridge.Source, n int) { m.created[s].Add(float64(n)) }

// sqlCounter counts the hints of falcon_notify on their way from the bus to the hub. They can
// be told by having no node.
type sqlCounter struct {
	bridge.HintHandler
	m *metrics
}

func (d sqlCounter) Hint(h bridge.Hint) {
	if h.Node == "" && h.Type == bridge.HintAppended && h.User != "" {
		d.m.appended(bridge.SourceSQL, 1)
	}
	d.HintHandler.Hint(h)
}

// limited counts a request that exceeded a limit.
func (m *metrics) limited(limit string) { m.limits.WithLabelValues(limit).Inc() }

// refreshed counts a refresh of the key set.
func (m *metrics) refreshed(err error) {
	result := "ok"
	if err != nil {
		result = "failed"
	}
	m.keySet.WithLabelValues(result).Inc()
}

// unusable counts that the file of secrets or keys that a setting names could not be used.
func (m *metrics) unusable(setting string) { m.keyFiles.WithLabelValues(setting).Inc() }

// watch counts and times the responses of next. A WebSocket is counted by its upgrade, with
// status 101, and not timed.
func (m *metrics) watch(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		sw := &statusWriter{ResponseWriter: w}
		if r.URL.Path == "/mqtt" {
			next.ServeHTTP(sw, r)
			m.count(r, cmp.Or(sw.status, http.StatusSwitchingProtocols))
			return
		}
		begun := time.Now()
		next.ServeHTTP(sw, r)
		m.latency.WithLabelValues(routeOf(r)).Observe(time.Since(begun).Seconds())
		m.count(r, sw.code())
	})
}

// count counts a response by the class of its status. The status itself would create a
// series for each combination, and error rates need only the class.
func (m *metrics) count(r *http.Request, status int) {
	method, route := routeOf(r)
	m.requests.WithLabelValues(method, route, strconv.Itoa(status/100)+"xx").Inc()
}

// routeOf returns the method and path of the pattern that matched r. The path of r itself
// would create a series for each id in it.
func routeOf(r *http.Request) (method, route string) {
	if method, route, found := strings.Cut(r.Pattern, " "); found {
		return method, route
	}
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions:
		method = r.Method
	default:
		method = "other"
	}
	switch {
	case r.Pattern != "" && r.Pattern != "/": // "/" matches what has no route of its own
		return method, r.Pattern
	case r.Method == http.MethodPost && r.URL.Path == "/notifications": // the API handles it without the mux
		return method, "/notifications"
	case r.Method == http.MethodGet && (r.URL.Path == "/" || r.URL.Path == "/manifest.webmanifest" || r.URL.Path == "/worker.js" ||
		strings.HasPrefix(r.URL.Path, "/assets/") || strings.HasPrefix(r.URL.Path, "/client/")):
		return method, "pages"
	}
	return method, "other"
}

// statusWriter records the status of a response.
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

// code returns the status that was sent: 200 if the handler set none.
func (w *statusWriter) code() int {
	if w.status == 0 {
		return http.StatusOK
	}
	return w.status
}

// Unwrap lets http.ResponseController reach the wrapped writer.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// reasonCode formats an MQTT reason code as the standard does.
func reasonCode(c byte) string { return fmt.Sprintf("0x%02X", c) }

// packageCollector reads the counters of the packages at each scrape.
type packageCollector struct{ s *App }

// Describe sends nothing, which makes this an unchecked collector: which metrics there are
// depends on the parts that run.
func (packageCollector) Describe(chan<- *prometheus.Desc) {}

// Collect sends the metrics of the parts that have started.
func (r packageCollector) Collect(ch chan<- prometheus.Metric) {
	s := r.s
	out := sink{ch}
	out.gauge("build_info", "The running version; the value is always 1.", 1, "version", s.version)
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	for _, p := range s.parts() {
		out.gauge("ready", "1 if the part is ready and the node is not draining.", one(p.ready(ctx) == nil), "part", p.name)
	}
	if s.started.Load() {
		r.packages(out)
		s.lateFigures(out)
	}
	if s.cert != nil {
		out.gauge("certificate_expiry_timestamp_seconds", "When the served certificate expires.", float64(s.cert.expires().Unix()))
		out.count("certificate_failures_total", "Times the certificate files were read and could not be used.", s.cert.failures.Load())
	}
}

func (r packageCollector) packages(out sink) {
	h := r.s.hub.Figures()
	out.gauge("connections", "Devices connected to this node.", float64(h.Connections))
	out.count("messages_sent_total", "Messages handed to devices' connections.", h.Sent)
	out.count("messages_acknowledged_total", "Messages completed by PUBACK.", h.Acked)
	out.count("messages_oversize_total", "Messages skipped because they exceed the device's Maximum Packet Size.", h.Oversize)
	out.count("log_reads_total", "Reads of the log for deliveries.", h.Reads)

	kept := r.s.hub.Upkeep()
	out.count("sweep_repairs_total", "Times the sweep found notifications for which no hint had arrived.", kept.Repairs)
	for why, n := range kept.Removed {
		out.count("removed_rows_total", "Rows that this node removed, by reason.", n, "why", why)
	}

	back := r.s.hub.Backlog()
	out.gauge("backlog_sessions", "Devices connected to this node that are behind: notifications are in flight or have yet to be sent.", float64(back.Sessions))
	out.gauge("in_flight", "Messages sent to this node's devices and not yet acknowledged.", float64(back.InFlight))
	for _, t := range delivery.Transports {
		for protocol, name := range map[byte]string{4: "3.1.1", 5: "5"} {
			out.gauge("mqtt_connections", "Devices connected to this node, by transport and MQTT version.",
				float64(back.Open[delivery.ConnectionType{Transport: t, Protocol: protocol}]), "transport", t, "protocol", name)
		}
	}
	oldest := 0.0
	if !back.Oldest.IsZero() {
		oldest = max(0, time.Since(back.Oldest).Seconds())
	}
	out.gauge("oldest_unacknowledged_seconds", "Age of the oldest notification in flight to a device of this node, or 0.", oldest)

	store := r.s.db.Stats(context.Background())
	for kind, n := range store.Errors {
		out.count("database_errors_total", "Calls to the database that failed, by kind.", n, "kind", kind)
	}
	out.count("committer_transactions_total", "Transactions that appended notifications.", store.Transactions)
	out.seconds("committer_transaction_seconds_total", "Duration of these transactions, including the commit and its fsync.", store.TransactionTime)
	out.seconds("committer_fsync_seconds_total", "Duration of their commits: on SQLite that of COMMIT; on Postgres everything but the statement on the server, which is the wait for a connection, the network and the fsync.", store.CommitTime)
	if store.Absent >= 0 {
		out.gauge("sessions_absent", "Sessions without a connection, of all nodes; counted up to 100000, and up to a minute old.", float64(store.Absent))
	}

	bus := r.s.bus.Stats()
	out.gauge("bus_connected", "1 while this node is connected to the bus.", one(r.s.bus.Ready() == nil))
	out.count("bus_sent_hints_total", "Hints sent to the bus.", bus.Sent)
	out.count("bus_dropped_hints_total", "Hints dropped before they were sent.", bus.Dropped)
	out.count("bus_received_hints_total", "Hints received from other nodes.", bus.Received)
	out.count("bus_reconnects_total", "Times the bus reconnected.", bus.Reconnects)

	if r.s.relay != nil {
		relayFigures(out, r.s.relay.Stats())
	}

	for pool, p := range r.s.db.Pools() {
		out.gauge("database_connections", "Connections of a pool, by state.", float64(p.InUse), "pool", pool, "state", "used")
		out.gauge("database_connections", "Connections of a pool, by state.", float64(p.Idle), "pool", pool, "state", "idle")
		out.gauge("database_connections_max", "Connections that a pool may have.", float64(p.MaxOpenConnections), "pool", pool)
		out.count("database_waits_total", "Times a call had to wait for a connection of the pool.", p.WaitCount, "pool", pool)
		out.seconds("database_wait_seconds_total", "Time that calls waited for a connection of the pool.", p.WaitDuration, "pool", pool)
	}

	b := r.s.broker.Stats()
	out.gauge("mqtt_pending_connections", "Sockets that have not logged in yet.", float64(b.Pending))
	out.count("mqtt_accepted_total", "Accepted sockets, including WebSockets.", b.Accepted)
	out.count("mqtt_logins_total", "Accepted CONNECTs.", b.Logins)
	out.count("mqtt_turned_away_total", "Sockets closed at once because too many had not logged in yet.", b.TurnedAway)
	out.count("mqtt_ended_total", "Connections ended by the server.", b.Ended)
	out.count("mqtt_engine_panics_total", "Packets that caused a panic in the MQTT engine.", b.Panics)
	out.count("mqtt_accept_errors_total", "Failed accepts.", b.AcceptErrors)
	out.count("mqtt_received_bytes_total", "MQTT bytes read.", b.BytesIn)
	out.count("mqtt_sent_bytes_total", "MQTT bytes written.", b.BytesOut)
	for limit, n := range b.Limited {
		out.count("limited_total", limitHelp, n, "limit", limit.String())
	}
	if r.s.rate != nil {
		out.count("shared_rate_failures_total", "Requests whose shared rate could not be checked because Redis did not respond.", r.s.rate.Failures())
	}
	for _, code := range refusals {
		b.Refused[code] += 0 // so that each series exists from the start
	}
	for code, n := range b.Refused {
		out.count("mqtt_refused_total", "Refused CONNECTs, by MQTT 5 reason code.", n, "code", reasonCode(code))
	}
}

// refusals are the reason codes with which the broker refuses a CONNECT.
var refusals = []byte{0x80, 0x81, 0x82, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8C, 0x95, 0x97, 0x9F}

func relayFigures(out sink, f relay.Stats) {
	out.gauge("relay_active", "1 if this node is the relay.", one(f.Active))
	out.gauge("relay_connected", "1 while this node is connected to the external broker.", one(f.Connected))
	out.count("relay_published_total", "Messages acknowledged by the external broker.", f.Published)
	out.count("relay_cleared_total", "Retained messages cleared or replaced on the external broker.", f.Cleared)
	out.count("relay_oversize_total", "Messages skipped because they exceed the external broker's Maximum Packet Size.", f.Oversize)
	out.count("relay_failures_total", "Attempts of the relay that ended in an error.", f.Failed)
}

func one(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}

// sink sends metrics to a collector's channel. labels alternate between names and values.
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

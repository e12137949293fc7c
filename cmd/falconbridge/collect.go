package main

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/falconalert/falconbridge/bridge/relay"
)

// roomCollector reads what the rooms count when Prometheus asks.
type roomCollector struct{ s *server }

// Describe sends nothing: which figures there are depends on what runs, which
// makes this an unchecked collector.
func (roomCollector) Describe(chan<- *prometheus.Desc) {}

// Collect sends the figures of what has started.
func (r roomCollector) Collect(ch chan<- prometheus.Metric) {
	s := r.s
	out := sink{ch}
	out.gauge("build_info", "The version that runs.", 1, "version", version())
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

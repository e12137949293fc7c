package main

import (
	"strconv"
	"strings"

	"github.com/falconalert/falconbridge/internal/edge"
)

// limits are what strangers and users may do. Rates are a second; 0 is no limit.
type limits struct {
	maxConnections, maxConnectionsPerUser int
	maxConnectionsPerIP                   int // 0 is no limit
	connectRate, connectRatePerUser       float64
	packetRate                            float64
	requestRate, requestRatePerIP         float64
}

// requestsPerIP is how many users' worth of requests one address may make where
// nothing is said: a household, an office, a carrier's gateway.
const requestsPerIP = 40

func (s *settings) checkLimits(c *checked, ps *problems) {
	origins, err := parseOrigins(s.CORSOrigins)
	if err != nil {
		ps.add("cors-origins", err.Error(), "or write * for every origin")
	}
	c.origins = origins
	c.proxies, err = edge.ParseProxies(strings.Split(s.TrustedProxies, ","))
	if err != nil {
		ps.add("trusted-proxies", err.Error(), "write a list like 10.0.0.0/8,192.0.2.7")
	}
	const remedy = "write 50/s, 600/m or off"
	c.maxConnections = read(ps, "max-connections", s.MaxConnections, parseCount, "write a number like 100000")
	c.maxConnectionsPerUser = read(ps, "max-connections-per-user", s.MaxConnectionsPerUser, parseCount, "write a number like 16")
	if s.MaxConnectionsPerIP != off {
		c.maxConnectionsPerIP = read(ps, "max-connections-per-ip", s.MaxConnectionsPerIP, parseCount, "write a number like 1000, or off")
	}
	c.connectRate = read(ps, "connect-rate-per-ip", s.ConnectRatePerIP, parseRate, remedy)
	c.connectRatePerUser = c.connectRate
	if s.ConnectRatePerUser != "" {
		c.connectRatePerUser = read(ps, "connect-rate-per-user", s.ConnectRatePerUser, parseRate, remedy)
	}
	c.packetRate = read(ps, "packet-rate", s.PacketRate, parseRate, remedy)
	c.requestRate = read(ps, "request-rate-per-user", s.RequestRatePerUser, parseRate, remedy)
	c.requestRatePerIP = requestsPerIP * c.requestRate
	if s.RequestRatePerIP != "" {
		c.requestRatePerIP = read(ps, "request-rate-per-ip", s.RequestRatePerIP, parseRate, remedy)
	}
}

// showRate writes a rate as parseRate reads it.
func showRate(perSecond float64) string {
	if perSecond == 0 {
		return off
	}
	return strconv.FormatFloat(perSecond, 'f', -1, 64) + "/s"
}

package main

import (
	"crypto/tls"
	"crypto/x509"
	"net"
)

func (s *settings) checkListeners(c *checked, ps *problems) {
	const remedy = "write host:port, :port or off"
	for _, l := range []struct {
		name, value string
		to          *string
	}{
		{"http-addr", s.HTTPAddr, &c.http}, {"mqtt-addr", s.MQTTAddr, &c.mqtt},
		{"mqtts-addr", s.MQTTSAddr, &c.mqtts}, {"admin-addr", s.AdminAddr, &c.admin},
	} {
		addr, err := parseAddr(l.value)
		if err != nil {
			ps.add(l.name, err.Error(), remedy)
		}
		if c.keys.development {
			addr = loopbackOnly(addr)
		}
		*l.to = addr
	}
	if s.HTTPAddr == off {
		ps.add("http-addr", "cannot be off", "write host:port or :port")
	}
	s.checkOverlap(c, ps)
	s.checkTLS(c, ps)
}

func (s *settings) checkOverlap(c *checked, ps *problems) {
	names := []string{"http-addr", "mqtt-addr", "mqtts-addr", "admin-addr"}
	addrs := []string{c.http, c.mqtt, c.mqtts, c.admin}
	for i := range addrs {
		for j := range i {
			if overlap(addrs[i], addrs[j]) {
				ps.add(names[i], "is the port of --"+names[j], "choose another port")
			}
		}
	}
}

func overlap(a, b string) bool {
	hostA, portA, errA := net.SplitHostPort(a)
	hostB, portB, errB := net.SplitHostPort(b)
	if errA != nil || errB != nil || portA != portB || portA == "0" {
		return false
	}
	return hostA == hostB || everywhere(hostA) || everywhere(hostB)
}

func everywhere(host string) bool {
	ip := net.ParseIP(host)
	return host == "" || ip != nil && ip.IsUnspecified()
}

func (s *settings) checkTLS(c *checked, ps *problems) {
	c.tlsCert, c.tlsKey = s.TLSCert, s.TLSKey
	switch {
	case s.TLSCert == "" && s.TLSKey == "":
		if c.mqtts != "" {
			ps.add("mqtts-addr", "needs a certificate", "give --tls-cert and --tls-key, or write off")
		}
		s.checkClientCA(c, ps)
		return
	case s.TLSCert == "":
		ps.add("tls-key", "is given without --tls-cert", "give both")
		return
	case s.TLSKey == "":
		ps.add("tls-cert", "is given without --tls-key", "give both")
		return
	}
	for _, f := range [][2]string{{"tls-cert", s.TLSCert}, {"tls-key", s.TLSKey}} {
		if _, err := readText(f[1], maxPEM); err != nil {
			ps.add(f[0], err.Error(), "name a PEM file that this user can read")
			return
		}
	}
	if _, err := tls.LoadX509KeyPair(s.TLSCert, s.TLSKey); err != nil {
		ps.add("tls-cert", "is not a certificate with the key of --tls-key", "give the PEM chain and its unencrypted PEM key")
	}
	s.checkClientCA(c, ps)
}

func (s *settings) checkClientCA(c *checked, ps *problems) {
	c.tlsClientCA = s.TLSClientCA
	if s.TLSClientCA == "" {
		return
	}
	const remedy = "name a PEM file with the certificates that sign the devices'"
	b, err := readText(s.TLSClientCA, maxPEM)
	switch {
	case c.mqtts == "":
		ps.add("tls-client-ca", "is for MQTT over TLS, which is off", "give --mqtts-addr, or leave it out")
	case err != nil:
		ps.add("tls-client-ca", err.Error(), remedy)
	case !x509.NewCertPool().AppendCertsFromPEM(b):
		ps.add("tls-client-ca", "holds no certificate", remedy)
	}
}

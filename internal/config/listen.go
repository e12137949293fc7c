package config

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
)

func (c *Config) checkHTTP() error {
	if c.HTTP == "" {
		return Fault{"cannot be off", "write host:port or :port"}
	}
	return c.checkAddr("http-addr", &c.HTTP)
}

func (c *Config) checkMQTT() error { return c.checkAddr("mqtt-addr", &c.MQTT) }

func (c *Config) checkMQTTS() error {
	if c.MQTTS != "" && c.TLSCert == "" && c.TLSKey == "" {
		return Fault{"needs a certificate", "give --tls-cert and --tls-key, or write off"}
	}
	return c.checkAddr("mqtts-addr", &c.MQTTS)
}

func (c *Config) checkAdmin() error { return c.checkAddr("admin-addr", &c.Admin) }

// checkAddr moves the address to loopback in development mode. It refuses an address that an
// earlier listener in the table uses.
func (c *Config) checkAddr(flag string, addr *string) error {
	if c.Keys.Development {
		*addr = loopbackOnly(*addr)
	}
	for _, other := range []struct{ flag, addr string }{
		{"http-addr", c.HTTP}, {"mqtt-addr", c.MQTT}, {"mqtts-addr", c.MQTTS}, {"admin-addr", c.Admin},
	} {
		if other.flag == flag {
			break
		}
		if overlap(*addr, other.addr) {
			return Fault{"is the port of --" + other.flag, "choose another port"}
		}
	}
	return nil
}

// shown returns a Show for an address, which may be off.
func shown(addr *string) func() string {
	return func() string {
		if *addr == "" {
			return Off
		}
		return *addr
	}
}

// overlap reports whether two listeners cannot have both addresses.
func overlap(a, b string) bool {
	hostA, portA, errA := net.SplitHostPort(a)
	hostB, portB, errB := net.SplitHostPort(b)
	if errA != nil || errB != nil || portA != portB || portA == "0" {
		return false
	}
	return hostA == hostB || AllAddresses(hostA) || AllAddresses(hostB)
}

// AllAddresses reports whether a listener on host accepts connections to all addresses of the
// machine.
func AllAddresses(host string) bool {
	ip := net.ParseIP(host)
	return host == "" || ip != nil && ip.IsUnspecified()
}

// IsLoopback reports whether host is a loopback address or localhost.
func IsLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// loopbackOnly returns addr on loopback, with the same port.
func loopbackOnly(addr string) string {
	host, port, err := net.SplitHostPort(addr)
	if err != nil || IsLoopback(host) {
		return addr
	}
	return net.JoinHostPort("127.0.0.1", port)
}

func (c *Config) checkCertificate() error {
	switch {
	case c.TLSCert == "":
		return nil
	case c.TLSKey == "":
		return Fault{"is given without --tls-key", "give both"}
	}
	if err := checkPEM(c.TLSCert); err != nil {
		return err
	}
	if checkPEM(c.TLSKey) != nil {
		return nil //nolint:nilerr // the row of tls-key reports it
	}
	if _, err := tls.LoadX509KeyPair(c.TLSCert, c.TLSKey); err != nil {
		return Fault{"is not a certificate with the key of --tls-key", "give the PEM chain and its unencrypted PEM key"}
	}
	return nil
}

func (c *Config) checkCertificateKey() error {
	switch {
	case c.TLSKey == "":
		return nil
	case c.TLSCert == "":
		return Fault{"is given without --tls-cert", "give both"}
	}
	return checkPEM(c.TLSKey)
}

func checkPEM(file string) error {
	if _, err := readText(file, MaxPEM); err != nil {
		return Fault{err.Error(), "name a PEM file that this user can read"}
	}
	return nil
}

func (c *Config) checkClientCA() error {
	if c.TLSClientCA == "" {
		return nil
	}
	b, err := readText(c.TLSClientCA, MaxPEM)
	switch {
	case c.MQTTS == "":
		return Fault{"is for MQTT over TLS, which is off", "give --mqtts-addr, or leave it out"}
	case err != nil:
		return err
	case !x509.NewCertPool().AppendCertsFromPEM(b):
		return errors.New("contains no certificate")
	}
	return nil
}

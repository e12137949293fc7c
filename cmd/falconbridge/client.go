package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/internal/config"
)

// client are the flags of the commands that talk to a running server.
type client struct {
	URL       string `name:"url" placeholder:"URL" help:"REST base. Default: this machine at --http-addr."`
	MQTTURL   string `name:"mqtt-url" placeholder:"URL" help:"mqtt://, mqtts://, ws:// or wss://. Default: this machine at --mqtt-addr, or over --http-addr."`
	Token     string `placeholder:"TOKEN" help:"Token to present. Default: one signed with the configured key."`
	TokenFile string `placeholder:"FILE" help:"File that holds --token."`
}

// endpoint is where a command connects, and the TLS it trusts there; nil is the
// system's.
type endpoint struct {
	url *url.URL
	tls *tls.Config
}

// rest is the base of the REST calls.
func (c client) rest(p *program) (endpoint, error) {
	if c.URL == "" {
		settings, err := p.check(config.LocalHTTP)
		if err != nil {
			return endpoint{}, err
		}
		return local(settings, "http-addr")
	}
	u, err := url.Parse(c.URL)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return endpoint{}, errors.New("--url (FALCON_URL): is not the address of a server; write http://host:8080 or https://host")
	}
	return endpoint{url: u}, nil
}

// mqttPorts are the ports MQTT has by its schemes; nil-valued ones are left to
// the WebSocket dialer.
var mqttPorts = map[string]string{"mqtt": "1883", "mqtts": "8883", "ws": "", "wss": ""}

// mqtt is where devices connect. Without an address of its own it is the first
// open of TCP, TLS and WebSocket.
func (c client) mqtt(p *program) (endpoint, error) {
	if c.MQTTURL == "" {
		settings, err := p.check(config.LocalMQTT)
		if err != nil {
			return endpoint{}, err
		}
		for _, name := range []string{"mqtt-addr", "mqtts-addr"} {
			if e, err := local(settings, name); err == nil {
				return e, nil
			}
		}
		e, err := local(settings, "http-addr")
		if err != nil {
			return e, errors.New("--mqtt-url (FALCON_MQTT_URL): this machine has no open address; write mqtt://host:1883 or wss://host/mqtt")
		}
		e.url.Scheme = map[string]string{"http": "ws", "https": "wss"}[e.url.Scheme]
		e.url.Path = "/mqtt"
		return e, nil
	}
	u, err := url.Parse(c.MQTTURL)
	port, known := "", false
	if err == nil {
		port, known = mqttPorts[u.Scheme]
	}
	if !known || u.Host == "" {
		return endpoint{}, errors.New("--mqtt-url (FALCON_MQTT_URL): is not an MQTT address; write mqtt://host:1883, mqtts://, ws:// or wss://host/mqtt")
	}
	u.User = nil // a token is given with --token, never in an address
	if port != "" && u.Port() == "" {
		u.Host = net.JoinHostPort(u.Hostname(), port)
	}
	if port == "" && (u.Path == "" || u.Path == "/") {
		u.Path = "/mqtt"
	}
	return endpoint{url: u}, nil
}

// local is this machine's listener of that setting.
func local(s *config.Config, name string) (e endpoint, err error) {
	host, port, err := net.SplitHostPort(map[string]string{"http-addr": s.HTTP, "mqtt-addr": s.MQTT, "mqtts-addr": s.MQTTS}[name])
	if err != nil || port == "0" {
		return e, s.Problem(name, "is no address to connect to", "give --url")
	}
	if config.Everywhere(host) {
		host = "127.0.0.1"
	}
	scheme := map[string]string{"http-addr": "http", "mqtt-addr": "mqtt", "mqtts-addr": "mqtts"}[name]
	if name == "http-addr" && s.TLSCert != "" {
		scheme = "https"
	}
	e.url = &url.URL{Scheme: scheme, Host: net.JoinHostPort(host, port)}
	if scheme == "https" || scheme == "mqtts" {
		e.tls, err = trustOwn(s.TLSCert, s.TLSKey)
	}
	return e, err
}

// trustOwn accepts this server's own certificate under the name it bears: the
// address is loopback, which no certificate names, and the issuer may be private.
func trustOwn(cert, key string) (*tls.Config, error) {
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		return nil, errors.New("--tls-cert (FALCON_TLS_CERT): cannot be read with its key; give --url with the server's name")
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: x509.NewCertPool()}
	c.RootCAs.AddCert(pair.Leaf)
	switch {
	case len(pair.Leaf.DNSNames) > 0:
		c.ServerName = pair.Leaf.DNSNames[0]
	case len(pair.Leaf.IPAddresses) > 0:
		c.ServerName = pair.Leaf.IPAddresses[0].String()
	}
	return c, nil
}

// http is a client for e. It follows no redirect: that would hand the token on.
func (e endpoint) http(timeout time.Duration) *http.Client {
	c := &http.Client{
		Timeout:       timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	if e.tls != nil {
		c.Transport = &http.Transport{TLSClientConfig: e.tls, ForceAttemptHTTP2: true}
	}
	return c
}

// bearer gives a token: the given one always, else a fresh one of claims, whose
// life is given in ttl.
func (c client) bearer(p *program, claims bridge.Claims, ttl time.Duration) (func() (string, error), error) {
	given, err := config.Secret("token", c.Token, c.TokenFile, p.has("token"), p.has("token-file"))
	if err != nil {
		return nil, err
	}
	if given != "" {
		return func() (string, error) { return given, nil }, nil
	}
	settings, err := p.check(config.Signing)
	if err != nil {
		return nil, err
	}
	signer, err := settings.Keys.Signer(settings.DataDir, settings.Topics, p.err)
	if err != nil {
		return nil, err
	}
	return func() (string, error) {
		fresh := claims
		fresh.ExpiresAt = time.Now().Add(cmp.Or(ttl, time.Hour))
		return signer.Sign(fresh)
	}, nil
}

// foreignHint is what to look at where a server speaks something else than MQTT.
const foreignHint = "is that another port of the server? MQTT over TCP is mqtt://host:1883, over WebSocket on the HTTP port ws://host:8080/mqtt"

// foreign returns the hint where err is of a server that was reached and did not answer
// with MQTT, as an HTTP port does.
func foreign(err error) string {
	var op *net.OpError
	var wait net.Error
	if errors.As(err, &op) && op.Op == "dial" || errors.As(err, &wait) && wait.Timeout() || errors.Is(err, context.Canceled) {
		return ""
	}
	return foreignHint
}

// origin says, for a message about a refused token, which variable of the
// environment it was taken from: people forget what they exported. It is "" where
// the token was typed, or signed with the configured key.
func (c client) origin(p *program) string {
	if p.has("token") || p.has("token-file") {
		return ""
	}
	for _, given := range [][2]string{{"token-file", c.TokenFile}, {"token", c.Token}} {
		if given[1] != "" {
			return "; the token came from " + config.Env(given[0]) + " in the environment: unset it to have one signed with the configured key, or give another with --token"
		}
	}
	return ""
}

package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/internal/config"
)

// client has the flags of the commands that call a running server.
type client struct {
	URL       string `name:"url" placeholder:"URL" help:"Base URL of the REST API. Default: this machine at --http-addr."`
	MQTTURL   string `name:"mqtt-url" placeholder:"URL" help:"mqtt://, mqtts://, ws:// or wss://. Default: this machine at --mqtt-addr, or over --http-addr."`
	Token     string `placeholder:"TOKEN" help:"Token to present. Default: one signed with the configured key."`
	TokenFile string `placeholder:"FILE" help:"File that contains --token."`
}

// endpoint is where a command connects, and which certificates it trusts; nil: the system's
// certificate authorities.
type endpoint struct {
	url *url.URL
	tls *tls.Config
}

// rest returns the base URL of the REST calls, whose path begins with a slash.
func (c client) rest(p *program) (endpoint, error) {
	if c.URL == "" {
		settings, err := p.check(config.LocalHTTPScope)
		if err != nil {
			return endpoint{}, err
		}
		e, err := local(settings, "http-addr")
		if err == nil {
			e.url.Path = "/"
		}
		return e, err
	}
	u, err := url.Parse(c.URL)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return endpoint{}, errors.New("--url (FALCON_URL): is not the address of a server; write http://host:8080 or https://host")
	}
	u.Path = cmp.Or(u.Path, "/")
	return endpoint{url: u}, nil
}

// mqttPorts are the default ports of the schemes; the WebSocket dialer knows its own.
var mqttPorts = map[string]string{"mqtt": "1883", "mqtts": "8883", "ws": "", "wss": ""}

// mqtt returns where devices connect. Without --mqtt-url it is the first listener that
// is on, of TCP, TLS and WebSocket.
func (c client) mqtt(p *program) (endpoint, error) {
	if c.MQTTURL == "" {
		settings, err := p.check(config.LocalMQTTScope)
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

// local returns this machine's listener of that setting.
func local(s *config.Config, name string) (e endpoint, err error) {
	host, port, err := net.SplitHostPort(map[string]string{"http-addr": s.HTTP, "mqtt-addr": s.MQTT, "mqtts-addr": s.MQTTS}[name])
	if err != nil || port == "0" {
		return e, s.Problem(name, "is no address to connect to", "give --url")
	}
	if config.AllAddresses(host) {
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

// trustOwn accepts this server's own certificate under any name in it: the command
// connects to loopback, which no certificate names, and the issuer may be private.
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

// http returns a client for e. It follows no redirect, which would pass on the token.
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

// bearer returns a function that returns a token: always the given one, if there is one, else
// each time a new one for claims that is valid for ttl; 0 means an hour.
func (c client) bearer(p *program, claims bridge.Claims, ttl time.Duration) (func() (string, error), error) {
	given, err := config.Secret("token", c.Token, c.TokenFile, p.has("token"), p.has("token-file"))
	if err != nil {
		return nil, err
	}
	if given != "" {
		return func() (string, error) { return given, nil }, nil
	}
	settings, err := p.check(config.SigningScope)
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

// foreignHint is the hint for a server that does not speak MQTT.
const foreignHint = "is that another port of the server? MQTT over TCP is mqtt://host:1883, over WebSocket on the HTTP port ws://host:8080/mqtt"

// foreign returns the hint where err says that a server was reached but did not speak
// MQTT, as an HTTP port does not.
func foreign(err error) string {
	var op *net.OpError
	var wait net.Error
	if errors.As(err, &op) && op.Op == "dial" || errors.As(err, &wait) && wait.Timeout() || errors.Is(err, context.Canceled) {
		return ""
	}
	return foreignHint
}

// origin names, in a message about a refused token, the environment variable it came
// from: people forget what they exported. It is "" for a token that was typed or signed
// with the configured key.
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

// call makes one REST call with the given token, or with one signed for claims, and
// returns the header and body of the response. A status other than want is an error.
func (c client) call(p *program, claims bridge.Claims, req *http.Request, want int) (http.Header, []byte, error) {
	bearer, err := c.bearer(p, claims, 5*time.Minute)
	if err != nil {
		return nil, nil, err
	}
	raw, err := bearer()
	if err != nil {
		return nil, nil, err
	}
	e, err := c.rest(p)
	if err != nil {
		return nil, nil, err
	}
	req.URL = e.url.JoinPath(req.URL.Path)
	req.Header.Set("Authorization", "Bearer "+raw)
	resp, err := e.http(30 * time.Second).Do(req)
	if err != nil {
		return nil, nil, fmt.Errorf("no response from %s: %w; start the server, or give the address of its REST API with --url", e.url.Host, cause(err))
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	switch {
	case err != nil:
		return nil, nil, fmt.Errorf("read the response: %w", err)
	case resp.StatusCode == want:
		return resp.Header, body, nil
	case resp.StatusCode == http.StatusUnauthorized || resp.StatusCode == http.StatusForbidden:
		return nil, nil, fmt.Errorf("%w%s", refused(resp.StatusCode, body), c.origin(p))
	}
	return nil, nil, refused(resp.StatusCode, body)
}

// refused returns a problem document (RFC 9457) as a one-line error.
func refused(status int, body []byte) error {
	var doc struct {
		Title  string
		Detail string
		Errors []struct{ Location, Message string }
	}
	if json.Unmarshal(body, &doc) != nil || doc.Title == "" {
		return fmt.Errorf("the server returned %d %s", status, http.StatusText(status))
	}
	// If there are fields, the detail only repeats them.
	var faults []string
	for _, e := range doc.Errors {
		faults = append(faults, e.Location+" "+e.Message)
	}
	text := doc.Title
	if detail := cmp.Or(strings.Join(faults, "; "), doc.Detail); detail != "" {
		text += ": " + detail
	}
	return fmt.Errorf("the server returned %d %s", status, text)
}

// cause returns the innermost reason of a failed call, without the address that the
// errors around it repeat.
func cause(err error) error {
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return err
		}
		if _, deep := inner.(interface{ Timeout() bool }); !deep {
			return inner
		}
		err = inner
	}
}

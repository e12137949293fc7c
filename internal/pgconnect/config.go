// Package pgconnect opens this program's connections to Postgres, all of them from one
// [Config]. pgx's pgconn parses the connection string as libpq does and logs in; pgdriver,
// which Bun uses, then takes over the connection.
//
// pgdriver alone supports few of libpq's parameters. It passes unknown ones to SET, tries only
// one host, never falls back between TLS and plain text as some sslmodes require, and sends
// passwords without SASLprep. In all of this pgconn behaves as libpq does.
package pgconnect

import (
	"cmp"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/xdg-go/stringprep"
)

// connectTimeout bounds connecting and logging in, unless connect_timeout is shorter. Several
// hosts share it, see Parse.
const connectTimeout = 5 * time.Second

// Config describes a server, or several to try in order, as parsed from a connection string.
type Config struct {
	login    *pgconn.Config
	settings []Setting // the connection string's server settings, sorted by name
	hosts    int
	prepared string // the password after SASLprep, or "" if SASLprep does not change it
}

// Setting is a server setting, with its value as in postgresql.conf.
type Setting struct{ Name, Value string }

// IsURL reports whether url is a connection string of Postgres.
func IsURL(url string) bool {
	return strings.HasPrefix(url, "postgres://") || strings.HasPrefix(url, "postgresql://")
}

// Parse parses a connection string, postgres://user:password@host:port/name with libpq's
// parameters. Values that the string does not give come from libpq's environment variables
// (PGUSER, PGSSLMODE …). An error names the parameter that cannot be used, and never contains
// a password.
func Parse(raw string) (*Config, error) {
	if !IsURL(raw) {
		return nil, errors.New("is not of Postgres: it begins with postgres://")
	}
	login, err := pgconn.ParseConfig(raw)
	if err != nil {
		return nil, parseError(err)
	}
	c := &Config{login: login, hosts: 1}
	// The server stored the password after SASLprep. pgconn prepares it by RFC 8265, which
	// maps fewer characters.
	if p, err := stringprep.SASLprep.Prepare(login.Password); err == nil && p != login.Password {
		c.prepared = p
	}
	last := c.allHosts()[0]
	for _, h := range c.allHosts() {
		if h.Host != last.Host || h.Port != last.Port {
			c.hosts++
		}
		last = h
	}
	if err := c.requirePrimary(raw); err != nil {
		return nil, err
	}
	if err := c.applyParameters(login.RuntimeParams); err != nil {
		return nil, err
	}
	limit := connectTimeout
	if login.ConnectTimeout > 0 {
		limit = min(limit, login.ConnectTimeout)
	}
	// A host that drops packets must leave enough time for the next one.
	login.ConnectTimeout = limit / time.Duration(2*c.hosts-1)
	return c, nil
}

// parseError returns an error like pgconn's, but without the connection string, which pgconn
// repeats, and without any text that may quote a part of it.
func parseError(err error) error {
	var bad *pgconn.ParseConfigError
	if !errors.As(err, &bad) {
		return errors.New("is not a URL of Postgres")
	}
	text := bad.Error()
	text = text[strings.LastIndex(text, "`: ")+len("`: "):]
	if strings.HasPrefix(text, "failed to parse") || strings.Contains(text, "://") {
		return errors.New("is not a URL of Postgres: write postgres://user:password@host:5432/name, with special characters percent-encoded")
	}
	return errors.New(text)
}

// requirePrimary checks which kind of server the connection string asks for. This program
// writes, so it refuses to ask for a standby. If there are several hosts, it looks for the
// primary among them even if the string does not say so.
func (c *Config) requirePrimary(raw string) error {
	switch kind := cmp.Or(parameter(raw, "target_session_attrs"), os.Getenv("PGTARGETSESSIONATTRS")); kind {
	case "read-only", "standby", "prefer-standby":
		return fmt.Errorf("target_session_attrs=%s cannot be used, because falconbridge writes; use primary or read-write", kind)
	case "", "any":
		if c.hosts > 1 {
			c.login.ValidateConnect = pgconn.ValidateConnectTargetSessionAttrsPrimary
		}
	}
	return nil
}

// parameter returns the last value of a parameter in a URL, or "".
func parameter(raw, name string) (value string) {
	_, query, _ := strings.Cut(raw, "?")
	for pair := range strings.SplitSeq(query, "&") {
		if k, v, _ := strings.Cut(pair, "="); k == name {
			if v, err := url.PathUnescape(v); err == nil {
				value = v
			}
		}
	}
	return value
}

// Local reports whether every host is a Unix socket or on loopback.
func (c *Config) Local() bool {
	return !slices.ContainsFunc(c.allHosts(), func(h pgconn.FallbackConfig) bool {
		ip := net.ParseIP(h.Host)
		return !strings.HasPrefix(h.Host, "/") && h.Host != "localhost" && (ip == nil || !ip.IsLoopback())
	})
}

// allHosts returns the hosts in the order in which they are tried. It contains a host twice if
// the host is tried both with and without TLS.
func (c *Config) allHosts() []pgconn.FallbackConfig {
	all := []pgconn.FallbackConfig{{Host: c.login.Host, Port: c.login.Port, TLSConfig: c.login.TLSConfig}}
	for _, f := range c.login.Fallbacks {
		all = append(all, *f)
	}
	return all
}

// pause returns a random time of 50 to 150 ms, so that nodes do not retry in step.
func pause() time.Duration { return 50*time.Millisecond + rand.N(100*time.Millisecond) }

// Package pgconnect opens this program's connections to Postgres, all of them
// from one [Config]: pgx's pgconn reads the connection string as libpq does and
// logs in, then pgdriver takes the connection over.
//
// pgdriver alone knows few of libpq's parameters: it hands the others to SET,
// tries one host, falls back from TLS to plain text in no mode, and sends a
// password as it is, without SASLprep. pgconn has all of that.
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

// connectTimeout bounds connecting and logging in to one host, unless
// connect_timeout says less.
const connectTimeout = 5 * time.Second

// Config is a server, or several to try in order, as a connection string
// describes it.
type Config struct {
	login    *pgconn.Config
	settings []Setting // the connection string's server settings, by name
	hosts    int
	prepared string // the password after SASLprep, where that changes it; else ""
}

// Setting is a server setting, with its value as postgresql.conf has it.
type Setting struct{ Name, Value string }

// Is reports whether url is a connection string of Postgres.
func Is(url string) bool {
	return strings.HasPrefix(url, "postgres://") || strings.HasPrefix(url, "postgresql://")
}

// Parse reads a connection string, postgres://user:password@host:port/name with
// the parameters of libpq, and what it leaves open from libpq's environment
// variables (PGUSER, PGSSLMODE …). Its error names the parameter that cannot be
// used, and never a password.
func Parse(raw string) (*Config, error) {
	if !Is(raw) {
		return nil, errors.New("is not of Postgres: it begins with postgres://")
	}
	login, err := pgconn.ParseConfig(raw)
	if err != nil {
		return nil, parseError(err)
	}
	c := &Config{login: login, hosts: 1}
	// pgconn prepares passwords by RFC 8265, which folds less than the SASLprep
	// that the server stored the password with.
	if p, err := stringprep.SASLprep.Prepare(login.Password); err == nil && p != login.Password {
		c.prepared = p
	}
	last := c.all()[0]
	for _, h := range c.all() {
		if h.Host != last.Host || h.Port != last.Port {
			c.hosts++
		}
		last = h
	}
	if err := c.session(raw); err != nil {
		return nil, err
	}
	if err := c.sort(login.RuntimeParams); err != nil {
		return nil, err
	}
	limit := connectTimeout
	if login.ConnectTimeout > 0 {
		limit = min(limit, login.ConnectTimeout)
	}
	// A host that drops packets must leave the next one time within a call.
	login.ConnectTimeout = limit / time.Duration(2*c.hosts-1)
	return c, nil
}

// parseError drops the connection string, which pgconn repeats, and all of an
// error that may quote it.
func parseError(err error) error {
	var bad *pgconn.ParseConfigError
	if !errors.As(err, &bad) {
		return errors.New("is not a URL of Postgres")
	}
	text := bad.Error()
	text = text[strings.LastIndex(text, "`: ")+len("`: "):]
	if strings.HasPrefix(text, "failed to parse") || strings.Contains(text, "://") {
		return errors.New("is not a URL of Postgres: write postgres://user:password@host:5432/name, special characters percent-encoded")
	}
	return errors.New(text)
}

// session looks at what kind of server is asked for. This program writes, so a
// standby is never right; with several hosts it asks for the primary by itself.
func (c *Config) session(raw string) error {
	switch kind := cmp.Or(parameter(raw, "target_session_attrs"), os.Getenv("PGTARGETSESSIONATTRS")); kind {
	case "read-only", "standby", "prefer-standby":
		return fmt.Errorf("target_session_attrs=%s cannot be used: falconbridge writes; use primary or read-write", kind)
	case "", "any":
		if c.hosts > 1 {
			c.login.ValidateConnect = pgconn.ValidateConnectTargetSessionAttrsPrimary
		}
	}
	return nil
}

// parameter is the last value of a parameter of a URL, "" for none.
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

// Local reports whether every host is a socket of this machine or on loopback.
func (c *Config) Local() bool {
	return !slices.ContainsFunc(c.all(), func(h pgconn.FallbackConfig) bool {
		ip := net.ParseIP(h.Host)
		return !strings.HasPrefix(h.Host, "/") && h.Host != "localhost" && (ip == nil || !ip.IsLoopback())
	})
}

func (c *Config) all() []pgconn.FallbackConfig {
	all := []pgconn.FallbackConfig{{Host: c.login.Host, Port: c.login.Port, TLSConfig: c.login.TLSConfig}}
	for _, f := range c.login.Fallbacks {
		all = append(all, *f)
	}
	return all
}

// pause is a moment of 50 to 150 ms, so that nodes do not ask in step.
func pause() time.Duration { return 50*time.Millisecond + rand.N(100*time.Millisecond) }

package main

import (
	"errors"
	"net/url"
	"strings"

	"github.com/falconalert/falconbridge/bridge/relay"
	"github.com/falconalert/falconbridge/internal/pgconnect"
)

func (s *settings) checkStore(c *checked, ps *problems) {
	c.dataDir = s.DataDir
	if c.dataDir == "" {
		ps.add("data-dir", "is empty", "name a directory")
	}
	c.databaseURL = s.secret(ps, "database-url", s.DatabaseURL, s.DatabaseURLFile)
	s.checkDatabase(c, ps)
	switch s.AutoMigrate {
	case "true", "1", "yes", "on":
		c.autoMigrate = true
	case "false", "0", "no", off:
	default:
		ps.add("auto-migrate", "is neither true nor false", "write true or false")
	}
	c.bus = s.secret(ps, "bus", s.busValue(), s.BusFile)
	if c.bus == "" {
		c.bus = busAuto
	}
	s.checkBus(c, ps)
	if raw := s.secret(ps, "relay-url", s.RelayURL, s.RelayURLFile); raw != "" {
		u, err := url.Parse(raw)
		if err != nil {
			err = errors.New("it is not a URL") // its own text repeats the password
		} else {
			err = relay.CheckURL(u)
		}
		if err != nil {
			ps.add("relay-url", err.Error(), "write mqtt://user:pass@host:1883 or mqtts://…, special characters percent-encoded")
		}
		c.relayURL = u
	}
}

// checkDatabase wants a connection string of Postgres, or sqlite:<path>.
func (s *settings) checkDatabase(c *checked, ps *problems) {
	c.dbMaxConnections = read(ps, "db-max-connections", s.DBMaxConnections, parseCount, "write a number, 4 or more")
	if c.dbMaxConnections > 0 && c.dbMaxConnections < 4 {
		ps.add("db-max-connections", "is too few", "write 4 or more: one to read, one to append, two to listen and notify")
	}
	c.sqlite = c.databaseURL == "" || strings.HasPrefix(c.databaseURL, "sqlite:")
	if c.sqlite {
		return
	}
	if !pgconnect.Is(c.databaseURL) {
		ps.add("database-url", "is not of Postgres", "write postgres://…, or leave it out for SQLite")
	} else if _, err := pgconnect.Parse(c.databaseURL); err != nil {
		ps.add("database-url", err.Error(), "see docs/configuration.md#connecting-to-postgres")
	}
}

// busAuto lets the database decide.
const busAuto = "auto"

// busValue is --bus without its default, so that the file may give it.
func (s *settings) busValue() string {
	if s.BusFile != "" && s.Bus == busAuto {
		return ""
	}
	return s.Bus
}

func (s *settings) checkBus(c *checked, ps *problems) {
	if c.bus == busAuto {
		return
	}
	u, err := url.Parse(c.bus)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "redis" && u.Scheme != "rediss":
		ps.add("bus", "is not a known bus", "write auto, or redis://:password@host:6379/0 (rediss:// for TLS)")
	case c.sqlite:
		ps.add("bus", "several nodes cannot share SQLite", "set --database-url to a Postgres, or write auto")
	}
}

package main

import (
	"log/slog"
	"net/url"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/internal/edge"
)

// checked are settings that can work, as far as a look from here can tell.
type checked struct {
	http, mqtt, mqtts, admin string // addresses; "" is closed
	tlsCert, tlsKey          string // files; both or none
	tlsClientCA              string // file; "" is none
	proxies                  edge.Proxies

	dataDir     string
	databaseURL string // "" is SQLite in the data dir
	sqlite      bool
	autoMigrate bool
	bus         string   // auto, or a redis URL
	relayURL    *url.URL // nil is none

	dbMaxConnections int

	keys    keySettings
	origins edge.Origins
	topics  bridge.Topics

	limits

	sessionTTL, retention               time.Duration
	startTimeout, drainDelay, drainTime time.Duration
	locale                              bridge.Locale
	logLevel                            slog.Level
	logJSON                             bool
}

// check reads every setting and names each bad one. In development mode all
// addresses come out on loopback.
func (s *settings) check() (c checked, ps problems) {
	c.keys = s.checkKeys(&ps)
	c.topics = s.checkTopics(&ps)
	s.checkListeners(&c, &ps)
	s.checkStore(&c, &ps)
	s.checkLimits(&c, &ps)
	s.checkTimes(&c, &ps)
	s.checkWords(&c, &ps)
	return c, ps
}

func (s *settings) checkTopics(ps *problems) bridge.Topics {
	p := s.TopicPrefix
	const remedy = "write something like staging/"
	switch {
	case strings.ContainsAny(p, "+#") || strings.ContainsFunc(p, unicode.IsControl) || !utf8.ValidString(p):
		ps.add("topic-prefix", "has a character that no topic may have", remedy)
	case strings.HasPrefix(p, "$"):
		ps.add("topic-prefix", "begins with $", remedy)
	case len(p) > 512:
		ps.add("topic-prefix", "has more than 512 bytes", remedy)
	}
	return bridge.Topics{Prefix: p}
}

func (s *settings) checkTimes(c *checked, ps *problems) {
	const remedy = "write 30s, 12h or 7d"
	c.sessionTTL = read(ps, "session-ttl", s.SessionTTL, parseTime, remedy)
	c.retention = read(ps, "retention", s.Retention, parseTime, remedy)
	c.startTimeout = read(ps, "start-timeout", s.StartTimeout, parseTime, remedy)
	c.drainDelay = read(ps, "drain-delay", s.DrainDelay, parseTime, remedy)
	c.drainTime = read(ps, "drain-time", s.DrainTime, parseTime, remedy)
	if d, err := parseTime(s.SessionTTL); err == nil && d < time.Second {
		ps.add("session-ttl", "is under a second", "write 168h, or however long a device may be away")
	}
}

// read parses one value, or notes what is wrong with it.
func read[T any](ps *problems, name, value string, parse func(string) (T, error), remedy string) T {
	v, err := parse(value)
	if err != nil {
		ps.add(name, err.Error(), remedy)
	}
	return v
}

func (s *settings) checkWords(c *checked, ps *problems) {
	c.locale = bridge.Locale(s.Locale)
	if c.locale != bridge.Spanish && c.locale != bridge.English {
		ps.add("locale", "is not a language with texts", "write es or en")
	}
	switch s.LogLevel {
	case "debug", "info", "warn", "error":
		_ = c.logLevel.UnmarshalText([]byte(s.LogLevel)) // cannot fail for these
	default:
		ps.add("log-level", "is not a level", "write debug, info, warn or error")
	}
	c.logJSON = s.LogFormat == "json"
	if !c.logJSON && s.LogFormat != "text" {
		ps.add("log-format", "is not a format", "write text or json")
	}
}

package config

import (
	"errors"
	"log/slog"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/idna"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/bridge/relay"
	"github.com/falconalert/falconbridge/bridge/token"
	"github.com/falconalert/falconbridge/internal/edge"
)

// The parsers of the table. Their errors continue a sentence that begins with the setting's
// name, and never repeat the value, which may be a secret.

func text(s string) (string, error) { return s, nil }

func notEmpty(s string) (string, error) {
	if s == "" {
		return "", errors.New("is empty")
	}
	return s, nil
}

// parseAddr parses host:port, :port or off, for which it returns "".
func parseAddr(s string) (string, error) {
	if s == Off {
		return "", nil
	}
	_, port, err := net.SplitHostPort(s)
	if err != nil {
		return "", errors.New("is not an address")
	}
	if n, err := strconv.Atoi(port); err != nil || n < 0 || n > 65535 {
		return "", errors.New("has no port from 0 to 65535")
	}
	return s, nil
}

// parseCount parses an integer of at least 1.
func parseCount(s string) (int, error) {
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 {
		return 0, errors.New("is not a whole number of at least 1")
	}
	return n, nil
}

func countOrOff(s string) (int, error) {
	if s == Off {
		return 0, nil
	}
	return parseCount(s)
}

// minPool is the smallest number of connections with which a process works.
const minPool = 4

func parsePool(s string) (int, error) {
	n, err := parseCount(s)
	if err == nil && n < minPool {
		return 0, Fault{"is too few", "write 4 or more: one to read, one to append, two to listen and notify"}
	}
	return n, err
}

// parseRate parses "50/s", "600/m", "50" (per second) or off, and returns events per second; 0
// means no limit.
func parseRate(s string) (float64, error) {
	if s == Off {
		return 0, nil
	}
	count, unit, found := strings.Cut(s, "/")
	if !found {
		unit = "s"
	}
	per, known := map[string]float64{"s": 1, "m": 60, "min": 60, "h": 3600}[unit]
	n, err := strconv.ParseFloat(count, 64)
	if err != nil || !known || !(n > 0 && n <= 1e9) {
		return 0, errors.New("is not a rate")
	}
	return n / per, nil
}

// formatRate formats a rate for parseRate.
func formatRate(perSecond float64) string {
	if perSecond == 0 {
		return Off
	}
	return strconv.FormatFloat(perSecond, 'f', -1, 64) + "/s"
}

// showRate shows a rate as it was given, or else the rate that it defaults to.
func (c *Config) showRate(flag string, rate *float64) func() string {
	return func() string {
		if given := c.given.text[flag]; given != "" {
			return given
		}
		return formatRate(*rate)
	}
}

// ParseTime parses a duration in Go's units or in days (7d). It must not be negative.
func ParseTime(s string) (time.Duration, error) {
	d, err := time.ParseDuration(s)
	if days, found := strings.CutSuffix(s, "d"); found {
		var n float64
		if n, err = strconv.ParseFloat(days, 64); err == nil && n >= 0 && n <= 36500 {
			d = time.Duration(n * 24 * float64(time.Hour))
		}
	}
	if err != nil || d < 0 {
		return 0, errors.New("is not a time")
	}
	return d, nil
}

// tracesEndpoint is the variable of OpenTelemetry whose URL includes the path for traces.
const tracesEndpoint = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"

// readOTel reads where traces are sent. OpenTelemetry's general endpoint is a base URL, while
// that for traces is used as it is.
func (c *Config) readOTel(s string) error {
	if s == Off || s == "" {
		return nil
	}
	u, err := parseWebURL(s)
	if err == nil && u.RawQuery != "" {
		err = errors.New("it has a query")
	}
	if err != nil {
		return err
	}
	if c.given.from["otel-endpoint"] != tracesEndpoint {
		u = u.JoinPath("v1", "traces")
	}
	c.OTelEndpoint = u
	return nil
}

// parseLife parses the time for which sessions are kept.
func parseLife(s string) (time.Duration, error) {
	d, err := ParseTime(s)
	if err == nil && d < time.Second {
		return 0, Fault{"is under a second", "write 168h, or however long a device may be absent"}
	}
	return d, err
}

func parseToggle(s string) (bool, error) {
	switch s {
	case "true", "1", "yes", "on":
		return true, nil
	case "false", "0", "no", Off:
		return false, nil
	}
	return false, errors.New("is neither true nor false")
}

// locales returns the locales that have texts, each between before and after.
func locales(before, after string) (all []string) {
	for _, l := range bridge.Locales() {
		all = append(all, before+string(l)+after)
	}
	return all
}

func parseLocale(s string) (bridge.Locale, error) {
	l := bridge.Locale(s)
	if !slices.Contains(bridge.Locales(), l) {
		return l, errors.New("is not a language with texts")
	}
	return l, nil
}

func parseLevel(s string) (l slog.Level, err error) {
	switch s {
	case "debug", "info", "warn", "error":
		return l, l.UnmarshalText([]byte(s))
	}
	return l, errors.New("is not a level")
}

func parseLogFormat(s string) (isJSON bool, err error) {
	if s != "text" && s != "json" {
		return false, errors.New("is not a format")
	}
	return s == "json", nil
}

// maxPrefix leaves room for the rest of a topic, whose length MQTT encodes in two bytes.
const maxPrefix = 512

func parsePrefix(s string) (string, error) {
	switch {
	case strings.ContainsAny(s, "+#") || strings.ContainsFunc(s, unicode.IsControl) || !utf8.ValidString(s):
		return s, errors.New("has a character that no topic may have")
	case strings.HasPrefix(s, "$"):
		return s, errors.New("begins with $")
	case len(s) > maxPrefix:
		return s, errors.New("has more than 512 bytes")
	}
	return s, nil
}

func parseProxies(list string) (edge.Proxies, error) {
	return edge.ParseProxies(strings.Split(list, ","))
}

// originNames converts international names to the ASCII form that browsers send (UTS 46). It
// leaves ASCII names as they are, even with underscores, wildcards or ports.
var originNames = idna.New(idna.MapForLookup(), idna.Transitional(false), idna.StrictDomainName(false))

func parseOrigins(list string) (edge.Origins, error) {
	origins := strings.Split(list, ",")
	for i, s := range origins {
		scheme, host, ok := strings.Cut(s, "://")
		if !ok {
			continue
		}
		// A name without an ASCII form stays as it is, and is refused below.
		if ascii, err := originNames.ToASCII(strings.TrimSpace(host)); err == nil {
			origins[i] = scheme + "://" + ascii
		}
	}
	return edge.ParseOrigins(origins)
}

// parseBus parses auto or the URL of a Redis. (A --bus-file that is empty is refused by
// readSecretText, since it can only be a mistake.)
func parseBus(s string) (string, error) {
	if s == "" || s == BusAuto {
		return BusAuto, nil
	}
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.Scheme != "redis" && u.Scheme != "rediss" {
		return s, errors.New("is not a known bus")
	}
	return s, nil
}

func parseRelay(s string) (*url.URL, error) {
	if s == "" {
		return nil, nil
	}
	u, err := url.Parse(s)
	if err != nil {
		return nil, errors.New("it is not a URL") // the error of package url repeats the password
	}
	return u, relay.CheckURL(u)
}

// claimOtherThan returns a parser for the path of a claim. For the usual claim the parser
// returns "", the zero value of package token's options.
func claimOtherThan(usual string) func(string) (string, error) {
	return func(s string) (string, error) {
		if err := token.CheckClaim(s); err != nil {
			return "", errors.New("is not a claim")
		}
		if s == usual {
			return "", nil
		}
		return s, nil
	}
}

func parseScopeMap(s string) (string, error) { return s, token.CheckScopeMap(s) }

func parseAdminWhen(s string) (string, error) {
	if token.CheckAdminWhen(s) != nil {
		return "", errors.New("is not a claim and its value")
	}
	return s, nil
}

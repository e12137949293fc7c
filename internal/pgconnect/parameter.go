package pgconnect

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// unsupported are parameters of libpq for features that this program does not have. They are
// refused with this advice.
var unsupported = map[string]string{
	"load_balance_hosts": "leave it out: the hosts are tried in order",
	"oauth_client_id":    "use a password or a client certificate",
	"oauth_issuer":       "use a password or a client certificate",
	"replication":        "leave it out",
	"requirepeer":        "leave it out, and protect the socket's directory",
	"scram_client_key":   "use a password",
	"scram_server_key":   "use a password",
	"ssl":                "write sslmode",
	"sslcrl":             "leave it out: certificates are not checked for revocation",
	"sslcrldir":          "leave it out: certificates are not checked for revocation",
	"sslkeylogfile":      "leave it out",
}

// harmless are values of unsupported parameters that request no feature.
var harmless = map[string][]string{
	"load_balance_hosts": {"disable"},
	"replication":        {"false", "off", "no", "0"},
}

// ignored are parameters without effect here: those for Kerberos and compression, TCP timeouts
// (every call has a shorter one), and those that hosting providers and other clients add for
// their own use.
var ignored = map[string]bool{
	"gssdelegation": true, "gsslib": true, "sslcompression": true, "tcp_user_timeout": true,
	"oauth_client_secret": true, "oauth_scope": true,

	"pgbouncer": true, "supa": true, "workaround": true, "uselibpqcompat": true, // hosting providers
	"connection_limit": true, "pool_timeout": true, "socket_timeout": true, "statement_cache_size": true, // Prisma
}

// applyParameters handles the parameters that pgconn does not know. These are other parameters
// of libpq, those of hosting providers, and server settings. Only application_name and options
// remain in the startup message, since a pooler refuses others there.
func (c *Config) applyParameters(params map[string]string) error {
	dialer := net.Dialer{KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 15 * time.Second, Interval: 5 * time.Second, Count: 3}}
	startup := make(map[string]string)
	for _, name := range slices.Sorted(maps.Keys(params)) {
		value := params[name]
		var err error
		switch advice, refused := unsupported[name]; {
		case ignored[name] || refused && slices.Contains(harmless[name], value):
		case refused:
			err = fmt.Errorf("cannot be used; %s", advice)
		case name == "application_name", name == "options":
			startup[name] = value
		case name == "fallback_application_name":
			if params["application_name"] == "" {
				startup["application_name"] = value
			}
		case name == "gssencmode":
			if value == "require" {
				err = errors.New("cannot be used; encrypt with sslmode")
			}
		case name == "hostaddr":
			err = c.addresses(value)
		case strings.HasPrefix(name, "keepalives"):
			err = keepAlive(&dialer.KeepAliveConfig, name, value)
		case name == "ssl_min_protocol_version", name == "ssl_max_protocol_version":
			err = c.tlsVersion(name, value)
		case name == "client_encoding":
			if v := strings.ToUpper(strings.ReplaceAll(value, "-", "")); v != "UTF8" && v != "AUTO" {
				err = errors.New("cannot be used; falconbridge needs UTF8")
			}
		case name == "schema":
			c.settings = append(c.settings, Setting{"search_path", value})
		case !isSetting(name):
			err = errors.New("is not a known parameter")
		default:
			c.settings = append(c.settings, Setting{strings.ToLower(name), value})
		}
		if err != nil {
			return fmt.Errorf("its parameter %s %w", name, err)
		}
	}
	c.login.DialFunc = dialer.DialContext
	c.login.RuntimeParams = startup
	return nil
}

// isSetting reports whether name could be the name of a server setting. Such a name consists of
// letters, digits and _, with a dot in the settings of extensions.
func isSetting(name string) bool {
	return name != "" && !strings.ContainsFunc(name, func(r rune) bool {
		return r != '_' && r != '.' && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
	})
}

// keepAlive applies one of libpq's keepalives parameters, whose times are in seconds.
func keepAlive(k *net.KeepAliveConfig, name, value string) error {
	n, err := strconv.Atoi(value)
	if err != nil || n < 0 {
		return errors.New("is not a whole number")
	}
	seconds := time.Duration(n) * time.Second
	switch {
	case name == "keepalives":
		k.Enable = n != 0
	case n == 0: // the default
	case name == "keepalives_idle":
		k.Idle = seconds
	case name == "keepalives_interval":
		k.Interval = seconds
	case name == "keepalives_count":
		k.Count = n
	default:
		return errors.New("is not a known parameter")
	}
	return nil
}

// addresses applies hostaddr, the list of the hosts' addresses. Connections use these instead of
// looking up the names. Certificates are still checked against the names.
func (c *Config) addresses(list string) error {
	addrs := strings.Split(list, ",")
	addressOf := make(map[string]string)
	i := -1
	for _, h := range c.allHosts() {
		if i < 0 || i < len(addrs) && addressOf[h.Host] == "" {
			if i++; i >= len(addrs) {
				break
			}
			addressOf[h.Host] = addrs[i]
		}
	}
	if len(addressOf) != len(addrs) || len(addrs) != c.hosts {
		return errors.New("must have one address for each host")
	}
	for _, a := range addrs {
		if net.ParseIP(a) == nil {
			return errors.New("is not a list of IP addresses")
		}
	}
	c.login.LookupFunc = func(_ context.Context, host string) ([]string, error) { return []string{addressOf[host]}, nil }
	return nil
}

// tlsVersion applies the lowest or highest TLS version to all hosts.
func (c *Config) tlsVersion(name, value string) error {
	version := map[string]uint16{"": 0, "TLSv1": tls.VersionTLS10, "TLSv1.1": tls.VersionTLS11, "TLSv1.2": tls.VersionTLS12, "TLSv1.3": tls.VersionTLS13}
	v, known := version[value]
	if !known {
		return errors.New("must be TLSv1, TLSv1.1, TLSv1.2 or TLSv1.3")
	}
	hosts := append([]*pgconn.FallbackConfig{{TLSConfig: c.login.TLSConfig}}, c.login.Fallbacks...)
	for _, h := range hosts {
		switch {
		case h.TLSConfig == nil:
		case name == "ssl_min_protocol_version":
			h.TLSConfig.MinVersion = v
		default:
			h.TLSConfig.MaxVersion = v
		}
	}
	return nil
}

// Package config is the table of settings. Each row (see table.go) is a setting with its flag,
// environment variable, default, parser, check, mask and help. The flags of the program,
// `falconbridge config`, the tables of docs/configuration.md and the shell completion are all
// made from it. A command checks the settings of its scope, such as [DatabaseScope], or all of
// them ([All]).
//
// [IsLoopback], [AllAddresses], [IsText], [ParseSecrets] and [ReadFile] are the parsers' helpers
// that commands and the server need as well.
package config

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/bridge/late"
	"github.com/falconalert/falconbridge/bridge/push"
	"github.com/falconalert/falconbridge/bridge/webhook"
	"github.com/falconalert/falconbridge/internal/edge"
)

// Off is the value that turns off a listener or a limit.
const Off = "off"

// BusAuto is the value of --bus that chooses the bus to fit the database.
const BusAuto = "auto"

// DatabaseFile is the name of the SQLite file in the data directory.
const DatabaseFile = "falconbridge.db"

// Config is the configuration of a server. [Given.Check] fills it. A field whose setting is
// outside the checked scope has its zero value.
type Config struct {
	HTTP, MQTT, MQTTS, Admin string // addresses; "" is off
	TLSCert, TLSKey          string // files; both or neither
	TLSClientCA              string // file; "" is none
	Proxies                  edge.Proxies

	DataDir          string
	DatabaseURL      string // "" means SQLite in DataDir
	SQLite           bool
	DBMaxConnections int
	AutoMigrate      bool
	Bus              string   // BusAuto or the URL of a bus, see parseBus
	RelayURL         *url.URL // nil: no relay

	// For notifications that no device acknowledges.
	Vapid          *push.Key // nil: no Web Push
	VapidContact   string
	PushAfter      time.Duration
	PushBase       *url.URL // nil: links in pushes are relative
	PushHosts      push.Hosts
	WebhookURL     *url.URL // nil: no webhooks
	WebhookSecrets webhook.Secrets
	WebhookFile    string // the file of WebhookSecrets
	WebhookRules   []late.Rule

	Keys    Keys
	Origins edge.Origins
	Topics  bridge.Topics

	MaxConnections, MaxConnectionsPerUser int
	MaxConnectionsPerIP                   int     // 0 means no limit
	ConnectRatePerIP, ConnectRatePerUser  float64 // per second; 0 means no limit, here and below
	PacketRate                            float64
	RequestRatePerUser, RequestRatePerIP  float64
	SessionTTL, Retention                 time.Duration
	AuditRetention                        time.Duration // 0: for ever
	StartTimeout, DrainDelay, DrainTime   time.Duration
	OTelEndpoint                          *url.URL // where spans are posted; nil: no tracing
	Locale                                bridge.Locale
	ReportReplaces                        bool
	LogLevel                              slog.Level
	LogJSON                               bool
	given                                 *Given
}

// SQLiteFile returns the path of the SQLite file. It parses the URL as package db does.
func (c *Config) SQLiteFile() string {
	if c.DatabaseURL == "" {
		return filepath.Join(c.DataDir, DatabaseFile)
	}
	return strings.TrimPrefix(strings.TrimPrefix(c.DatabaseURL, "sqlite:"), "//")
}

// Database returns the name of the setting that says where the database is, for errors.
func (c *Config) Database() string {
	if c.DatabaseURL == "" {
		return c.Name("data-dir")
	}
	return c.Name("database-url")
}

// Name returns a setting's name for errors: its flag, and the environment variable that its
// value came from or else could come from, as in "--database-url (DATABASE_URL)".
func (c *Config) Name(flag string) string { return c.given.name(flag) }

// Problem returns an error about a setting that fails after it has passed the check, such as a
// port that is in use.
func (c *Config) Problem(flag, what, remedy string) Problem {
	return Problem{Setting: flag, Name: c.Name(flag), What: what, Remedy: remedy}
}

// Given are the settings as the user gave them, before they are checked.
type Given struct {
	text  map[string]string // the values that were given, by flag
	typed map[string]bool   // whether a value was given on the command line, by flag
	from  map[string]string // the environment variable of a value, by flag
}

// Read collects the settings from the flags on the command line, by name, and from the
// environment, a list of NAME=value. A flag beats the environment, FALCON_… beats other
// variables, and an empty variable counts as unset.
func Read(typed map[string]string, environ []string) *Given {
	g := &Given{text: make(map[string]string), typed: make(map[string]bool), from: make(map[string]string)}
	env := make(map[string]string)
	for _, v := range environ {
		name, value, _ := strings.Cut(v, "=")
		env[name] = value
	}
	for _, s := range Settings() {
		if text, ok := typed[s.Flag]; ok {
			g.text[s.Flag], g.typed[s.Flag] = text, true
			continue
		}
		for _, name := range s.Env {
			if env[name] != "" {
				g.text[s.Flag], g.from[s.Flag] = env[name], name
				break
			}
		}
	}
	return g
}

// Exposed returns the settings that contain a secret and were given on the command line, where
// every user of the machine can read them in the list of processes.
func (c *Config) Exposed() (flags []string) {
	for _, s := range c.table() {
		if s.Mask != nil && c.given != nil && c.given.typed[s.Flag] && strings.Contains(s.Mask(c.given.text[s.Flag]), masked) {
			flags = append(flags, s.Flag)
		}
	}
	return flags
}

// name implements Config.Name. If the value is in a file, it returns the name of the file's
// flag.
func (g *Given) name(flag string) string {
	if g == nil {
		g = new(Given)
	}
	if fromFile, err := g.fromFile(flag); err == nil && fromFile {
		flag += fileSuffix
	}
	variable := g.from[flag]
	if variable == "" {
		variable = Env(flag)
	}
	return fmt.Sprintf("--%s (%s)", flag, variable)
}

// Check parses and checks the settings of a scope, a list of flags. It returns the configuration
// and a problem for each setting that cannot work. In development mode all addresses are moved
// to loopback.
func (g *Given) Check(scope []string) (*Config, Problems) {
	c := &Config{given: g}
	// A key that is given but invalid must never lead to development mode.
	c.Keys.Development = !slices.ContainsFunc(c.table(), func(s Setting) bool { return s.Key && g.text[s.Flag] != "" })
	var ps Problems
	bad := make(map[string]bool)
	rows := slices.DeleteFunc(c.table(), func(s Setting) bool { return !s.In(scope) })
	for _, s := range rows {
		text, flag, err := g.value(s)
		if err == nil && s.Read != nil {
			err = s.Read(text)
		}
		if err != nil {
			bad[s.Flag] = true
			ps = append(ps, problemOf(g, s, flag, err))
		}
	}
	for _, s := range rows {
		if s.Check == nil || bad[s.Flag] {
			continue
		}
		if err := s.Check(); err != nil {
			ps = append(ps, problemOf(g, s, s.Flag, err))
		}
	}
	return c, ps
}

// value returns a setting's text and the flag that gave it. For a secret in a file that is the
// flag of the file.
func (g *Given) value(s Setting) (text, flag string, err error) {
	text, given := g.text[s.Flag]
	if s.InFile {
		fromFile, err := g.fromFile(s.Flag)
		if err != nil {
			return "", s.Flag, err
		}
		if fromFile {
			flag := s.Flag + fileSuffix
			text, err := readSecretText(g.text[flag])
			return text, flag, err
		}
	}
	if !given {
		text = s.Default
	}
	return text, s.Flag, nil
}

// Lines returns the names and effective values of the settings for display, in the order of the
// table, with secrets masked.
func (c *Config) Lines() [][2]string {
	mode := "production"
	if c.Keys.Development {
		mode = "development"
	}
	lines := [][2]string{{"mode", mode}}
	for _, s := range c.table() {
		if s.FileOf != "" {
			continue
		}
		text, _, _ := c.given.value(s) // Check has reported a file that cannot be read
		switch {
		case s.Show != nil:
			text = s.Show()
		case s.Mask != nil:
			text = s.Mask(text)
		}
		lines = append(lines, [2]string{s.Flag, cmp.Or(text, s.Unset)})
	}
	return lines
}

// Fault is an error of a Read or a Check whose remedy differs from the row's.
type Fault struct{ What, Remedy string }

func (f Fault) Error() string { return f.What }

// Problem says why a setting cannot work and what to do about it. It never contains a secret.
type Problem struct {
	Setting string // flag
	Name    string // flag and environment variable
	What    string
	Remedy  string
}

func (p Problem) Error() string { return fmt.Sprintf("%s: %s; %s", p.Name, p.What, p.Remedy) }

func problemOf(g *Given, s Setting, flag string, err error) Problem {
	p := Problem{Setting: flag, Name: g.name(flag), What: err.Error(), Remedy: s.Remedy}
	var f Fault
	if errors.As(err, &f) {
		p.What, p.Remedy = f.What, f.Remedy
	}
	return p
}

// Problems are all settings that cannot work.
type Problems []Problem

// Err returns one line about the first problem, or nil if there is none.
func (ps Problems) Err() error {
	switch len(ps) {
	case 0:
		return nil
	case 1:
		return ps[0]
	}
	return fmt.Errorf("%w (and %d more, see: falconbridge config)", ps[0], len(ps)-1)
}

// EnvPrefix is the prefix of the program's environment variables.
const EnvPrefix = "FALCON_"

// Env returns the environment variable of a flag.
func Env(flag string) string {
	return EnvPrefix + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

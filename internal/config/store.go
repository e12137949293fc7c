package config

import (
	"errors"
	"strings"

	"github.com/falconalert/falconbridge/internal/pgconnect"
)

// readDatabase accepts a connection string for Postgres, or sqlite:<path>.
func (c *Config) readDatabase(s string) error {
	c.DatabaseURL = s
	c.SQLite = s == "" || strings.HasPrefix(s, "sqlite:")
	switch {
	case c.SQLite:
		return nil
	case !pgconnect.IsURL(s):
		return Fault{"is not of Postgres", "write postgres://…, or leave it out for SQLite"}
	}
	if _, err := pgconnect.Parse(s); err != nil {
		return Fault{err.Error(), "see docs/configuration.md#connecting-to-postgres"}
	}
	return nil
}

func (c *Config) checkBus() error {
	if c.Bus != BusAuto && c.SQLite {
		return Fault{"several nodes cannot share SQLite", "set --database-url to a Postgres, or write auto"}
	}
	return nil
}

// exclusive decides between a value and a file that contains it. The one that was typed on the
// command line beats the one from the environment. It fails if both came from the same place.
func exclusive(flag, value, file string, valueTyped, fileTyped bool) (fromFile bool, err error) {
	if file != "" && value != "" && valueTyped == fileTyped {
		return false, Fault{"is given together with --" + flag + fileSuffix, "give only one of them"}
	}
	return file != "" && (value == "" || fileTyped), nil
}

func (g *Given) fromFile(flag string) (bool, error) {
	file := flag + fileSuffix
	return exclusive(flag, g.text[flag], g.text[file], g.typed[flag], g.typed[file])
}

// Secret returns a value that may be in a file instead, for flags that are not settings of the
// server.
func Secret(flag, value, file string, valueTyped, fileTyped bool) (string, error) {
	fromFile, err := exclusive(flag, value, file, valueTyped, fileTyped)
	if err == nil && !fromFile {
		return value, nil
	}
	if err == nil {
		flag += fileSuffix
		if value, err = readSecretText(file); err == nil {
			return value, nil
		}
	}
	p := Problem{Setting: flag, Name: (*Given)(nil).name(flag), What: err.Error()}
	var f Fault
	if errors.As(err, &f) {
		p.Remedy = f.Remedy
	}
	return "", p
}

// readSecretText reads a file that contains one secret. White space around it is not a part of
// it.
func readSecretText(name string) (string, error) {
	b, err := ReadFile(name, MaxSecretFile)
	if err != nil {
		return "", Fault{err.Error(), "name a file that this user can read"}
	}
	if err := checkMark(b); err != nil {
		return "", Fault{err.Error(), "save it as UTF-8 without one"}
	}
	text := strings.TrimSpace(string(b))
	if text == "" {
		return "", Fault{"the file is empty", "write the secret into it"}
	}
	return text, nil
}

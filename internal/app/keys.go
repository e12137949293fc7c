package app

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/falconalert/falconbridge/bridge/token"
	"github.com/falconalert/falconbridge/internal/config"
)

// keysEvery is how often the key files are read. A change counts once two readings
// agree, so within 10 s: the file may be half-written, and half a secret would end
// every connection.
const keysEvery = 5 * time.Second

// keyFiles keeps a verifier's keys up to date with its files. Files that cannot be used
// leave the former keys in place.
type keyFiles struct {
	k        config.Keys
	verifier *token.Verifier
	unusable func(setting string) // called each time a file cannot be used
	log      *slog.Logger

	secrets, public watched
	logged          string // the last error that was logged
}

// watched is one file: the content in use, and that of the last reading.
type watched struct{ used, read []byte }

// watchKeys returns what watches the key files. It handles SIGHUP from now on, which makes
// it read the files and fetch the key set at once.
func watchKeys(k config.Keys, v *token.Verifier, unusable func(setting string), log *slog.Logger) func(context.Context) error {
	f := &keyFiles{k: k, verifier: v, unusable: unusable, log: log.With("component", "keys")}
	f.look(true)
	return watch(f.look, func() {
		f.log.Info("reading the keys again, as SIGHUP asks")
		v.Refresh()
	})
}

// watch returns what calls look every keysEvery, and hup and look at once on SIGHUP, which
// it handles from now on, until its context ends.
func watch(look func(atOnce bool), hup func()) func(context.Context) error {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGHUP)
	return func(ctx context.Context) error {
		defer signal.Stop(signals)
		t := time.NewTicker(keysEvery)
		defer t.Stop()
		for {
			select {
			case <-ctx.Done():
				return nil
			case <-t.C:
				look(false)
			case <-signals:
				hup()
				look(true)
			}
		}
	}
}

// look reads the files and replaces the keys where they changed: at once, or when
// the reading before found the same.
func (f *keyFiles) look(atOnce bool) {
	secrets, err := f.secrets.look(f.k.SecretFile, config.MaxSecretFile)
	if err != nil {
		f.complain("jwt-secret-file", err)
		return
	}
	public, err := f.public.look(f.k.PublicFile, config.MaxPEM)
	if err != nil {
		f.complain("jwt-public-key-file", err)
		return
	}
	if secrets == unchanged && public == unchanged {
		f.logged = ""
		return
	}
	if !atOnce && (secrets == changing || public == changing) {
		return
	}
	next := f.k
	if f.k.SecretFile != "" {
		if next.Secrets, err = config.ParseSecrets(f.secrets.read); err != nil {
			f.complain("jwt-secret-file", err)
			return
		}
	}
	if f.k.PublicFile != "" {
		next.PublicPEM = f.public.read
		if err := token.CheckPublicKeys(next.PublicPEM); err != nil { // an empty file would be no key at all
			f.complain("jwt-public-key-file", err)
			return
		}
	}
	if err := f.verifier.SetKeys(next.Secrets, next.PublicPEM); err != nil {
		f.complain("jwt-public-key-file", err)
		return
	}
	first := f.secrets.used == nil && f.public.used == nil
	f.secrets.used, f.public.used, f.logged = f.secrets.read, f.public.read, ""
	if !first {
		f.log.Info("the keys were replaced; connections whose key is gone end", "secrets", len(next.Secrets))
	}
}

// complain counts an error each time, and logs it once.
func (f *keyFiles) complain(setting string, err error) {
	f.unusable(setting)
	if line := setting + err.Error(); line != f.logged {
		f.logged = line
		f.log.Warn("the key file cannot be used, the former keys stay", "setting", setting, "error", err)
	}
}

// change is how a file compares to the content in use, and to the previous reading.
type change int

const (
	unchanged change = iota
	changing         // new since the reading before
	changed
)

func (f *watched) look(name string, limit int64) (change, error) {
	if name == "" {
		return unchanged, nil
	}
	if info, err := os.Stat(name); err == nil && !info.Mode().IsRegular() {
		return unchanged, nil // a pipe, which was read to its end at the start
	}
	b, err := config.ReadFile(name, limit)
	if err != nil {
		return unchanged, err
	}
	same := bytes.Equal(b, f.read)
	f.read = b
	switch {
	case bytes.Equal(b, f.used):
		return unchanged, nil
	case same:
		return changed, nil
	}
	return changing, nil
}

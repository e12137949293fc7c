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

// keysEvery is how often the key files are read. A file may be half-written, and half a
// secret would end every connection, so a change takes effect once two consecutive readings
// agree. The documented promise is that a change is used within 30 s.
const keysEvery = 5 * time.Second

// keyFiles keeps a verifier's keys up to date with the key files. While the files cannot be
// used, the former keys stay in place.
type keyFiles struct {
	k        config.Keys
	verifier *token.Verifier
	unusable func(setting string) // called each time a file cannot be used
	log      *slog.Logger

	secrets, public watchedFile
	logged          string // the last error that was logged
}

// watchedFile has the content of a file that is in use, and that of the last reading.
type watchedFile struct{ used, read []byte }

// watchKeys reads the key files and returns a function that watches them until its context
// ends. On SIGHUP, which it handles from now on, it reads the files and fetches the key set
// at once. unusable is called with the setting each time a file cannot be used.
func watchKeys(k config.Keys, v *token.Verifier, unusable func(setting string), log *slog.Logger) func(context.Context) error {
	f := &keyFiles{k: k, verifier: v, unusable: unusable, log: log.With("component", "keys")}
	f.reload(true)
	return watch(f.reload, func() {
		f.log.Info("reading the keys again because of SIGHUP")
		v.Refresh()
	})
}

// refreshedKeySet counts a refresh of the key set. It logs the first failure of a series,
// which is tried again every 30 s, and its end. If the first fetch fails, New does and says why.
func (a *App) refreshedKeySet(err error) {
	a.metrics.refreshed(err)
	if !a.started.Load() || a.noKeySet.Swap(err != nil) == (err != nil) {
		return
	}
	log := a.log.With("component", "keys", "setting", "jwt-jwks-url")
	if err != nil {
		log.Warn("the key set cannot be fetched, the known keys stay", "error", err)
		return
	}
	log.Info("the key set was fetched again")
}

// watch returns a function that calls reload every keysEvery until its context ends. On
// SIGHUP, which it handles from now on, it calls hup, and reload with atOnce set.
func watch(reload func(atOnce bool), hup func()) func(context.Context) error {
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
				reload(false)
			case <-signals:
				hup()
				reload(true)
			}
		}
	}
}

// reload reads the files and replaces the keys if they changed: with atOnce immediately,
// otherwise once the previous reading had the same content.
func (f *keyFiles) reload(atOnce bool) {
	secrets, err := f.secrets.reread(f.k.SecretFile, config.MaxSecretFile)
	if err != nil {
		f.complain("jwt-secret-file", err)
		return
	}
	public, err := f.public.reread(f.k.PublicFile, config.MaxPEM)
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
		if err := token.CheckPublicKeys(next.PublicPEM); err != nil { // SetKeys would accept an empty file as no key
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
		f.log.Info("the keys were replaced; connections whose key is gone will end", "secrets", len(next.Secrets))
	}
}

// complain counts an error, and logs it unless it is the same as the last one.
func (f *keyFiles) complain(setting string, err error) {
	f.unusable(setting)
	if line := setting + err.Error(); line != f.logged {
		f.logged = line
		f.log.Warn("the key file cannot be used, the former keys stay", "setting", setting, "error", err)
	}
}

// change is how a file compares with the content in use and with the previous reading.
type change int

const (
	unchanged change = iota // the content in use
	changing                // other content, which the previous reading did not have
	changed                 // other content, which the previous reading had as well
)

// reread reads the file, at most limit bytes, and returns how it changed.
func (f *watchedFile) reread(name string, limit int64) (change, error) {
	if name == "" {
		return unchanged, nil
	}
	if info, err := os.Stat(name); err == nil && !info.Mode().IsRegular() {
		return unchanged, nil // such as a pipe, which was read to its end at the start
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

package app

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync/atomic"
	"time"
)

// reloadEvery is how often the certificate files are read: a change is served
// within 30 s.
const reloadEvery = 10 * time.Second

// certificate serves the current content of a pair of files. Files that cannot be used
// leave the former certificate in place: they may be half-written.
type certificate struct {
	certFile, keyFile string
	caFile            string // of devices' certificates; "": none
	log               *slog.Logger
	current           atomic.Pointer[loaded]
	failures          atomic.Int64
	logged            string // the last error that was logged
}

type loaded struct {
	pair          tls.Certificate
	ca            *x509.CertPool // nil: no devices' certificates are asked for
	cert, key, in []byte         // as read; in is the ca
}

func newCertificate(certFile, keyFile, caFile string, log *slog.Logger) (*certificate, error) {
	c := &certificate{certFile: certFile, keyFile: keyFile, caFile: caFile, log: log.With("component", "tls")}
	if _, err := c.load(); err != nil {
		return nil, fmt.Errorf("--tls-cert (FALCON_TLS_CERT): %w", err)
	}
	return c, nil
}

// load reads the files; news reports whether they changed.
func (c *certificate) load() (news bool, err error) {
	cert, err1 := os.ReadFile(c.certFile)
	key, err2 := os.ReadFile(c.keyFile)
	var in []byte
	var err3 error
	if c.caFile != "" {
		in, err3 = os.ReadFile(c.caFile)
	}
	if err := errors.Join(err1, err2, err3); err != nil {
		return false, err
	}
	if old := c.current.Load(); old != nil && bytes.Equal(old.cert, cert) && bytes.Equal(old.key, key) && bytes.Equal(old.in, in) {
		return false, nil
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return false, fmt.Errorf("read the certificate and its key: %w", err)
	}
	next := &loaded{pair: pair, cert: cert, key: key, in: in}
	if c.caFile != "" {
		next.ca = x509.NewCertPool()
		if !next.ca.AppendCertsFromPEM(in) {
			return false, errors.New("read the certificates of --tls-client-ca: there is none")
		}
	}
	c.current.Store(next)
	return true, nil
}

// run watches the files until ctx ends.
func (c *certificate) run(ctx context.Context) error {
	t := time.NewTicker(reloadEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
			c.look()
		}
	}
}

// look loads the files again. It counts an error each time, and logs it once.
func (c *certificate) look() {
	news, err := c.load()
	if err != nil {
		c.failures.Add(1)
		if line := err.Error(); line != c.logged {
			c.logged = line
			c.log.Warn("the certificate files cannot be used, the former certificate stays", "error", err)
		}
		return
	}
	c.logged = ""
	if news {
		c.log.Info("serving a new certificate", "expires", c.expires())
	}
}

func (c *certificate) expires() time.Time { return c.current.Load().pair.Leaf.NotAfter.UTC() }

// config is for one listener: TLS 1.2 and later, with the given protocols.
func (c *certificate) config(protocols ...string) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		NextProtos: protocols,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			return &c.current.Load().pair, nil
		},
	}
}

// mutual is config for a listener that accepts only devices with a certificate of
// --tls-client-ca. TLS sessions are not resumed: each login has its certificate verified
// against the current authorities.
func (c *certificate) mutual(protocols ...string) *tls.Config {
	base := c.config(protocols...)
	base.ClientAuth = tls.RequireAndVerifyClientCert
	base.SessionTicketsDisabled = true
	base.ClientCAs = c.current.Load().ca
	base.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		now := base.Clone()
		now.ClientCAs = c.current.Load().ca
		return now, nil
	}
	return base
}

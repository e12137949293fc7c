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

// reloadEvery is how often the certificate files are read. The documented promise is that a
// change is served within 30 s.
const reloadEvery = 10 * time.Second

// certificate serves the current content of a certificate file and its key file. While they
// cannot be used, since they may be half-written, the former certificate stays in place.
type certificate struct {
	certFile, keyFile string
	caFile            string // the authorities that sign devices' certificates; "": none are asked for
	log               *slog.Logger
	current           atomic.Pointer[loaded]
	failures          atomic.Int64
	logged            string // the last error that was logged
}

// loaded is the parsed content of the files, with the bytes that were read.
type loaded struct {
	pair             tls.Certificate
	ca               *x509.CertPool // nil without a caFile
	cert, key, caPEM []byte
}

func newCertificate(certFile, keyFile, caFile string, log *slog.Logger) (*certificate, error) {
	c := &certificate{certFile: certFile, keyFile: keyFile, caFile: caFile, log: log.With("component", "tls")}
	if _, err := c.load(); err != nil {
		return nil, fmt.Errorf("--tls-cert (FALCON_TLS_CERT): %w", err)
	}
	return c, nil
}

// load reads the files and reports whether they changed.
func (c *certificate) load() (changed bool, err error) {
	cert, err1 := os.ReadFile(c.certFile)
	key, err2 := os.ReadFile(c.keyFile)
	var caPEM []byte
	var err3 error
	if c.caFile != "" {
		caPEM, err3 = os.ReadFile(c.caFile)
	}
	if err := errors.Join(err1, err2, err3); err != nil {
		return false, err
	}
	if old := c.current.Load(); old != nil && bytes.Equal(old.cert, cert) && bytes.Equal(old.key, key) && bytes.Equal(old.caPEM, caPEM) {
		return false, nil
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return false, fmt.Errorf("read the certificate and its key: %w", err)
	}
	next := &loaded{pair: pair, cert: cert, key: key, caPEM: caPEM}
	if c.caFile != "" {
		next.ca = x509.NewCertPool()
		if !next.ca.AppendCertsFromPEM(caPEM) {
			return false, errors.New("read the certificates of --tls-client-ca: there are none")
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
			c.reload()
		}
	}
}

// reload loads the files again. It counts each error, and logs it unless it is the same as
// the last one.
func (c *certificate) reload() {
	changed, err := c.load()
	if err != nil {
		c.failures.Add(1)
		if line := err.Error(); line != c.logged {
			c.logged = line
			c.log.Warn("the certificate files cannot be used, the former certificate stays", "error", err)
		}
		return
	}
	c.logged = ""
	if changed {
		c.log.Info("serving a new certificate", "expires", c.expires())
	}
}

// expires returns the end of the served certificate's validity.
func (c *certificate) expires() time.Time { return c.current.Load().pair.Leaf.NotAfter.UTC() }

// config returns the configuration of a listener: TLS 1.2 or later, with the given protocols
// for ALPN.
func (c *certificate) config(protocols ...string) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		NextProtos: protocols,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			return &c.current.Load().pair, nil
		},
	}
}

// mutual is like config, for a listener that accepts only devices with a certificate of
// --tls-client-ca. TLS sessions are not resumed, so that the certificate is verified at each
// login, against the current authorities.
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

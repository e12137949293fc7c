package app

import (
	"bytes"
	"crypto/tls"
	"log/slog"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/falconalert/falconbridge/internal/testserver"
)

func TestAHalfWrittenCertificateChangesNothing(t *testing.T) {
	t.Parallel()
	f := testserver.Certificate(t)
	c, err := newCertificate(f.Cert, f.Key, "", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	before := c.current.Load()
	if err := os.WriteFile(f.Cert, []byte("-----BEGIN CERT"), 0o600); err != nil {
		t.Fatal(err)
	}
	if changed, err := c.load(); err == nil || changed {
		t.Errorf("half a certificate: changed %v, error %v", changed, err)
	}
	if c.current.Load() != before {
		t.Error("the former certificate is gone")
	}
	f.Renew(t)
	if changed, err := c.load(); err != nil || !changed {
		t.Errorf("a complete certificate: changed %v, error %v", changed, err)
	}
	if changed, err := c.load(); err != nil || changed {
		t.Errorf("the same again: changed %v, error %v", changed, err)
	}
}

// A renewal that fails on a Friday must not have filled the disk with log lines by Monday.
func TestACertificateThatStaysBrokenIsLoggedOnceAndCounted(t *testing.T) {
	t.Parallel()
	f := testserver.Certificate(t)
	var log bytes.Buffer
	c, err := newCertificate(f.Cert, f.Key, "", slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	for round := range 2 {
		if err := os.Remove(f.Cert); err != nil {
			t.Fatal(err)
		}
		for range 5 {
			c.reload()
		}
		if got := strings.Count(log.String(), "the former certificate stays"); got != round+1 || c.failures.Load() != int64(5*(round+1)) {
			t.Errorf("round %d: %d lines, %d failures: %s", round, got, c.failures.Load(), log.String())
		}
		f.Renew(t)
		c.reload()
	}
	if got := strings.Count(log.String(), "serving a new certificate"); got != 2 {
		t.Errorf("%d new certificates: %s", got, log.String())
	}
}

func TestAChangedClientAuthorityIsUsedWithoutARestart(t *testing.T) {
	t.Parallel()
	f := testserver.Certificate(t)
	ours, theirs := testserver.NewAuthority(t), testserver.NewAuthority(t)
	name := file(t, ours.PEM)
	c, err := newCertificate(f.Cert, f.Key, name, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	l, err := tls.Listen("tcp", "127.0.0.1:0", c.mutual("mqtt"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			_ = nc.(*tls.Conn).HandshakeContext(t.Context())
			_, _ = nc.Write([]byte("in"))
			_ = nc.Close()
		}
	}()
	cache := tls.NewLRUClientSessionCache(4)
	enters := func(a testserver.Authority) bool {
		conf := f.Trust(t)
		conf.Certificates, conf.ClientSessionCache = []tls.Certificate{a.Device(t, time.Now().Add(time.Hour))}, cache
		nc := tls.Client(dial(t, l.Addr()), conf)
		n, _ := nc.Read(make([]byte, 2))
		return n > 0
	}
	if !enters(ours) || enters(theirs) {
		t.Fatal("a certificate of the configured authority is refused, or one of another authority accepted")
	}
	if err := os.WriteFile(name, []byte("nothing"), 0o600); err != nil {
		t.Fatal(err)
	}
	if changed, err := c.load(); err == nil || changed || !enters(ours) {
		t.Errorf("a file without a certificate: changed %v, error %v", changed, err)
	}
	if err := os.WriteFile(name, []byte(theirs.PEM), 0o600); err != nil {
		t.Fatal(err)
	}
	if changed, err := c.load(); err != nil || !changed {
		t.Errorf("another authority: changed %v, error %v", changed, err)
	}
	if enters(ours) || !enters(theirs) {
		t.Error("a certificate of the former authority is still accepted, or one of the new authority refused")
	}
}

func dial(t *testing.T, addr net.Addr) net.Conn {
	t.Helper()
	nc, err := net.DialTimeout("tcp", addr.String(), 20*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = nc.Close() })
	if err := nc.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return nc
}

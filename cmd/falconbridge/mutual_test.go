package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/falconalert/falconbridge/internal/testserver"
)

func TestADeviceWithoutACertificateOfTheAuthorityDoesNotGetIn(t *testing.T) {
	t.Parallel()
	f := testserver.Certificate(t)
	ours, theirs := newAuthority(t), newAuthority(t)
	mqtts := fmt.Sprintf("127.0.0.1:%d", testserver.FreePort(t))
	p := testserver.NewProgram(t, production, "--mqtts-addr="+mqtts, "--tls-cert="+f.Cert, "--tls-key="+f.Key, "--tls-client-ca="+file(t, ours.pem))
	hour := time.Now().Add(time.Hour)
	in := map[byte][2]int{4: {0, 4}, 5: {0, 0x86}} // granted, and a bad token
	for name, tt := range map[string]struct {
		certificates []tls.Certificate
		token        string
		in           bool
		refused      int // index into the codes
	}{
		"with one":                       {[]tls.Certificate{ours.device(t, hour)}, sign(t, "1", 0), true, 0},
		"with one, but a bad token":      {[]tls.Certificate{ours.device(t, hour)}, strings.Repeat("x", 200), true, 1},
		"with none":                      {nil, sign(t, "1", 0), false, 0},
		"with one of another authority":  {[]tls.Certificate{theirs.device(t, hour)}, sign(t, "1", 0), false, 0},
		"with one that has ended":        {[]tls.Certificate{ours.device(t, time.Now().Add(-time.Minute))}, sign(t, "1", 0), false, 0},
		"with the server's own, as if …": {[]tls.Certificate{pair(t, f)}, sign(t, "1", 0), false, 0},
	} {
		for _, version := range []byte{4, 5} {
			for _, most := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
				conf := trust(t, f)
				conf.Certificates, conf.MaxVersion = tt.certificates, most
				nc := tls.Client(dial(t, mqtts), conf)
				_, _ = nc.Write(connectPacket(version, "phone", tt.token)) // TLS 1.2 fails here, TLS 1.3 at the read
				code, err := connack(nc)
				switch {
				case errors.Is(err, os.ErrDeadlineExceeded):
					t.Errorf("%s, MQTT %d: %v", name, version, err)
				case tt.in != (err == nil):
					t.Errorf("%s, MQTT %d: code %d, %v", name, version, code, err)
				case tt.in && code != in[version][tt.refused]:
					t.Errorf("%s, MQTT %d: code %#x", name, version, code)
				}
				_ = nc.Close()
			}
		}
	}
	https := caller{base: strings.Replace(p.HTTP, "http://", "https://", 1), token: sign(t, "1", 0), client: httpsClient(t, f)}
	https.do(t, "GET", "/notifications", nil, 200, nil) // asks for none
}

func pair(t *testing.T, f testserver.CertificateFiles) tls.Certificate {
	t.Helper()
	c, err := tls.LoadX509KeyPair(f.Cert, f.Key)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestAChangedAuthorityCountsWithoutARestart(t *testing.T) {
	t.Parallel()
	f := testserver.Certificate(t)
	ours, theirs := newAuthority(t), newAuthority(t)
	name := file(t, ours.pem)
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
	enters := func(a authority) bool {
		conf := trust(t, f)
		conf.Certificates, conf.ClientSessionCache = []tls.Certificate{a.device(t, time.Now().Add(time.Hour))}, cache
		nc := tls.Client(dial(t, l.Addr().String()), conf)
		n, _ := nc.Read(make([]byte, 2))
		return n > 0
	}
	if !enters(ours) || enters(theirs) {
		t.Fatal("the first authority does not count, or another one does")
	}
	if err := os.WriteFile(name, []byte("nothing"), 0o600); err != nil {
		t.Fatal(err)
	}
	if news, err := c.load(); err == nil || news || !enters(ours) {
		t.Errorf("a file without a certificate: news %v, error %v", news, err)
	}
	if err := os.WriteFile(name, []byte(theirs.pem), 0o600); err != nil {
		t.Fatal(err)
	}
	if news, err := c.load(); err != nil || !news {
		t.Errorf("another authority: news %v, error %v", news, err)
	}
	if enters(ours) || !enters(theirs) {
		t.Error("the former authority still counts, or the new one does not")
	}
}

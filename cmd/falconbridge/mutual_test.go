package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/falconalert/falconbridge/internal/testserver"
)

func TestADeviceWithoutACertificateOfTheAuthorityIsRefused(t *testing.T) {
	t.Parallel()
	f := testserver.Certificate(t)
	ours, theirs := testserver.NewAuthority(t), testserver.NewAuthority(t)
	mqtts := fmt.Sprintf("127.0.0.1:%d", testserver.FreePort(t))
	p := testserver.NewProgram(t, production, "--mqtts-addr="+mqtts, "--tls-cert="+f.Cert, "--tls-key="+f.Key, "--tls-client-ca="+file(t, ours.PEM))
	hour := time.Now().Add(time.Hour)
	in := map[byte][2]int{4: {0, 4}, 5: {0, 0x86}} // accepted, and an invalid token
	for name, tt := range map[string]struct {
		certificates []tls.Certificate
		token        string
		in           bool
		refused      int // index into the codes
	}{
		"with one":                       {[]tls.Certificate{ours.Device(t, hour)}, sign(t, "1", 0), true, 0},
		"with one, but a bad token":      {[]tls.Certificate{ours.Device(t, hour)}, strings.Repeat("x", 200), true, 1},
		"with none":                      {nil, sign(t, "1", 0), false, 0},
		"with one of another authority":  {[]tls.Certificate{theirs.Device(t, hour)}, sign(t, "1", 0), false, 0},
		"with one that has ended":        {[]tls.Certificate{ours.Device(t, time.Now().Add(-time.Minute))}, sign(t, "1", 0), false, 0},
		"with the server's own, as if …": {[]tls.Certificate{pair(t, f)}, sign(t, "1", 0), false, 0},
	} {
		for _, version := range []byte{4, 5} {
			for _, most := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
				conf := f.Trust(t)
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
	https.do(t, "GET", "/notifications", nil, 200, nil) // HTTPS requires no client certificate
}

func pair(t *testing.T, f testserver.CertificateFiles) tls.Certificate {
	t.Helper()
	c, err := tls.LoadX509KeyPair(f.Cert, f.Key)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

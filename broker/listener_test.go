package broker

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"math/big"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/falconalert/falconbridge/bridge"
)

// failingListener fails a number of accepts, as if the process had no file descriptors left.
type failingListener struct {
	net.Listener
	fail atomic.Int64
}

func (l *failingListener) Accept() (net.Conn, error) {
	if l.fail.Add(-1) >= 0 {
		return nil, &net.OpError{Op: "accept", Net: "tcp", Err: syscall.EMFILE}
	}
	return l.Listener.Accept()
}

func TestAcceptRecoversFromExhaustedFileDescriptors(t *testing.T) {
	w := newWorld(t, Options{})
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &failingListener{Listener: inner}
	l.fail.Store(6)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- w.broker.ServeTCP(ctx, l, "tcp") }()
	w.tcp = l.Addr().String()
	w.login(endpoint{"tcp", 5}, "a", "7").alive()
	if n := w.broker.Stats().AcceptErrors; n != 6 {
		t.Errorf("%d accept errors counted", n)
	}
	l.fail.Store(1 << 40) // from now on
	_, _ = net.Dial("tcp", w.tcp)
	cancel()
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(testTimeout):
		t.Error("ServeTCP does not end while accepting fails")
	}
}

// ownCertificate returns a self-signed certificate, the same for all tests.
var ownCertificate = sync.OnceValue(func() tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, key.Public(), key)
	if err != nil {
		panic(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
})

func TestTLS(t *testing.T) {
	w := newWorld(t, Options{ConnectTimeout: 300 * time.Millisecond})
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := tls.NewListener(inner, &tls.Config{Certificates: []tls.Certificate{ownCertificate()}})
	done := make(chan error, 1)
	go func() { done <- w.broker.ServeTCP(t.Context(), l, "tls") }()
	w.tcp = l.Addr().String()

	for _, version := range []byte{4, 5} {
		d := w.dial(endpoint{"tcp", version})
		nc := tls.Client(d.nc, &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // the certificate is self-signed
		d.nc = nc
		d.r.Reset(nc)
		user := fmt.Sprint(version)
		d.send(connect{id: "a", token: user, clean: true}.packet(version))
		d.expectConnack(0)
		d.subscribe(1, []byte{1}, "users/"+user+"/reports/status")
		w.notify(bridge.UserID(user), "secret")
		d.ack(d.expectMessage())
		d.alive()
		d.send(crashPacket)
		d.expectEnd(codeMalformed)
	}
	silent := w.dial(endpoint{"tcp", 5}) // never begins a handshake
	silent.expectEnd(0)
	half := w.dial(endpoint{"tcp", 5}) // never finishes it
	half.raw([]byte{22, 3, 1, 2, 0, 1})
	half.expectEnd(0)
	plain := w.dial(endpoint{"tcp", 5}) // sends something else
	plain.raw(connect{id: "a", token: "7"}.packet(5))
	for { // a TLS alert, then the end
		if _, err := plain.r.ReadByte(); err != nil {
			break
		}
	}
	w.eventually("all ended", func(s Stats) bool { return s.Pending == 0 })
	if err := w.broker.Drain(t.Context(), 0); err != nil {
		t.Error(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

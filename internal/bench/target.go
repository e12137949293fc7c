package bench

import (
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"sync/atomic"
	"time"
)

// Target is the server under load. A load connects only to its addresses.
type Target struct {
	Posts   *url.URL // the URL to which notifications are posted: http or https
	Devices *url.URL // where devices connect: mqtt, mqtts, ws or wss

	PostTLS, DeviceTLS *tls.Config // nil: trust the system's authorities

	// Publish and Login replace HTTP and MQTT by the protocols of another server with which
	// falconbridge is compared. They get a connection to Posts and Devices, whose URLs may
	// then have any scheme and must have a port. nil means falconbridge's protocols.
	Publish func(nc net.Conn) (Poster, error)
	Login   func(nc net.Conn, user, token string) (Session, error)

	Topic     func(user string) string
	Token     func(user string) (string, error) // for devices
	PostToken func() (string, error)
	PID       int   // the server's process, whose usage is read from /proc; 0: unknown
	Helpers   []int // other processes of the server, whose CPU time is added

	// Addresses is how many source addresses the connections to a server on loopback rotate
	// through, so that its limits per address apply as they do to devices in the field. With
	// 0, a new address is used after every portsEach connections, since ports would run out.
	Addresses int

	run   string // in every message that this run posts
	dials atomic.Int64
}

// Session is a device that is logged in with another protocol than MQTT.
type Session interface {
	// Subscribe subscribes to the notifications of the session's user.
	Subscribe() error
	// Receive returns the next message, which is valid until the next call. It responds to
	// the server's pings.
	Receive() ([]byte, error)
}

// Check returns an error that names what is missing, and prepares t for a run.
func (t *Target) Check() error {
	switch {
	case t.Devices == nil:
		return errors.New("the address of the devices is missing")
	case t.Topic == nil || t.Token == nil:
		return errors.New("topics or tokens of devices are missing")
	}
	if t.PID != 0 {
		if _, err := UsageOf(t.PID); err != nil {
			return err
		}
	}
	t.run = rand.Text()[:10]
	return nil
}

// user returns the id of user number i. Every run uses the same users, so that many runs leave no
// more users behind than one.
func user(i int) string { return "bench-" + strconv.Itoa(i) }

const dialTimeout = 10 * time.Second

// portsEach is how many connections are made from one loopback address, which has about 28,000
// ephemeral ports.
const portsEach = 20_000

// dial connects to u over TCP, with TLS if the scheme says so. If the server is on
// loopback, the source addresses rotate, see [Target.Addresses].
func (t *Target) dial(u *url.URL, conf *tls.Config) (net.Conn, error) {
	d := net.Dialer{Timeout: dialTimeout, KeepAlive: -1}
	if ip := net.ParseIP(u.Hostname()); ip != nil && ip.IsLoopback() && ip.To4() != nil {
		n := t.dials.Add(1)
		if t.Addresses > 0 {
			n = 1 + n%int64(t.Addresses)
		} else {
			n /= portsEach
		}
		if n > 0 {
			d.LocalAddr = &net.TCPAddr{IP: net.IPv4(127, 0, 1+byte(n/250), 1+byte(n%250))}
		}
	}
	nc, err := d.Dial("tcp", hostPort(u)) //nolint:noctx // Timeout bounds it
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	if u.Scheme != "https" && u.Scheme != "mqtts" && u.Scheme != "wss" {
		return nc, nil
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if conf != nil {
		c = conf.Clone()
	}
	if c.ServerName == "" {
		c.ServerName = u.Hostname()
	}
	return tls.Client(nc, c), nil
}

var ports = map[string]string{"http": "80", "https": "443", "mqtt": "1883", "mqtts": "8883", "ws": "80", "wss": "443"}

func hostPort(u *url.URL) string {
	if u.Port() != "" {
		return u.Host
	}
	return net.JoinHostPort(u.Hostname(), ports[u.Scheme])
}

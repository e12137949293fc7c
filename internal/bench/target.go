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

// Target is the server under load. A load connects to its addresses only.
type Target struct {
	Posts   *url.URL // where notifications are posted, the whole URL of the call: http or https
	Devices *url.URL // where devices connect: mqtt, mqtts, ws or wss

	PostTLS, DeviceTLS *tls.Config // nil: the system's

	// Publish and Login replace HTTP and MQTT by the protocols of another server that
	// falconbridge is compared with. Each gets the connection to Posts or Devices,
	// whose URL then may have any scheme and has to name a port. nil: falconbridge's.
	Publish func(nc net.Conn) (Poster, error)
	Login   func(nc net.Conn, user, token string) (Session, error)

	Topic     func(user string) string
	Token     func(user string) (string, error) // of a device
	PostToken func() (string, error)
	PID       int   // of the server, to read what it uses from /proc; 0: unknown
	Helpers   []int // of other processes that serve posts; their CPU time is added

	// Addresses is how many addresses of loopback a server there is connected to from, in
	// rotation, so that its limits per address count as they do for devices in the field.
	// 0 means one, and another after every portsEach connections.
	Addresses int

	run   string // in every message that this run posts
	dials atomic.Int64
}

// Session is a device that is logged in by another protocol than MQTT.
type Session interface {
	// Subscribe subscribes to the notifications of the session's user.
	Subscribe() error
	// Receive returns the next message, which is valid until the next call. It answers
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

// user returns the id of the i-th user. Every run has the same users, so that many runs
// leave no more users behind than one.
func user(i int) string { return "bench-" + strconv.Itoa(i) }

const dialTimeout = 10 * time.Second

// portsEach is how many connections are made from one loopback address, which has some
// 28,000 ports.
const portsEach = 20_000

// dial connects to u over TCP, with TLS where the scheme says so. To a server on
// loopback it comes from one of [Target.Addresses].
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

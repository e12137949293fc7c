package bench

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"time"

	"github.com/falconalert/falconbridge/internal/mqttwire"
)

// device is one client of the server, with its own connection.
type device struct {
	t          *Target
	user, slot int    // it is device number slot of user number user
	id         string // client id
	resume     bool   // a persistent device
	keepAlive  uint16
	retries    int // how often connecting was refused for a temporary reason

	nc      net.Conn
	rw      io.ReadWriter // nc or the WebSocket on it
	session Session       // set if the target's devices do not speak MQTT
	buf     []byte
	filled  int        // the length of the bytes in buf
	handled int        // how many of them belong to packets that were returned
	acks    []byte     // not yet written
	wmu     sync.Mutex // guards writes, since acknowledgements and pings come from two goroutines
	closing bool
}

func (t *Target) device(u, slot int) *device {
	return &device{t: t, user: u, slot: slot, id: fmt.Sprintf("bench-%s-%d-%d", t.run, u, slot), keepAlive: 300}
}

// smallBuffer is the initial size of a device's buffer, which grows to the largest packet.
const smallBuffer = 1024

// expiry is the Session Expiry Interval of a persistent device, in seconds.
const expiry = 600

// connect connects and logs in.
func (d *device) connect() error {
	token, err := d.t.Token(user(d.user))
	if err != nil {
		return err
	}
	if err := d.open(); err != nil {
		return err
	}
	_ = d.nc.SetDeadline(time.Now().Add(dialTimeout))
	if d.t.Login != nil {
		d.session, err = d.t.Login(d.nc, user(d.user), token)
	} else {
		err = d.login(token)
	}
	if err != nil {
		d.drop()
		return err
	}
	return d.nc.SetDeadline(time.Time{})
}

// login sends CONNECT and waits for the CONNACK.
func (d *device) login(token string) error {
	l := mqttwire.Login{ClientID: d.id, Token: token, Resume: d.resume, KeepAlive: d.keepAlive}
	if d.resume {
		l.Expiry = expiry
	}
	if _, err := d.rw.Write(mqttwire.AppendConnect(nil, l)); err != nil {
		return err
	}
	return d.expect(mqttwire.Connack, "CONNACK", 1)
}

// open opens the connection, including the upgrade to a WebSocket.
func (d *device) open() error {
	nc, err := d.t.dial(d.t.Devices, d.t.DeviceTLS)
	if err != nil {
		return err
	}
	d.nc, d.rw, d.filled, d.handled = nc, nc, 0, 0
	if s := d.t.Devices.Scheme; s == "ws" || s == "wss" {
		_ = nc.SetDeadline(time.Now().Add(dialTimeout))
		ws, err := Upgrade(nc, d.t.Devices, "mqtt")
		if err != nil {
			d.drop()
			return err
		}
		d.rw = ws
	}
	if d.buf == nil && d.t.Login == nil {
		d.buf = make([]byte, smallBuffer)
	}
	return nil
}

// subscribe subscribes to the device's own topic.
func (d *device) subscribe() error {
	_ = d.nc.SetDeadline(time.Now().Add(dialTimeout))
	err := d.subscribeBy()
	if err != nil {
		return err
	}
	return d.nc.SetDeadline(time.Time{})
}

func (d *device) subscribeBy() error {
	if d.session != nil {
		return d.session.Subscribe()
	}
	if _, err := d.rw.Write(mqttwire.AppendSubscribe(nil, d.t.Topic(user(d.user)))); err != nil {
		return err
	}
	return d.expect(mqttwire.Suback, "SUBACK", -1)
}

// expect reads one packet, whose first byte must be first. It fails unless the packet's reason
// code is a success. The code is at index at of the body; -1 means the last byte.
func (d *device) expect(first byte, name string, at int) error {
	p, err := d.next()
	if err != nil {
		return err
	}
	b := mqttwire.Body(p)
	if p[0] != first || len(b) < 2 {
		return mqttwire.ErrMalformed
	}
	if at < 0 {
		at += len(b)
	}
	if b[at] >= 0x80 {
		r := refusal{packet: name, code: b[at]}
		if name == "CONNACK" {
			r.reason = reasonOf(b)
		}
		return r
	}
	return nil
}

// next returns the next packet, which is valid until the next call.
func (d *device) next() ([]byte, error) {
	for {
		if n := mqttwire.PacketLen(d.buf[d.handled:d.filled]); n > 0 {
			d.handled += n
			return d.buf[d.handled-n : d.handled], nil
		}
		if err := d.flush(); err != nil { // before blocking in Read
			return nil, err
		}
		copy(d.buf, d.buf[d.handled:d.filled])
		d.filled, d.handled = d.filled-d.handled, 0
		if d.filled == len(d.buf) {
			d.buf = append(d.buf, make([]byte, len(d.buf))...)
		}
		n, err := d.rw.Read(d.buf[d.filled:])
		if d.filled += n; n == 0 && err != nil {
			return nil, err
		}
	}
}

// flush writes the acknowledgements of all messages read so far.
func (d *device) flush() error {
	if len(d.acks) == 0 {
		return nil
	}
	d.wmu.Lock()
	defer d.wmu.Unlock()
	_, err := d.rw.Write(d.acks)
	d.acks = d.acks[:0]
	return err
}

// receive passes every message to got and acknowledges it, until the connection ends. It returns
// nil if close ended the connection.
func (d *device) receive(got func(m mqttwire.Message)) error {
	for {
		m, err := d.nextMessage()
		if err != nil {
			if d.ended() {
				return nil
			}
			return err
		}
		got(m)
		if m.ID != 0 {
			d.acks = mqttwire.AppendPuback(d.acks, m.ID)
		}
	}
}

func (d *device) nextMessage() (mqttwire.Message, error) {
	if d.session != nil {
		payload, err := d.session.Receive()
		return mqttwire.Message{Payload: payload}, err
	}
	for {
		p, err := d.next()
		if err != nil {
			return mqttwire.Message{}, err
		}
		switch p[0] & 0xF0 {
		case mqttwire.Publish:
			return mqttwire.ParsePublish(p, 5)
		case mqttwire.Disconnect:
			r := refusal{packet: "DISCONNECT"}
			if b := mqttwire.Body(p); len(b) > 0 {
				r.code = b[0]
			}
			return mqttwire.Message{}, r
		}
	}
}

// ping keeps the connection alive. Servers with another protocol than MQTT ping their devices
// instead.
func (d *device) ping() {
	if d.session != nil {
		return
	}
	d.wmu.Lock()
	defer d.wmu.Unlock()
	_, _ = d.rw.Write([]byte{mqttwire.Pingreq, 0})
}

func (d *device) ended() bool {
	d.wmu.Lock()
	defer d.wmu.Unlock()
	return d.closing
}

// close sends a DISCONNECT and closes the connection.
func (d *device) close() {
	if d.rw == nil { // never connected
		return
	}
	d.wmu.Lock()
	d.closing = true
	_ = d.nc.SetWriteDeadline(time.Now().Add(time.Second))
	if d.session == nil {
		_, _ = d.rw.Write([]byte{mqttwire.Disconnect, 0})
	}
	d.wmu.Unlock()
	d.drop()
}

func (d *device) drop() { _ = d.nc.Close() }

// dialers is how many devices connect at once by default.
const dialers = 64

// connectAll connects ds and calls then for each device once it is connected. Connects that are
// refused for a temporary reason are retried until the deadline.
func connectAll(ds []*device, deadline time.Time, then func(d *device) error) error {
	return connectMany(ds, dialers, deadline, then)
}

// connectMany is connectAll with the given number of dialers.
func connectMany(ds []*device, dialers int, deadline time.Time, then func(d *device) error) error {
	work := make(chan *device)
	failed := make(chan error, dialers)
	var wg sync.WaitGroup
	for range min(dialers, len(ds)) {
		wg.Go(func() {
			for d := range work {
				if err := d.connectBy(deadline, then); err != nil {
					failed <- fmt.Errorf("device %d of %s: %w", d.slot, user(d.user), err)
					return
				}
			}
		})
	}
	var err error
	for _, d := range ds {
		select {
		case work <- d:
			continue
		case err = <-failed:
		}
		break
	}
	close(work)
	wg.Wait()
	select {
	case e := <-failed:
		return errors.Join(err, e)
	default:
		return err
	}
}

func (d *device) connectBy(deadline time.Time, then func(d *device) error) error {
	for wait := 100 * time.Millisecond; ; wait = min(2*wait, 2*time.Second) {
		err := d.connect()
		if err == nil {
			return then(d)
		}
		pause := wait/2 + rand.N(wait)
		if !temporary(err) || time.Now().Add(pause).After(deadline) {
			return err
		}
		d.retries++
		time.Sleep(pause)
	}
}

package bench

import (
	"bytes"
	"fmt"
	"net/url"
	"time"
)

// The JSON protocol of Centrifugo over a WebSocket, as far as a device needs it: a
// login with a token, one subscription, and the answers to the server's pings. A
// message of the WebSocket holds one or more lines, each a JSON object.

// centrifugoChannel is the channel of a user, which only that user may subscribe to.
func centrifugoChannel(user string) string { return "#" + user }

func (d *device) connectCentrifugo(token string) error {
	nc, err := d.t.dial(d.t.Devices, nil)
	if err != nil {
		return err
	}
	d.nc = nc
	_ = nc.SetDeadline(time.Now().Add(dialTimeout))
	u := url.URL{Scheme: "ws", Host: d.t.Devices.Host, Path: "/connection/websocket"}
	ws, err := upgrade(nc, &u, "", 1)
	if err == nil {
		d.rw = ws
		err = d.ask(fmt.Sprintf(`{"id":1,"connect":{"token":%q}}`, token), `"connect"`)
	}
	if err != nil {
		d.drop()
		return err
	}
	return nc.SetDeadline(time.Time{})
}

func (d *device) subscribeCentrifugo() error {
	_ = d.nc.SetDeadline(time.Now().Add(dialTimeout))
	if err := d.ask(fmt.Sprintf(`{"id":2,"subscribe":{"channel":%q}}`, centrifugoChannel(user(d.user))), `"subscribe"`); err != nil {
		return err
	}
	return d.nc.SetDeadline(time.Time{})
}

// ask writes a command and waits for its reply, which holds want unless the command
// was refused.
func (d *device) ask(command, want string) error {
	if _, err := d.rw.Write([]byte(command)); err != nil {
		return err
	}
	line, err := d.line()
	if err == nil && (!bytes.Contains(line, []byte(want)) || bytes.Contains(line, []byte(`"error"`))) {
		err = fmt.Errorf("centrifugo refused %s", want)
	}
	return err
}

// line returns the next JSON object that is not a ping, valid until it is called
// again. Pings are answered.
func (d *device) line() ([]byte, error) {
	ws, ok := d.rw.(*webSocket)
	if !ok {
		return nil, errPacket
	}
	for {
		if d.taken >= d.filled {
			var err error
			if d.buf, err = ws.message(d.buf); err != nil {
				return nil, err
			}
			d.taken, d.filled = 0, len(d.buf)
		}
		line, _, _ := bytes.Cut(d.buf[d.taken:d.filled], []byte{'\n'})
		d.taken += len(line) + 1
		switch {
		case len(line) > 2:
			return line, nil
		case string(line) == "{}":
			if _, err := ws.Write(line); err != nil {
				return nil, err
			}
		}
	}
}

// nextPublication returns the next message; its payload is the whole push.
func (d *device) nextPublication() (message, error) {
	for {
		line, err := d.line()
		if err != nil {
			return message{}, err
		}
		if bytes.HasPrefix(line, []byte(`{"push":`)) {
			return message{payload: line}, nil
		}
	}
}

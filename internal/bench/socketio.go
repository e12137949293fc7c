package bench

import (
	"bytes"
	"fmt"
	"net/url"
	"time"
)

// Socket.IO 4 over Engine.IO 4, as far as a device needs it: the handshake with a
// token, events, and the answers to the server's pings. It is here so that what
// falconbridge replaces is measured by the same generator.

func (d *device) connectSocketIO(token string) error {
	nc, err := d.t.dial(d.t.Devices, nil)
	if err != nil {
		return err
	}
	d.nc = nc
	_ = nc.SetDeadline(time.Now().Add(dialTimeout))
	u := url.URL{Scheme: "ws", Host: d.t.Devices.Host, Path: "/socket.io/", RawQuery: "EIO=4&transport=websocket"}
	ws, err := upgrade(nc, &u, "", 1)
	if err != nil {
		d.drop()
		return err
	}
	d.rw = ws
	if err := d.joinSocketIO(ws, token); err != nil {
		d.drop()
		return err
	}
	return nc.SetDeadline(time.Time{})
}

func (d *device) joinSocketIO(ws *webSocket, token string) (err error) {
	if d.buf, err = ws.message(d.buf); err != nil || !bytes.HasPrefix(d.buf, []byte("0{")) {
		return fmt.Errorf("the Engine.IO handshake failed: %w", err)
	}
	if _, err = ws.Write([]byte(`40{"token":"` + token + `"}`)); err != nil {
		return err
	}
	if d.buf, err = ws.message(d.buf); err != nil || !bytes.HasPrefix(d.buf, []byte("40")) {
		return fmt.Errorf("the Socket.IO login was refused: %w", err)
	}
	return nil
}

// nextEvent is the next event; its payload is the packet with name and all.
func (d *device) nextEvent() (message, error) {
	ws, ok := d.rw.(*webSocket)
	if !ok {
		return message{}, errPacket
	}
	for {
		var err error
		if d.buf, err = ws.message(d.buf); err != nil {
			return message{}, err
		}
		switch {
		case bytes.HasPrefix(d.buf, []byte("42")):
			return message{payload: d.buf}, nil
		case len(d.buf) == 1 && d.buf[0] == '2':
			if _, err := ws.Write([]byte("3")); err != nil {
				return message{}, err
			}
		}
	}
}

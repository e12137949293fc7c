package bench

import (
	"encoding/binary"
	"fmt"
	"net"
	"time"

	"github.com/falconalert/falconbridge/internal/bench"
	"github.com/falconalert/falconbridge/internal/mqttwire"
)

// publisher posts to a plain MQTT broker: PUBLISH with QoS 1 instead of POST, and PUBACK instead
// of 201.
type publisher struct {
	nc  net.Conn
	out []byte
	id  uint16
}

func newPublisher(nc net.Conn) (bench.Poster, error) {
	p := &publisher{nc: nc}
	_ = nc.SetDeadline(time.Now().Add(bench.PostTimeout))
	_, err := nc.Write(mqttwire.AppendConnect(nil, mqttwire.Login{ClientID: "post-" + nc.LocalAddr().String(), KeepAlive: 300}))
	if err == nil {
		err = p.expect(mqttwire.Connack, 0)
	}
	if err != nil {
		_ = nc.Close()
		return nil, fmt.Errorf("log in to the broker: %w", err)
	}
	return p, nil
}

// expect reads a packet, which must have that type and a body that begins with those two bytes.
func (p *publisher) expect(first byte, begin uint16) error {
	q, err := mqttwire.ReadPacket(p.nc)
	if err == nil && (q[0] != first || len(q) < 4 || binary.BigEndian.Uint16(q[2:]) != begin) {
		err = fmt.Errorf("got % X", q)
	}
	return err
}

func (p *publisher) Post(user string, body []byte) (int, error) {
	p.id = p.id%0xFFFF + 1
	p.out = mqttwire.AppendPublish(p.out[:0], topic(user), p.id, body)
	if err := p.nc.SetDeadline(time.Now().Add(bench.PostTimeout)); err != nil {
		return 0, err
	}
	if _, err := p.nc.Write(p.out); err != nil {
		return 0, err
	}
	return 201, p.expect(mqttwire.Puback, p.id)
}

func (p *publisher) Close() error { return p.nc.Close() }

// topic returns the topic of a user's notifications.
func topic(user string) string { return "users/" + user + "/reports/status" }

package bench

import (
	"bytes"
	"fmt"
	"net"
	"net/url"

	"github.com/falconalert/falconbridge/internal/bench"
)

// socketIO is a client of a Socket.IO 4 server over Engine.IO 4. It does only what is necessary:
// the handshake with a token, events, and responses to pings.
type socketIO struct {
	ws  *bench.WebSocket
	buf []byte
}

// loginSocketIO logs in. The server adds the client to its user's room by itself.
func loginSocketIO(nc net.Conn, _, token string) (bench.Session, error) {
	u := url.URL{Host: nc.RemoteAddr().String(), Path: "/socket.io/", RawQuery: "EIO=4&transport=websocket"}
	ws, err := bench.Upgrade(nc, &u, "")
	if err != nil {
		return nil, err
	}
	s := &socketIO{ws: ws}
	if err := s.expect("0{"); err != nil {
		return nil, fmt.Errorf("Engine.IO handshake: %w", err)
	}
	if _, err = ws.Write([]byte(`40{"token":"` + token + `"}`)); err != nil {
		return nil, err
	}
	if err := s.expect("40"); err != nil {
		return nil, fmt.Errorf("Socket.IO login: %w", err)
	}
	return s, nil
}

// expect reads a packet, which must begin with prefix.
func (s *socketIO) expect(prefix string) (err error) {
	s.buf, err = s.ws.Message(s.buf)
	if err == nil && !bytes.HasPrefix(s.buf, []byte(prefix)) {
		err = fmt.Errorf("the server sent %.80q", s.buf)
	}
	return err
}

func (s *socketIO) Subscribe() error { return nil }

// Receive returns the next event, with its name.
func (s *socketIO) Receive() ([]byte, error) {
	for {
		var err error
		if s.buf, err = s.ws.Message(s.buf); err != nil {
			return nil, err
		}
		switch {
		case bytes.HasPrefix(s.buf, []byte("42")):
			return s.buf, nil
		case string(s.buf) == "2": // ping
			if _, err := s.ws.Write([]byte("3")); err != nil {
				return nil, err
			}
		}
	}
}

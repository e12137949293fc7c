package bench

import (
	"bytes"
	"fmt"
	"net"
	"net/url"

	"github.com/falconalert/falconbridge/internal/bench"
)

// centrifugo is a client of Centrifugo's JSON protocol over WebSocket. It logs in with a token,
// subscribes to one channel and responds to pings. A WebSocket message has one or more lines,
// each a JSON object.
type centrifugo struct {
	ws   *bench.WebSocket
	user string
	buf  []byte
	rest []byte // lines in buf that were not read yet
}

func loginCentrifugo(nc net.Conn, user, token string) (bench.Session, error) {
	u := url.URL{Host: nc.RemoteAddr().String(), Path: "/connection/websocket"}
	ws, err := bench.Upgrade(nc, &u, "")
	if err != nil {
		return nil, err
	}
	c := &centrifugo{ws: ws, user: user}
	return c, c.ask(fmt.Sprintf(`{"id":1,"connect":{"token":%q}}`, token), `"connect"`)
}

// Subscribe subscribes to the user's channel, to which only that user may subscribe.
func (c *centrifugo) Subscribe() error {
	return c.ask(fmt.Sprintf(`{"id":2,"subscribe":{"channel":%q}}`, "#"+c.user), `"subscribe"`)
}

// ask writes a command and waits for its reply, which must contain want.
func (c *centrifugo) ask(command, want string) error {
	if _, err := c.ws.Write([]byte(command)); err != nil {
		return err
	}
	line, err := c.line()
	if err == nil && (!bytes.Contains(line, []byte(want)) || bytes.Contains(line, []byte(`"error"`))) {
		err = fmt.Errorf("centrifugo refused %s: %.80q", want, line)
	}
	return err
}

// line returns the next JSON object, valid until the next call. It responds to pings and skips
// them.
func (c *centrifugo) line() ([]byte, error) {
	for {
		if len(c.rest) == 0 {
			var err error
			if c.buf, err = c.ws.Message(c.buf); err != nil {
				return nil, err
			}
			c.rest = c.buf
		}
		var line []byte
		line, c.rest, _ = bytes.Cut(c.rest, []byte{'\n'})
		switch {
		case len(line) > 2:
			return line, nil
		case string(line) == "{}":
			if _, err := c.ws.Write(line); err != nil {
				return nil, err
			}
		}
	}
}

// Receive returns the next publication, with the push message around it.
func (c *centrifugo) Receive() ([]byte, error) {
	for {
		line, err := c.line()
		if err != nil || bytes.HasPrefix(line, []byte(`{"push":`)) {
			return line, err
		}
	}
}

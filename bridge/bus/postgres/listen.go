package postgres

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/bridge/bus"
)

// listen is one session: from the login until the connection ends.
//
// pgdriver connects and logs in; after that the connection's messages are read
// here. Its own Listener would reconnect without a word, so nobody knew that
// notifications were lost; it does not wait for the answer to LISTEN; and after a
// timeout within a message it reads on from the middle of it. What a listener
// needs of the protocol is little: simple queries, and messages of a type, a
// length and a body (PostgreSQL manual, chapter 55).
func (b *Bus) listen(ctx context.Context, h bridge.HintHandler, up func()) error {
	l, err := b.dial(ctx)
	if err != nil {
		return err
	}
	defer l.Close()
	// Nothing is left in pgdriver's buffer: after the login, the server is silent
	// until it is asked.
	c := &listener{Conn: l.Conn.Conn(), patience: 2 * b.probe}
	c.read = bufio.NewReaderSize(c.Conn, 16<<10)
	if err := c.ask("LISTEN " + channel); err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	probing, cancel := context.WithCancel(ctx)
	var prober sync.WaitGroup
	prober.Go(func() { c.probe(probing, b.probe) })
	defer func() {
		cancel()
		c.Close()
		prober.Wait()
	}()
	listening := false
	for {
		kind, body, err := c.next()
		if err != nil {
			return fmt.Errorf("listen: %w", err)
		}
		switch kind {
		case 'Z': // ready for the next query: LISTEN holds
			if !listening {
				listening = true
				up()
				h.Reconnected()
			}
		case 'E':
			return fmt.Errorf("listen: %w", serverError(body))
		case 'A':
			if payload, ok := notification(body); ok {
				b.count.Received.Add(int64(bus.Deliver(payload, b.node, h)))
			}
		}
	}
}

// listener is a logged-in connection that listens.
type listener struct {
	net.Conn
	read     *bufio.Reader
	buf      []byte
	patience time.Duration // silence after which the server is gone
}

// ask sends a simple query.
func (c *listener) ask(query string) error {
	m := make([]byte, 5, 6+len(query))
	m[0] = 'Q'
	binary.BigEndian.PutUint32(m[1:], uint32(4+len(query)+1))
	m = append(append(m, query...), 0)
	if err := c.SetWriteDeadline(time.Now().Add(c.patience)); err != nil {
		return err
	}
	_, err := c.Write(m)
	return err
}

// probe asks an empty query now and then, until ctx ends: the answer is what
// tells a quiet server from one that is gone. TCP's own keepalive would do for
// the reader, but not through a proxy that keeps a dead connection open.
func (c *listener) probe(ctx context.Context, every time.Duration) {
	t := time.NewTicker(every)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		if c.ask("") != nil {
			c.Close() // ends the reader, too
			return
		}
	}
}

// maxMessage bounds what the server may send at once; a notification has at most
// 8000 bytes.
const maxMessage = 1 << 20

// next reads one message; body holds until the next call. Any error, a timeout
// included, may have come in the middle of one: the connection is over.
func (c *listener) next() (kind byte, body []byte, err error) {
	if err := c.SetReadDeadline(time.Now().Add(c.patience)); err != nil {
		return 0, nil, err
	}
	var head [5]byte
	if _, err := io.ReadFull(c.read, head[:]); err != nil {
		return 0, nil, err
	}
	n := int64(binary.BigEndian.Uint32(head[1:])) - 4
	if n < 0 || n > maxMessage {
		return 0, nil, errors.New("the server sent a message of impossible length")
	}
	if int64(cap(c.buf)) < n {
		c.buf = make([]byte, n)
	}
	body = c.buf[:n]
	_, err = io.ReadFull(c.read, body)
	return head[0], body, err
}

// notification reads a NotificationResponse: process id, channel, payload.
func notification(body []byte) (payload []byte, ok bool) {
	if len(body) < 4 {
		return nil, false
	}
	name, rest, ok := bytes.Cut(body[4:], []byte{0})
	if !ok || string(name) != channel {
		return nil, false
	}
	payload, _, ok = bytes.Cut(rest, []byte{0})
	return payload, ok
}

// serverError reads an ErrorResponse: its SQLSTATE and message.
func serverError(body []byte) error {
	var code, message string
	for field := range bytes.SplitSeq(body, []byte{0}) {
		switch {
		case len(field) == 0:
		case field[0] == 'C':
			code = string(field[1:])
		case field[0] == 'M':
			message = string(field[1:])
		}
	}
	return fmt.Errorf("the server answered %s (SQLSTATE %s)", message, code)
}

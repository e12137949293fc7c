package bench

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"time"
)

// poster posts one notification after the other over one kept connection.
type poster interface {
	// post sends post n and waits for the answer, 201 being the good one. An error
	// means that the connection is gone.
	post(n int) (status int, err error)
	close()
}

// title is that of the notifications, as the application words them.
const title = "El estado de su reporte ha cambiado a: Aprobado"

// postTimeout is how long an answer is waited for.
const postTimeout = 15 * time.Second

// httpPoster speaks HTTP/1.1, by hand: one write a request, one read an answer.
type httpPoster struct {
	y    *tally
	nc   net.Conn
	r    *bufio.Reader
	head []byte // up to the length
	body []byte
	out  []byte
	size int
}

// poster opens the connection of a poster whose bodies have size bytes, or more
// where that is too little for what must be in them.
func (t *Target) poster(y *tally, size int) (poster, error) {
	token, err := t.PostToken()
	if err != nil {
		return nil, err
	}
	nc, err := t.dial(t.Posts, t.PostTLS)
	if err != nil {
		return nil, err
	}
	if t.Posts.Scheme == "mqtt" {
		return newPublisher(t, y, nc, size)
	}
	head := fmt.Sprintf("POST %s HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: ",
		t.Posts.RequestURI(), t.Posts.Host, token)
	return &httpPoster{y: y, nc: nc, r: bufio.NewReaderSize(nc, 2048), head: []byte(head), size: size}, nil
}

// plainest is how many bytes of a body the message can take as ASCII: it has at
// most 4,000 characters. Larger bodies are made of characters of four bytes.
const plainest = 3_900

// appendBody appends the JSON of post n.
func appendBody(b []byte, y *tally, n, size int) []byte {
	start := len(b)
	b = append(b, `{"title":"`+title+`","created_by":"`...)
	b = append(b, "bench-"...)
	b = strconv.AppendInt(b, int64(y.userOf(n)), 10)
	b = append(b, `","message":"`...)
	b = y.appendMark(b, n)
	for size > plainest && len(b)-start < size-5 {
		b = append(b, "🦅"...)
	}
	for len(b)-start < size-2 {
		b = append(b, 'x')
	}
	return append(b, '"', '}')
}

func (p *httpPoster) post(n int) (int, error) {
	p.body = appendBody(p.body[:0], p.y, n, p.size)
	p.out = strconv.AppendInt(append(p.out[:0], p.head...), int64(len(p.body)), 10)
	p.out = append(append(p.out, "\r\n\r\n"...), p.body...)
	if err := p.nc.SetDeadline(time.Now().Add(postTimeout)); err != nil {
		return 0, err
	}
	if _, err := p.nc.Write(p.out); err != nil {
		return 0, err
	}
	return readAnswer(p.r)
}

func (p *httpPoster) close() { _ = p.nc.Close() }

var errAnswer = errors.New("the server's answer is no HTTP/1.1 of a known length")

// readAnswer reads one answer and throws its body away.
func readAnswer(r *bufio.Reader) (status int, err error) {
	line, err := r.ReadSlice('\n')
	if err != nil {
		return 0, err
	}
	if len(line) < 12 || !bytes.HasPrefix(line, []byte("HTTP/1.1 ")) {
		return 0, errAnswer
	}
	if status, err = strconv.Atoi(string(line[9:12])); err != nil {
		return 0, errAnswer
	}
	length := -1
	for {
		if line, err = r.ReadSlice('\n'); err != nil {
			return status, err
		}
		if len(line) <= 2 {
			break
		}
		name, value, _ := bytes.Cut(line, []byte{':'})
		if len(name) == len("content-length") && bytes.EqualFold(name, []byte("content-length")) {
			if length, err = strconv.Atoi(string(bytes.TrimSpace(value))); err != nil {
				return status, errAnswer
			}
		}
	}
	if length < 0 {
		return status, errAnswer
	}
	_, err = r.Discard(length)
	return status, err
}

// publisher posts to a plain MQTT broker, for comparison: PUBLISH at QoS 1 in place
// of POST, PUBACK in place of 201.
type publisher struct {
	t    *Target
	y    *tally
	nc   net.Conn
	size int
	out  []byte
	body []byte
	in   [64]byte
	id   uint16
}

func newPublisher(t *Target, y *tally, nc net.Conn, size int) (poster, error) {
	p := &publisher{t: t, y: y, nc: nc, size: size}
	_, err := nc.Write(appendConnect(nil, login{id: fmt.Sprintf("post-%s-%p", t.run, p), keepAlive: 300}))
	if err == nil {
		var q []byte
		if q, err = p.read(); err == nil && q[3] != 0 {
			err = refusal{packet: "CONNACK", code: q[3]}
		}
	}
	if err != nil {
		p.close()
		return nil, err
	}
	return p, nil
}

// read reads one small packet.
func (p *publisher) read() ([]byte, error) {
	if _, err := io.ReadFull(p.nc, p.in[:2]); err != nil {
		return nil, err
	}
	n := 2 + int(p.in[1])
	if n > len(p.in) || n < 4 {
		return nil, errPacket
	}
	_, err := io.ReadFull(p.nc, p.in[2:n])
	return p.in[:n], err
}

func (p *publisher) post(n int) (int, error) {
	p.id = p.id%0xFFFF + 1
	p.body = appendBody(p.body[:0], p.y, n, p.size)
	p.out = appendPublish(p.out[:0], p.t.Topic(user(p.y.userOf(n))), p.id, p.body)
	if err := p.nc.SetDeadline(time.Now().Add(postTimeout)); err != nil {
		return 0, err
	}
	if _, err := p.nc.Write(p.out); err != nil {
		return 0, err
	}
	q, err := p.read()
	if err != nil {
		return 0, err
	}
	if q[0] != typePuback || binary.BigEndian.Uint16(q[2:]) != p.id {
		return 0, errPacket
	}
	return 201, nil
}

func (p *publisher) close() { _ = p.nc.Close() }

package bench

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"
)

// Poster posts one notification after the other over one connection.
type Poster interface {
	// Post sends a body for user, waits for the response and returns its status. 201 means
	// that the notification will be delivered. After an error the connection is broken.
	Post(user string, body []byte) (status int, err error)
	Close() error
}

// title is the title of the notifications, as a real application would send it.
const title = "El estado de su reporte ha cambiado a: Aprobado"

// PostTimeout bounds the wait for the response to one post.
const PostTimeout = 15 * time.Second

// httpPoster implements just enough of HTTP/1.1. With one write per request and one read per
// response, it costs half the CPU time of net/http (docs/decisions/0014).
type httpPoster struct {
	nc   net.Conn
	r    *bufio.Reader
	head []byte // the request up to the value of Content-Length
	out  []byte
}

// poster opens a connection for posting.
func (t *Target) poster() (Poster, error) {
	nc, err := t.dial(t.Posts, t.PostTLS)
	if err != nil {
		return nil, err
	}
	if t.Publish != nil {
		return t.Publish(nc)
	}
	token, err := t.PostToken()
	if err != nil {
		_ = nc.Close()
		return nil, err
	}
	head := fmt.Sprintf("POST %s HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: ",
		t.Posts.RequestURI(), t.Posts.Host, token)
	return &httpPoster{nc: nc, r: bufio.NewReaderSize(nc, 2048), head: []byte(head)}, nil
}

// maxASCII is the largest body that is padded with ASCII only. A message may have at most 4,000
// characters, so larger bodies are padded with characters of four bytes.
const maxASCII = 3_900

// appendBody appends the JSON of post n. It has size bytes, or more if its content needs more.
func appendBody(b []byte, y *tally, n, size int) []byte {
	start := len(b)
	b = append(b, `{"title":"`+title+`","created_by":"`...)
	b = append(b, "bench-"...)
	b = strconv.AppendInt(b, int64(y.userOf(n)), 10)
	b = append(b, `","message":"`...)
	b = y.appendMark(b, n)
	for size > maxASCII && len(b)-start < size-5 {
		b = append(b, "🦅"...)
	}
	for len(b)-start < size-2 {
		b = append(b, 'x')
	}
	return append(b, '"', '}')
}

func (p *httpPoster) Post(_ string, body []byte) (int, error) {
	p.out = strconv.AppendInt(append(p.out[:0], p.head...), int64(len(body)), 10)
	p.out = append(append(p.out, "\r\n\r\n"...), body...)
	if err := p.nc.SetDeadline(time.Now().Add(PostTimeout)); err != nil {
		return 0, err
	}
	if _, err := p.nc.Write(p.out); err != nil {
		return 0, err
	}
	return readResponse(p.r)
}

func (p *httpPoster) Close() error { return p.nc.Close() }

var errResponse = errors.New("the response is not HTTP/1.1 with a Content-Length")

// readResponse reads one response and discards its body.
func readResponse(r *bufio.Reader) (status int, err error) {
	line, err := r.ReadSlice('\n')
	if err != nil {
		return 0, err
	}
	if len(line) < 12 || !bytes.HasPrefix(line, []byte("HTTP/1.1 ")) {
		return 0, errResponse
	}
	if status, err = strconv.Atoi(string(line[9:12])); err != nil {
		return 0, errResponse
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
				return status, errResponse
			}
		}
	}
	if length < 0 {
		return status, errResponse
	}
	_, err = r.Discard(length)
	return status, err
}

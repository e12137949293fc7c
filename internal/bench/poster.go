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
	// Post sends a body for user and waits for the response. It returns its status,
	// where 201 means that the notification will be delivered. After an error the
	// connection is of no more use.
	Post(user string, body []byte) (status int, err error)
	Close() error
}

// title is the title of the notifications, with the words of a real application.
const title = "El estado de su reporte ha cambiado a: Aprobado"

// PostTimeout bounds the wait for the response to one post.
const PostTimeout = 15 * time.Second

// httpPoster speaks just enough HTTP/1.1: one write for a request and one read for a
// response, which costs half of net/http's CPU time (docs/decisions/0014).
type httpPoster struct {
	nc   net.Conn
	r    *bufio.Reader
	head []byte // up to the length
	out  []byte
}

// poster opens the connection of a poster.
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

// plainest is the largest body in ASCII: a message has at most 4,000 characters, so larger
// bodies are padded with characters of four bytes.
const plainest = 3_900

// appendBody appends the JSON of post n, of size bytes, or of more where size is too
// small for what it has to contain.
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

func (p *httpPoster) Post(_ string, body []byte) (int, error) {
	p.out = strconv.AppendInt(append(p.out[:0], p.head...), int64(len(body)), 10)
	p.out = append(append(p.out, "\r\n\r\n"...), body...)
	if err := p.nc.SetDeadline(time.Now().Add(PostTimeout)); err != nil {
		return 0, err
	}
	if _, err := p.nc.Write(p.out); err != nil {
		return 0, err
	}
	return readAnswer(p.r)
}

func (p *httpPoster) Close() error { return p.nc.Close() }

var errAnswer = errors.New("the response is not HTTP/1.1 with a Content-Length")

// readAnswer reads one response and discards its body.
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

package api

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"net/url"
	"runtime/debug"
	"strconv"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/falconalert/falconbridge/bridge"
)

// exchange is one request and its response as huma sees them: huma's own context of
// net/http, with a body whose memory is counted and a response that is written once it is
// complete. A handler gets its exchange from [exchangeOf].
type exchange struct {
	humaContext
	api    *api
	r      *http.Request
	w      http.ResponseWriter
	ctx    context.Context
	begun  time.Time
	claims bridge.Claims
	query  url.Values // nil: the operation reads none
	body   body
	key    *bridge.IdempotencyKey // nil: none was sent

	status int
	out    *bytes.Buffer
}

// humaContext gives the embedded field a name other than that of the method Context.
type humaContext = huma.Context

// exchangeKey is the key of the exchange in a context.
type exchangeKey struct{}

func exchangeOf(ctx context.Context) *exchange { return ctx.Value(exchangeKey{}).(*exchange) }

// caller returns the claims of the request's token.
func caller(ctx context.Context) bridge.Claims { return exchangeOf(ctx).claims }

// maxKept is the largest response buffer that is reused, in bytes.
const maxKept = 64 << 10

var outs = sync.Pool{New: func() any { return new(bytes.Buffer) }}

func (a *api) newExchange(hc huma.Context) *exchange {
	r, w := humago.Unwrap(hc)
	return &exchange{humaContext: hc, api: a, r: r, w: w, ctx: r.Context(), begun: time.Now(), out: outs.Get().(*bytes.Buffer)}
}

func (x *exchange) Context() context.Context { return x.ctx }

// within bounds how long the handler may take.
func (x *exchange) within(d time.Duration) context.CancelFunc {
	ctx, cancel := context.WithTimeout(x.ctx, d)
	if h := x.r.Header["Traceparent"]; len(h) == 1 {
		ctx = bridge.WithTraceparent(ctx, h[0])
	}
	x.ctx = context.WithValue(ctx, exchangeKey{}, x)
	return cancel
}

// Query returns the first value of a parameter. huma treats an empty value as an absent
// parameter, and lets strconv accept a plus sign. The API refuses both, so Query returns a
// space for them, which no parameter accepts.
func (x *exchange) Query(name string) string {
	vs, sent := x.query[name]
	if !sent {
		return ""
	}
	if vs[0] == "" || vs[0][0] == '+' {
		return " "
	}
	return vs[0]
}

// SetReadDeadline leaves the deadline to net/http, which bounds headers and body
// of every request, see [Timeouts]: huma would replace it.
func (x *exchange) SetReadDeadline(time.Time) error { return nil }

func (x *exchange) BodyReader() io.Reader { return &x.body }
func (x *exchange) BodyWriter() io.Writer { return x.out }
func (x *exchange) Status() int           { return x.status }
func (x *exchange) SetStatus(code int)    { x.status = code }

// fail responds with err, before huma reads anything of the request.
func (x *exchange) fail(err error) {
	p := problemOf(err)
	x.note(p, err)
	x.respond(p)
}

// language returns the language of built-in texts in the response.
func (x *exchange) language() bridge.Locale { return x.api.language(x.r) }

func (x *exchange) respond(p *problem) {
	x.status = p.kind.status
	p.headers(x.w.Header(), x.language())
	_ = strictJSON.Marshal(x.out, p.body(x.language())) // strings and an integer cannot fail
}

// note counts p in the metrics, and logs it if the server is at fault.
func (x *exchange) note(p *problem, err error) {
	if limit := p.limitHit(); limit != "" {
		x.api.hit(limit)
	}
	if p.kind == forbidden || p.kind == unauthorized {
		x.recordRefused()
	}
	x.logFault(p, err)
}

// finish writes the response, or a 500 if the handler panicked.
func (x *exchange) finish() {
	if v := recover(); v != nil {
		x.out.Reset()
		x.api.recovered(x.r, v)
		x.respond(&problem{kind: internal})
	}
	x.body.release()
	h := x.w.Header()
	if x.status != http.StatusNoContent {
		h["Content-Length"] = []string{strconv.Itoa(x.out.Len())}
	}
	x.w.WriteHeader(x.status)
	_, _ = x.w.Write(x.out.Bytes()) // the caller may have gone
	x.logCall()
	if x.out.Cap() <= maxKept {
		x.out.Reset()
		outs.Put(x.out)
	}
}

// recovered logs the type of a panic. Its text may contain parts of the request.
func (a *api) recovered(r *http.Request, v any) {
	if err, ok := v.(error); ok && errors.Is(err, http.ErrAbortHandler) {
		panic(v) // net/http closes the connection
	}
	a.o.Logger.Error("a handler panicked", "request_id", r.Header.Get(requestID), "path", r.Pattern, "panic", fmt.Sprintf("%T", v), "stack", string(debug.Stack()))
}

// next sets the Link header (RFC 8288) to the next page: the same query with another
// cursor. The reference is relative, so that it is right behind a proxy that serves the
// API below a path of its own.
func (x *exchange) next(cursor, to string) string {
	q := url.Values{cursor: {to}}
	for _, kept := range []string{"limit", "unread", "kind", "muted", "user", "created_by", "match", "node", "protocol", "transport", "sort", "absent", "behind"} {
		if s := x.query[kept]; len(s) > 0 {
			q.Set(kept, s[0])
		}
	}
	return "<?" + q.Encode() + `>; rel="next"`
}

// firstBody is how many bytes of each body the budget does not count, see [budget].
const firstBody = 4 << 10

// body reads a request's body for huma, which keeps it in memory until it is decoded. It
// reserves memory from the budget of all bodies as bytes arrive, not for those that are
// only announced, and not for the first 4 KiB.
type body struct {
	r     io.Reader
	of    *budget
	read  int64
	taken int64     // reserved from the budget
	sum   hash.Hash // nil: no digest is needed
}

func (b *body) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	b.read += int64(n)
	if b.sum != nil {
		_, _ = b.sum.Write(p[:n]) // a hash never fails
	}
	// huma's buffer doubles as bytes arrive.
	if b.read > max(firstBody, b.taken) {
		more := max(2*b.read, 2*firstBody) - b.taken
		if !b.of.acquire(more) {
			return n, &problem{kind: unavailable, detail: "the node is already reading as many large bodies as its memory allows", limit: LimitBodies}
		}
		b.taken += more
	}
	if err != nil && !errors.Is(err, io.EOF) {
		err = bodyError(err)
	}
	return n, err
}

// release frees what the body reserved.
func (b *body) release() {
	if b.taken > 0 {
		b.of.release(b.taken)
		b.taken = 0
	}
}

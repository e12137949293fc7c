package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"reflect"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/falconalert/falconbridge/bridge"
)

// route is one operation: how it is documented, who may call it, and what it does.
//
// huma routes and documents it; the request is read by the route itself, because
// huma.Register would echo values in errors, read a body before it looks at its
// type, take a name twice, name no field in "required" errors, and cost more than
// the append does. All routes share one way in: [api.serve].
type route struct {
	op       huma.Operation
	open     bool          // anyone may call it, without a token
	probe    bool          // open, and asked by load balancers
	scope    bridge.Scope  // needed beyond a valid token; 0: none
	maxBody  int64         // longest body, in bytes; 0: none is read
	optional bool          // the body may be left out
	wait     time.Duration // longest wait for the database; 0 means Options.Query
	serve    func(ctx context.Context, c *call) error

	// For the document only.
	query     []*huma.Param
	request   reflect.Type // of the body
	answer    answer
	users     bool // the path's id is a user's
	keyed     bool // it reads an Idempotency-Key
	conflicts bool // it may answer 409
}

// call is one request on its way through a route.
type call struct {
	w      http.ResponseWriter
	r      *http.Request
	claims bridge.Claims
	body   []byte // shared with the next request once serve returns
	query  url.Values
	bad    bridge.InvalidError // faults of the parameters
}

// add registers rt in the router and in the OpenAPI document.
func (a *api) add(rt *route) {
	describeRoute(rt, a.huma.OpenAPI())
	a.huma.OpenAPI().AddOperation(&rt.op)
	a.huma.Adapter().Handle(&rt.op, func(hc huma.Context) {
		r, w := humago.Unwrap(hc)
		a.serve(rt, w, r)
	})
}

// serve runs rt: token, rate, scope, type and size of the body, then the route.
func (a *api) serve(rt *route, w http.ResponseWriter, r *http.Request) {
	defer a.recover(w, r)
	c := &call{w: w, r: r}
	if err := a.run(rt, c); err != nil {
		p := problemOf(err)
		if limit := p.limitHit(); limit != "" {
			a.hit(limit)
		}
		if p.kind == internal {
			a.o.Logger.Error("a request failed", "operation", rt.op.OperationID, "user", c.claims.User, "error", err)
		}
		p.write(w)
	}
}

func (a *api) run(rt *route, c *call) error {
	var err error
	switch {
	case rt.probe:
		err = a.pass(a.probes, c.r)
	case rt.open:
		err = a.pass(a.byAddress, c.r)
	default:
		err = a.admit(rt, c)
	}
	if err != nil {
		return err
	}
	if rt.maxBody > 0 {
		b, err := a.readBody(c.r, rt.maxBody, rt.optional)
		if b != nil {
			defer b.release()
			c.body = b.bytes
		}
		if err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(c.r.Context(), rt.wait)
	defer cancel()
	return rt.serve(ctx, c)
}

// admit checks who calls, how often, and whether they may.
func (a *api) admit(rt *route, c *call) error {
	claims, err := a.identify(c.r)
	if err != nil {
		if wait := a.addressWait(c.r); wait > 0 {
			return limited(wait, LimitRequestsPerAddress)
		}
		return err
	}
	c.claims = claims
	// Whoever posts for everybody is a back end of the application: trusted, and
	// by nature frequent.
	if !claims.Has(bridge.ScopeWrite) {
		if wait := a.byUser.take(c.r.Context(), claims.User); wait > 0 {
			return limited(wait, LimitRequestsPerUser)
		}
		if wait := a.addressWait(c.r); wait > 0 {
			return limited(wait, LimitRequestsPerAddress)
		}
	}
	if !claims.Has(rt.scope) {
		return lacking(scopeName(rt.scope))
	}
	return nil
}

// recover answers 500 where a handler panicked, and keeps the server up.
func (a *api) recover(w http.ResponseWriter, r *http.Request) {
	v := recover()
	if v == nil {
		return
	}
	if err, ok := v.(error); ok && errors.Is(err, http.ErrAbortHandler) {
		panic(v) // net/http closes the connection
	}
	// The value may hold what was sent: only its type is logged.
	a.o.Logger.Error("a handler panicked", "path", r.Pattern, "panic", fmt.Sprintf("%T", v), "stack", string(debug.Stack()))
	(&problem{kind: internal}).write(w)
}

// reply answers with a body of JSON that is complete.
func (c *call) reply(status int, body []byte) error {
	h := c.w.Header()
	h["Content-Type"] = jsonType
	h["Content-Length"] = []string{strconv.Itoa(len(body))}
	c.w.WriteHeader(status)
	_, _ = c.w.Write(body) // the caller may have gone
	return nil
}

var jsonType = []string{"application/json"}

// done answers 204.
func (c *call) done() error {
	c.w.WriteHeader(http.StatusNoContent)
	return nil
}

// values returns the query's parameters. A query that is not well-formed counts
// as malformed, and is not read in part.
func (c *call) values() (url.Values, error) {
	if c.query == nil {
		q, err := url.ParseQuery(c.r.URL.RawQuery)
		if err != nil {
			return nil, &problem{kind: malformed, detail: "the query is not well-formed"}
		}
		c.query = q
	}
	return c.query, nil
}

// id reads the path's {id} of a notification or report.
func (c *call) id() int64 {
	n, err := strconv.ParseInt(c.r.PathValue("id"), 10, 64)
	if err != nil || n < 1 {
		c.bad.Add("path.id", "is a positive integer")
	}
	return n
}

// user reads the path's {id} of a user.
func (c *call) user() bridge.UserID {
	u, err := bridge.ParseUserID(c.r.PathValue("id"))
	if err != nil {
		c.bad.Add("path.id", err.Error())
	}
	return u
}

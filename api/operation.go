package api

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/falconalert/falconbridge/bridge"
)

// rule is what an operation requires of a request before huma reads it.
type rule struct {
	open     bool          // anyone may call it, without a token
	probe    bool          // open; has its own rate, for load balancers
	scope    bridge.Scope  // needed beyond a valid token; 0: none
	maxBody  int64         // longest body, in bytes; 0: none is read
	optional bool          // the body may be left out
	keyed    bool          // it reads an Idempotency-Key
	wait     time.Duration // longest wait for the database; 0 means Options.Query

	status    int  // of the response when all is well; 0 means 200, or 204 without a body
	continues bool // 202, with the same body, if wait was too short and the server continues
	conflicts bool // it may return 409
	forbids   bool // it may return 403 depending on the request, although it requires no scope

	query bool // it has parameters in the query; set when it is registered
}

// Tags group the operations in the document.
const (
	tagInbox  = "Inbox"
	tagCreate = "Create"
	tagReport = "Reports"
	tagAdmin  = "Operators"
	tagHealth = "Health"
)

// operation describes one operation to huma.Register; at is its method and path.
// The checks of r run before huma reads parameters and body, so that a caller without the
// right to make a call learns nothing about the validity of its request.
func (a *api) operation(at, id, tag, summary, about string, r rule) huma.Operation {
	method, path, _ := strings.Cut(at, " ")
	op := huma.Operation{
		Method: method, Path: path, OperationID: id, Tags: []string{tag}, Summary: summary, Description: about,
		DefaultStatus: r.status, Metadata: map[string]any{ruleKey: &r},
		SkipValidateBody: true,          // see sent
		MaxBodyBytes:     r.maxBody + 1, // huma refuses a body of exactly MaxBodyBytes
	}
	if r.keyed {
		op.Parameters = append(op.Parameters, keyParameter())
	}
	r.wait = cmp.Or(r.wait, a.o.Query)
	op.Middlewares = huma.Middlewares{a.guard(&r)}
	return op
}

// ruleKey is the key of the *rule in an operation's Metadata.
const ruleKey = "rule"

// guard is the middleware of every operation: rate, token, scope, then type and
// size of the body, and only then huma.
func (a *api) guard(rule *rule) func(huma.Context, func(huma.Context)) {
	return func(hc huma.Context, next func(huma.Context)) {
		x := a.newExchange(hc)
		defer x.finish()
		if err := a.enter(rule, x); err != nil {
			x.fail(err)
			return
		}
		defer x.within(rule.wait)()
		next(x)
	}
}

func (a *api) enter(rule *rule, x *exchange) error {
	var err error
	switch {
	case rule.probe:
		err = a.pass(a.probes, x.r)
	case rule.open:
		err = a.pass(a.byAddress, x.r)
	default:
		x.claims, err = a.admit(rule.scope, x.r)
	}
	if err != nil {
		return err
	}
	if rule.query {
		// Refuse a malformed query as a whole; net/http would drop only its bad pairs.
		if x.query, err = url.ParseQuery(x.r.URL.RawQuery); err != nil {
			return &problem{kind: malformed, detail: "the query string is malformed"}
		}
	}
	if rule.maxBody == 0 {
		return nil
	}
	if err := checkBody(x.r, rule); err != nil {
		return err
	}
	x.body = body{r: x.r.Body, of: &a.bodies}
	if rule.keyed {
		return x.readKey()
	}
	return nil
}

// admit checks the caller's token, rate and scope. Verifying a signature costs up to a
// hundred times as much as the rest of a refusal, so an address that has used up its rate
// is refused before that. The application's back ends are trusted and post for all users:
// once their token was verified no rate applies to them, even if other clients share their
// address.
func (a *api) admit(scope bridge.Scope, r *http.Request) (bridge.Claims, error) {
	raw := bearer(r)
	known := a.backEnds.has(raw)
	if a.byAddress != nil && !known {
		if wait := a.byAddress.local.Wait(hostOf(r)); wait > 0 {
			return bridge.Claims{}, limited(wait, LimitRequestsPerAddress)
		}
	}
	claims, err := a.identify(r, raw)
	if err != nil {
		if wait := a.addressWait(r); wait > 0 {
			return claims, limited(wait, LimitRequestsPerAddress)
		}
		return claims, err
	}
	switch backEnd := claims.Has(bridge.ScopeWrite); {
	case backEnd && !known:
		a.backEnds.add(raw)
	case !backEnd:
		if wait := a.byUser.wait(r.Context(), claims.User); wait > 0 {
			return claims, limited(wait, LimitRequestsPerUser)
		}
		if wait := a.addressWait(r); wait > 0 {
			return claims, limited(wait, LimitRequestsPerAddress)
		}
	}
	if !claims.Has(scope) {
		return claims, lacking(scope)
	}
	return claims, nil
}

// readKey reads the header Idempotency-Key, if there is one. The key is bound to path and
// body: the same key with a different call is a conflict. The digest is complete once huma
// has read the body, see [exchange.idempotencyKey].
func (x *exchange) readKey() error {
	h, sent := x.r.Header["Idempotency-Key"]
	if !sent {
		return nil
	}
	if len(h) != 1 || !visible(h[0]) {
		var bad bridge.InvalidError
		bad.Add("header.Idempotency-Key", fmt.Sprintf("must be sent once, with 1 to %d visible ASCII characters", bridge.MaxKey))
		return bad.Err()
	}
	x.key = &bridge.IdempotencyKey{Caller: x.claims.User, Key: h[0]}
	x.body.sum = sha256.New()
	x.body.sum.Write([]byte(x.r.URL.Path + "\x00"))
	return nil
}

func visible(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return false
		}
	}
	return len(s) >= 1 && len(s) <= bridge.MaxKey
}

// idempotencyKey returns the key of a request whose body was read, nil where none was sent.
func (x *exchange) idempotencyKey() *bridge.IdempotencyKey {
	if x.key != nil {
		x.body.sum.Sum(x.key.Body[:0])
	}
	return x.key
}

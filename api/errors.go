package api

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/validation"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/bridge/token"
)

// problemKind is one type of problem (RFC 9457). Its name is the last part of the type
// reference, which never changes. The reference leads to a page with title and about.
type problemKind struct {
	name   string
	status int
	title  string
	about  string
	retry  int // Retry-After, in seconds; 0: none
}

// The kinds. Clients branch on type or status; title and detail are for people.
var (
	malformed = &problemKind{"malformed", http.StatusBadRequest, "The request is malformed",
		"The body is not strict JSON in UTF-8 (duplicate names in an object, unpaired surrogates and more than " + strconv.Itoa(maxDepth) + " levels of nesting are refused as well), or the query string is malformed. Nothing was changed.", 0}
	unauthorized = &problemKind{"unauthorized", http.StatusUnauthorized, "A valid token is required",
		"Send the header Authorization: Bearer <token>. The token is missing, invalid, expired or revoked. A token in the URL is ignored.", 0}
	forbidden = &problemKind{"forbidden", http.StatusForbidden, "The token does not allow this",
		"The token is valid, but its scope does not cover this call. The WWW-Authenticate header names the required scope.", 0}
	notFound = &problemKind{"not-found", http.StatusNotFound, "Not found",
		"There is no such path or resource, or it belongs to another user.", 0}
	notAllowed = &problemKind{"method-not-allowed", http.StatusMethodNotAllowed, "Method not allowed",
		"The Allow header lists the methods that this path supports.", 0}
	timedOut = &problemKind{"timeout", http.StatusRequestTimeout, "The body arrived too slowly",
		"The connection is closed. Nothing was changed.", 0}
	conflict = &problemKind{"conflict", http.StatusConflict, "Already exists",
		fmt.Sprintf("A report with this id already exists, or the user already has %d registered devices.", bridge.MaxRegistrations), 0}
	keyInFlight = &problemKind{"key-in-flight", http.StatusConflict, "The first request with this key is still in progress",
		"Repeat the request with the same Idempotency-Key a little later.", 1}
	tooLarge = &problemKind{"too-large", http.StatusRequestEntityTooLarge, "The body is too large",
		fmt.Sprintf("A body may have at most %s, a batch %s. Nothing was changed.", size(MaxBody), size(MaxBatchBody)), 0}
	unsupported = &problemKind{"unsupported-media-type", http.StatusUnsupportedMediaType, "The body is not JSON",
		"Send Content-Type: application/json, in UTF-8 and without Content-Encoding.", 0}
	invalid = &problemKind{"invalid", http.StatusUnprocessableEntity, "Some fields are invalid",
		"errors[] lists each invalid field with its location, for example body.title or query.limit. Nothing was changed.", 0}
	keyReused = &problemKind{"key-reused", http.StatusUnprocessableEntity, "The idempotency key was already used with a different body",
		fmt.Sprintf("An Idempotency-Key identifies one request for %d hours. Use a new key for a new request.", bridge.KeyTTL/time.Hour), 0}
	tooMany = &problemKind{"too-many-requests", http.StatusTooManyRequests, "Too many requests",
		"Wait for the number of seconds in Retry-After.", 1}
	internal = &problemKind{"internal", http.StatusInternalServerError, "Internal error",
		"The fault is in the server, not in the request. The server's log has the cause, under the response's X-Request-Id.", 0}
	unavailable = &problemKind{"unavailable", http.StatusServiceUnavailable, "The service is temporarily unavailable",
		"The database or the source of the token keys does not respond, or the node has no memory left for another large body. Repeat the request after the number of seconds in Retry-After. Repeat a POST with its Idempotency-Key, because the first attempt may have succeeded.", 2}
)

var problemKinds = []*problemKind{malformed, unauthorized, forbidden, notFound, notAllowed, timedOut, conflict, keyInFlight,
	tooLarge, unsupported, invalid, keyReused, tooMany, internal, unavailable}

func (k *problemKind) ref() string { return "/problems/" + k.name }

// errorKinds maps errors to kinds; the first match counts.
var errorKinds = []struct {
	err    error
	kind   *problemKind
	detail string // "" means the kind's title
}{
	{token.ErrUnavailable, unavailable, ""}, // must precede ErrInvalid: such errors match both
	{token.ErrInvalid, unauthorized, ""},
	{token.ErrExpired, unauthorized, ""},
	{token.ErrRevoked, unauthorized, ""},
	{bridge.ErrForbidden, forbidden, ""},
	{bridge.ErrNotFound, notFound, "there is nothing with this id, or it belongs to another user"},
	{bridge.ErrConflict, conflict, ""},
	{bridge.ErrKeyInFlight, keyInFlight, ""},
	{bridge.ErrKeyReused, keyReused, ""},
	{bridge.ErrUnavailable, unavailable, ""},
	{context.DeadlineExceeded, unavailable, ""},
	{context.Canceled, unavailable, ""}, // the caller has disconnected and does not read it
}

// noPath is the problem of a path that the API does not serve.
var noPath = &problem{kind: notFound, detail: "there is no such path; /openapi.json lists all paths"}

// problem is an error as a response.
type problem struct {
	kind         *problemKind
	detail       string // "" means the faults, or the kind's title if there are none
	faults       []bridge.FieldError
	authenticate string // WWW-Authenticate
	retry        int    // Retry-After in seconds; 0 means the kind's
	limit        string // the limit exceeded, for metrics; "": none or implied by kind
}

func (p *problem) Error() string { return p.body(bridge.English).Detail }

// problemOf returns the problem for err. Details of unexpected errors stay in the log.
func problemOf(err error) *problem {
	var p *problem
	if errors.As(err, &p) {
		return p
	}
	var bad *bridge.InvalidError
	if errors.As(err, &bad) {
		return &problem{kind: invalid, faults: bad.Fields}
	}
	for _, e := range errorKinds {
		if errors.Is(err, e.err) {
			return &problem{kind: e.kind, detail: e.detail}
		}
	}
	return &problem{kind: internal}
}

// sentence joins the first faults in one line.
func sentence(faults []fieldProblem) string {
	var b strings.Builder
	for i, f := range faults {
		if i == 5 {
			b.WriteString("; …")
			break
		}
		if i > 0 {
			b.WriteString("; ")
		}
		b.WriteString(f.Location + ": " + f.Message)
	}
	return b.String()
}

// problemBody is the body of application/problem+json. It never contains a value from the
// request. Title, Detail and Message are for people, in the language of the request; Type,
// Status, Location and Code are for programs and never change.
type problemBody struct {
	Type   string         `json:"type" example:"/problems/invalid" doc:"The kind of problem, as a reference that never changes and leads to an explanation."`
	Title  string         `json:"title" example:"Some fields are invalid" doc:"The kind of problem, in words."`
	Status int            `json:"status" example:"422" doc:"The HTTP status."`
	Detail string         `json:"detail" example:"body.title: is required" doc:"What is wrong with this request."`
	Errors []fieldProblem `json:"errors,omitempty" nullable:"false" doc:"The invalid fields."`
}

type fieldProblem struct {
	Location string `json:"location" example:"body.title" doc:"Where: body.…, query.…, path.… or header.…"`
	Message  string `json:"message" example:"is required" doc:"What is wrong with it."`
	Code     string `json:"code" enum:"required,unknown,invalid" example:"required" doc:"The fault in one word that does not depend on the language."`
}

// Messages that have a code of their own.
const (
	isRequired = "is required" // also with a condition after it
	isUnknown  = "is not a known field"
)

// codeOf returns the code of a fault.
func codeOf(message string) string {
	switch {
	case strings.HasPrefix(message, isRequired):
		return "required"
	case message == isUnknown:
		return "unknown"
	}
	return "invalid"
}

// Error, GetStatus and ContentType make a problemBody huma's StatusError.
func (b *problemBody) Error() string             { return b.Detail }
func (b *problemBody) GetStatus() int            { return b.Status }
func (b *problemBody) ContentType(string) string { return problemType }

// body returns p in the language l.
func (p *problem) body(l bridge.Locale) *problemBody {
	b := &problemBody{Type: p.kind.ref(), Title: Translate(l, p.kind.title), Status: p.kind.status, Detail: Translate(l, p.detail)}
	for _, f := range p.faults {
		b.Errors = append(b.Errors, fieldProblem{f.Location, Translate(l, f.Message), codeOf(f.Message)})
	}
	switch {
	case b.Detail != "":
	case len(b.Errors) > 0:
		b.Detail = sentence(b.Errors)
	default:
		b.Detail = b.Title
	}
	return b
}

// headers sets the headers of p, whose body is in the language l.
func (p *problem) headers(h http.Header, l bridge.Locale) {
	h.Set("Content-Type", problemType)
	setLanguage(h, l)
	if p.authenticate != "" {
		h.Set("WWW-Authenticate", p.authenticate)
	}
	if retry := max(p.retry, p.kind.retry); retry > 0 {
		h.Set("Retry-After", strconv.Itoa(retry))
	}
}

// write writes p in the language l, as a response outside huma's operations.
func (p *problem) write(w http.ResponseWriter, l bridge.Locale) {
	var b bytes.Buffer
	_ = strictJSON.Marshal(&b, p.body(l)) // strings and an integer cannot fail
	h := w.Header()
	p.headers(h, l)
	h.Set("Content-Length", strconv.Itoa(b.Len()))
	w.WriteHeader(p.kind.status)
	_, _ = w.Write(b.Bytes()) // the caller may have gone
}

// humaMessages replaces the messages about parameters that huma has in its code.
var humaMessages = map[string]string{
	"required query parameter is missing":   isRequired,
	"invalid integer":                       "must be an integer",
	"invalid boolean":                       "must be true or false",
	"expected string to match pattern [^ ]": "must not be blank", // of match
}

// huma builds every error response with these two functions, for errors of its own, of
// resolvers and of handlers, and every message about a parameter from these variables.
func init() {
	validation.MsgExpectedMinimumNumber = "must be at least %.0f"
	validation.MsgExpectedMaximumNumber = "must be at most %.0f"
	validation.MsgExpectedMinLength = "must have at least %d characters"
	validation.MsgExpectedMaxLength = "must have at most %d characters"
	validation.MsgExpectedMinItems = "must have at least %d entries"
	validation.MsgExpectedMaxItems = "must have at most %d entries"
	validation.MsgExpectedOneOf = "must be one of: %s"
	// Of all parameters, only user ids have more than one schema.
	validation.MsgExpectedMatchExactlyOneSchema = "must be a user id"

	huma.NewError = func(status int, _ string, errs ...error) huma.StatusError {
		return problemOfHuma(status, errs).body(bridge.English)
	}
	huma.NewErrorWithContext = func(hc huma.Context, status int, _ string, errs ...error) huma.StatusError {
		p := problemOfHuma(status, errs)
		x, ok := hc.(*exchange)
		if !ok {
			return p.body(bridge.English)
		}
		p.headers(x.w.Header(), x.language())
		x.note(p, errors.Join(errs...))
		return p.body(x.language())
	}
}

// problemOfHuma returns the problem of a request: the faults of its parameters, which huma
// collects, or the only error of its body or its handler. huma's messages never contain a
// value from the request.
func problemOfHuma(status int, errs []error) *problem {
	var params bridge.InvalidError
	for _, err := range errs {
		var one *huma.ErrorDetail
		var many *bridge.InvalidError
		switch {
		case errors.As(err, &one):
			params.Add(one.Location, cmp.Or(humaMessages[one.Message], one.Message))
		case errors.As(err, &many):
			params.Fields = append(params.Fields, many.Fields...)
		default:
			return problemOf(err)
		}
	}
	switch {
	case len(params.Fields) > 0:
		return problemOf(&params)
	case status == http.StatusBadRequest:
		return &problem{kind: malformed, detail: "the body is empty"}
	case status == http.StatusRequestEntityTooLarge:
		return &problem{kind: tooLarge, detail: "the body is larger than this call accepts"}
	}
	return &problem{kind: internal}
}

// problemPage serves the page that a problem's type leads to.
func (a *api) problemPage(w http.ResponseWriter, r *http.Request) {
	l := a.language(r)
	for _, k := range problemKinds {
		if k.name == r.PathValue("name") {
			w.Header().Set("Content-Type", "text/plain; charset=utf-8")
			setLanguage(w.Header(), l)
			_, _ = w.Write([]byte(strconv.Itoa(k.status) + " " + Translate(l, k.title) + "\n\n" + Translate(l, k.about) + "\n"))
			return
		}
	}
	noPath.write(w, l)
}

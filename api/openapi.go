package api

import (
	"net/http"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/falconalert/falconbridge/bridge"
)

const security = "bearer"

// newDocument starts the OpenAPI document.
func newDocument(version string) *huma.OpenAPI {
	return &huma.OpenAPI{
		OpenAPI: "3.1.0",
		Info: &huma.Info{
			Title:   "falconbridge",
			Version: version,
			Description: "Durable notifications over REST and MQTT. A notification that was accepted with 201 is on disk and reaches every persistent device of its user, in order.\n\n" +
				"Errors are problem details (RFC 9457); branch on `type` or `status`, and in `errors[]` on `location` and `code`. Their texts, and that of a 201, are in the language that `Accept-Language` asks for (" + localeNames() + "), otherwise in that of `--locale`; `Content-Language` names it. 401 and 403 are returned before the body is read. " +
				"Bodies are strict JSON: duplicate names in an object are malformed. Unknown fields are ignored and named in `X-Unknown-Fields` (percent-encoded, at most 10), or refused with 422 with `?strict=1`. " +
				"The MQTT side is described at `/asyncapi.json`.",
			License: &huma.License{Name: "Apache-2.0", Identifier: "Apache-2.0"},
		},
		// Relative to the document's URL, so that it is also right below a proxy's path.
		Servers: []*huma.Server{{URL: "."}},
		Tags: []*huma.Tag{
			{Name: tagInbox, Description: "What users do with their own notifications."},
			{Name: tagCreate, Description: "What the application's servers call."},
			{Name: tagReport, Description: "Reports, and the decisions that their owners are notified of."},
			{Name: tagAdmin, Description: "What operators see and do."},
			{Name: tagHealth, Description: "For load balancers and supervisors."},
		},
		Components: &huma.Components{
			Schemas: newRegistry(),
			SecuritySchemes: map[string]*huma.SecurityScheme{security: {
				Type: "http", Scheme: "bearer", BearerFormat: "JWT",
				Description: "A JWT of the application that owns the users: `sub` is the user id, `scope` grants further rights. It is read from the Authorization header only, never from the URL.",
			}},
			Responses: problemResponses(),
			Headers:   headers(),
		},
	}
}

// localeNames returns the languages of built-in texts, such as "en, es".
func localeNames() string {
	var names []string
	for _, l := range bridge.Locales() {
		names = append(names, string(l))
	}
	return strings.Join(names, ", ")
}

func headers() map[string]*huma.Header {
	text := func(about, example string) *huma.Header {
		return &huma.Header{Description: about, Schema: &huma.Schema{Type: huma.TypeString}, Example: example}
	}
	number := func(about string, example int) *huma.Header {
		return &huma.Header{Description: about, Schema: &huma.Schema{Type: huma.TypeInteger}, Example: example}
	}
	return map[string]*huma.Header{
		"Link":                 text("The next page, if there is one (RFC 8288), relative to the request URL.", `<?before=12&limit=50>; rel="next"`),
		"Location":             text("Where the created resource can be read, relative to the request URL.", "reports/2"),
		"X-Last-Seq":           number("The highest seq assigned to the user.", 12),
		"X-Unread-Count":       number("The number of unread notifications.", 3),
		"X-Rev":                number("Counts the changes of the inbox's state: read, unread, deleted, muted.", 88),
		"X-Epoch":              text("Identifies the life of the log. When it changes, known seqs mean nothing.", "5J3K7Q"),
		"Idempotency-Replayed": text("true if the response is that to an earlier request with the same key.", "true"),
		"X-Unknown-Fields":     text("The fields of the body that were ignored, percent-encoded, at most 10. With strict=1 they are refused instead.", "titel, data.x"),
		"Content-Language":     text("The language of the texts: the one that Accept-Language asks for, otherwise --locale.", "en"),
		"Retry-After":          number("The number of seconds to wait.", 2),
		"Allow":                text("The methods of the path.", "GET, POST"),
		"WWW-Authenticate":     text("What the token lacks (RFC 6750).", realm),
	}
}

func headerRefs(names ...string) map[string]*huma.Header {
	if len(names) == 0 {
		return nil
	}
	refs := make(map[string]*huma.Header, len(names))
	for _, n := range names {
		refs[n] = &huma.Header{Ref: "#/components/headers/" + n}
	}
	return refs
}

// problemResponses returns one response per status. Kinds that share a status differ in
// their type.
func problemResponses() map[string]*huma.Response {
	rs := map[string]*huma.Response{}
	for _, k := range problemKinds {
		name := strconv.Itoa(k.status)
		if r, ok := rs[name]; ok {
			r.Description += " Or: " + k.about
			r.Content[problemType].Examples[k.name] = k.example()
			continue
		}
		r := &huma.Response{Description: k.about, Content: map[string]*huma.MediaType{problemType: {
			Schema:   &huma.Schema{Ref: "#/components/schemas/Problem"},
			Examples: map[string]*huma.Example{k.name: k.example()},
		}}}
		r.Headers = headerRefs("Content-Language")
		switch k.status {
		case http.StatusUnauthorized, http.StatusForbidden:
			r.Headers = with(r.Headers, "WWW-Authenticate")
		case http.StatusTooManyRequests, http.StatusServiceUnavailable:
			r.Headers = with(r.Headers, "Retry-After")
		case http.StatusMethodNotAllowed:
			r.Headers = with(r.Headers, "Allow")
		}
		rs[name] = r
	}
	return rs
}

const problemType = "application/problem+json"

func (k *problemKind) example() *huma.Example {
	b := problemBody{Type: k.ref(), Title: k.title, Status: k.status, Detail: k.title}
	if k == invalid {
		b.Errors = []fieldProblem{{"body.title", isRequired, codeOf(isRequired)}}
		b.Detail = "body.title: is required"
	}
	return &huma.Example{Summary: k.title, Value: b}
}

// documented is an API that adds the rules of its operations to the document: who may call
// them, and which problems they may return.
type documented struct{ huma.API }

// DocumentOperation is called by huma.Register once it knows the parameters, the
// body and the response of op.
func (d *documented) DocumentOperation(op *huma.Operation) {
	rule := op.Metadata[ruleKey].(*rule)
	for _, p := range op.Parameters {
		rule.query = rule.query || p.In == "query"
		p.Explode = nil // none is a list
		if p.Schema.Description = ""; p.Schema.OneOf != nil {
			p.Schema.Description = userSchema{}.Schema(nil).Description
		}
	}
	if op.RequestBody != nil {
		op.RequestBody.Required = !rule.optional
		op.Parameters = append(op.Parameters, strictParameter())
	}
	if !rule.open {
		op.Security = []map[string][]string{{security: {}}}
		who := "Requires a token."
		if rule.scope != 0 {
			who = "Requires the scope `" + spelled(rule.scope) + "`."
			if rule.scope != bridge.ScopeAdmin {
				who = "Requires the scope `" + spelled(rule.scope) + "` or `admin`."
			}
		}
		op.Description = strings.TrimSpace(op.Description + "\n\n" + who)
	}
	known := d.OpenAPI().Components.Headers
	for status, r := range op.Responses {
		if op.RequestBody != nil && status[0] == '2' {
			r.Headers = with(r.Headers, "X-Unknown-Fields")
		}
		for name := range r.Headers {
			if _, ok := known[name]; ok {
				r.Headers[name] = &huma.Header{Ref: "#/components/headers/" + name}
			}
		}
	}
	delete(op.Responses, "default")
	if rule.continues {
		accepted := &huma.Response{Description: "Accepted. The server continues in the background."}
		if all := op.Responses["200"]; all != nil {
			accepted.Content = all.Content
		}
		op.Responses["202"] = accepted
	}
	for _, status := range rule.problems(op) {
		op.Responses[strconv.Itoa(status)] = &huma.Response{Ref: "#/components/responses/" + strconv.Itoa(status)}
	}
	d.OpenAPI().AddOperation(op)
}

// problems returns the statuses of the problems that op may return.
func (r *rule) problems(op *huma.Operation) []int {
	list := []int{http.StatusInternalServerError, http.StatusServiceUnavailable, http.StatusTooManyRequests}
	if !r.open {
		list = append(list, http.StatusUnauthorized)
	}
	if r.scope != 0 || r.forbids {
		list = append(list, http.StatusForbidden)
	}
	for _, p := range op.Parameters {
		switch p.In {
		case "path":
			list = append(list, http.StatusUnprocessableEntity)
			if p.Schema.Type == huma.TypeInteger { // a user is never unknown
				list = append(list, http.StatusNotFound)
			}
		case "query":
			list = append(list, http.StatusBadRequest, http.StatusUnprocessableEntity)
		}
	}
	if r.maxBody > 0 {
		list = append(list, http.StatusBadRequest, http.StatusRequestTimeout, http.StatusRequestEntityTooLarge,
			http.StatusUnsupportedMediaType, http.StatusUnprocessableEntity)
	}
	if r.keyed || r.conflicts {
		list = append(list, http.StatusConflict)
	}
	return list
}

// with returns headers with a reference to another one.
func with(headers map[string]*huma.Header, name string) map[string]*huma.Header {
	if headers == nil {
		headers = make(map[string]*huma.Header, 1)
	}
	headers[name] = &huma.Header{Ref: "#/components/headers/" + name}
	return headers
}

// strictParameter is the parameter of every operation that reads a body, see reportUnknown.
func strictParameter() *huma.Param {
	return &huma.Param{Name: "strict", In: "query", Description: "1: unknown fields are refused with 422. Otherwise `X-Unknown-Fields` names them.",
		Schema: &huma.Schema{Type: huma.TypeInteger, Enum: []any{1}}}
}

// keyParameter is the header of the operations that a caller may repeat.
func keyParameter() *huma.Param {
	one, most := 1, bridge.MaxKey
	return &huma.Param{Name: "Idempotency-Key", In: "header",
		Description: "Identifies this request for 24 hours: a repeat gets the first response, a different body 422, and any repeat 409 while the first is in progress.",
		Schema:      &huma.Schema{Type: huma.TypeString, MinLength: &one, MaxLength: &most, Pattern: "^[!-~]+$"}}
}

package api

import (
	"bytes"
	"encoding/json"
	"flag"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/bridge/delivery"
)

var update = flag.Bool("update", false, "rewrite testdata")

// bare returns the API without a database.
func bare(t *testing.T, change ...func(*Options)) *harness {
	t.Helper()
	log := &memLog{}
	o := Options{Service: bridge.NewService(bridge.ServiceOptions{Log: log, Hub: delivery.NewHub(delivery.Options{}), Bus: silentBus{}}),
		Verifier: testVerifier(t), Version: "test"}
	for _, c := range change {
		c(&o)
	}
	h, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return &harness{t: t, handler: h, service: o.Service}
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	var b bytes.Buffer
	if err := json.Indent(&b, got, "", "  "); err != nil {
		t.Fatal(err)
	}
	b.WriteByte('\n')
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(want, b.Bytes()) {
		t.Errorf("%s changed: run go test ./api -update and look at the difference", file)
	}
}

func TestDocumentsMatchTheGoldenFiles(t *testing.T) {
	e := bare(t)
	golden(t, "openapi.json", e.call("GET /openapi.json", "", "").want(http.StatusOK).Body.Bytes())
	golden(t, "asyncapi.json", e.call("GET /asyncapi.json", "", "").want(http.StatusOK).Body.Bytes())
}

func TestOpenAPIHasEveryCallOfTheContract(t *testing.T) {
	var d struct {
		OpenAPI string
		Paths   map[string]map[string]struct {
			OperationID string
			Security    []any
			Responses   map[string]any
		}
		Components struct{ SecuritySchemes, Responses map[string]any }
	}
	bare(t).call("GET /openapi.json", "", "").into(&d)
	if !strings.HasPrefix(d.OpenAPI, "3.1") || d.Components.SecuritySchemes["bearer"] == nil {
		t.Errorf("openapi %q, security schemes %v", d.OpenAPI, d.Components.SecuritySchemes)
	}
	for _, call := range []string{
		"get /notifications", "post /notifications", "post /notifications/batch", "get /notifications/count",
		"post /notifications/read", "post /notifications/{id}/read", "delete /notifications/{id}",
		"get /notifications/{id}/deliveries", "get /admin/notifications/{id}/explain", "get /users/{id}/notifications", "get /settings", "patch /settings",
		"post /reports", "get /reports", "get /reports/{id}", "put /admin/reports/{id}/status", "delete /admin/users/{id}",
		"get /admin/connections", "delete /admin/users/{id}/connections", "post /admin/revocations", "get /admin/stats",
		"get /healthz", "get /readyz", "get /push/key", "get /devices", "put /devices/{client_id}", "delete /devices/{client_id}",
		"post /devices/{client_id}/test", "post /admin/webhooks/{id}/redeliver",
	} {
		method, path, _ := strings.Cut(call, " ")
		op, ok := d.Paths[path][method]
		if !ok {
			t.Errorf("%s is not documented", call)
			continue
		}
		open := path == "/healthz" || path == "/readyz" || path == "/push/key"
		if open != (len(op.Security) == 0) {
			t.Errorf("%s: security %v", call, op.Security)
		}
		if _, refuses := op.Responses["401"]; refuses == open {
			t.Errorf("%s: documents a 401: %v", call, refuses)
		}
	}
}

func TestProblemTypesLeadToAnExplanation(t *testing.T) {
	e := bare(t)
	for _, k := range problemKinds {
		a := e.call("GET "+k.ref(), "", "").want(http.StatusOK)
		if !strings.Contains(a.Body.String(), k.about) {
			t.Errorf("%s: %s", k.ref(), a.Body)
		}
	}
	e.call("GET /problems/none", "", "").problem(http.StatusNotFound)
}

// The item is written and the draft is read by hand-written code: their schemas must
// agree with it.
func TestSchemasMatchHandWrittenJSON(t *testing.T) {
	n := bridge.Notification{ID: 1, Seq: 2, User: "3", Kind: bridge.KindReportStatus, Title: "t", Message: "m",
		CreatedAt: time.Now(), ReadAt: time.Now(), ReportID: 4, StatusID: 2, Data: json.RawMessage(`{}`),
		URL: "/", Replaces: "k", ExpiresAt: time.Now()}
	var item map[string]any
	if err := json.Unmarshal(n.Item(), &item); err != nil {
		t.Fatal(err)
	}
	sameNames(t, item, notificationBody{})

	var count map[string]any
	b, err := json.Marshal(bridge.Count{})
	if err != nil || json.Unmarshal(b, &count) != nil {
		t.Fatal(err)
	}
	sameNames(t, count, countBody{})
}

func sameNames(t *testing.T, got map[string]any, body any) {
	t.Helper()
	typ := reflect.TypeOf(body)
	var want []string
	for i := range typ.NumField() {
		name, _, _ := strings.Cut(typ.Field(i).Tag.Get("json"), ",")
		want = append(want, name)
		if _, ok := got[name]; !ok {
			t.Errorf("%s is documented and not written", name)
		}
	}
	for name := range got {
		if !slices.Contains(want, name) {
			t.Errorf("%s is written and not documented", name)
		}
	}
}

func TestAsyncAPIHasTheNamesOfTheContract(t *testing.T) {
	e := bare(t, func(o *Options) { o.Topics.Prefix = `staging "1"/` })
	var d struct {
		AsyncAPI string
		Info     struct{ Version string }
		Channels map[string]struct{ Address string }
		Servers  map[string]struct{ Protocol, Pathname string }
		Codes    []struct {
			Packet, Code string
			V3           *int
		} `json:"x-reason-codes"`
		Components struct {
			Schemas map[string]struct{ Properties map[string]any }
		}
	}
	body := e.call("GET /asyncapi.json", "", "").into(&d).Body.String()
	if !strings.HasPrefix(d.AsyncAPI, "3.") || d.Info.Version != "test" {
		t.Errorf("asyncapi %q, version %q", d.AsyncAPI, d.Info.Version)
	}
	topics := bridge.Topics{Prefix: `staging "1"/`}
	if got, want := d.Channels["notifications"].Address, topics.Status("{userId}"); got != want {
		t.Errorf("address %q, want %q", got, want)
	}
	if got, want := d.Channels["everyone"].Address, topics.Everyone(); got != want {
		t.Errorf("address %q, want %q", got, want)
	}
	if s := d.Servers["websocket"]; s.Protocol != "ws" || s.Pathname != "/mqtt" {
		t.Errorf("websocket server %+v", s)
	}
	for _, name := range []string{"id", "seq", "kind", "epoch"} {
		if d.Components.Schemas["userProperties"].Properties[name] == nil {
			t.Errorf("user property %s is missing", name)
		}
	}
	item := reflect.TypeFor[notificationBody]()
	for i := range item.NumField() {
		name, _, _ := strings.Cut(item.Field(i).Tag.Get("json"), ",")
		if d.Components.Schemas["notification"].Properties[name] == nil {
			t.Errorf("payload field %s is missing", name)
		}
	}
	state := reflect.TypeFor[stateBody]()
	for i := range state.NumField() {
		name, _, _ := strings.Cut(state.Field(i).Tag.Get("json"), ",")
		if d.Components.Schemas["state"].Properties[name] == nil {
			t.Errorf("field %s of a state message is missing", name)
		}
	}
	var codes []string
	for _, c := range d.Codes {
		codes = append(codes, c.Packet+" "+c.Code)
	}
	for _, want := range []string{"CONNACK 0x86", "CONNACK 0x87", "CONNACK 0x88", "CONNACK 0x89", "CONNACK 0x97", "CONNACK 0x9F",
		"SUBACK 0x87", "SUBACK 0x83", "PUBACK 0x87", "DISCONNECT 0x8E", "DISCONNECT 0x8B"} {
		if !slices.Contains(codes, want) {
			t.Errorf("%s is missing", want)
		}
	}
	for _, want := range []string{"since", "AUTH 0x19", "payloadFormatIndicator", `"qos": 1`} {
		if !strings.Contains(body, want) {
			t.Errorf("%s is not mentioned", want)
		}
	}
}

func TestDocsPageLoadsNothingFromElsewhere(t *testing.T) {
	e := bare(t)
	elsewhere := regexp.MustCompile(`(?i)(src|href)\s*=\s*"(https?:)?//|\burl\(|@import|import\s+.*from\s+['"]http`)
	for path, contentType := range map[string]string{
		"/docs": "text/html; charset=utf-8", "/docs/docs.js": "text/javascript; charset=utf-8", "/docs/docs.css": "text/css; charset=utf-8",
	} {
		a := e.call("GET "+path, "", "").want(http.StatusOK)
		if got := a.Header().Get("Content-Type"); got != contentType {
			t.Errorf("%s: content type %q", path, got)
		}
		if found := elsewhere.FindString(strings.ReplaceAll(a.Body.String(), "new URL(", "")); found != "" {
			t.Errorf("%s loads from elsewhere: %s", path, found)
		}
		policy := a.Header().Get("Content-Security-Policy")
		if !strings.Contains(policy, "default-src 'none'") || strings.Contains(policy, "unsafe") || strings.Contains(policy, "http") {
			t.Errorf("%s: policy %q", path, policy)
		}
	}
	page := string(docsPage)
	if regexp.MustCompile(`<script>|<style|\son\w+=|style=`).MatchString(page) || strings.Contains(string(docsScript), "innerHTML") {
		t.Error("the page has inline script, inline style or innerHTML")
	}
}

package push

import (
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/bridge/late"
)

const rejected = late.Rejected

func testKey(t *testing.T) *Key {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	key, err := newKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// senderTo returns a sender that may send only to s, and a registration there.
func senderTo(t *testing.T, s *httptest.Server) (*Sender, bridge.Registration) {
	t.Helper()
	device, err := ecdh.P256().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	encode := base64.RawURLEncoding.EncodeToString
	r := bridge.Registration{Device: bridge.Device{User: "7", ClientID: "phone"}, Endpoint: s.URL + "/secret",
		P256DH: encode(device.PublicKey().Bytes()), Auth: encode(make([]byte, 16))}
	if err := r.Check(); err != nil {
		t.Fatal(err)
	}
	o := Options{Key: testKey(t), Contact: "mailto:ops@example.com", Hosts: Hosts{s.Listener.Addr().String()}}
	return NewSender(o.WithRoots(roots(s))), r
}

func TestAMessageHasTheHeadersOfItsRFCs(t *testing.T) {
	got := make(chan *http.Request, 1)
	s, _ := internal(t, func(w http.ResponseWriter, r *http.Request) {
		got <- r
		w.WriteHeader(http.StatusCreated)
	})
	sender, r := senderTo(t, s)
	n := bridge.Notification{ID: 1, Seq: 1, User: "7", Kind: bridge.KindMessage, Title: "t", Message: "m", CreatedAt: time.Now()}
	if o := sender.Send(t.Context(), r, []bridge.Notification{n}); o.Result != late.Sent {
		t.Fatalf("%+v", o)
	}
	req := <-got
	if h := req.Header; h.Get("TTL") != "604800" || h.Get("Content-Encoding") != "aes128gcm" || h.Get("Topic") != "" {
		t.Errorf("headers %v", h)
	}
	token, found := strings.CutPrefix(req.Header.Get("Authorization"), "vapid t=")
	parts := strings.Split(token, ".")
	if !found || len(parts) != 3 || !strings.HasSuffix(token, ", k="+sender.PublicKey()) {
		t.Fatalf("authorization %q", req.Header.Get("Authorization"))
	}
	claims, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		t.Fatal(err)
	}
	var c struct {
		Aud, Sub string
		Exp      int64
	}
	if err := json.Unmarshal(claims, &c); err != nil || c.Aud != s.URL || c.Sub != "mailto:ops@example.com" ||
		time.Until(time.Unix(c.Exp, 0)) > 24*time.Hour {
		t.Errorf("claims %s, %v", claims, err)
	}
}

func TestResponsesOfAPushServiceBecomeOutcomes(t *testing.T) {
	for name, tt := range map[string]struct {
		status int
		header string
		want   late.Result
		after  time.Duration
	}{
		"accepted":                        {201, "", late.Sent, 0},
		"accepted, to be delivered later": {202, "", late.Sent, 0},
		"unknown":                         {404, "", late.Gone, 0},
		"gone":                            {410, "", late.Gone, 0},
		"too many":                        {429, "120", late.Failed, 2 * time.Minute},
		"unavailable":                     {503, "", late.Failed, 0},
		"unavailable for a year":          {503, "31536000", late.Failed, 24 * time.Hour},
		"unavailable forever":             {503, "99999999999999999", late.Failed, 24 * time.Hour},
		"unavailable since yesterday":     {503, "-5", late.Failed, 0},
		"unavailable, not a number":       {503, "soon", late.Failed, 0},
		"another key":                     {403, "", late.Rejected, 0},
		"too large":                       {413, "", late.Rejected, 0},
	} {
		t.Run(name, func(t *testing.T) {
			s, _ := internal(t, func(w http.ResponseWriter, _ *http.Request) {
				if tt.header != "" {
					w.Header().Set("Retry-After", tt.header)
				}
				w.WriteHeader(tt.status)
			})
			sender, r := senderTo(t, s)
			if o := sender.Test(t.Context(), r); o.Result != tt.want || o.After != tt.after || o.Status != tt.status {
				t.Errorf("%+v", o)
			}
		})
	}
	if got := retryAfter(time.Now().Add(time.Hour).UTC().Format(http.TimeFormat)); got < 59*time.Minute || got > time.Hour {
		t.Errorf("a date in an hour: %v", got)
	}
}

func TestErrorsDoNotContainTheEndpoint(t *testing.T) {
	s, _ := internal(t, nil)
	sender, r := senderTo(t, s)
	s.Close()
	o := sender.Test(t.Context(), r)
	if o.Result != late.Failed || strings.Contains(o.Err.Error(), "secret") {
		t.Errorf("%+v", o)
	}
}

func TestPushesOfAUserAndToAHostAreRateLimited(t *testing.T) {
	s, connections := internal(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(201) })
	sender, r := senderTo(t, s)
	limited := 0
	for range 50 {
		if o := sender.Test(t.Context(), r); o.Result == late.Limited && o.After > 0 {
			limited++
		}
	}
	if limited == 0 || connections.Load() == 0 {
		t.Errorf("%d of 50 messages at once were deferred", limited)
	}
}

func TestAPayloadAlwaysFits(t *testing.T) {
	base, err := url.Parse("https://app.example/inbox/")
	if err != nil {
		t.Fatal(err)
	}
	for name, n := range map[string]bridge.Notification{
		"small":              {Title: "Título", Message: "Mensaje"},
		"long text":          {Title: "t", Message: strings.Repeat("ñ", bridge.MaxMessage)},
		"long data":          {Title: "t", Message: "m", Data: json.RawMessage(`{"a":"` + strings.Repeat("x", 4000) + `"}`)},
		"all long":           {Title: strings.Repeat("😀", bridge.MaxTitle), Message: strings.Repeat("😀", bridge.MaxMessage), Data: json.RawMessage(`{"a":"` + strings.Repeat("x", 4000) + `"}`)},
		"all escaped":        {Title: strings.Repeat("\x01", bridge.MaxTitle), Message: strings.Repeat("\x01", bridge.MaxMessage)},
		"a quote at the cut": {Title: "t", Message: strings.Repeat(`"`, bridge.MaxMessage)},
	} {
		t.Run(name, func(t *testing.T) {
			n.ID, n.Seq, n.User, n.Kind, n.CreatedAt = 27, 3, "7", bridge.KindMessage, time.Now()
			b := singlePayload(&n, base)
			var m struct {
				WebPush      int `json:"web_push"`
				Notification struct {
					Title, Body, Navigate string
					Data                  map[string]any
				}
			}
			if err := json.Unmarshal(b, &m); err != nil || len(b) > maxPayload || !utf8.Valid(b) {
				t.Fatalf("%d bytes, %v: %s", len(b), err, b)
			}
			c := m.Notification
			if m.WebPush != 8030 || c.Navigate != base.String() || c.Data["id"] != 27.0 || c.Data["title"] != nil || c.Data["message"] != nil ||
				!strings.HasPrefix(n.Title, strings.TrimSuffix(c.Title, "…")) || !strings.HasPrefix(n.Message, strings.TrimSuffix(c.Body, "…")) {
				t.Errorf("payload %s", b)
			}
			if len(n.Data) == 0 && n.Message[0] > ' ' && len(n.Message) > maxPayload && len(b) < maxPayload-8 {
				t.Errorf("only %d of %d bytes are used", len(b), maxPayload)
			}
		})
	}
}

func TestNavigateResolvesLinks(t *testing.T) {
	base, err := url.Parse("https://app.example/inbox/")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		base       *url.URL
		link, want string
	}{
		{base, "", "https://app.example/inbox/"},
		{base, "/reports/2", "https://app.example/reports/2"},
		{base, "https://other.example/x", "https://other.example/x"},
		{nil, "", "/"},
		{nil, "/reports/2", "/reports/2"},
	} {
		if got := navigate(tt.base, tt.link); got != tt.want {
			t.Errorf("%q resolves to %q, want %q", tt.link, got, tt.want)
		}
	}
}

func TestATopicDoesNotRevealTheUser(t *testing.T) {
	k, other := testKey(t), testKey(t)
	topics := []string{k.topic("7", "cart"), k.topic("7", "other"), k.topic("8", "cart"), other.topic("7", "cart")}
	for _, topic := range topics {
		if len(topic) != 32 || strings.Trim(topic, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			t.Errorf("topic %q", topic)
		}
	}
	if slices.Sort(topics); len(slices.Compact(topics)) != 4 {
		t.Error("different users, keys or servers share a topic")
	}
	if first, again := k.topic("7", "cart"), k.topic("7", "cart"); first != again {
		t.Error("the topic of a key is not always the same")
	}
}

func TestParseKey(t *testing.T) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	wrong, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	encode := func(k *ecdsa.PrivateKey, sec1 bool) []byte {
		b, err := x509.MarshalPKCS8PrivateKey(k)
		kind := "PRIVATE KEY"
		if sec1 {
			b, err = x509.MarshalECPrivateKey(k)
			kind = "EC PRIVATE KEY"
		}
		if err != nil {
			t.Fatal(err)
		}
		return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: b})
	}
	parameters := pem.EncodeToMemory(&pem.Block{Type: "EC PARAMETERS", Bytes: []byte{6, 8}})
	a, err := ParseKey(append(parameters, encode(private, true)...))
	if err != nil {
		t.Fatal(err)
	}
	b, err := ParseKey(encode(private, false))
	if err != nil || a.Public() != b.Public() || len(a.Public()) != 87 {
		t.Errorf("the same key in PKCS #8: %v, %v", b, err)
	}
	for name, text := range map[string][]byte{"P-384": encode(wrong, false), "nothing": nil, "no PEM": []byte("x"), "a certificate": pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE"})} {
		if _, err := ParseKey(text); err == nil {
			t.Errorf("%s is accepted as a key", name)
		}
	}
	for contact, good := range map[string]bool{"mailto:ops@example.com": true, "https://example.com/contact": true,
		"ops@example.com": false, "mailto:": false, "http://example.com": false, "": false} {
		if err := CheckContact(contact); (err == nil) != good {
			t.Errorf("contact %q: %v", contact, err)
		}
	}
}

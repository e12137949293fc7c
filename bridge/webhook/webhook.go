// Package webhook sends the application a webhook for each notification that its user has not
// acknowledged or read in time. Webhooks are signed as specified by Standard Webhooks.
package webhook

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/bridge/late"
)

const (
	callTimeout = 10 * time.Second
	maxResponse = 4 << 10 // bytes
)

// Secrets sign webhooks. Each webhook is signed with all of them, so that during a rotation a
// receiver may use either the old or the new one.
type Secrets []*standardwebhooks.Webhook

// ParseSecrets reads secrets, one on each line: whsec_ and 24 to 64 bytes in base64.
func ParseSecrets(text []byte) (Secrets, error) {
	var out Secrets
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if line == "" {
			continue
		}
		if !strings.HasPrefix(line, "whsec_") {
			return nil, errors.New("a secret must begin with whsec_")
		}
		s, err := standardwebhooks.NewWebhook(line)
		if err != nil {
			return nil, errors.New("a secret must be base64 after whsec_")
		}
		if n := decodedLen(strings.TrimPrefix(line, "whsec_")); n < 24 || n > 64 {
			return nil, errors.New("a secret must have 24 to 64 bytes")
		}
		out = append(out, s)
	}
	if len(out) == 0 {
		return nil, errors.New("it contains no secret")
	}
	return out, nil
}

func decodedLen(b64 string) int { return len(strings.TrimRight(b64, "=")) * 3 / 4 }

// CheckURL returns an error if u cannot be the URL of webhooks.
func CheckURL(u *url.URL) error {
	switch {
	case u.Scheme != "https" && u.Scheme != "http":
		return errors.New("its scheme must be https or http")
	case u.Host == "":
		return errors.New("it must have a host")
	case u.Fragment != "":
		return errors.New("it must not have a fragment")
	}
	return nil
}

// Sender posts webhooks to one URL. It implements [late.Poster]. The operator configures the URL,
// so unlike the endpoints of Web Push it may have any address.
type Sender struct {
	url     string
	client  *http.Client
	secrets atomic.Pointer[Secrets]
}

// NewSender returns a Sender to u.
func NewSender(u *url.URL, secrets Secrets) *Sender {
	s := &Sender{url: u.String(), client: &http.Client{
		Timeout:       callTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	s.SetSecrets(secrets)
	return s
}

// SetSecrets sets the secrets that sign webhooks from now on.
func (s *Sender) SetSecrets(secrets Secrets) { s.secrets.Store(&secrets) }

// payload is the body of a webhook. Data is the notification as REST lists it.
type payload struct {
	Type      string               `json:"type"`
	Timestamp string               `json:"timestamp"`
	Data      *bridge.Notification `json:"data"`
}

// Send makes one attempt to post a webhook. All attempts for a webhook have the same id, so that
// the receiver can recognize repeats, but each has its own timestamp and therefore its own
// signature.
func (s *Sender) Send(ctx context.Context, id string, rule late.Rule, n *bridge.Notification) late.Outcome {
	now := time.Now()
	text, err := json.Marshal(payload{"notification." + string(rule.When), now.UTC().Format("2006-01-02T15:04:05.000Z"), n})
	if err != nil {
		return late.Outcome{Result: late.Rejected, Err: fmt.Errorf("write the webhook's body: %w", err)}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url, bytes.NewReader(text))
	if err != nil {
		return late.Outcome{Result: late.Rejected, Err: errors.New("the webhook's URL is invalid")}
	}
	var signatures []string
	for _, secret := range *s.secrets.Load() {
		signature, err := secret.Sign(id, now, text)
		if err != nil {
			return late.Outcome{Result: late.Rejected, Err: fmt.Errorf("sign the webhook: %w", err)}
		}
		signatures = append(signatures, signature)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "falconbridge")
	req.Header.Set(standardwebhooks.HeaderWebhookID, id)
	req.Header.Set(standardwebhooks.HeaderWebhookTimestamp, strconv.FormatInt(now.Unix(), 10))
	req.Header.Set(standardwebhooks.HeaderWebhookSignature, strings.Join(signatures, " "))
	res, err := s.client.Do(req)
	if err != nil {
		var withURL *url.Error
		if errors.As(err, &withURL) { // leave out the URL, which may contain a password
			err = withURL.Err
		}
		return late.Outcome{Result: late.Failed, Err: err}
	}
	defer res.Body.Close()
	_, _ = io.CopyN(io.Discard, res.Body, maxResponse)
	if res.StatusCode < 200 || res.StatusCode > 299 {
		return late.Outcome{Result: late.Failed, Status: res.StatusCode, Err: fmt.Errorf("the receiver returned %d", res.StatusCode)}
	}
	return late.Outcome{Result: late.Sent, Status: res.StatusCode}
}

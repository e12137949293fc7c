// Package webhook notifies the application of notifications that a user has not
// acknowledged or read in time, signed as Standard Webhooks.
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

// Secrets sign webhooks. All sign, so that a receiver may know either of two while they
// are changed.
type Secrets []*standardwebhooks.Webhook

// ParseSecrets reads one secret a line, each whsec_ and 24 to 64 bytes in base64.
func ParseSecrets(text []byte) (Secrets, error) {
	var out Secrets
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if line == "" {
			continue
		}
		if !strings.HasPrefix(line, "whsec_") {
			return nil, errors.New("a secret does not begin with whsec_")
		}
		s, err := standardwebhooks.NewWebhook(line)
		if err != nil {
			return nil, errors.New("a secret is not base64 after whsec_")
		}
		if n := decodedLen(strings.TrimPrefix(line, "whsec_")); n < 24 || n > 64 {
			return nil, errors.New("a secret has fewer than 24 or more than 64 bytes")
		}
		out = append(out, s)
	}
	if len(out) == 0 {
		return nil, errors.New("it contains no secret")
	}
	return out, nil
}

func decodedLen(b64 string) int { return len(strings.TrimRight(b64, "=")) * 3 / 4 }

// CheckURL reports why u is no webhook URL.
func CheckURL(u *url.URL) error {
	switch {
	case u.Scheme != "https" && u.Scheme != "http":
		return errors.New("its scheme is neither https nor http")
	case u.Host == "":
		return errors.New("it names no host")
	case u.Fragment != "":
		return errors.New("it has a fragment")
	}
	return nil
}

// Sender posts webhooks to one URL, which is the operator's own: where it leads is not
// restricted.
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

// SetSecrets replaces the secrets from the next webhook on.
func (s *Sender) SetSecrets(secrets Secrets) { s.secrets.Store(&secrets) }

// body is what is posted. Data is the notification's item.
type payload struct {
	Type      string               `json:"type"`
	Timestamp string               `json:"timestamp"`
	Data      *bridge.Notification `json:"data"`
}

// Send posts one webhook. The id is the same on every attempt, so that the receiver can
// recognize a repeat; the timestamp and with it the signature are those of the attempt.
func (s *Sender) Send(ctx context.Context, id string, rule late.Rule, n *bridge.Notification) late.Outcome {
	now := time.Now()
	text, err := json.Marshal(payload{"notification." + string(rule.When), now.UTC().Format("2006-01-02T15:04:05.000Z"), n})
	if err != nil {
		return late.Outcome{Result: late.Rejected, Err: fmt.Errorf("write the webhook's body: %w", err)}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url, bytes.NewReader(text))
	if err != nil {
		return late.Outcome{Result: late.Rejected, Err: errors.New("the webhook's URL is not one")}
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
		var of *url.Error
		if errors.As(err, &of) { // its text repeats the URL, which may carry a password
			err = of.Err
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

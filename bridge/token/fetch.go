package token

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/MicahParks/jwkset"
)

const (
	keySetMaxSize = 1 << 20 // the largest response that is read, in bytes
	keySetTimeout = 10 * time.Second
)

// CheckJWKSURL fails unless keys may be fetched from raw. Its scheme must be https, or http with a
// loopback address, where no attacker on the network can change the response.
func CheckJWKSURL(raw string) error {
	u, err := url.Parse(raw)
	if err != nil {
		return errors.New("it is not a URL") // err contains raw
	}
	return checkKeySetURL(u)
}

func checkKeySetURL(u *url.URL) error {
	switch {
	case u.Hostname() == "":
		return errors.New("it is not a URL with a host")
	case u.Scheme == "https":
		return nil
	case u.Scheme == "http" && loopback(u.Hostname()):
		return nil
	case u.Scheme == "http":
		return errors.New("http is accepted on loopback only, use https")
	}
	return errors.New("it is neither https nor http on loopback")
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// keySetClient returns a copy of c that follows redirects only to URLs from which a key set may be
// fetched, and never from https to http.
func keySetClient(c *http.Client) *http.Client {
	if c == nil {
		c = &http.Client{Timeout: keySetTimeout}
	}
	bounded := *c
	bounded.CheckRedirect = func(r *http.Request, via []*http.Request) error {
		switch {
		case len(via) > 3:
			return errors.New("too many redirects")
		case via[len(via)-1].URL.Scheme == "https" && r.URL.Scheme != "https":
			return errors.New("redirected from https to http")
		}
		return checkKeySetURL(r.URL)
	}
	return &bounded
}

// fetchKeys fetches the set and returns its keys that may verify signatures. It ignores keys that it
// does not understand, as RFC 7517 §5 requires. It fails if the set has no usable key.
func fetchKeys(ctx context.Context, client *http.Client, rawURL string) ([]key, error) {
	ctx, cancel := context.WithTimeout(ctx, keySetTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, rawURL, nil)
	if err != nil {
		return nil, errors.New("it is not a URL")
	}
	req.Header.Set("Accept", "application/jwk-set+json, application/json")
	resp, err := client.Do(req)
	if err != nil {
		var withURL *url.Error
		if errors.As(err, &withURL) {
			err = withURL.Err // leave out the URL, which may contain a credential
		}
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the server returned %d", resp.StatusCode)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, keySetMaxSize+1))
	if err != nil {
		return nil, fmt.Errorf("read the response: %w", err)
	}
	if len(body) > keySetMaxSize {
		return nil, errors.New("the response is longer than 1 MiB")
	}
	return parseKeySet(body)
}

func parseKeySet(body []byte) ([]key, error) {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if json.Unmarshal(body, &set) != nil {
		return nil, errors.New("the response is not a key set")
	}
	var keys []key
	for _, raw := range set.Keys {
		if k, ok := parseSetKey(raw); ok {
			keys = append(keys, k)
		}
	}
	if len(keys) == 0 {
		return nil, errors.New("the set contains no usable signature key")
	}
	return keys, nil
}

// parseSetKey parses one key of a set. ok is false if the key must not be used to verify signatures.
// This includes secrets and private keys, because anyone can sign with them once they are published.
func parseSetKey(raw json.RawMessage) (k key, ok bool) {
	var m jwkset.JWKMarshal
	if json.Unmarshal(raw, &m) != nil {
		return key{}, false
	}
	if m.USE != "" && m.USE != jwkset.UseSig {
		return key{}, false
	}
	if len(m.KEYOPS) > 0 && !slices.Contains(m.KEYOPS, jwkset.KeyOpsVerify) {
		return key{}, false
	}
	// Certificates (x5c) are ignored, because trust comes from the URL of the set.
	m.X5C, m.X5T, m.X5TS256, m.X5U = nil, "", "", ""
	jwk, err := jwkset.NewJWKFromMarshal(m, jwkset.JWKMarshalOptions{Private: true}, jwkset.JWKValidateOptions{SkipAll: true})
	if err != nil {
		return key{}, false
	}
	algs, err := algorithms(jwk.Key())
	if err != nil {
		return key{}, false
	}
	if m.ALG != "" {
		if !slices.Contains(algs, m.ALG.String()) {
			return key{}, false
		}
		algs = []string{m.ALG.String()}
	}
	k, err = newKey(m.KID, algs, jwk.Key())
	return k, err == nil
}

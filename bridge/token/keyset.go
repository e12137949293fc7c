package token

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/MicahParks/jwkset"
	"github.com/MicahParks/keyfunc/v3"
	"github.com/golang-jwt/jwt/v5"
	"golang.org/x/time/rate"
)

const (
	keySetRefresh = 5 * time.Minute
	keySetMaxSize = 1 << 20 // bytes of the answer that are read
	keySetTimeout = 10 * time.Second

	// A token with an unknown kid makes the set be asked anew, at most this often
	// for all of them together, so that forged kids cannot be turned into load on
	// the issuer (RFC 8725 §3.10). The verification waits no longer than that.
	unknownKidEvery = 10 * time.Second
	unknownKidWait  = 1500 * time.Millisecond
)

// CheckJWKSURL tells whether raw may be asked for keys: https, or http to a
// loopback address, where nobody can change the answer on its way.
func CheckJWKSURL(raw string) error {
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" {
		return errors.New("it is not a URL")
	}
	return checkKeySetURL(u)
}

func checkKeySetURL(u *url.URL) error {
	switch {
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

// keySet is a JSON Web Key Set (RFC 7517) behind a URL: cached, refreshed, and
// asked early for a kid it does not know. While a refresh fails, or answers
// without a usable key, the former keys stay.
type keySet struct{ keys keyfunc.Keyfunc }

func newKeySet(ctx context.Context, rawURL string, client *http.Client) (*keySet, error) {
	if err := CheckJWKSURL(rawURL); err != nil {
		return nil, fmt.Errorf("key set %s: %w", rawURL, err)
	}
	remote, err := jwkset.NewStorageFromHTTP(rawURL, jwkset.HTTPClientStorageOptions{
		Client:          keySetClient(client),
		Ctx:             ctx,
		HTTPTimeout:     keySetTimeout,
		RefreshInterval: keySetRefresh,
		Storage:         usableKeys{jwkset.NewMemoryStorage()},
	})
	if err != nil {
		return nil, fmt.Errorf("fetch the key set %s: %w", rawURL, err)
	}
	storage, err := jwkset.NewHTTPClient(jwkset.HTTPClientOptions{
		HTTPURLs:          map[string]jwkset.Storage{rawURL: remote},
		RateLimitWaitMax:  unknownKidWait,
		RefreshUnknownKID: rate.NewLimiter(rate.Every(unknownKidEvery), 1),
	})
	if err != nil {
		return nil, fmt.Errorf("keep the key set %s: %w", rawURL, err)
	}
	keys, err := keyfunc.New(keyfunc.Options{Ctx: ctx, Storage: storage})
	if err != nil {
		return nil, fmt.Errorf("read the key set %s: %w", rawURL, err)
	}
	return &keySet{keys}, nil
}

// fitting are the keys of the set that alg may be verified with: the one named
// by kid, or all where the token names none.
func (s *keySet) fitting(ctx context.Context, h header) ([]any, error) {
	t := &jwt.Token{Header: map[string]any{"alg": h.Alg}}
	if h.Kid != nil {
		t.Header["kid"] = *h.Kid
	}
	found, err := s.keys.KeyfuncCtx(ctx)(t)
	if err != nil {
		return nil, err
	}
	candidates := []any{found}
	if all, ok := found.(jwt.VerificationKeySet); ok {
		candidates = candidates[:0]
		for _, k := range all.Keys {
			candidates = append(candidates, k)
		}
	}
	return slices.DeleteFunc(candidates, func(k any) bool {
		algs, err := algorithms(k)
		return err != nil || !slices.Contains(algs, h.Alg)
	}), nil
}

// usableKeys keeps of each answer the public keys that may verify a signature.
type usableKeys struct{ *jwkset.MemoryJWKSet }

// KeyReplaceAll refuses an answer without any usable key, so that the former
// keys stay.
func (u usableKeys) KeyReplaceAll(ctx context.Context, given []jwkset.JWK) error {
	kept := slices.DeleteFunc(slices.Clone(given), func(k jwkset.JWK) bool {
		m := k.Marshal()
		if m.USE != "" && m.USE != jwkset.UseSig {
			return true
		}
		_, err := algorithms(k.Key())
		return err != nil
	})
	if len(kept) == 0 {
		return errors.New("the set holds no usable signature key")
	}
	return u.MemoryJWKSet.KeyReplaceAll(ctx, kept)
}

// keySetClient is c with its answers bounded, following redirects only to where
// a key set may be.
func keySetClient(c *http.Client) *http.Client {
	if c == nil {
		c = &http.Client{Timeout: keySetTimeout}
	}
	bounded := *c
	base := c.Transport
	if base == nil {
		base = http.DefaultTransport
	}
	bounded.Transport = boundedTransport{base}
	bounded.CheckRedirect = func(r *http.Request, via []*http.Request) error {
		if len(via) > 3 {
			return errors.New("too many redirects")
		}
		return checkKeySetURL(r.URL)
	}
	return &bounded
}

type boundedTransport struct{ http.RoundTripper }

func (t boundedTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := t.RoundTripper.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	resp.Body = boundedBody{io.LimitReader(resp.Body, keySetMaxSize), resp.Body}
	return resp, nil
}

type boundedBody struct {
	io.Reader
	io.Closer
}

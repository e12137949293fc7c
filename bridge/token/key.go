package token

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"hash/maphash"
	"slices"
	"strings"

	"github.com/falconalert/falconbridge/bridge"
)

// minRSA is the length of the shortest accepted RSA key, in bits (RFC 7518 §3.3).
const minRSA = 2048

// MaxSecrets is how many secrets a Verifier accepts at most. Each of them may have to be tried.
const MaxSecrets = 64

var (
	hmacAlgorithms   = []string{"HS256", "HS384", "HS512"}
	rsaAlgorithms    = []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}
	publicAlgorithms = append([]string{"ES256", "ES384", "ES512", "EdDSA"}, rsaAlgorithms...)
)

// key is a key that verifies signatures.
type key struct {
	hash       uint64   // of material and kid
	kid        string   // "" if the key has none and may verify tokens with any kid
	algorithms []string // with which the key may be used
	material   any      // the key itself, in the type that golang-jwt expects
}

// idSeed is random, so that ids reveal nothing about keys, and differ between processes.
var idSeed = maphash.MakeSeed()

func newKey(kid string, algorithms []string, material any) (key, error) {
	b, secret := material.([]byte)
	if !secret {
		var err error
		if b, err = x509.MarshalPKIXPublicKey(material); err != nil {
			return key{}, errors.New("a key that cannot be written down")
		}
	}
	var h maphash.Hash
	h.SetSeed(idSeed)
	maphash.WriteComparable(&h, kid)
	_, _ = h.Write(b)
	return key{h.Sum64(), kid, algorithms, material}, nil
}

// id identifies the use of the key with alg. If the issuer publishes the key under another kid, or no
// longer for alg, no key has the id any more, and tokens that were verified with it are refused. If
// the issuer only begins to state the key's algorithm, the id stays the same.
func (k key) id(alg string) bridge.KeyID {
	var h maphash.Hash
	h.SetSeed(idSeed)
	maphash.WriteComparable(&h, k.hash)
	_, _ = h.WriteString(alg)
	return bridge.KeyID(max(h.Sum64(), 1))
}

// keyring is an immutable set of keys.
type keyring struct {
	keys []key
	ids  map[bridge.KeyID]struct{}
}

func newKeyring(keys []key) *keyring {
	r := &keyring{keys: keys, ids: make(map[bridge.KeyID]struct{}, len(keys))}
	for _, k := range keys {
		for _, alg := range k.algorithms {
			r.ids[k.id(alg)] = struct{}{}
		}
	}
	return r
}

func (r *keyring) knows(id bridge.KeyID) bool {
	_, ok := r.ids[id]
	return ok
}

// algorithms returns the algorithms with which at least one of the keys may be used.
func (r *keyring) algorithms() []string {
	algs := []string{} // with nil, golang-jwt would accept all algorithms
	for _, k := range r.keys {
		algs = append(algs, k.algorithms...)
	}
	slices.Sort(algs)
	return slices.Compact(algs)
}

// fitting returns the keys that may be used with alg.
func fitting(keys []key, alg string) []key {
	var usable []key
	for _, k := range keys {
		if slices.Contains(k.algorithms, alg) {
			usable = append(usable, k)
		}
	}
	return usable
}

// algorithms returns the algorithms with which a public key may be used. They depend on the type of
// the key, so that a token cannot choose (RFC 8725 §3.1, §3.2). It fails for keys that are too weak.
func algorithms(material any) ([]string, error) {
	switch k := material.(type) {
	case *rsa.PublicKey:
		if k.N.BitLen() < minRSA {
			return nil, fmt.Errorf("an RSA key of %d bits, needs at least %d", k.N.BitLen(), minRSA)
		}
		return rsaAlgorithms, nil
	case *ecdsa.PublicKey:
		switch k.Curve {
		case elliptic.P256():
			return []string{"ES256"}, nil
		case elliptic.P384():
			return []string{"ES384"}, nil
		case elliptic.P521():
			return []string{"ES512"}, nil
		}
		return nil, errors.New("an elliptic curve other than P-256, P-384 and P-521")
	case ed25519.PublicKey:
		return []string{"EdDSA"}, nil
	}
	return nil, fmt.Errorf("a key of type %T, which no accepted algorithm uses", material)
}

// CheckSecret fails if secret is not acceptable for HS256, HS384 and HS512.
func CheckSecret(secret []byte) error {
	if len(secret) < MinSecret {
		return fmt.Errorf("%d bytes, needs at least %d", len(secret), MinSecret)
	}
	if bytes.Contains(secret, []byte("-----BEGIN ")) {
		// If a public key were used as a secret, everyone who knows it could sign tokens.
		return errors.New("it holds a PEM key, not a secret")
	}
	return nil
}

func parseSecrets(secrets [][]byte) ([]key, error) {
	if len(secrets) > MaxSecrets {
		return nil, fmt.Errorf("%d secrets, at most %d are tried", len(secrets), MaxSecrets)
	}
	keys := make([]key, 0, len(secrets))
	for _, s := range secrets {
		if err := CheckSecret(s); err != nil {
			return nil, err
		}
		k, err := newKey("", hmacAlgorithms, slices.Clone(s))
		if err != nil {
			return nil, err
		}
		keys = append(keys, k)
	}
	return keys, nil
}

// CheckPublicKeys fails unless data consists of one or more PEM blocks with acceptable public keys.
func CheckPublicKeys(data []byte) error {
	_, err := parsePublicKeys(data)
	return err
}

func parsePublicKeys(data []byte) ([]key, error) {
	var keys []key
	for len(bytes.TrimSpace(data)) > 0 {
		block, rest := pem.Decode(data)
		if block == nil {
			return nil, errors.New("it holds text that is not a PEM block")
		}
		data = rest
		material, err := parsePublicKey(block)
		if err != nil {
			return nil, fmt.Errorf("PEM block %d: %w", len(keys)+1, err)
		}
		algs, err := algorithms(material)
		if err != nil {
			return nil, fmt.Errorf("PEM block %d is %w", len(keys)+1, err)
		}
		k, err := newKey("", algs, material)
		if err != nil {
			return nil, fmt.Errorf("PEM block %d is %w", len(keys)+1, err)
		}
		keys = append(keys, k)
	}
	if len(keys) == 0 {
		return nil, errors.New("it holds no PEM block")
	}
	return keys, nil
}

func parsePublicKey(block *pem.Block) (any, error) {
	switch {
	case block.Type == "PUBLIC KEY":
		return x509.ParsePKIXPublicKey(block.Bytes)
	case block.Type == "RSA PUBLIC KEY":
		return x509.ParsePKCS1PublicKey(block.Bytes)
	case block.Type == "CERTIFICATE":
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		return cert.PublicKey, nil
	case strings.HasSuffix(block.Type, "PRIVATE KEY"):
		return nil, errors.New("it is a private key: the public one is wanted here")
	}
	return nil, errors.New("it is neither a public key nor a certificate")
}

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
	"slices"
	"strings"
)

// minRSA is the shortest RSA key in bits (RFC 7518 §3.3).
const minRSA = 2048

var (
	hmacAlgorithms = []string{"HS256", "HS384", "HS512"}
	rsaAlgorithms  = []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}
)

// algorithms are those a public key may verify: what the key is decides, so that
// a token cannot choose (RFC 8725 §3.1, §3.2). It fails for keys too weak to use.
func algorithms(key any) ([]string, error) {
	switch k := key.(type) {
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
	return nil, fmt.Errorf("a key of type %T, which no accepted algorithm uses", key)
}

// CheckSecret tells whether secret is fit for HS256, HS384 and HS512.
func CheckSecret(secret []byte) error {
	if len(secret) < MinSecret {
		return fmt.Errorf("%d bytes, needs at least %d", len(secret), MinSecret)
	}
	if bytes.Contains(secret, []byte("-----BEGIN ")) {
		// As a secret, a public key would let everyone who knows it sign.
		return errors.New("it holds a PEM key, not a secret")
	}
	return nil
}

// publicKey is one key and the algorithms it is for.
type publicKey struct {
	algorithms []string
	key        any
}

// CheckPublicKeys tells whether data holds one or more PEM blocks with usable
// public keys, and nothing else.
func CheckPublicKeys(data []byte) error {
	_, err := parsePublicKeys(data)
	return err
}

func parsePublicKeys(data []byte) ([]publicKey, error) {
	var keys []publicKey
	for len(bytes.TrimSpace(data)) > 0 {
		block, rest := pem.Decode(data)
		if block == nil {
			return nil, errors.New("it holds text that is not a PEM block")
		}
		data = rest
		key, err := parsePublicKey(block)
		if err != nil {
			return nil, fmt.Errorf("PEM block %d: %w", len(keys)+1, err)
		}
		algs, err := algorithms(key)
		if err != nil {
			return nil, fmt.Errorf("PEM block %d is %w", len(keys)+1, err)
		}
		keys = append(keys, publicKey{algs, key})
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

// fitting are the keys among all that alg may be verified with.
func fitting(all []publicKey, alg string) []any {
	var keys []any
	for _, k := range all {
		if slices.Contains(k.algorithms, alg) {
			keys = append(keys, k.key)
		}
	}
	return keys
}

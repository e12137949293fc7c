package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/bridge/token"
)

// maxPEM bounds what is read of a PEM file, in bytes.
const maxPEM = 1 << 20

// keySettings are what tokens are verified and signed with.
type keySettings struct {
	secrets     [][]byte // all verify, the first signs
	publicPEM   []byte
	privatePEM  []byte
	jwksURL     string
	issuer      string
	audience    string
	adminWhen   string
	development bool // no key is configured: the development key is the secret
}

func (s *settings) checkKeys(ps *problems) keySettings {
	k := keySettings{jwksURL: s.JWTJWKSURL, issuer: s.JWTIssuer, audience: s.JWTAudience, adminWhen: s.JWTAdminWhen}
	// A key that is given but bad must never lead to development mode.
	k.development = s.JWTSecret == "" && s.JWTSecretFile == "" && s.JWTPublicKeyFile == "" && s.JWTJWKSURL == ""
	if s.JWTSecret != "" || s.JWTSecretFile != "" {
		k.secrets = [][]byte{s.checkSecret(ps)}
	}
	if s.JWTPublicKeyFile != "" {
		b, err := readFile(s.JWTPublicKeyFile, maxPEM)
		if err == nil {
			err = token.CheckPublicKeys(b)
		}
		if err != nil {
			ps.add("jwt-public-key-file", err.Error(), "name a PEM file with public keys")
		}
		k.publicPEM = b
	}
	if s.JWTPrivateKeyFile != "" {
		b, err := readFile(s.JWTPrivateKeyFile, maxPEM)
		if err == nil {
			_, err = token.NewSigner(token.SignerOptions{PrivateKeyPEM: b})
		}
		if err != nil {
			ps.add("jwt-private-key-file", err.Error(), "name a PEM file with the private key")
		}
		k.privatePEM = b
	}
	if k.jwksURL != "" {
		if err := token.CheckJWKSURL(k.jwksURL); err != nil {
			ps.add("jwt-jwks-url", err.Error(), "write https://issuer.example/.well-known/jwks.json")
		}
	}
	if err := token.CheckAdminWhen(k.adminWhen); k.adminWhen != "" && err != nil {
		ps.add("jwt-admin-when", "is not a claim and its value", "write it like profile.role_id=1")
	}
	return k
}

func (s *settings) checkSecret(ps *problems) []byte {
	before := len(*ps)
	secret := []byte(s.secret(ps, "jwt-secret", s.JWTSecret, s.JWTSecretFile))
	if len(*ps) > before {
		return nil
	}
	name := "jwt-secret"
	if s.JWTSecret == "" || s.typed["jwt-secret-file"] && !s.typed[name] {
		name = "jwt-secret-file"
	}
	if err := token.CheckSecret(secret); err != nil {
		ps.add(name, err.Error(), "make one with: openssl rand -base64 48")
	}
	return secret
}

// signer signs as the server would accept it. In development mode it makes the
// development key where there is none yet, and tells so on stderr: in the wrong folder
// a running server does not know it.
func (k keySettings) signer(dataDir string, topics bridge.Topics, stderr io.Writer) (*token.Signer, error) {
	if k.development {
		key, made, err := developmentKey(dataDir)
		if err != nil {
			return nil, err
		}
		if made {
			_, _ = fmt.Fprintf(stderr, "falconbridge: made a new development key, %s; a server with another --data-dir does not know it\n", filepath.Join(dataDir, keyFile))
		}
		k.secrets = [][]byte{key}
	}
	o := token.SignerOptions{Issuer: k.issuer, Audience: k.audience, Topics: topics}
	switch {
	case len(k.secrets) > 0:
		o.Secret = k.secrets[0]
	case len(k.privatePEM) > 0:
		o.PrivateKeyPEM = k.privatePEM
	default:
		return nil, errors.New("the configured keys can only verify: give --jwt-private-key-file, or a token of your issuer")
	}
	return token.NewSigner(o)
}

const keyFile = "development.key"

// developmentKey is the random key of development mode, kept in the data dir so
// that tokens outlive a restart. Of two programs that make it at once, one wins; made
// tells whether this one did.
func developmentKey(dataDir string) (key []byte, made bool, err error) {
	name := filepath.Join(dataDir, keyFile)
	key, err = os.ReadFile(name)
	if err == nil {
		return key, false, checkDevelopmentKey(name, key)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, false, fmt.Errorf("--data-dir: read the development key: %w", err)
	}
	if err := os.MkdirAll(dataDir, 0o700); err != nil {
		return nil, false, fmt.Errorf("--data-dir: make the directory: %w; name one that this user can write", err)
	}
	key = []byte(rand.Text() + rand.Text()) // 52 characters, over 256 bits
	// Written aside and linked, so that nobody ever reads half a key.
	f, err := os.CreateTemp(dataDir, keyFile+".*") // mode 0600
	if err != nil {
		return nil, false, fmt.Errorf("--data-dir: keep the development key: %w; name a directory that this user can write", err)
	}
	defer func() { _ = os.Remove(f.Name()) }()
	_, err = f.Write(key)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return nil, false, fmt.Errorf("--data-dir: write the development key: %w", err)
	}
	switch err = os.Link(f.Name(), name); {
	case errors.Is(err, fs.ErrExist):
		if key, err = os.ReadFile(name); err != nil {
			return nil, false, fmt.Errorf("--data-dir: read the development key: %w", err)
		}
		return key, false, nil
	case err != nil:
		return nil, false, fmt.Errorf("--data-dir: keep the development key: %w", err)
	}
	return key, true, nil
}

// checkDevelopmentKey refuses a damaged key and closes the file to other users.
func checkDevelopmentKey(name string, key []byte) error {
	if err := token.CheckSecret(key); err != nil {
		return fmt.Errorf("--data-dir: %s is damaged; remove it and a new one is made", name)
	}
	if err := os.Chmod(name, 0o600); err != nil {
		return fmt.Errorf("--data-dir: close the development key to other users: %w", err)
	}
	return nil
}

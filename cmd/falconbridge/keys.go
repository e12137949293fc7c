package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/bridge/token"
)

// maxPEM bounds what is read of a PEM file, in bytes.
const maxPEM = 1 << 20

// anyAudience is the value of --jwt-audience that accepts every one.
const anyAudience = "any"

// keySettings are what tokens are verified and signed with.
type keySettings struct {
	secrets     [][]byte // all verify, the first signs
	secretFile  string   // where the secrets come from; "" is no file
	publicPEM   []byte
	publicFile  string
	privatePEM  []byte
	jwksURL     string
	issuer      string
	audience    string // "": every one
	claims      claimSettings
	maxLife     time.Duration // 0: no limit
	development bool          // no key is configured: the development key is the secret
}

// claimSettings say where a token holds what; "" is the usual claim.
type claimSettings struct {
	audience, user, scope, scopeMap, adminWhen string
}

func (s *settings) checkKeys(ps *problems) keySettings {
	k := keySettings{jwksURL: s.JWTJWKSURL, issuer: s.JWTIssuer, publicFile: s.JWTPublicKeyFile}
	// A key that is given but bad must never lead to development mode.
	k.development = s.JWTSecret == "" && s.JWTSecretFile == "" && s.JWTPublicKeyFile == "" && s.JWTJWKSURL == ""
	s.checkSecrets(&k, ps)
	if k.publicFile != "" {
		b, err := readText(k.publicFile, maxPEM)
		if err == nil {
			err = token.CheckPublicKeys(b)
		}
		if err != nil {
			ps.add("jwt-public-key-file", err.Error(), "name a PEM file with public keys")
		}
		k.publicPEM = b
	}
	if s.JWTPrivateKeyFile != "" {
		b, err := readText(s.JWTPrivateKeyFile, maxPEM)
		if err == nil {
			_, err = token.NewSigner(token.SignerOptions{PrivateKeyPEM: b})
		}
		if err != nil {
			ps.add("jwt-private-key-file", err.Error(), "name a PEM file with the private key")
		}
		k.privatePEM = b
	}
	if k.jwksURL != "" {
		switch err := token.CheckJWKSURL(k.jwksURL); {
		case err != nil:
			ps.add("jwt-jwks-url", err.Error(), "write https://issuer.example/.well-known/jwks.json")
		case s.JWTAudience == "":
			// The issuer signs tokens for its other applications with the same keys.
			ps.add("jwt-audience", "is required together with --jwt-jwks-url", "write what your tokens have in aud, or "+anyAudience+" to let in tokens for other applications, too")
		}
	}
	s.checkClaims(&k, ps)
	k.maxLife = read(ps, "max-token-life", s.MaxTokenLife, parseTime, "write 1h or 30d, or 0 for no limit")
	return k
}

func (s *settings) checkSecrets(k *keySettings, ps *problems) {
	const remedy = "make one with: openssl rand -base64 48"
	fromFile, ok := s.fromFile(ps, "jwt-secret", s.JWTSecret, s.JWTSecretFile)
	switch {
	case !ok:
	case fromFile:
		k.secretFile = s.JWTSecretFile
		b, err := readFile(k.secretFile, maxSecretFile)
		if err != nil {
			ps.add("jwt-secret-file", err.Error(), "name a file that this user can read")
			return
		}
		if k.secrets, err = parseSecrets(b); err != nil {
			ps.add("jwt-secret-file", err.Error(), "write the secret into it, one a line where there are several; "+remedy)
		}
	case s.JWTSecret != "":
		k.secrets = [][]byte{[]byte(s.JWTSecret)}
		if err := token.CheckSecret(k.secrets[0]); err != nil {
			ps.add("jwt-secret", err.Error(), remedy)
		}
	}
}

func (s *settings) checkClaims(k *keySettings, ps *problems) {
	const remedy = `write a name like scp, or a path like realm_access.roles; a dot inside a name is written \.`
	path := func(setting, value, usual string) string {
		if err := token.CheckClaim(value); err != nil {
			ps.add(setting, "is not a claim", remedy)
		}
		if value == usual {
			return ""
		}
		return value
	}
	if s.JWTAudience != anyAudience {
		k.audience = s.JWTAudience
	}
	k.claims = claimSettings{
		audience: path("jwt-audience-claim", s.JWTAudienceClaim, "aud"),
		user:     path("jwt-user-claim", s.JWTUserClaim, "sub"),
		scope:    path("jwt-scope-claim", s.JWTScopeClaim, "scope"),
		scopeMap: s.JWTScopeMap, adminWhen: s.JWTAdminWhen,
	}
	if k.claims.audience != "" && k.audience == "" {
		ps.add("jwt-audience-claim", "means nothing without --jwt-audience", "set both")
	}
	if err := token.CheckScopeMap(k.claims.scopeMap); err != nil {
		ps.add("jwt-scope-map", err.Error(), "write it like editor=notifications:write,boss=admin")
	}
	if err := token.CheckAdminWhen(k.claims.adminWhen); err != nil {
		ps.add("jwt-admin-when", "is not a claim and its value", "write it like profile.role_id=1")
	}
}

// verifierOptions are what a server verifies with.
func (k keySettings) verifierOptions() token.Options {
	return token.Options{
		Secrets: k.secrets, PublicKeyPEM: k.publicPEM, JWKSURL: k.jwksURL,
		Issuer: k.issuer, Audience: k.audience, AudienceClaim: k.claims.audience,
		UserClaim: k.claims.user, ScopeClaim: k.claims.scope, ScopeMap: k.claims.scopeMap, AdminWhen: k.claims.adminWhen,
		MaxLife: k.maxLife,
	}
}

// signer signs as the server would accept it. In development mode it makes the
// development key where there is none yet, and says so on stderr: a server that runs
// in another folder does not know it.
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
	o := token.SignerOptions{
		Issuer: k.issuer, Audience: k.audience, Topics: topics,
		UserClaim: k.claims.user, ScopeClaim: k.claims.scope, MaxLife: k.maxLife,
	}
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

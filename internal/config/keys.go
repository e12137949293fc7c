package config

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

// MaxPEM is the largest PEM file that is read, in bytes.
const MaxPEM = 1 << 20

// AnyAudience is the value of --jwt-audience that accepts every audience.
const AnyAudience = "any"

// Keys are the keys and rules by which tokens are verified and signed.
type Keys struct {
	Secrets     [][]byte // all of them verify, the first signs
	SecretFile  string   // the file of the secrets; "": they are not in a file
	PublicPEM   []byte
	PublicFile  string
	PrivatePEM  []byte
	JWKSURL     string
	Issuer      string
	Audience    string        // "" means every audience
	AnyAudience bool          // the setting is AnyAudience
	MaxLife     time.Duration // 0 means no limit
	Development bool          // no key is configured, so the development key is the secret

	// The claims of a token; "" means the usual one.
	AudienceClaim, UserClaim, ScopeClaim, ScopeMap, AdminWhen string
}

const secretRemedy = "make one with: openssl rand -base64 48"

func (c *Config) readSecret(s string) error {
	fromFile, err := c.given.fromFile("jwt-secret")
	if err != nil || fromFile || s == "" {
		return err
	}
	c.Keys.Secrets = [][]byte{[]byte(s)}
	return token.CheckSecret(c.Keys.Secrets[0])
}

func (c *Config) readSecretFile(name string) error {
	fromFile, err := c.given.fromFile("jwt-secret")
	if err != nil || !fromFile {
		return nil //nolint:nilerr // the row of jwt-secret reports it
	}
	c.Keys.SecretFile = name
	b, err := ReadFile(name, MaxSecretFile)
	if err != nil {
		return Fault{err.Error(), "name a file that this user can read"}
	}
	c.Keys.Secrets, err = ParseSecrets(b)
	return err
}

// showSecret shows how many secrets there are, without revealing them.
func (c *Config) showSecret() string {
	switch n := len(c.Keys.Secrets); {
	case c.Keys.Development:
		return masked + " (made at the start, kept in " + filepath.Join(c.DataDir, DevelopmentKeyFile) + ")"
	case n > 1:
		return fmt.Sprintf("%s (%d secrets, the first signs)", masked, n)
	}
	return maskText(c.given.text["jwt-secret"] + c.given.text["jwt-secret-file"])
}

func (k *Keys) readPublic(name string) (err error) {
	if k.PublicFile = name; name == "" {
		return nil
	}
	if k.PublicPEM, err = readText(name, MaxPEM); err != nil {
		return err
	}
	return token.CheckPublicKeys(k.PublicPEM)
}

func (k *Keys) readPrivate(name string) (err error) {
	if name == "" {
		return nil
	}
	if k.PrivatePEM, err = readText(name, MaxPEM); err != nil {
		return err
	}
	_, err = token.NewSigner(token.SignerOptions{PrivateKeyPEM: k.PrivatePEM})
	return err
}

func (k *Keys) readJWKS(s string) error {
	if s == "" {
		return nil
	}
	if err := token.CheckJWKSURL(s); err != nil {
		return err
	}
	k.JWKSURL = s
	return nil
}

func (k *Keys) readAudience(s string) error {
	if k.AnyAudience = s == AnyAudience; !k.AnyAudience {
		k.Audience = s
	}
	return nil
}

// checkAudience requires an audience if there is a key set, because the issuer signs tokens for
// its other applications with the same keys.
func (k *Keys) checkAudience() error {
	if k.JWKSURL != "" && k.Audience == "" && !k.AnyAudience {
		return Fault{"is required together with --jwt-jwks-url",
			"write what your tokens have in aud, or " + AnyAudience + " to accept tokens for other applications as well"}
	}
	return nil
}

func (k *Keys) checkAudienceClaim() error {
	if k.AudienceClaim != "" && k.Audience == "" {
		return Fault{"has no effect without --jwt-audience", "set both"}
	}
	return nil
}

// VerifierOptions returns the options of a server's verifier.
func (k Keys) VerifierOptions() token.Options {
	return token.Options{
		Secrets: k.Secrets, PublicKeyPEM: k.PublicPEM, JWKSURL: k.JWKSURL,
		Issuer: k.Issuer, Audience: k.Audience, AudienceClaim: k.AudienceClaim,
		UserClaim: k.UserClaim, ScopeClaim: k.ScopeClaim, ScopeMap: k.ScopeMap, AdminWhen: k.AdminWhen,
		MaxLife: k.MaxLife,
	}
}

// Signer returns a signer of tokens that the server accepts. In development mode it makes the
// development key if there is none, and says so on stderr, because a running server with another
// data directory has another key.
func (k Keys) Signer(dataDir string, topics bridge.Topics, stderr io.Writer) (*token.Signer, error) {
	if k.Development {
		key, made, err := DevelopmentKey(dataDir)
		if err != nil {
			return nil, err
		}
		if made {
			_, _ = fmt.Fprintf(stderr, "falconbridge: made a new development key, %s; a server with another --data-dir does not know it\n", filepath.Join(dataDir, DevelopmentKeyFile))
		}
		k.Secrets = [][]byte{key}
	}
	o := token.SignerOptions{
		Issuer: k.Issuer, Audience: k.Audience, Topics: topics,
		UserClaim: k.UserClaim, ScopeClaim: k.ScopeClaim, MaxLife: k.MaxLife,
	}
	switch {
	case len(k.Secrets) > 0:
		o.Secret = k.Secrets[0]
	case len(k.PrivatePEM) > 0:
		o.PrivateKeyPEM = k.PrivatePEM
	default:
		return nil, errors.New("the configured keys can only verify tokens: give --jwt-private-key-file, or a token of your issuer")
	}
	return token.NewSigner(o)
}

// DevelopmentKeyFile is the name of the development key in the data directory.
const DevelopmentKeyFile = "development.key"

// DevelopmentKey returns the random key of development mode, which is kept in the data directory
// so that tokens stay valid after a restart. If there is none, it makes one; made reports whether
// it did. If two processes do so at the same time, both get the key of the first.
func DevelopmentKey(dataDir string) (key []byte, made bool, err error) {
	name := filepath.Join(dataDir, DevelopmentKeyFile)
	key, err = os.ReadFile(name)
	if err == nil {
		return key, false, checkDevelopmentKey(name, key)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, false, fmt.Errorf("--data-dir: read the development key: %w", err)
	}
	if err := os.MkdirAll(dataDir, 0o700); err != nil {
		return nil, false, fmt.Errorf("--data-dir: create the directory: %w; name one that this user can write to", err)
	}
	key = []byte(rand.Text() + rand.Text()) // 52 characters, over 256 bits
	// The key is written to a temporary file, which is then linked, so that no process ever
	// reads half a key.
	f, err := os.CreateTemp(dataDir, DevelopmentKeyFile+".*") // mode 0600
	if err != nil {
		return nil, false, fmt.Errorf("--data-dir: store the development key: %w; name a directory that this user can write to", err)
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
		return nil, false, fmt.Errorf("--data-dir: store the development key: %w", err)
	}
	return key, true, nil
}

// checkDevelopmentKey refuses a damaged key, and makes the file private.
func checkDevelopmentKey(name string, key []byte) error {
	if err := token.CheckSecret(key); err != nil {
		return fmt.Errorf("--data-dir: %s is damaged; remove it and a new one is made", name)
	}
	if err := os.Chmod(name, 0o600); err != nil {
		return fmt.Errorf("--data-dir: close the development key to other users: %w", err)
	}
	return nil
}

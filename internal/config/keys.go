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

// MaxPEM bounds what is read of a PEM file, in bytes.
const MaxPEM = 1 << 20

// AnyAudience is the value of --jwt-audience that accepts every one.
const AnyAudience = "any"

// Keys are what tokens are verified and signed with.
type Keys struct {
	Secrets     [][]byte // all verify, the first signs
	SecretFile  string   // where the secrets come from; "" is no file
	PublicPEM   []byte
	PublicFile  string
	PrivatePEM  []byte
	JWKSURL     string
	Issuer      string
	Audience    string        // "" is every one
	AnyAudience bool          // the audience was given as any
	MaxLife     time.Duration // 0 is no limit
	Development bool          // no key is configured: the development key is the secret

	// Where a token has what; "" is the usual claim.
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

// showSecret reports whether there is a secret, and how many.
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

// checkAudience requires an audience with a key set: the issuer signs tokens for its other
// applications with the same keys.
func (k *Keys) checkAudience() error {
	if k.JWKSURL != "" && k.Audience == "" && !k.AnyAudience {
		return Fault{"is required together with --jwt-jwks-url",
			"write what your tokens have in aud, or " + AnyAudience + " to let in tokens for other applications, too"}
	}
	return nil
}

func (k *Keys) checkAudienceClaim() error {
	if k.AudienceClaim != "" && k.Audience == "" {
		return Fault{"means nothing without --jwt-audience", "set both"}
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

// Signer signs as the server would accept it. In development mode it makes the
// development key where there is none yet, and says so on stderr: a server that runs
// in another folder does not know it.
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
		return nil, errors.New("the configured keys can only verify: give --jwt-private-key-file, or a token of your issuer")
	}
	return token.NewSigner(o)
}

// DevelopmentKeyFile is the name of the development key in the data directory.
const DevelopmentKeyFile = "development.key"

// DevelopmentKey is the random key of development mode, kept in the data directory so
// that tokens outlive a restart. Of two programs that make it at the same time one wins;
// made reports whether it was this one.
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
		return nil, false, fmt.Errorf("--data-dir: make the directory: %w; name one that this user can write", err)
	}
	key = []byte(rand.Text() + rand.Text()) // 52 characters, over 256 bits
	// Written to a temporary file and linked, so that no process ever reads half a key.
	f, err := os.CreateTemp(dataDir, DevelopmentKeyFile+".*") // mode 0600
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

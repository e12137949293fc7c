package push

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"net/mail"
	"net/url"
	"strings"

	"github.com/falconalert/falconbridge/bridge"
)

// Key is the key pair that identifies this server to push services (VAPID, RFC 8292).
// Registrations depend on it: with another key every browser has to subscribe again.
type Key struct {
	public  string // uncompressed point in base64url, as browsers expect it
	private string // scalar in base64url
	topics  []byte // HMAC key of the Topic header
}

// ParseKey reads a P-256 private key in PEM, as SEC 1 ("EC PRIVATE KEY") or PKCS #8. It ignores
// other blocks before it, such as the parameters that openssl writes.
func ParseKey(text []byte) (*Key, error) {
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			return nil, errors.New("it contains no private key in PEM")
		}
		var parsed any
		var err error
		switch block.Type {
		case "EC PRIVATE KEY":
			parsed, err = x509.ParseECPrivateKey(block.Bytes)
		case "PRIVATE KEY":
			parsed, err = x509.ParsePKCS8PrivateKey(block.Bytes)
		default:
			continue
		}
		if err != nil {
			return nil, errors.New("its private key cannot be read")
		}
		key, ok := parsed.(*ecdsa.PrivateKey)
		if !ok || key.Curve != elliptic.P256() {
			return nil, errors.New("its key is not on the curve P-256")
		}
		return newKey(key)
	}
}

func newKey(key *ecdsa.PrivateKey) (*Key, error) {
	public, err := key.PublicKey.Bytes()
	if err != nil {
		return nil, errors.New("its public key cannot be written")
	}
	private, err := key.Bytes()
	if err != nil {
		return nil, errors.New("its private key cannot be written")
	}
	mac := hmac.New(sha256.New, private)
	mac.Write([]byte("falconbridge push topics"))
	encode := base64.RawURLEncoding.EncodeToString
	return &Key{public: encode(public), private: encode(private), topics: mac.Sum(nil)}, nil
}

// Public returns the public key in the form that PushManager.subscribe expects.
func (k *Key) Public() string { return k.public }

// topic returns the Topic header of notifications with the key replaces (RFC 8030 §5.4: at most
// 32 characters of base64url). It is an HMAC, so that the push service learns neither the user
// nor what the notification is about.
func (k *Key) topic(u bridge.UserID, replaces string) string {
	mac := hmac.New(sha256.New, k.topics)
	mac.Write([]byte(string(u) + "\x00" + replaces))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil)[:24])
}

// CheckContact returns an error if contact is not a contact as of RFC 8292 §2.1.
func CheckContact(contact string) error {
	u, err := url.Parse(contact)
	switch {
	case err != nil:
	case u.Scheme == "https" && u.Host != "":
		return nil
	case u.Scheme == "mailto":
		if a, err := mail.ParseAddress(strings.TrimPrefix(contact, "mailto:")); err == nil && a.Name == "" {
			return nil
		}
	}
	return errors.New("it must be mailto: with an address, or an https: URL")
}

package config

import (
	"errors"
	"net/url"
	"time"

	"github.com/falconalert/falconbridge/bridge/late"
	"github.com/falconalert/falconbridge/bridge/push"
	"github.com/falconalert/falconbridge/bridge/webhook"
)

func (c *Config) readVapid(name string) (err error) {
	if name == "" {
		return nil
	}
	b, err := ReadFile(name, MaxPEM)
	if err != nil {
		return Fault{err.Error(), "name a file that this user can read"}
	}
	c.Vapid, err = push.ParseKey(b)
	return err
}

func (c *Config) checkVapid() error {
	if c.Vapid != nil && c.VapidContact == "" {
		return Fault{"there is no --vapid-contact", "add --vapid-contact mailto:ops@example.com"}
	}
	return nil
}

func (c *Config) checkVapidContact() error {
	if c.Vapid == nil && c.VapidContact != "" {
		return Fault{"there is no --vapid-key-file", "name the key with --vapid-key-file, or leave both out"}
	}
	return nil
}

func parseContact(s string) (string, error) { return s, push.CheckContact(s) }

func parsePushAfter(s string) (time.Duration, error) {
	d, err := ParseTime(s)
	if err == nil && (d < time.Second || d > 24*time.Hour) {
		err = errors.New("it is not from 1s to 24h")
	}
	return d, err
}

func parseWebURL(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil || u.Fragment != "" {
		return nil, errors.New("it is not an https:// URL without a user name and a fragment")
	}
	return u, nil
}

func parseWebhookURL(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	if err != nil {
		return nil, errors.New("it is not a URL")
	}
	return u, webhook.CheckURL(u)
}

func (c *Config) readWebhookSecrets(name string) (err error) {
	if name == "" {
		return nil
	}
	b, err := ReadFile(name, MaxSecretFile)
	if err != nil {
		return Fault{err.Error(), "name a file that this user can read"}
	}
	c.WebhookFile = name
	c.WebhookSecrets, err = webhook.ParseSecrets(b)
	return err
}

func parseRules(s string) ([]late.Rule, error) { return late.ParseRules(s, ParseTime) }

// checkWebhook fails if some, but not all, of the three settings of webhooks are set.
func (c *Config) checkWebhook() error {
	switch on := c.WebhookURL != nil; {
	case on && len(c.WebhookSecrets) == 0:
		return Fault{"there is no --webhook-secret-file", "name a file with a secret to sign with"}
	case on && len(c.WebhookRules) == 0:
		return Fault{"there is no --webhook-when", `add --webhook-when "unacknowledged 10m"`}
	case !on && (len(c.WebhookSecrets) > 0 || len(c.WebhookRules) > 0):
		return Fault{"it is not set, but --webhook-secret-file or --webhook-when is", "set it, or leave all three out"}
	}
	return nil
}

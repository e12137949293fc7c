package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/internal/config"
)

type tokenCmd struct {
	User  string `required:"" env:"-" placeholder:"ID" help:"Whose token it is (sub)."`
	Scope string `placeholder:"LIST" help:"notifications:read, notifications:write, reports:write, admin; separated by spaces."`
	TTL   string `default:"1h" placeholder:"TIME" help:"How long it is valid. Default ${default}."`
}

func (tokenCmd) Help() string {
	return `Examples:

    falconbridge token --user 42

    falconbridge token --user 1 --scope "notifications:write reports:write" --ttl 30d`
}

func (tokenCmd) scope() []string { return config.Signing }

// Run prints the token and nothing else.
func (t tokenCmd) Run(p *program) error {
	c, err := p.check(t.scope())
	if err != nil {
		return err
	}
	claims, err := t.claims()
	if err != nil {
		return err
	}
	signer, err := c.Keys.Signer(c.DataDir, c.Topics, p.err)
	if err != nil {
		return err
	}
	if most := c.Keys.MaxLife; most > 0 && time.Until(claims.ExpiresAt) > most {
		return fmt.Errorf("--ttl: is longer than --max-token-life (%s)", most)
	}
	raw, err := signer.Sign(claims)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(p.out, raw)
	return err
}

func (t tokenCmd) claims() (bridge.Claims, error) {
	user, err := bridge.ParseUserID(t.User)
	if err != nil {
		return bridge.Claims{}, fmt.Errorf("--user: %w", err)
	}
	ttl, err := config.ParseTime(t.TTL)
	if err != nil || ttl < time.Second {
		return bridge.Claims{}, fmt.Errorf("--ttl: is not a time of at least a second; write 1h or 30d")
	}
	c := bridge.Claims{User: user, ExpiresAt: time.Now().Add(ttl)}
	for _, name := range strings.FieldsFunc(t.Scope, func(r rune) bool { return r == ' ' || r == ',' }) {
		scope := bridge.ParseScope(name)
		if scope == 0 {
			return c, fmt.Errorf("--scope: %q is unknown; there are notifications:read, notifications:write, reports:write and admin", name)
		}
		c.Scope |= scope
	}
	return c, nil
}

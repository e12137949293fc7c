package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/falconalert/falconbridge/bridge"
)

type tokenCmd struct {
	User  string `required:"" placeholder:"ID" help:"Whose token it is (sub)."`
	Scope string `placeholder:"LIST" help:"notifications:read, notifications:write, reports:write, admin; separated by spaces."`
	TTL   string `default:"1h" placeholder:"TIME" help:"How long it holds. Default ${default}."`
}

func (tokenCmd) Help() string {
	return `Examples:

    falconbridge token --user 42

    falconbridge token --user 1 --scope "notifications:write reports:write" --ttl 30d`
}

// Run prints the token and nothing else.
func (t tokenCmd) Run(p *program) error {
	var ps problems
	keys, topics := p.settings.checkKeys(&ps), p.settings.checkTopics(&ps)
	if err := ps.err(); err != nil {
		return err
	}
	claims, err := t.claims()
	if err != nil {
		return err
	}
	signer, err := keys.signer(p.settings.DataDir, topics, p.err)
	if err != nil {
		return err
	}
	if most := keys.maxLife; most > 0 && time.Until(claims.ExpiresAt) > most {
		return fmt.Errorf("--ttl: is longer than --max-token-life (%s)", p.settings.MaxTokenLife)
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
	ttl, err := parseTime(t.TTL)
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

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/internal/config"
)

type sendCmd struct {
	client
	User      string `required:"" env:"-" placeholder:"ID" help:"The user to notify."`
	Title     string `required:"" env:"-" placeholder:"TEXT" help:"1 to 255 characters."`
	Message   string `required:"" env:"-" placeholder:"TEXT" help:"1 to 4000 characters."`
	Kind      string `env:"-" placeholder:"KIND" help:"The notification's kind. Default message."`
	Data      string `env:"-" placeholder:"JSON" help:"A JSON object for the application, up to 4 KiB."`
	Link      string `env:"-" placeholder:"URL" help:"Where the notification leads: an https URL, or a path of the application's own site."`
	Replaces  string `env:"-" placeholder:"KEY" help:"Deletes the user's earlier notification with the same key."`
	ExpiresIn string `env:"-" placeholder:"TIME" help:"How long the notification exists, for example 1h or 30d; until it is deleted if not given."`
	Key       string `name:"idempotency-key" env:"-" placeholder:"TEXT" help:"Makes a repeated call return the first response instead of creating another notification."`
	JSON      bool   `name:"json" help:"Print JSON even in a terminal."`
}

func (sendCmd) Help() string {
	return `Examples:

    falconbridge send --user 42 --title "Hello" --message "Your report was reviewed"

    FALCON_TOKEN=… falconbridge send --url https://bridge.example --user 42 --title T --message M`
}

func (sendCmd) scope() []string { return slices.Concat(config.LocalHTTPScope, config.SigningScope) }

func (sendCmd) ignored() []string { return []string{"mqtt-url"} }

// Run prints the server's response: a sentence in a terminal, otherwise one line of JSON.
func (c sendCmd) Run(p *program) error {
	user, err := bridge.ParseUserID(c.User)
	if err != nil {
		return fmt.Errorf("--user: %w", err)
	}
	if c.Data != "" && !json.Valid([]byte(c.Data)) {
		return fmt.Errorf("--data: is not valid JSON")
	}
	var life time.Duration
	if c.ExpiresIn != "" {
		if life, err = config.ParseTime(c.ExpiresIn); err != nil || life < time.Second || life%time.Second != 0 {
			return fmt.Errorf("--expires-in: is not a time of whole seconds; write 1h or 30d")
		}
	}
	body, err := json.Marshal(struct {
		User      bridge.UserID   `json:"created_by"`
		Title     string          `json:"title"`
		Message   string          `json:"message"`
		Kind      string          `json:"kind,omitempty"`
		Data      json.RawMessage `json:"data,omitempty"`
		URL       string          `json:"url,omitempty"`
		Replaces  string          `json:"replaces,omitempty"`
		ExpiresIn int64           `json:"expires_in,omitempty"`
	}{user, c.Title, c.Message, c.Kind, json.RawMessage(c.Data), c.Link, c.Replaces, int64(life.Seconds())})
	if err != nil {
		return err
	}
	ctx, stop := interrupted()
	defer stop()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "/notifications", bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	if c.Key != "" {
		req.Header.Set("Idempotency-Key", c.Key)
	}
	header, answer, err := c.call(p, bridge.Claims{User: "falconbridge-cli", Scope: bridge.ScopeWrite}, req, http.StatusCreated)
	if err != nil {
		return fmt.Errorf("send: %w", err)
	}
	if terminal(p.out) && !c.JSON {
		return styleOf(p.out).sent(p.out, user, header.Get("Idempotency-Replayed") == "true", answer)
	}
	_, err = fmt.Fprintln(p.out, strings.TrimSpace(string(answer)))
	return err
}

// sent prints the response in readable form.
func (s style) sent(w io.Writer, user bridge.UserID, before bool, answer []byte) error {
	var a struct {
		Message string
		ID, Seq int64
	}
	if err := json.Unmarshal(answer, &a); err != nil {
		return fmt.Errorf("read the response: %w", err)
	}
	note := fmt.Sprintf("user %s, #%d, id %d", user, a.Seq, a.ID)
	if before {
		note += ", sent before under the same key"
	}
	_, err := fmt.Fprintf(w, "%s %s  %s\n", s.paint(green, "✓"), harmless(a.Message), s.paint(dim, note))
	return err
}

type tokenCmd struct {
	User  string `required:"" env:"-" placeholder:"ID" help:"The token's user (sub)."`
	Scope string `placeholder:"LIST" help:"notifications:read, notifications:write, reports:write, admin; separated by spaces."`
	TTL   string `default:"1h" placeholder:"TIME" help:"How long the token is valid. Default ${default}."`
}

func (tokenCmd) Help() string {
	return `Examples:

    falconbridge token --user 42

    falconbridge token --user 1 --scope "notifications:write reports:write" --ttl 30d`
}

func (tokenCmd) scope() []string { return config.SigningScope }

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
			return c, fmt.Errorf("--scope: %q is unknown; there are %s", name, strings.Join(bridge.AllScopes.Names(), ", "))
		}
		c.Scope |= scope
	}
	return c, nil
}

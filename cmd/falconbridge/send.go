package main

import (
	"bytes"
	"cmp"
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
	User    string `required:"" env:"-" placeholder:"ID" help:"Who is notified."`
	Title   string `required:"" env:"-" placeholder:"TEXT" help:"1 to 255 characters."`
	Message string `required:"" env:"-" placeholder:"TEXT" help:"1 to 4000 characters."`
	Kind    string `env:"-" placeholder:"KIND" help:"Kind of the notification. Default message."`
	Data    string `env:"-" placeholder:"JSON" help:"A JSON object that rides along, up to 4 KiB."`
	Key     string `name:"idempotency-key" env:"-" placeholder:"TEXT" help:"Makes a repeated call answer as the first one did."`
	JSON    bool   `name:"json" help:"Print JSON in a terminal, too."`
}

func (sendCmd) Help() string {
	return `Examples:

    falconbridge send --user 42 --title "Hola" --message "Su reporte fue revisado"

    FALCON_TOKEN=… falconbridge send --url https://bridge.example --user 42 --title T --message M`
}

func (sendCmd) scope() []string { return slices.Concat(config.LocalHTTP, config.Signing) }

// Run prints the server's answer: one line of JSON, words in a terminal.
func (c sendCmd) Run(p *program) error {
	user, err := bridge.ParseUserID(c.User)
	if err != nil {
		return fmt.Errorf("--user: %w", err)
	}
	if c.Data != "" && !json.Valid([]byte(c.Data)) {
		return fmt.Errorf("--data: is not JSON")
	}
	e, err := c.rest(p)
	if err != nil {
		return err
	}
	bearer, err := c.bearer(p, bridge.Claims{User: "falconbridge-cli", Scope: bridge.ScopeWrite}, 5*time.Minute)
	if err != nil {
		return err
	}
	body, err := json.Marshal(struct {
		User    bridge.UserID   `json:"created_by"`
		Title   string          `json:"title"`
		Message string          `json:"message"`
		Kind    string          `json:"kind,omitempty"`
		Data    json.RawMessage `json:"data,omitempty"`
	}{user, c.Title, c.Message, c.Kind, json.RawMessage(c.Data)})
	if err != nil {
		return err
	}
	ctx, stop := interrupted()
	defer stop()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, e.url.JoinPath("notifications").String(), bytes.NewReader(body))
	if err != nil {
		return err
	}
	raw, err := bearer()
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+raw)
	req.Header.Set("Content-Type", "application/json")
	if c.Key != "" {
		req.Header.Set("Idempotency-Key", c.Key)
	}
	resp, err := e.http(30 * time.Second).Do(req)
	if err != nil {
		return fmt.Errorf("send: no response from %s: %w; start the server, or name the address of its REST with --url", e.url.Host, cause(err))
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	if resp.StatusCode != http.StatusCreated {
		err := refused(resp.StatusCode, answer)
		if resp.StatusCode == http.StatusUnauthorized || resp.StatusCode == http.StatusForbidden {
			err = fmt.Errorf("%w%s", err, c.origin(p))
		}
		return err
	}
	if terminal(p.out) && !c.JSON {
		return styleOf(p.out).sent(p.out, user, resp.Header.Get("Idempotency-Replayed") == "true", answer)
	}
	_, err = fmt.Fprintln(p.out, strings.TrimSpace(string(answer)))
	return err
}

// sent tells a person what the server answered.
func (s style) sent(w io.Writer, user bridge.UserID, before bool, answer []byte) error {
	var a struct {
		Message string
		ID, Seq int64
	}
	if err := json.Unmarshal(answer, &a); err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	note := fmt.Sprintf("user %s, #%d, id %d", user, a.Seq, a.ID)
	if before {
		note += ", sent before under the same key"
	}
	_, err := fmt.Fprintf(w, "%s %s  %s\n", s.paint(green, "✓"), harmless(a.Message), s.paint(dim, note))
	return err
}

// refused tells in one line what a problem document (RFC 9457) says.
func refused(status int, body []byte) error {
	var doc struct {
		Title  string
		Detail string
		Errors []struct{ Location, Message string }
	}
	if json.Unmarshal(body, &doc) != nil || doc.Title == "" {
		return fmt.Errorf("the server answered %d %s", status, http.StatusText(status))
	}
	// Where fields are named, the detail says the same of them in other words.
	var faults []string
	for _, e := range doc.Errors {
		faults = append(faults, e.Location+" "+e.Message)
	}
	text := doc.Title
	if detail := cmp.Or(strings.Join(faults, "; "), doc.Detail); detail != "" {
		text += ": " + detail
	}
	return fmt.Errorf("the server answered %d %s", status, text)
}

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/internal/config"
)

type explainCmd struct {
	client
	ID   int64 `arg:"" env:"-" placeholder:"ID" help:"The notification's id."`
	JSON bool  `name:"json" env:"-" help:"Print the response as JSON."`
}

func (explainCmd) Help() string {
	return `Examples:

    falconbridge explain 311

    FALCON_TOKEN=… falconbridge explain --url https://bridge.example --json 311`
}

func (explainCmd) scope() []string { return slices.Concat(config.LocalHTTP, config.Signing) }

// Run prints what became of a notification: words, or with --json the response.
func (c explainCmd) Run(p *program) error {
	e, err := c.rest(p)
	if err != nil {
		return err
	}
	bearer, err := c.bearer(p, bridge.Claims{User: "falconbridge-cli", Scope: bridge.ScopeRead}, 5*time.Minute)
	if err != nil {
		return err
	}
	raw, err := bearer()
	if err != nil {
		return err
	}
	ctx, stop := interrupted()
	defer stop()
	at := e.url.JoinPath("admin", "notifications", strconv.FormatInt(c.ID, 10), "explain")
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, at.String(), nil)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+raw)
	resp, err := e.http(30 * time.Second).Do(req)
	if err != nil {
		return fmt.Errorf("explain: no response from %s: %w; start the server, or name the address of its REST with --url", e.url.Host, cause(err))
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return fmt.Errorf("read the response: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		err := refused(resp.StatusCode, answer)
		if resp.StatusCode == http.StatusUnauthorized || resp.StatusCode == http.StatusForbidden {
			err = fmt.Errorf("%w%s", err, c.origin(p))
		}
		return err
	}
	if c.JSON {
		_, err = fmt.Fprintln(p.out, strings.TrimSpace(string(answer)))
		return err
	}
	return styleOf(p.out).explanation(p.out, answer)
}

// lateCall is a push or a webhook, as an explanation has it.
type lateCall struct {
	ClientID string `json:"client_id"`
	ID, When string
	State    string
	Tries    int
	Status   int
	At       time.Time
}

// explanation prints an explanation for a person: one line for the notification, and one
// each for what it caused.
func (s style) explanation(w io.Writer, answer []byte) error {
	var e struct {
		ID, Seq         int64
		User            bridge.UserID
		Kind, By, State string
		CommittedAt     time.Time `json:"committed_at"`
		Devices         []struct {
			ClientID   string `json:"client_id"`
			State, Why string
			At         time.Time
		}
		Pushes, Webhooks []lateCall
	}
	if err := json.Unmarshal(answer, &e); err != nil {
		return fmt.Errorf("read the response: %w", err)
	}
	out := fmt.Sprintf("%s  user %s, #%d, id %d, %s%s", s.paint(bold, harmless(e.State)), harmless(string(e.User)), e.Seq, e.ID, harmless(e.Kind), when("committed", e.CommittedAt))
	if e.By != "" {
		out += " by " + harmless(e.By)
	}
	for _, d := range e.Devices {
		out += fmt.Sprintf("\n  device %s  %s", harmless(d.ClientID), harmless(d.State))
		if d.Why != "" {
			out += " (" + harmless(d.Why) + ")"
		}
		out += s.paint(dim, when("by", d.At))
	}
	for _, c := range e.Pushes {
		out += fmt.Sprintf("\n  push %s  %s", harmless(c.ClientID), s.late(c))
	}
	for _, c := range e.Webhooks {
		out += fmt.Sprintf("\n  webhook %s (%s)  %s", harmless(c.ID), harmless(c.When), s.late(c))
	}
	_, err := fmt.Fprintln(w, out)
	return err
}

// late is how far a push or webhook got.
func (s style) late(c lateCall) string {
	word := "at"
	if c.State == "waiting" {
		word = "next attempt"
	}
	return fmt.Sprintf("%s, %d tries, last status %d%s", harmless(c.State), c.Tries, c.Status, s.paint(dim, when(word, c.At)))
}

// when is ", word time" in local time, or nothing for a time that is not known.
func when(word string, t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return ", " + word + " " + t.Local().Format("2006-01-02 15:04:05")
}

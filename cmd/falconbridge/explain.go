package main

import (
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

func (explainCmd) scope() []string { return slices.Concat(config.LocalHTTPScope, config.SigningScope) }

func (explainCmd) ignored() []string { return []string{"mqtt-url"} }

// Run reports what happened to a notification, or with --json prints the response.
func (c explainCmd) Run(p *program) error {
	ctx, stop := interrupted()
	defer stop()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("/admin/notifications/%d/explain", c.ID), nil)
	if err != nil {
		return err
	}
	_, answer, err := c.call(p, bridge.Claims{User: "falconbridge-cli", Scope: bridge.ScopeRead}, req, http.StatusOK)
	if err != nil {
		return fmt.Errorf("explain: %w", err)
	}
	if c.JSON {
		_, err = fmt.Fprintln(p.out, strings.TrimSpace(string(answer)))
		return err
	}
	return styleOf(p.out).explanation(p.out, answer)
}

// lateCall is a push or a webhook in an explanation.
type lateCall struct {
	ClientID string `json:"client_id"`
	ID, When string
	State    string
	Tries    int
	Status   int
	At       time.Time
}

// explanation prints an explanation in readable form: a line for the notification, and one
// for each device, push and webhook.
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

// late describes the state of a push or webhook.
func (s style) late(c lateCall) string {
	word := "at"
	if c.State == "waiting" {
		word = "next attempt"
	}
	return fmt.Sprintf("%s, %d tries, last status %d%s", harmless(c.State), c.Tries, c.Status, s.paint(dim, when(word, c.At)))
}

// when returns ", word time" in local time, or "" for a time that is not known.
func when(word string, t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return ", " + word + " " + t.Local().Format("2006-01-02 15:04:05")
}

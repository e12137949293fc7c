package api

import (
	"context"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/bridge/late"
)

// explanationBody describes what happened to a notification, without its content.
type explanationBody struct {
	ID          int64           `json:"id" example:"311"`
	User        bridge.UserID   `json:"user" example:"42"`
	Seq         bridge.Seq      `json:"seq" example:"18"`
	Kind        bridge.Kind     `json:"kind" example:"message"`
	CommittedAt stamp           `json:"committed_at"`
	By          string          `json:"by" doc:"The caller's sub, sql for falcon_notify, or import; empty if unknown."`
	State       bridge.Fate     `json:"state" enum:"live,read,muted,deleted,superseded,expired,retained out"`
	Devices     []deviceFate    `json:"devices" nullable:"false" doc:"The known devices. One that was not subscribed is not listed."`
	Pushes      []explainedPush `json:"pushes" nullable:"false"`
	Webhooks    []explainedHook `json:"webhooks" nullable:"false"`
}

type deviceFate struct {
	ClientID string             `json:"client_id" example:"pixel-8"`
	State    bridge.DeviceState `json:"state" enum:"acknowledged,sent,behind,skipped,expired session"`
	At       maybeStamp         `json:"at" doc:"The state was reached by this time: a cursor is stored within a second of the acknowledgement, with one time for everything passed since the previous one. For an expired session, when it acknowledged or skipped the notification, otherwise when it ended. Null if unknown, as for a device that is behind, or after 64 later advances."`
	Why      string             `json:"why" doc:"Why it was skipped: muted, replay cap, subscribed later, too large, expired, superseded or deleted. For an expired session: acknowledged, sent, behind or why it was skipped; empty if it ended before the notification. Otherwise empty."`
}

// LateCall is exported only to be embedded, like PageQuery.
type LateCall struct {
	State  bridge.LateState `json:"state" enum:"waiting,sent,given up"`
	Tries  int              `json:"tries" doc:"The number of attempts so far."`
	Status int              `json:"status" doc:"The HTTP status of the last attempt; 0 without a response."`
	At     stamp            `json:"at" doc:"When it was sent or given up; while it is waiting, when the next attempt is due."`
}

type explainedPush struct {
	ClientID string `json:"client_id" example:"pixel-8"`
	LateCall
}

type explainedHook struct {
	ID   string `json:"id" doc:"The webhook-id."`
	When string `json:"when" example:"unacknowledged 10m"`
	LateCall
}

type explanationOutput struct{ Body explanationBody }

func (a *api) explain(ctx context.Context, in *byID) (*explanationOutput, error) {
	e, err := a.o.Service.Explain(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	b := explanationBody{ID: e.ID, User: e.User, Seq: e.Seq, Kind: e.Kind, CommittedAt: stamp(e.CommittedAt), By: e.By, State: e.State,
		Devices: make([]deviceFate, len(e.Devices)), Pushes: []explainedPush{}, Webhooks: []explainedHook{}}
	for i, d := range e.Devices {
		b.Devices[i] = deviceFate{d.ClientID, d.State, maybeStamp(d.At), d.Why}
	}
	for _, c := range e.Calls {
		call := LateCall{c.State, c.Tries, c.Status, stamp(c.At)}
		if c.ClientID != "" {
			b.Pushes = append(b.Pushes, explainedPush{c.ClientID, call})
		} else {
			b.Webhooks = append(b.Webhooks, explainedHook{late.WebhookPrefix + c.Ref, c.When, call})
		}
	}
	return &explanationOutput{b}, nil
}

package api

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/internal/edge"
)

// auditBody is one entry of the audit log.
type auditBody struct {
	ID     int64              `json:"id" example:"812"`
	At     stamp              `json:"at"`
	Sub    bridge.UserID      `json:"sub" doc:"The user of the caller's token."`
	JTI    *string            `json:"jti" doc:"The jti of the caller's token; null if it has none."`
	Action bridge.AuditAction `json:"action" enum:"user.erase,user.revoke,token.revoke,connection.end,report.status,notification.withdraw,history.read,refused"`
	User   *bridge.UserID     `json:"user" doc:"The user concerned; null if there is none."`
	Remote string             `json:"remote" example:"192.0.2.7" doc:"The caller's address."`
	Detail string             `json:"detail,omitempty" example:"report 2, status 3" doc:"Further details: the report and its status, the revoked jti, or the refused call."`
}

type auditQuery struct {
	Limit  int   `query:"limit" minimum:"1" maximum:"200" default:"50" doc:"The maximum number of entries to return."`
	Before int64 `query:"before" minimum:"1" maximum:"9007199254740991" doc:"Only ids below this one."`
}

type auditOutput struct {
	Link string      `header:"Link"`
	Body []auditBody `nullable:"false"`
}

func (a *api) listAudit(ctx context.Context, in *auditQuery) (*auditOutput, error) {
	page, more, err := a.o.Service.Audited(ctx, in.Before, in.Limit)
	if err != nil {
		return nil, err
	}
	out := &auditOutput{Body: make([]auditBody, len(page))}
	for i, e := range page {
		out.Body[i] = auditBody{ID: e.ID, At: stamp(e.At), Sub: e.Sub, Action: e.Action, Remote: e.Remote, Detail: e.Detail}
		if e.JTI != "" {
			out.Body[i].JTI = &e.JTI
		}
		if e.User != "" {
			out.Body[i].User = &e.User
		}
	}
	if more && len(page) > 0 {
		out.Link = exchangeOf(ctx).next("before", strconv.FormatInt(page[len(page)-1].ID, 10))
	}
	return out, nil
}

// record stores that the caller is about to perform action. If it fails, the action must
// not be performed, because the log has to have every action.
func (a *api) record(ctx context.Context, action bridge.AuditAction, user bridge.UserID, detail string) error {
	return a.o.Service.Record(ctx, exchangeOf(ctx).entry(action, user, detail))
}

// recordStatus records a change of a report's status, unless the report already has that
// status. It looks up the report's owner for the entry. If two callers set the same status
// at the same time, both may be recorded.
func (a *api) recordStatus(ctx context.Context, report int64, to bridge.Status) error {
	if !to.Valid() {
		return nil // refused by the service
	}
	r, err := a.o.Service.Report(ctx, report)
	if err != nil || r.Status == to {
		return err
	}
	return a.record(ctx, bridge.AuditStatus, r.User, fmt.Sprintf("report %d, status %d", report, to))
}

func (x *exchange) entry(action bridge.AuditAction, user bridge.UserID, detail string) bridge.AuditEntry {
	return bridge.AuditEntry{Sub: x.claims.User, JTI: x.claims.ID, Action: action, User: user,
		Remote: edge.ParseRemote(x.r.RemoteAddr).String(), Detail: detail}
}

// auditWait bounds how long a refusal waits for its entry.
const auditWait = time.Second

// recordRefused records a refused call whose token has a valid signature; anyone can put
// any user into a token without one. A prober or a client in a loop must not fill the log,
// so at most one call per second is recorded for each user, and 20 per second on this node.
// The call is refused even if it cannot be recorded.
func (x *exchange) recordRefused() {
	a := x.api
	if x.claims.User == "" || !a.audited.Allow(x.claims.User) || !a.auditedTotal.Allow(struct{}{}) {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(x.r.Context()), auditWait)
	defer cancel()
	op := x.Operation()
	var user bridge.UserID
	if strings.Contains(op.Path, "users/{id}") {
		user, _ = bridge.ParseUserID(x.r.PathValue("id")) // a bad one is none
	}
	if err := a.o.Service.Record(ctx, x.entry(bridge.AuditRefused, user, op.Method+" "+op.Path)); err != nil {
		a.o.Logger.Warn("could not record a refused call", "user", x.claims.User, "error", err)
	}
}

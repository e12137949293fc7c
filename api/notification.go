package api

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/falconalert/falconbridge/bridge"
)

// newNotification is what POST /notifications reads.
type newNotification struct {
	Title    string        `json:"title" minLength:"1" maxLength:"255" example:"Mantenimiento programado"`
	Message  string        `json:"message" minLength:"1" maxLength:"4000" example:"El servicio estará en pausa esta noche."`
	User     bridge.UserID `json:"created_by" doc:"The recipient; named created_by for compatibility."`
	Kind     string        `json:"kind,omitempty" pattern:"^[a-z0-9][a-z0-9._-]{0,63}$" default:"message" doc:"What it is about, as a word that the application chooses. Users mute kinds one by one."`
	ReportID positive      `json:"report_id,omitempty"`
	StatusID bridge.Status `json:"status_id,omitempty"`
	Data     object        `json:"data,omitempty" doc:"Anything for the device, up to 4 KiB of compact JSON."`

	URL       filled   `json:"url,omitempty" maxLength:"2048" example:"/orders/7" doc:"Where it leads: https://…, http://…, or a path that starts with a single /. No backslash, control character or user name."`
	Replaces  filled   `json:"replaces,omitempty" maxLength:"128" example:"order-7" doc:"Supersedes the user's earlier ones with the same value: they leave history, counts, replay and the retained message. The prefix \u0060report-\u0060 is reserved."`
	ExpiresIn lifetime `json:"expires_in,omitempty" example:"3600" doc:"Seconds after which it expires: it is then neither delivered, replayed, retained, listed nor counted."`
}

// draft returns n as a draft by the caller in ctx.
func (n *newNotification) draft(ctx context.Context, source bridge.Source) bridge.Draft {
	d := n.plain()
	d.By, d.Source = string(caller(ctx).User), source
	return d
}

func (n *newNotification) plain() bridge.Draft {
	return bridge.Draft{URL: string(n.URL), Replaces: string(n.Replaces), ExpiresIn: time.Duration(n.ExpiresIn) * time.Second,
		User: n.User, Kind: bridge.Kind(n.Kind), Title: n.Title, Message: n.Message,
		ReportID: int64(n.ReportID), StatusID: n.StatusID, Data: []byte(n.Data)}
}

// check runs only if decoding found faults, so that one response lists all. A body without
// any is checked by the service.
func (n *newNotification) check() error {
	_, err := n.plain().Check("body")
	return err
}

type createInput struct {
	Body sent[newNotification]
}

// createdBody is what POST /notifications returns.
type createdBody struct {
	Message string     `json:"message" example:"Notificación creada correctamente"`
	ID      int64      `json:"id" example:"27"`
	Seq     bridge.Seq `json:"seq" example:"3"`
}

type createOutput struct {
	Replayed string `header:"Idempotency-Replayed"`
	Body     createdBody
}

// createNotification is the hot path of the API.
func (a *api) createNotification(ctx context.Context, in *createInput) (*createOutput, error) {
	n, err := in.Body.get(ctx)
	if err != nil {
		return nil, err
	}
	res, err := a.o.Service.Notify(ctx, n.draft(ctx, bridge.SourceREST), exchangeOf(ctx).idempotencyKey())
	if err != nil {
		return nil, err
	}
	if len(res.Appended) != 1 {
		return nil, fmt.Errorf("one draft gave %d notifications", len(res.Appended))
	}
	made := &res.Appended[0]
	x := exchangeOf(ctx)
	l := x.language()
	setLanguage(x.w.Header(), l)
	return &createOutput{replayed(res), createdBody{l.Created(), made.ID, made.Seq}}, nil
}

// replayed marks a response that came from the idempotency key.
func replayed(res bridge.Result) string {
	if res.Replayed {
		return "true"
	}
	return ""
}

// newNotifications is what POST /notifications/batch reads.
type newNotifications struct {
	Notifications []newNotification `json:"notifications" minItems:"1" maxItems:"1000" nullable:"false"`
}

type batchInput struct {
	Body sent[newNotifications]
}

type createdBatchBody struct {
	Notifications []createdEntryBody `json:"notifications" nullable:"false" doc:"In the order of the request."`
}

type createdEntryBody struct {
	ID   int64         `json:"id" example:"27"`
	Seq  bridge.Seq    `json:"seq" example:"3"`
	User bridge.UserID `json:"created_by"`
}

type batchOutput struct {
	Replayed string `header:"Idempotency-Replayed"`
	Body     createdBatchBody
}

func (a *api) createNotifications(ctx context.Context, in *batchInput) (*batchOutput, error) {
	batch, err := in.Body.get(ctx)
	if err != nil {
		return nil, err
	}
	drafts := make([]bridge.Draft, len(batch.Notifications))
	for i := range drafts {
		drafts[i] = batch.Notifications[i].draft(ctx, bridge.SourceBatch)
	}
	res, err := a.o.Service.NotifyAll(ctx, drafts, exchangeOf(ctx).idempotencyKey())
	if err != nil {
		return nil, err
	}
	out := &batchOutput{Replayed: replayed(res)}
	out.Body.Notifications = make([]createdEntryBody, len(res.Appended))
	for i := range res.Appended {
		n := &res.Appended[i]
		out.Body.Notifications[i] = createdEntryBody{n.ID, n.Seq, n.User}
	}
	return out, nil
}

type countBody struct {
	Total  int64      `json:"total" example:"12"`
	Unread int64      `json:"unread" example:"3"`
	Last   bridge.Seq `json:"last_seq" example:"12" doc:"The highest seq assigned, also while muted."`
}

type countOutput struct{ Body countBody }

func (a *api) countNotifications(ctx context.Context, _ *struct{}) (*countOutput, error) {
	n, err := a.o.Service.Count(ctx, caller(ctx).User)
	if err != nil {
		return nil, err
	}
	return &countOutput{countBody{n.Total, n.Unread, n.Last}}, nil
}

// byID identifies a notification or a report.
type byID struct {
	ID int64 `path:"id" minimum:"1" doc:"The resource's id."`
}

type unreadBody struct {
	Unread int64 `json:"unread" example:"2" doc:"The number of notifications that are still unread."`
}

type unreadOutput struct{ Body unreadBody }

func (a *api) readNotification(ctx context.Context, in *byID) (*unreadOutput, error) {
	unread, err := a.o.Service.Read(ctx, caller(ctx).User, in.ID)
	if err != nil {
		return nil, err
	}
	return &unreadOutput{unreadBody{unread}}, nil
}

func (a *api) unreadNotification(ctx context.Context, in *byID) (*unreadOutput, error) {
	unread, err := a.o.Service.Unread(ctx, caller(ctx).User, in.ID)
	if err != nil {
		return nil, err
	}
	return &unreadOutput{unreadBody{unread}}, nil
}

func (a *api) deleteRead(ctx context.Context, _ *struct{}) (*statusOutput, error) {
	done, err := a.o.Service.DeleteRead(ctx, caller(ctx).User)
	return &statusOutput{statusOf(done, http.StatusNoContent)}, err
}

type changesInput struct {
	Since int64 `query:"since" required:"true" minimum:"0" maximum:"9007199254740991" doc:"The last rev that you have seen, from X-Rev or from this call."`
}

type changesOutput struct {
	Epoch string `header:"X-Epoch"`
	Body  stateBody
}

// stateBody is a bridge.State with what the document says of it.
type stateBody struct {
	Rev           bridge.Rev          `json:"rev" example:"88" doc:"The inbox's rev after the change."`
	From          *bridge.Rev         `json:"from" example:"85" doc:"The change applies to an inbox at any rev of at least this one. Null: fetch the list again."`
	Last          bridge.Seq          `json:"last_seq" example:"40" doc:"The counts are as of this seq."`
	Unread        int64               `json:"unread" example:"3"`
	Total         int64               `json:"total" example:"12"`
	ReviewEnabled int                 `json:"is_review_enabled" enum:"0,1" example:"1"`
	Kinds         map[bridge.Kind]int `json:"kinds" doc:"As in the settings."`
	ReadUpTo      bridge.Seq          `json:"read_up_to" example:"20" doc:"All up to this seq were read; 0: unchanged."`
	Read          []int64             `json:"read" nullable:"false" doc:"Ids that are read."`
	UnreadIDs     []int64             `json:"unread_ids" nullable:"false" doc:"Ids that are unread."`
	Deleted       []int64             `json:"deleted" nullable:"false" doc:"Ids that were deleted, superseded, expired or retained out."`
}

func (a *api) listChanges(ctx context.Context, in *changesInput) (*changesOutput, error) {
	state, err := a.o.Service.Changes(ctx, caller(ctx).User, bridge.Rev(in.Since))
	if err != nil {
		return nil, err
	}
	return &changesOutput{a.o.Service.Epoch(), stateBody(state)}, nil
}

// readUpToBody marks all notifications if up_to is absent. A client that has seen none
// sends 0.
type readUpToBody struct {
	UpTo *upTo `json:"up_to,omitempty" doc:"Mark those up to this seq. Default: all."`
}

type readInput struct {
	Body sent[readUpToBody]
}

type readOutput struct {
	Status int
	Body   unreadBody
}

func (a *api) readNotifications(ctx context.Context, in *readInput) (*readOutput, error) {
	body, err := in.Body.get(ctx)
	if err != nil {
		return nil, err
	}
	u, to := caller(ctx).User, body.UpTo
	if to != nil && *to == 0 { // for the service 0 means all
		n, err := a.o.Service.Count(ctx, u)
		if err != nil {
			return nil, err
		}
		return &readOutput{http.StatusOK, unreadBody{n.Unread}}, nil
	}
	var seq bridge.Seq
	if to != nil {
		seq = bridge.Seq(*to)
	}
	unread, done, err := a.o.Service.ReadUpTo(ctx, u, seq)
	if err != nil {
		return nil, err
	}
	return &readOutput{statusOf(done, http.StatusOK), unreadBody{unread}}, nil
}

// deleteNotification removes one of the caller's notifications, or any one for an admin;
// another user's is recorded as a withdrawal.
func (a *api) deleteNotification(ctx context.Context, in *byID) (*struct{}, error) {
	claims := caller(ctx)
	owner := claims.User
	if claims.Has(bridge.ScopeAdmin) {
		n, err := a.o.Service.Find(ctx, in.ID)
		if err != nil {
			return nil, err
		}
		owner = n.User
	}
	if owner != claims.User {
		if err := a.record(ctx, bridge.AuditWithdraw, owner, fmt.Sprintf("notification %d", in.ID)); err != nil {
			return nil, err
		}
	}
	return nil, a.o.Service.Delete(ctx, owner, in.ID)
}

// withdrawal selects what to withdraw. Both are required, so that a call without a query
// deletes nothing.
type withdrawal struct {
	User     bridge.UserID `query:"user" required:"true" doc:"The notification's user."`
	Replaces string        `query:"replaces" required:"true" minLength:"1" maxLength:"128" doc:"The key it was created with."`
}

type withdrawnBody struct {
	Deleted int64 `json:"deleted" example:"1" doc:"The number of notifications deleted: 0 or 1."`
}

type withdrawnOutput struct{ Body withdrawnBody }

// withdraw deletes the notifications that were created with a key. Keys of reports are
// refused, because the server chose them and not the application.
func (a *api) withdraw(ctx context.Context, in *withdrawal) (*withdrawnOutput, error) {
	key := exchangeOf(ctx).query.Get("replaces") // as sent: see [exchange.Query] for empty ones
	if err := bridge.CheckReplaces(key); err != nil {
		var bad bridge.InvalidError
		bad.Add("query.replaces", err.Error())
		return nil, &bad
	}
	if err := a.record(ctx, bridge.AuditWithdraw, in.User, ""); err != nil {
		return nil, err
	}
	n, err := a.o.Service.Withdraw(ctx, in.User, key)
	if err != nil {
		return nil, err
	}
	return &withdrawnOutput{withdrawnBody{n}}, nil
}

type deliveryBody struct {
	ClientID       string     `json:"client_id" example:"pixel-8"`
	Acknowledged   bool       `json:"acknowledged"`
	AcknowledgedAt maybeStamp `json:"acknowledged_at" doc:"Acknowledged by this time; null if unknown or not acknowledged."`
}

type deliveriesOutput struct {
	Body []deliveryBody `nullable:"false"`
}

// listDeliveries returns which devices have a notification.
func (a *api) listDeliveries(ctx context.Context, in *byID) (*deliveriesOutput, error) {
	n, err := a.o.Service.Find(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	ds, err := a.o.Service.Deliveries(ctx, n)
	if err != nil {
		return nil, err
	}
	out := &deliveriesOutput{make([]deliveryBody, len(ds))}
	for i, d := range ds {
		out.Body[i] = deliveryBody{d.ClientID, d.Acknowledged, maybeStamp(d.AcknowledgedAt)}
	}
	return out, nil
}

// PageQuery selects a page of a history. It is exported only to be embedded: huma ignores
// unexported structs.
type PageQuery struct {
	Limit  int   `query:"limit" minimum:"1" maximum:"200" default:"50" doc:"The maximum number of entries to return."`
	Before int64 `query:"before" minimum:"1" maximum:"9007199254740991" doc:"Only seqs below this one. Cannot be combined with \u0060after\u0060."`
	After  int64 `query:"after" minimum:"0" maximum:"9007199254740991" doc:"Only seqs above this one, oldest first."`
	Unread bool  `query:"unread" doc:"Only unread notifications."`
	// Kinds are checked by Resolve: huma would report a pattern at each entry.
	Kinds []string `query:"kind" maxItems:"64" example:"message" doc:"Only these kinds, separated by commas. A call examines at most 2000 notifications, so a page may be short or empty and still have a Link to the next."`
	Muted string   `query:"muted" enum:"include" doc:"include: also those that mutes hide."`

	forward bool
}

// Resolve checks what tags cannot express: an after of 0 differs from an absent one, and
// a boolean is true, false, 1 or 0, where strconv accepts eight more spellings.
func (q *PageQuery) Resolve(hc huma.Context) []error {
	var bad bridge.InvalidError
	query := hc.(*exchange).query
	q.forward = query.Has("after")
	if q.forward && query.Has("before") {
		bad.Add("query.before", "cannot be combined with after")
	}
	for _, k := range q.Kinds {
		if !bridge.Kind(k).Valid() {
			bad.Add("query.kind", "must be a comma-separated list of kinds")
			break
		}
	}
	switch query.Get("unread") {
	case "t", "T", "TRUE", "True", "f", "F", "FALSE", "False":
		bad.Add("query.unread", "must be true or false")
	}
	if len(bad.Fields) > 0 {
		return []error{&bad}
	}
	return nil
}

// otherPage selects a page of another user's history.
type otherPage struct {
	User bridge.UserID `path:"id" doc:"The user's id."`
	PageQuery
}

type pageOutput struct {
	Link   string `header:"Link"`
	Last   int64  `header:"X-Last-Seq"`
	Unread int64  `header:"X-Unread-Count"`
	Epoch  string `header:"X-Epoch"`
	Rev    int64  `header:"X-Rev"`
	Body   items
}

// items are written with the same bytes as the MQTT payload.
type items []bridge.Notification

func (p items) appendJSON(b []byte) []byte {
	b = append(b, '[')
	for i := range p {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, p[i].Item()...)
	}
	return append(b, ']')
}

func (a *api) listOwn(ctx context.Context, in *PageQuery) (*pageOutput, error) {
	return a.list(ctx, caller(ctx).User, in)
}

func (a *api) listOther(ctx context.Context, in *otherPage) (*pageOutput, error) {
	if in.User != caller(ctx).User {
		if err := a.record(ctx, bridge.AuditHistory, in.User, ""); err != nil {
			return nil, err
		}
	}
	return a.list(ctx, in.User, &in.PageQuery)
}

// list returns a page of u's history.
func (a *api) list(ctx context.Context, u bridge.UserID, in *PageQuery) (*pageOutput, error) {
	kinds := make([]bridge.Kind, len(in.Kinds))
	for i, k := range in.Kinds {
		kinds[i] = bridge.Kind(k)
	}
	page, err := a.o.Service.List(ctx, bridge.Query{User: u, Limit: in.Limit, Unread: in.Unread, Kinds: kinds, Hidden: in.Muted != "",
		Before: bridge.Seq(in.Before), After: bridge.Seq(in.After), Forward: in.forward})
	if err != nil {
		return nil, err
	}
	out := &pageOutput{Last: int64(page.Count.Last), Unread: page.Count.Unread, Epoch: a.o.Service.Epoch(),
		Rev: int64(page.Rev), Body: page.Items}
	if page.More {
		cursor := "before"
		if in.forward {
			cursor = "after"
		}
		out.Link = exchangeOf(ctx).next(cursor, strconv.FormatInt(int64(page.Next), 10))
	}
	return out, nil
}

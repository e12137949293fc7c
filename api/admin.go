package api

import (
	"context"
	"encoding/base64"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/danielgtaylor/huma/v2"

	"github.com/falconalert/falconbridge/bridge"
)

// byUser names the user a call is about.
type byUser struct {
	User bridge.UserID `path:"id" doc:"The user's id."`
}

// statusOutput is a response that has a status and no body.
type statusOutput struct{ Status int }

func (a *api) eraseUser(ctx context.Context, in *byUser) (*statusOutput, error) {
	if err := a.record(ctx, bridge.AuditErase, in.User, ""); err != nil {
		return nil, err
	}
	done, err := a.o.Service.Erase(ctx, in.User)
	return &statusOutput{statusOf(done, http.StatusNoContent)}, err
}

// statusOf returns status for a change that is done, and 202 for one that the server is
// still making.
func statusOf(done bool, status int) int {
	if done {
		return status
	}
	return http.StatusAccepted
}

func (a *api) endConnections(ctx context.Context, in *byUser) (*struct{}, error) {
	if err := a.record(ctx, bridge.AuditEnd, in.User, ""); err != nil {
		return nil, err
	}
	return nil, a.o.Service.EndConnections(ctx, in.User)
}

// connectionBody is one live connection.
type connectionBody struct {
	User       bridge.UserID `json:"user"`
	ClientID   string        `json:"client_id" example:"pixel-8"`
	Node       string        `json:"node" example:"falcon-1" doc:"The node it is connected to."`
	Protocol   byte          `json:"protocol" enum:"4,5" example:"5" doc:"MQTT protocol level: 4 is 3.1.1."`
	Transport  string        `json:"transport" enum:"tcp,tls,ws,wss" example:"wss"`
	Remote     string        `json:"remote" example:"192.0.2.7:51000"`
	Persistent bool          `json:"persistent" doc:"Whether it has a session that keeps its cursor while it is absent."`
	Since      stamp         `json:"since"`
}

type connectionsQuery struct {
	Limit     int           `query:"limit" minimum:"1" maximum:"200" default:"50" doc:"The maximum number of entries to return."`
	User      bridge.UserID `query:"user" doc:"Only those of this user."`
	Match     string        `query:"match" maxLength:"256" pattern:"[^ ]" doc:"Only those whose user id or client id contains this text, ignoring case."`
	Node      string        `query:"node" minLength:"1" maxLength:"256" doc:"Only those on this node."`
	Protocol  int           `query:"protocol" minimum:"4" maximum:"5" doc:"Only those with this MQTT protocol level: 4 is 3.1.1."`
	Transport string        `query:"transport" enum:"tcp,tls,ws,wss" doc:"Only those with this transport."`
	Sort      string        `query:"sort" enum:"user,-user,since,-since" default:"user" doc:"By user and client id, or by the time of connecting; - reverses the order."`
	After     string        `query:"after" doc:"The cursor of a \u0060Link\u0060 header."`

	after *bridge.ConnectionCursor
}

// Resolve reads the cursor.
func (q *connectionsQuery) Resolve(huma.Context) []error {
	if q.After == "" {
		return nil
	}
	at, cursor, _ := strings.Cut(q.After, ".")
	since, err := strconv.ParseInt(at, 10, 64)
	device, bad := readCursor(cursor)
	if err != nil || bad != nil {
		return []error{errCursor}
	}
	q.after = &bridge.ConnectionCursor{Device: device, Since: time.UnixMilli(since).UTC()}
	return nil
}

type connectionsOutput struct {
	Link string           `header:"Link"`
	Body []connectionBody `nullable:"false"`
}

func (a *api) listConnections(ctx context.Context, in *connectionsQuery) (*connectionsOutput, error) {
	sort, reverse := strings.CutPrefix(in.Sort, "-")
	page, next, err := a.o.Service.Connections(ctx, bridge.ConnectionQuery{User: in.User, Match: in.Match, Node: in.Node, Transport: in.Transport,
		Protocol: byte(in.Protocol), BySince: sort == "since", Reverse: reverse, After: in.after, Limit: in.Limit})
	if err != nil {
		return nil, err
	}
	out := &connectionsOutput{Body: make([]connectionBody, len(page))}
	for i, n := range page {
		out.Body[i] = connectionBody{n.Device.User, n.Device.ClientID, n.Node, n.Protocol, n.Transport, n.Remote, n.Persistent, stamp(n.Since)}
	}
	if next != nil {
		out.Link = exchangeOf(ctx).next("after", strconv.FormatInt(next.Since.UnixMilli(), 10)+"."+deviceCursor(next.Device))
	}
	return out, nil
}

// sessionBody is one device that keeps a session.
type sessionBody struct {
	User      bridge.UserID `json:"user"`
	ClientID  string        `json:"client_id" example:"pixel-8"`
	Connected bool          `json:"connected"`
	Node      string        `json:"node" example:"falcon-1" doc:"The node it is connected to; empty while it is absent."`
	Lag       *int64        `json:"lag" example:"12" doc:"The number of its user's seqs that it has not acknowledged, including muted and deleted ones. At most 1,000 notifications are replayed. Null: it is not subscribed."`
	LastSeen  stamp         `json:"last_seen_at" doc:"When it was last known to be connected."`
	ExpiresAt maybeStamp    `json:"expires_at" doc:"When its session and cursor expire; null while it is connected."`
}

type sessionsQuery struct {
	Limit  int           `query:"limit" minimum:"1" maximum:"200" default:"50" doc:"The maximum number of entries to return."`
	User   bridge.UserID `query:"user" doc:"Only those of this user."`
	Match  string        `query:"match" maxLength:"256" pattern:"[^ ]" doc:"Only those whose user id or client id contains this text, ignoring case."`
	Absent bool          `query:"absent" doc:"Only those that are not connected."`
	Behind bool          `query:"behind" doc:"Only those that have not acknowledged everything."`
	After  string        `query:"after" doc:"The cursor of a \u0060Link\u0060 header."`

	after bridge.Device
}

// Resolve reads the cursor.
func (q *sessionsQuery) Resolve(huma.Context) []error {
	var err error
	if q.After != "" {
		q.after, err = readCursor(q.After)
	}
	if err != nil {
		return []error{err}
	}
	return nil
}

type sessionsOutput struct {
	Link string        `header:"Link"`
	Body []sessionBody `nullable:"false"`
}

func (a *api) listSessions(ctx context.Context, in *sessionsQuery) (*sessionsOutput, error) {
	page, next, err := a.o.Service.Sessions(ctx, bridge.SessionQuery{User: in.User, Match: in.Match, Absent: in.Absent, Behind: in.Behind, After: in.after, Limit: in.Limit})
	if err != nil {
		return nil, err
	}
	out := &sessionsOutput{Body: make([]sessionBody, len(page))}
	for i, s := range page {
		out.Body[i] = sessionBody{User: s.Device.User, ClientID: s.Device.ClientID, Connected: s.Node != "", Node: s.Node,
			LastSeen: stamp(s.LastSeen), ExpiresAt: maybeStamp(s.Expires)}
		if s.Lag >= 0 {
			out.Body[i].Lag = &s.Lag
		}
	}
	if next != nil {
		out.Link = exchangeOf(ctx).next("after", deviceCursor(*next))
	}
	return out, nil
}

// byDevice names a device of the user a call is about.
type byDevice struct {
	User     bridge.UserID `path:"id" doc:"The user's id."`
	ClientID string        `path:"client_id" doc:"The device's MQTT client id, percent-encoded." example:"pixel-8"`
}

func (d *byDevice) device() (bridge.Device, error) {
	return bridge.Device{User: d.User, ClientID: d.ClientID}, bridge.CheckClientID(d.ClientID)
}

func (a *api) endConnection(ctx context.Context, in *byDevice) (*struct{}, error) {
	dev, err := in.device()
	if err != nil {
		return nil, err
	}
	if err := a.record(ctx, bridge.AuditEnd, dev.User, "device "+dev.ClientID); err != nil {
		return nil, err
	}
	return nil, a.o.Service.EndConnection(ctx, dev)
}

func (a *api) removeDevice(ctx context.Context, in *byDevice) (*struct{}, error) {
	dev, err := in.device()
	if err != nil {
		return nil, err
	}
	if err := a.record(ctx, bridge.AuditEnd, dev.User, "device "+dev.ClientID+", with its session"); err != nil {
		return nil, err
	}
	return nil, a.dropDevice(ctx, dev)
}

// deviceCursor encodes a device for a query parameter. A client id may contain any
// character, a user id never a slash.
func deviceCursor(d bridge.Device) string {
	return base64.RawURLEncoding.EncodeToString([]byte(string(d.User) + "/" + d.ClientID))
}

var errCursor = &bridge.InvalidError{Fields: []bridge.FieldError{{Location: "query.after", Message: "must be a cursor from a Link header"}}}

// readCursor decodes what deviceCursor returned.
func readCursor(s string) (bridge.Device, error) {
	b, err := base64.RawURLEncoding.DecodeString(s)
	user, client, found := strings.Cut(string(b), "/")
	u, bad := bridge.ParseUserID(user)
	if err != nil || bad != nil || !found || len(client) > 256 || !utf8.Valid(b) || strings.IndexByte(client, 0) >= 0 {
		return bridge.Device{}, errCursor
	}
	return bridge.Device{User: u, ClientID: client}, nil
}

// clockSkew is how far before may lie in the future, as for iat.
const clockSkew = 30 * time.Second

// newRevocation is what POST /admin/revocations reads: {user, before?} or {jti, exp?}.
type newRevocation struct {
	User   bridge.UserID `json:"user,omitempty" doc:"The user whose tokens are revoked."`
	Before string        `json:"before,omitempty" format:"date-time" doc:"With user: revokes tokens issued before this time or without iat. Default: now. At most 30 s in the future, for an issuer whose clock is ahead."`
	JTI    string        `json:"jti,omitempty" doc:"The jti of one token." maxLength:"255"`
	Exp    instant       `json:"exp,omitzero" doc:"With jti: the token's exp, in seconds or as in RFC 3339, after which the revocation is forgotten. Default: after --max-token-life, or never."`
}

func (n *newRevocation) revocation(now time.Time) (bridge.Revocation, error) {
	v := bridge.Revocation{User: n.User, ID: n.JTI}
	var bad bridge.InvalidError
	switch {
	case v.User == "" && v.ID == "":
		bad.Add("body.user", "is required unless jti is given")
	case v.User != "" && v.ID != "":
		bad.Add("body.jti", "cannot be combined with user")
	case v.ID != "" && n.Before != "":
		bad.Add("body.before", "cannot be combined with jti")
	}
	if n.Exp != nil {
		exp, _ := n.Exp.time()
		switch {
		case v.User != "":
			bad.Add("body.exp", "cannot be combined with user")
		case !exp.After(now): // most likely a mistake: it would revoke nothing
			bad.Add("body.exp", "must be in the future: an expired token needs no revocation")
		}
		v.Expires = exp
	}
	if len(v.ID) > 255 || strings.IndexByte(v.ID, 0) >= 0 {
		bad.Add("body.jti", "must have 1 to 255 bytes and no NUL character")
	}
	if v.User != "" {
		v.Before = now.UTC().Truncate(time.Millisecond)
	}
	if n.Before != "" {
		t, err := time.Parse(time.RFC3339, n.Before)
		switch {
		case err != nil:
			bad.Add("body.before", "must be an RFC 3339 time")
		case t.After(now.Add(clockSkew)): // would refuse tokens that are yet to be issued
			bad.Add("body.before", "must be at most 30 s in the future")
		}
		v.Before = t.UTC().Truncate(time.Millisecond)
	}
	return v, bad.Err()
}

type revokeInput struct {
	Body sent[newRevocation]
}

type revokeOutput struct{ Body revocationBody }

func (a *api) revoke(ctx context.Context, in *revokeInput) (*revokeOutput, error) {
	body, err := in.Body.get(ctx)
	if err != nil {
		return nil, err
	}
	v, err := body.revocation(time.Now())
	if err != nil {
		return nil, err
	}
	action := bridge.AuditRevoke
	if v.ID != "" {
		action = bridge.AuditToken
	}
	if err := a.record(ctx, action, v.User, v.ID); err != nil {
		return nil, err
	}
	if err := a.o.Service.Revoke(ctx, v); err != nil {
		return nil, err
	}
	out := &revokeOutput{revocationBody{JTI: v.ID, Exp: body.Exp}}
	if v.User != "" {
		before := stamp(v.Before)
		out.Body.User, out.Body.Before = &v.User, &before
	}
	return out, nil
}

// revocationBody is the response to a newRevocation.
type revocationBody struct {
	User   *bridge.UserID `json:"user,omitempty" doc:"The user whose tokens are revoked."`
	Before *stamp         `json:"before,omitempty" doc:"With user: revokes tokens issued before this time or without iat. Default: now. At most 30 s in the future, for an issuer whose clock is ahead."`
	JTI    string         `json:"jti,omitempty" doc:"The jti of one token." maxLength:"255"`
	Exp    instant        `json:"exp,omitzero" doc:"With jti: the token's exp, as it was sent, after which the revocation is forgotten. Default: after --max-token-life, or never."`
}

// statsBody are figures of the cluster, as of each node's last beat.
type statsBody struct {
	Version     string     `json:"version"`
	Epoch       string     `json:"epoch" doc:"Identifies the life of the log: it changes when the database is restored to an earlier point."`
	Connections int64      `json:"connections" doc:"Connections open now on all nodes, as GET /admin/connections lists them. The other figures are as of each node's last heartbeat."`
	Sent        int64      `json:"sent" doc:"Messages sent since each node's start: one per notification and subscription."`
	Copies      int64      `json:"copies" doc:"Of these, the ones to subscriptions other than to a user's own topic, such as an operator's."`
	InFlight    int64      `json:"in_flight" doc:"Sent to users' own devices and not yet acknowledged."`
	Acked       int64      `json:"acked" doc:"Messages acknowledged; those with QoS 0 never are."`
	Reads       int64      `json:"reads" doc:"Reads of the log."`
	Oversize    int64      `json:"oversize" doc:"Not sent because they exceed the device's Maximum Packet Size."`
	Refused     int64      `json:"refused" doc:"Connections of devices that were refused."`
	Push        *lateBody  `json:"push,omitempty" doc:"Web Push and webhooks, if either is on."`
	Webhooks    *lateBody  `json:"webhooks,omitempty"`
	Nodes       []nodeBody `json:"nodes" nullable:"false"`
}

type nodeBody struct {
	Node        string `json:"node" example:"falcon-1"`
	StartedAt   stamp  `json:"started_at"`
	BeatAt      stamp  `json:"beat_at" doc:"When the node last sent a heartbeat."`
	Connections int64  `json:"connections"`
	Sent        int64  `json:"sent"`
	Copies      int64  `json:"copies"`
	InFlight    int64  `json:"in_flight"`
	Acked       int64  `json:"acked"`
	Reads       int64  `json:"reads"`
	Oversize    int64  `json:"oversize"`
	Refused     int64  `json:"refused"`
}

type statsOutput struct{ Body statsBody }

func (a *api) stats(ctx context.Context, _ *struct{}) (*statsOutput, error) {
	nodes, err := a.o.Service.Nodes(ctx)
	if err != nil {
		return nil, err
	}
	s := statsBody{Version: a.o.Version, Epoch: a.o.Service.Epoch(), Nodes: make([]nodeBody, len(nodes))}
	if a.o.Late != nil {
		figures, err := a.o.Late(ctx)
		if err != nil {
			return nil, err
		}
		s.Push, s.Webhooks = lateBodyOf(figures.Push), lateBodyOf(figures.Webhooks)
	}
	for i, n := range nodes {
		f := n.Figures
		s.Nodes[i] = nodeBody{n.Node, stamp(n.StartedAt), stamp(n.BeatAt), f.Connections, f.Sent, f.Copies, f.InFlight, f.Acked, f.Reads, f.Oversize, f.Refused}
		s.Connections += f.Connections
		s.Sent += f.Sent
		s.Copies += f.Copies
		s.InFlight += f.InFlight
		s.Acked += f.Acked
		s.Reads += f.Reads
		s.Oversize += f.Oversize
		s.Refused += f.Refused
	}
	return &statsOutput{s}, nil
}

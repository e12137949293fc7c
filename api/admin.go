package api

import (
	"context"
	"encoding/base64"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/falconalert/falconbridge/bridge"
)

func (a *api) eraseUser(ctx context.Context, c *call) error {
	u := c.user()
	if err := c.bad.Err(); err != nil {
		return err
	}
	if err := a.o.Service.Erase(ctx, u); err != nil {
		return err
	}
	return c.done()
}

func (a *api) endConnections(ctx context.Context, c *call) error {
	u := c.user()
	if err := c.bad.Err(); err != nil {
		return err
	}
	if err := a.o.Service.EndConnections(ctx, u); err != nil {
		return err
	}
	return c.done()
}

// connectionBody is one live connection.
type connectionBody struct {
	User       bridge.UserID `json:"user"`
	ClientID   string        `json:"client_id" example:"pixel-8"`
	Node       string        `json:"node" example:"falcon-1" doc:"The node it is connected to."`
	Protocol   byte          `json:"protocol" enum:"4,5" example:"5" doc:"MQTT protocol level: 4 is 3.1.1."`
	Transport  string        `json:"transport" enum:"tcp,tls,ws,wss" example:"wss"`
	Remote     string        `json:"remote" example:"192.0.2.7:51000"`
	Persistent bool          `json:"persistent" doc:"Whether it keeps its place while absent."`
	Since      stamp         `json:"since"`
}

func (a *api) listConnections(ctx context.Context, c *call) error {
	if _, err := c.values(); err != nil {
		return err
	}
	q := bridge.ConnectionQuery{User: c.queryUser("user"), After: c.afterDevice(), Limit: int(limitParam.read(c))}
	if err := c.bad.Err(); err != nil {
		return err
	}
	page, more, err := a.o.Service.Connections(ctx, q)
	if err != nil {
		return err
	}
	bodies := make([]connectionBody, len(page))
	for i, n := range page {
		bodies[i] = connectionBody{n.Device.User, n.Device.ClientID, n.Node, n.Protocol, n.Transport, n.Remote, n.Persistent, stamp(n.Since)}
	}
	if more && len(page) > 0 {
		c.next("after", deviceCursor(page[len(page)-1].Device))
	}
	return c.json(http.StatusOK, bodies)
}

// deviceCursor writes a device so that it fits a query: client ids may hold
// anything. A user id never holds the slash.
func deviceCursor(d bridge.Device) string {
	return base64.RawURLEncoding.EncodeToString([]byte(string(d.User) + "/" + d.ClientID))
}

// afterDevice reads the query's after.
func (c *call) afterDevice() bridge.Device {
	s, sent := c.query["after"]
	if !sent {
		return bridge.Device{}
	}
	b, err := base64.RawURLEncoding.DecodeString(s[0])
	user, client, found := strings.Cut(string(b), "/")
	u, bad := bridge.ParseUserID(user)
	if err != nil || bad != nil || !found || len(client) > 256 || !utf8.Valid(b) || strings.IndexByte(client, 0) >= 0 {
		c.bad.Add("query.after", "is taken from a Link header")
	}
	return bridge.Device{User: u, ClientID: client}
}

// clockSkew is how far before may lie in the future, as for iat.
const clockSkew = 30 * time.Second

// readRevocation reads the body of POST /admin/revocations: {user, before?} or {jti}.
func readRevocation(body []byte, now time.Time) (bridge.Revocation, error) {
	var v bridge.Revocation
	var before string
	err := readObject(body, func(f *field) error {
		switch string(f.name) {
		case "user":
			return f.user(&v.User)
		case "jti":
			return f.text(&v.ID)
		case "before":
			return f.text(&before)
		}
		return f.skip()
	})
	if err != nil {
		return v, err
	}
	var bad bridge.InvalidError
	switch {
	case v.User == "" && v.ID == "":
		bad.Add("body.user", "is required, or jti")
	case v.User != "" && v.ID != "":
		bad.Add("body.jti", "is not used together with user")
	case v.ID != "" && before != "":
		bad.Add("body.before", "is not used together with jti")
	}
	if len(v.ID) > 255 || strings.IndexByte(v.ID, 0) >= 0 {
		bad.Add("body.jti", "has 1 to 255 bytes, without NUL")
	}
	if v.User != "" {
		v.Before = now.UTC().Truncate(time.Millisecond)
	}
	if before != "" {
		t, err := time.Parse(time.RFC3339, before)
		switch {
		case err != nil:
			bad.Add("body.before", "is a time as in RFC 3339")
		case t.After(now.Add(clockSkew)): // would lock the user out of the future
			bad.Add("body.before", "does not lie in the future")
		}
		v.Before = t.UTC().Truncate(time.Millisecond)
	}
	return v, bad.Err()
}

func (a *api) revoke(ctx context.Context, c *call) error {
	v, err := readRevocation(c.body, time.Now())
	if err != nil {
		return err
	}
	if err := a.o.Service.Revoke(ctx, v); err != nil {
		return err
	}
	body := revocationBody{JTI: v.ID}
	if v.User != "" {
		before := stamp(v.Before)
		body.User, body.Before = &v.User, &before
	}
	return c.json(http.StatusCreated, body)
}

type revocationBody struct {
	User   *bridge.UserID `json:"user,omitempty" doc:"Whose tokens."`
	Before *stamp         `json:"before,omitempty" doc:"With user: tokens issued before then, or without iat. Left out: now."`
	JTI    string         `json:"jti,omitempty" doc:"One token, by its jti." maxLength:"255"`
}

// statsBody is how the cluster fares, as of each node's last beat.
type statsBody struct {
	Version     string     `json:"version"`
	Epoch       string     `json:"epoch" doc:"The life of the log: it changes when the database was restored to an earlier point."`
	Connections int64      `json:"connections" doc:"Open now, on all nodes."`
	Sent        int64      `json:"sent" doc:"Messages sent to devices since each node's start."`
	Acked       int64      `json:"acked" doc:"Of these acknowledged."`
	Reads       int64      `json:"reads" doc:"Reads of the log."`
	Oversize    int64      `json:"oversize" doc:"Left out: over the device's Maximum Packet Size."`
	Refused     int64      `json:"refused" doc:"Connects of devices that were refused."`
	Nodes       []nodeBody `json:"nodes" nullable:"false"`
}

type nodeBody struct {
	Node        string `json:"node" example:"falcon-1"`
	StartedAt   stamp  `json:"started_at"`
	BeatAt      stamp  `json:"beat_at" doc:"When the node last said that it lives."`
	Connections int64  `json:"connections"`
	Sent        int64  `json:"sent"`
	Acked       int64  `json:"acked"`
	Reads       int64  `json:"reads"`
	Oversize    int64  `json:"oversize"`
	Refused     int64  `json:"refused"`
}

func (a *api) stats(ctx context.Context, c *call) error {
	nodes, err := a.o.Service.Nodes(ctx)
	if err != nil {
		return err
	}
	s := statsBody{Version: a.o.Version, Epoch: a.o.Service.Epoch(), Nodes: make([]nodeBody, len(nodes))}
	for i, n := range nodes {
		f := n.Figures
		s.Nodes[i] = nodeBody{n.Node, stamp(n.StartedAt), stamp(n.BeatAt), f.Connections, f.Sent, f.Acked, f.Reads, f.Oversize, f.Refused}
		s.Connections += f.Connections
		s.Sent += f.Sent
		s.Acked += f.Acked
		s.Reads += f.Reads
		s.Oversize += f.Oversize
		s.Refused += f.Refused
	}
	return c.json(http.StatusOK, s)
}

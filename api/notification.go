package api

import (
	"context"
	"crypto/sha256"
	"fmt"
	"net/http"
	"strconv"

	"github.com/falconalert/falconbridge/bridge"
)

func (p place) String() string {
	if p == root {
		return "body"
	}
	return fmt.Sprintf("body.notifications[%d]", int(p))
}

func (p place) field(name string) string { return p.String() + "." + name }

// draft reads one member of a notification that is to be created.
func (f *field) draft(d *bridge.Draft) error {
	switch string(f.name) {
	case "title":
		return f.text(&d.Title)
	case "message":
		return f.text(&d.Message)
	case "created_by":
		return f.user(&d.User)
	case "kind":
		var kind string
		err := f.text(&kind)
		d.Kind = bridge.Kind(kind)
		return err
	case "report_id":
		return f.integer(1, maxSafeInteger, &d.ReportID, positive)
	case "status_id":
		return f.status(&d.StatusID)
	case "data":
		return f.data(d)
	}
	return f.skip()
}

const (
	maxSafeInteger = 1<<53 - 1
	positive       = "is a positive integer up to 2^53-1"
)

// status reads a report's status.
func (f *field) status(to *bridge.Status) error {
	n := int64(*to)
	err := f.integer(int64(bridge.Pending), int64(bridge.Rejected), &n, "is 1, 2 or 3")
	*to = bridge.Status(n)
	return err
}

func (f *field) data(d *bridge.Draft) error {
	if c := f.peek(); c != '{' {
		if f.null() {
			return nil
		}
		return f.refuse("is a JSON object")
	}
	f.huge = false
	raw, err := f.raw()
	if err == nil && f.huge {
		f.fault("holds a number beyond the range of a double")
	}
	d.Data = raw
	return err
}

// readDraft reads the body of POST /notifications.
func readDraft(body []byte) (d bridge.Draft, err error) {
	err = readObject(body, func(f *field) error { return f.draft(&d) })
	if err != nil {
		_, further := d.Check("body")
		err = also(err, further)
	}
	return d, err
}

// createNotification is the hot path.
func (a *api) createNotification(ctx context.Context, c *call) error {
	key, err := c.idempotencyKey()
	if err != nil {
		return err
	}
	d, err := readDraft(c.body)
	if err != nil {
		return err
	}
	res, err := a.o.Service.Notify(ctx, d, key)
	if err != nil {
		return err
	}
	if len(res.Appended) != 1 {
		return fmt.Errorf("one draft gave %d notifications", len(res.Appended))
	}
	n := &res.Appended[0]
	b := append(make([]byte, 0, 128), `{"message":"`...)
	b = append(b, a.created...)
	b = append(b, `","id":`...)
	b = strconv.AppendInt(b, n.ID, 10)
	b = append(b, `,"seq":`...)
	b = strconv.AppendInt(b, int64(n.Seq), 10)
	b = append(b, '}')
	c.replayed(res)
	return c.reply(http.StatusCreated, b)
}

// createdText is what POST /notifications answers in words; Spanish is what the
// applications have always read.
func createdText(l bridge.Locale) string {
	if l == bridge.English {
		return "Notification created"
	}
	return "Notificación creada correctamente"
}

// idempotencyKey reads the header Idempotency-Key, nil where there is none. The
// body counts together with the path: a key of one call is none of another.
func (c *call) idempotencyKey() (*bridge.IdempotencyKey, error) {
	h, sent := c.r.Header["Idempotency-Key"]
	if !sent {
		return nil, nil
	}
	if len(h) != 1 || !visible(h[0]) {
		c.bad.Add("header.Idempotency-Key", fmt.Sprintf("has 1 to %d visible ASCII characters, and is sent once", bridge.MaxKey))
		return nil, c.bad.Err()
	}
	sum := sha256.New()
	sum.Write([]byte(c.r.URL.Path + "\x00"))
	sum.Write(c.body)
	key := &bridge.IdempotencyKey{Caller: c.claims.User, Key: h[0]}
	sum.Sum(key.Body[:0])
	return key, nil
}

func visible(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return false
		}
	}
	return len(s) >= 1 && len(s) <= bridge.MaxKey
}

// replayed marks an answer that came from the idempotency key.
func (c *call) replayed(res bridge.Result) {
	if res.Replayed {
		c.w.Header()["Idempotency-Replayed"] = []string{"true"}
	}
}

func (a *api) countNotifications(ctx context.Context, c *call) error {
	n, err := a.o.Service.Count(ctx, c.claims.User)
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, n)
}

func (a *api) readNotification(ctx context.Context, c *call) error {
	id := c.id()
	if err := c.bad.Err(); err != nil {
		return err
	}
	unread, err := a.o.Service.Read(ctx, c.claims.User, id)
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, unreadBody{unread})
}

// readNotifications marks all, or those up to up_to. An up_to of 0 is what a
// client sends that has seen none: it marks none.
func (a *api) readNotifications(ctx context.Context, c *call) error {
	upTo := int64(-1)
	if len(c.body) > 0 {
		err := readObject(c.body, func(f *field) error {
			if f.is("up_to") {
				return f.integer(0, maxSafeInteger, &upTo, "is an integer from 0 to 2^53-1")
			}
			return f.skip()
		})
		if err != nil {
			return err
		}
	}
	if upTo == 0 {
		n, err := a.o.Service.Count(ctx, c.claims.User)
		if err != nil {
			return err
		}
		return c.json(http.StatusOK, unreadBody{n.Unread})
	}
	unread, err := a.o.Service.ReadUpTo(ctx, c.claims.User, bridge.Seq(max(upTo, 0)))
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, unreadBody{unread})
}

// deleteNotification removes an own notification; an admin, anybody's.
func (a *api) deleteNotification(ctx context.Context, c *call) error {
	id := c.id()
	if err := c.bad.Err(); err != nil {
		return err
	}
	owner := c.claims.User
	if c.claims.Has(bridge.ScopeAdmin) {
		n, err := a.o.Service.Find(ctx, id)
		if err != nil {
			return err
		}
		owner = n.User
	}
	if err := a.o.Service.Delete(ctx, owner, id); err != nil {
		return err
	}
	return c.done()
}

// listDeliveries tells which devices have a notification.
func (a *api) listDeliveries(ctx context.Context, c *call) error {
	id := c.id()
	if err := c.bad.Err(); err != nil {
		return err
	}
	n, err := a.o.Service.Find(ctx, id)
	if err != nil {
		return err
	}
	ds, err := a.o.Service.Deliveries(ctx, n)
	if err != nil {
		return err
	}
	if ds == nil {
		ds = []bridge.Delivery{}
	}
	return c.json(http.StatusOK, ds)
}

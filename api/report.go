package api

import (
	"context"
	"fmt"
	"net/http"
	"strconv"

	"github.com/falconalert/falconbridge/bridge"
)

// ReportBody is a report as JSON. It is exported only to be embedded: huma leaves
// out the fields of unexported structs.
type ReportBody struct {
	ID        int64         `json:"id" example:"2"`
	Title     string        `json:"title" example:"Página de phishing detectada"`
	User      bridge.UserID `json:"created_by" doc:"Who made the report, and is told of its status."`
	Status    bridge.Status `json:"status_id"`
	CreatedAt stamp         `json:"created_at"`
	UpdatedAt stamp         `json:"updated_at" doc:"When the status was last changed."`
}

func newReportBody(r bridge.Report) ReportBody {
	return ReportBody{r.ID, r.Title, r.User, r.Status, stamp(r.CreatedAt), stamp(r.UpdatedAt)}
}

// readReport reads the body of POST /reports.
func readReport(body []byte) (r bridge.NewReport, err error) {
	err = readObject(body, func(f *field) error {
		switch string(f.name) {
		case "id":
			return f.integer(1, maxSafeInteger, &r.ID, positive)
		case "title":
			return f.text(&r.Title)
		case "created_by":
			return f.user(&r.User)
		case "status_id":
			return f.status(&r.Status)
		}
		return f.skip()
	})
	if err != nil {
		_, further := r.Check()
		err = also(err, further)
	}
	return r, err
}

func (a *api) createReport(ctx context.Context, c *call) error {
	draft, err := readReport(c.body)
	if err != nil {
		return err
	}
	r, err := a.o.Service.AddReport(ctx, draft)
	if err != nil {
		return err
	}
	c.w.Header().Set("Location", "reports/"+strconv.FormatInt(r.ID, 10))
	return c.json(http.StatusCreated, reportIDBody{r.ID})
}

// listReports lists the caller's own reports; with reports:write everybody's, or
// those of created_by.
func (a *api) listReports(ctx context.Context, c *call) error {
	if _, err := c.values(); err != nil {
		return err
	}
	q := bridge.ReportQuery{Before: beforeID.read(c), Limit: int(limitParam.read(c)), User: c.queryUser("created_by")}
	if err := c.bad.Err(); err != nil {
		return err
	}
	if !c.claims.Has(bridge.ScopeReports) {
		if q.User != "" && q.User != c.claims.User {
			return lacking("reports:write")
		}
		q.User = c.claims.User
	}
	list, more, err := a.o.Service.ListReports(ctx, q)
	if err != nil {
		return err
	}
	bodies := make([]ReportBody, len(list))
	for i, r := range list {
		bodies[i] = newReportBody(r)
	}
	if more && len(list) > 0 {
		c.next("before", strconv.FormatInt(list[len(list)-1].ID, 10))
	}
	return c.json(http.StatusOK, bodies)
}

// queryUser reads a user id of the query, "" where there is none.
func (c *call) queryUser(name string) bridge.UserID {
	s, sent := c.query[name]
	if !sent {
		return ""
	}
	u, err := bridge.ParseUserID(s[0])
	if err != nil {
		c.bad.Add("query."+name, err.Error())
	}
	return u
}

// getReport answers a stranger as if the report did not exist.
func (a *api) getReport(ctx context.Context, c *call) error {
	id := c.id()
	if err := c.bad.Err(); err != nil {
		return err
	}
	r, err := a.o.Service.Report(ctx, id)
	if err != nil {
		return err
	}
	if r.User != c.claims.User && !c.claims.Has(bridge.ScopeReports) {
		return bridge.ErrNotFound
	}
	return c.json(http.StatusOK, newReportBody(r))
}

// statusBody answers a status change: the report as it is now, and the
// notification that told its owner, null where the status was the same.
type statusBody struct {
	ReportBody
	Notification *appendedBody `json:"notification" doc:"Null where the report had the status already."`
}

func (a *api) setStatus(ctx context.Context, c *call) error {
	id := c.id()
	if err := c.bad.Err(); err != nil {
		return err
	}
	var to bridge.Status
	if err := readObject(c.body, func(f *field) error {
		if f.is("status_id") {
			return f.status(&to)
		}
		return f.skip()
	}); err != nil {
		return err
	}
	res, err := a.o.Service.SetStatus(ctx, id, to)
	if err != nil {
		return err
	}
	if res.Report == nil {
		return fmt.Errorf("the change of report %d returned no report", id)
	}
	body := statusBody{ReportBody: newReportBody(*res.Report)}
	if len(res.Appended) > 0 {
		body.Notification = &appendedBody{res.Appended[0].ID, res.Appended[0].Seq}
	}
	return c.json(http.StatusOK, body)
}

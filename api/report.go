package api

import (
	"context"
	"fmt"
	"strconv"

	"github.com/danielgtaylor/huma/v2"

	"github.com/falconalert/falconbridge/bridge"
)

// ReportBody is a report as JSON. It is exported only to be embedded: huma leaves
// out the fields of unexported structs.
type ReportBody struct {
	ID        int64         `json:"id" example:"2"`
	Title     string        `json:"title" example:"Página de phishing detectada"`
	User      bridge.UserID `json:"created_by" doc:"The user who made the report and is notified of its status."`
	Status    bridge.Status `json:"status_id"`
	CreatedAt stamp         `json:"created_at"`
	UpdatedAt stamp         `json:"updated_at" doc:"When the status last changed."`
}

func newReportBody(r bridge.Report) ReportBody {
	return ReportBody{r.ID, r.Title, r.User, r.Status, stamp(r.CreatedAt), stamp(r.UpdatedAt)}
}

// newReport is what POST /reports reads.
type newReport struct {
	ID     positive      `json:"id,omitempty" doc:"The application's own id. Default: the server assigns one."`
	Title  string        `json:"title" minLength:"1" maxLength:"255" example:"Página de phishing detectada"`
	User   bridge.UserID `json:"created_by" doc:"The user who made the report and is notified of its status."`
	Status bridge.Status `json:"status_id,omitempty"`
}

func (r *newReport) draft() bridge.NewReport {
	return bridge.NewReport{ID: int64(r.ID), Title: r.Title, User: r.User, Status: r.Status}
}

// check finds further faults in a body that has some. A body without any is checked by the
// service.
func (r *newReport) check() error {
	_, err := r.draft().Check()
	return err
}

type newReportInput struct {
	Body sent[newReport]
}

type reportIDBody struct {
	ID int64 `json:"reportId" example:"2"`
}

type newReportOutput struct {
	Location string `header:"Location"`
	Body     reportIDBody
}

func (a *api) createReport(ctx context.Context, in *newReportInput) (*newReportOutput, error) {
	body, err := in.Body.get(ctx)
	if err != nil {
		return nil, err
	}
	r, err := a.o.Service.AddReport(ctx, body.draft())
	if err != nil {
		return nil, err
	}
	return &newReportOutput{"reports/" + strconv.FormatInt(r.ID, 10), reportIDBody{r.ID}}, nil
}

type reportsQuery struct {
	Limit  int           `query:"limit" minimum:"1" maximum:"200" default:"50" doc:"The maximum number of entries to return."`
	Before int64         `query:"before" minimum:"1" maximum:"9007199254740991" doc:"Only ids below this one."`
	User   bridge.UserID `query:"created_by" doc:"Only those of this user. Another user's require the scope \u0060reports:write\u0060."`
}

type reportsOutput struct {
	Link string       `header:"Link"`
	Body []ReportBody `nullable:"false"`
}

// listReports lists the caller's own reports; with reports:write everyone's, or
// those of created_by.
func (a *api) listReports(ctx context.Context, in *reportsQuery) (*reportsOutput, error) {
	q := bridge.ReportQuery{Before: in.Before, Limit: in.Limit, User: in.User}
	if claims := caller(ctx); !claims.Has(bridge.ScopeReports) {
		if q.User != "" && q.User != claims.User {
			return nil, lacking(bridge.ScopeReports)
		}
		q.User = claims.User
	}
	list, more, err := a.o.Service.ListReports(ctx, q)
	if err != nil {
		return nil, err
	}
	out := &reportsOutput{Body: make([]ReportBody, len(list))}
	for i, r := range list {
		out.Body[i] = newReportBody(r)
	}
	if more && len(list) > 0 {
		out.Link = exchangeOf(ctx).next("before", strconv.FormatInt(list[len(list)-1].ID, 10))
	}
	return out, nil
}

type reportOutput struct{ Body ReportBody }

// getReport returns 404 to other users, as for a report that does not exist.
func (a *api) getReport(ctx context.Context, in *byID) (*reportOutput, error) {
	r, err := a.o.Service.Report(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	if claims := caller(ctx); r.User != claims.User && !claims.Has(bridge.ScopeReports) {
		return nil, bridge.ErrNotFound
	}
	return &reportOutput{newReportBody(r)}, nil
}

type newStatusBody struct {
	Status bridge.Status `json:"status_id"`
}

type newStatusInput struct {
	ID   int64 `path:"id" minimum:"1" doc:"The resource's id."`
	Body sent[newStatusBody]
}

type appendedBody struct {
	ID  int64      `json:"id" example:"27"`
	Seq bridge.Seq `json:"seq" example:"3"`
}

// reportStatusBody is the report after a change of status, and the notification of its
// owner, which is null if the status was the same.
type reportStatusBody struct {
	ReportBody
	Notification *appendedBody `json:"notification" doc:"Null if the report already had the status."`
}

// TransformSchema makes the notification nullable, which huma does not assume of a struct.
func (reportStatusBody) TransformSchema(_ huma.Registry, s *huma.Schema) *huma.Schema {
	n := s.Properties["notification"]
	s.Properties["notification"] = &huma.Schema{Description: n.Description, OneOf: []*huma.Schema{{Ref: n.Ref}, {Type: "null"}}}
	return s
}

type newStatusOutput struct{ Body reportStatusBody }

func (a *api) setReportStatus(ctx context.Context, in *newStatusInput) (*newStatusOutput, error) {
	body, err := in.Body.get(ctx)
	if err != nil {
		return nil, err
	}
	if err := a.recordStatus(ctx, in.ID, body.Status); err != nil {
		return nil, err
	}
	res, err := a.o.Service.SetStatus(ctx, in.ID, body.Status, caller(ctx).User)
	if err != nil {
		return nil, err
	}
	if res.Report == nil {
		return nil, fmt.Errorf("the change of report %d returned no report", in.ID)
	}
	out := &newStatusOutput{reportStatusBody{ReportBody: newReportBody(*res.Report)}}
	if len(res.Appended) > 0 {
		out.Body.Notification = &appendedBody{res.Appended[0].ID, res.Appended[0].Seq}
	}
	return out, nil
}

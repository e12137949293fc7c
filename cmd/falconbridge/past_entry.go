package main

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/db"
)

const wantUser = "is not a user id: a whole number, or 1 to 128 characters of A-Z a-z 0-9 . _ : @ | -, but neither . nor .."

func (p *past) report(e entry) {
	r := db.PastReport{At: e.at}
	r.ID = p.id(e)
	e.read("title", &r.Title, "is not a text")
	e.read("created_by", &r.User, wantUser)
	e.read("status_id", &r.Status, "is 1, 2 or 3")
	r.CreatedAt = p.time(e, "created_at", p.now)
	r.UpdatedAt = p.time(e, "updated_at", r.CreatedAt)
	var err error
	r.NewReport, err = r.NewReport.Check()
	p.faults(e, err)
	p.reports = append(p.reports, r)
}

func (p *past) setting(e entry) {
	s := db.PastSettings{Settings: bridge.DefaultSettings()}
	e.read("user_id", &s.User, wantUser)
	if s.User == "" {
		p.fault(e.at+".user_id", wantUser)
	} else {
		p.once(e, "user_id", string(s.User))
	}
	var on flag
	e.read("is_review_enabled", &on, "is 0 or 1")
	if len(e.fields["is_review_enabled"]) > 0 {
		s.Settings.ReviewEnabled = bool(on)
	} else {
		p.fault(e.at+".is_review_enabled", "is required: 0 or 1")
	}
	p.settings = append(p.settings, s)
}

func (p *past) notification(e entry) {
	n := db.PastNotification{ID: p.id(e)}
	e.read("created_by", &n.User, wantUser)
	e.read("title", &n.Title, "is not a text")
	e.read("message", &n.Message, "is not a text")
	e.read("kind", &n.Kind, "is not a text")
	e.read("report_id", &n.ReportID, "is not a whole number")
	e.read("status_id", &n.StatusID, "is 1, 2 or 3")
	e.read("data", &n.Data, "is not an object")
	n.CreatedAt = p.time(e, "created_at", p.now)
	n.ReadAt = p.time(e, "read_at", n.ReadAt)
	if n.ReadAt.IsZero() && p.asRead {
		n.ReadAt = p.now
	}
	if n.StatusID != 0 && !n.StatusID.Valid() {
		p.fault(e.at+".status_id", "is 1, 2 or 3")
	}
	if n.Kind == "" {
		n.Kind, n.StatusID = kindByTitle(n.Title, n.StatusID)
	}
	var err error
	n.Draft, err = n.Draft.Check(e.at)
	p.faults(e, err)
	p.notifications = append(p.notifications, n)
}

// kindByTitle knows the built-in titles of status changes: applications that had
// no kinds wrote the same ones.
func kindByTitle(title string, status bridge.Status) (bridge.Kind, bridge.Status) {
	for s := bridge.Pending; s.Valid(); s++ {
		for _, l := range []bridge.Locale{bridge.Spanish, bridge.English} {
			if t, _ := bridge.KindReportStatus.Text(l, bridge.Subject{Status: s}); t == title {
				return bridge.KindReportStatus, s
			}
		}
	}
	return bridge.KindMessage, status
}

// faults notes what a check of the domain found, at the entry's place.
func (p *past) faults(e entry, err error) {
	var bad *bridge.InvalidError
	if !errors.As(err, &bad) {
		return
	}
	for _, f := range bad.Fields {
		p.fault(strings.Replace(f.Location, "body", e.at, 1), f.Message)
	}
}

// maxFields is more than the fields of any entry.
const maxFields = 20

// fault notes one, unless there is one of the field already.
func (p *past) fault(at, message string) {
	of := p.bad.Fields[max(0, len(p.bad.Fields)-maxFields):] // those of one entry stand together
	if !slices.ContainsFunc(of, func(f bridge.FieldError) bool { return f.Location == at }) {
		p.bad.Add(at, message)
	}
}

// flag is 0, 1 or a boolean.
type flag bool

// UnmarshalJSON reads both forms.
func (f *flag) UnmarshalJSON(b []byte) error {
	switch string(b) {
	case "1", "true":
		*f = true
	case "0", "false":
		*f = false
	default:
		return &json.UnmarshalTypeError{}
	}
	return nil
}

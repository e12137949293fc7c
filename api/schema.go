package api

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/falconalert/falconbridge/bridge"
)

// Types of fields that have parsing rules of their own, see decoder, and their schemas.
type (
	positive int64                 // 1 to 2^53-1; 0: absent
	upTo     int64                 // 0 to 2^53-1
	filled   string                // not empty; "": absent
	lifetime int64                 // seconds, 1 to a year; 0: absent
	onOff    bool                  // 0, 1, true or false
	switches map[bridge.Kind]*bool // 0, 1, true, false or null, by kind
	object   []byte                // a JSON object, unchanged; nil: absent
	instant  []byte                // an RFC 3339 time or seconds as in a token, unchanged; nil: absent
	stamp    time.Time
	// maybeStamp is a stamp, or null where it is zero.
	maybeStamp time.Time
)

func bounded(low, high float64) *huma.Schema {
	return &huma.Schema{Type: huma.TypeInteger, Format: "int64", Minimum: &low, Maximum: &high}
}

// Schema describes a positive to huma.
func (positive) Schema(huma.Registry) *huma.Schema { return bounded(1, maxSafeInteger) }

// Schema describes an upTo to huma.
func (upTo) Schema(huma.Registry) *huma.Schema { return bounded(0, maxSafeInteger) }

// Schema describes a lifetime to huma.
func (lifetime) Schema(huma.Registry) *huma.Schema {
	return bounded(1, bridge.MaxExpiry.Seconds())
}

// Schema describes a filled to huma.
func (filled) Schema(huma.Registry) *huma.Schema {
	one := 1
	return &huma.Schema{Type: huma.TypeString, MinLength: &one}
}

// Schema describes an onOff to huma.
func (onOff) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{OneOf: []*huma.Schema{{Type: huma.TypeInteger, Enum: []any{0, 1}}, {Type: huma.TypeBoolean}}, Examples: []any{0}}
}

// Schema describes switches to huma.
func (switches) Schema(r huma.Registry) *huma.Schema {
	s := onOff(false).Schema(r)
	s.OneOf = append(s.OneOf, &huma.Schema{Type: "null"})
	s.Examples = nil
	return &huma.Schema{Type: huma.TypeObject, AdditionalProperties: s, Examples: []any{map[string]any{"marketing": 0}}}
}

// Schema describes an object to huma.
func (object) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{Type: huma.TypeObject, AdditionalProperties: &huma.Schema{}}
}

// Schema describes an instant to huma.
func (instant) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{
		OneOf:    []*huma.Schema{{Type: huma.TypeNumber, Format: "double"}, {Type: huma.TypeString, Format: "date-time"}},
		Examples: []any{1764000000},
	}
}

// MarshalJSON writes the bytes that were read.
func (i instant) MarshalJSON() ([]byte, error) { return i, nil }

// time reads an instant, up to the end of the year 9999.
func (i instant) time() (t time.Time, ok bool) {
	if text, found := bytes.CutPrefix(i, []byte{'"'}); found {
		t, err := time.Parse(time.RFC3339, string(bytes.TrimSuffix(text, []byte{'"'})))
		return t.UTC(), err == nil
	}
	s, err := strconv.ParseFloat(string(i), 64)
	if err != nil || s < 0 || s >= 253402300800 {
		return t, false
	}
	return time.UnixMilli(int64(s * 1000)).UTC(), true
}

// MarshalJSON writes a stamp as items do: RFC 3339 in UTC with milliseconds.
func (s stamp) MarshalJSON() ([]byte, error) {
	return time.Time(s).UTC().AppendFormat(nil, `"2006-01-02T15:04:05.000Z"`), nil
}

// MarshalJSON writes a maybeStamp as a stamp, or null.
func (s maybeStamp) MarshalJSON() ([]byte, error) {
	if time.Time(s).IsZero() {
		return []byte("null"), nil
	}
	return stamp(s).MarshalJSON()
}

// Schema describes a stamp to huma.
func (stamp) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{Type: huma.TypeString, Format: "date-time", Description: "UTC, with milliseconds.", Examples: []any{"2025-10-24T02:21:32.000Z"}}
}

// notificationBody is a notification in REST and MQTT. It is used only for the document:
// bridge.Notification.Item writes the bytes, and a test compares the two.
type notificationBody struct {
	ID        int64          `json:"id" example:"27" doc:"Unique across all users."`
	Seq       bridge.Seq     `json:"seq" example:"3" doc:"Counts this user's notifications: 1, 2, 3 … A gap means muted, deleted, superseded, expired or missed."`
	Kind      string         `json:"kind" example:"report.status" doc:"What it is about: message, report.status, or a word that the application chooses."`
	Title     string         `json:"title" example:"El estado de su reporte ha cambiado a: Aprobado"`
	Message   string         `json:"message" example:"El estado de su reporte titulado Página de phishing detectada ha sido actualizado a Aprobado"`
	User      bridge.UserID  `json:"created_by" doc:"The recipient; named created_by for compatibility."`
	CreatedAt stamp          `json:"created_at"`
	ReadAt    maybeStamp     `json:"read_at" doc:"Null while unread."`
	ReportID  int64          `json:"report_id,omitempty" example:"2" doc:"Absent if it is not about a report."`
	StatusID  bridge.Status  `json:"status_id,omitempty" doc:"Absent if it is not about a report."`
	URL       string         `json:"url,omitempty" example:"/reports/2" doc:"Where it leads: https://…, http://…, or a path. Absent if it leads nowhere."`
	Replaces  string         `json:"replaces,omitempty" example:"report-2" doc:"The key under which it superseded earlier notifications and may be superseded."`
	ExpiresAt *stamp         `json:"expires_at,omitempty" doc:"When it expires. Absent if it does not."`
	Data      map[string]any `json:"data,omitempty" doc:"Data of the application, up to 4 KiB."`
}

// Schema describes items to huma.
func (items) Schema(r huma.Registry) *huma.Schema {
	return &huma.Schema{Type: huma.TypeArray, Items: r.Schema(reflect.TypeFor[notificationBody](), true, "")}
}

// userPattern is what bridge.ParseUserID allows, "." and ".." left out, in the
// syntax that Go's regexp and ECMA 262 share.
const userPattern = `^(\.{0,2}[A-Za-z0-9_:@|-]|\.{3})[A-Za-z0-9._:@|-]*$`

// Descriptions for huma of the domain's types. The domain does not import huma.
type (
	userSchema   struct{}
	statusSchema struct{}
)

func (userSchema) Schema(huma.Registry) *huma.Schema {
	one, most, zero, safe := 1, 128, 0.0, float64(maxSafeInteger)
	return &huma.Schema{
		Description: "A user id. A decimal without leading zeros up to 2^53-1 is written as a number, any other as a string; both forms are accepted.",
		OneOf: []*huma.Schema{
			{Type: huma.TypeInteger, Minimum: &zero, Maximum: &safe},
			{Type: huma.TypeString, MinLength: &one, MaxLength: &most, Pattern: userPattern},
		},
		Examples: []any{json.RawMessage("42")},
	}
}

func (statusSchema) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{Type: huma.TypeInteger, Enum: []any{1, 2, 3}, Description: "1 Pendiente, 2 Aprobado, 3 Rechazado.", Examples: []any{2}}
}

func (maybeStamp) Schema(r huma.Registry) *huma.Schema {
	s := stamp{}.Schema(r)
	s.Nullable = true
	return s
}

// newRegistry names a schema after its Go type, without the suffix Body that distinguishes
// the type from the domain's.
func newRegistry() huma.Registry {
	r := huma.NewMapRegistry("#/components/schemas/", func(t reflect.Type, hint string) string {
		return strings.TrimSuffix(huma.DefaultSchemaNamer(t, hint), "Body")
	})
	r.RegisterTypeAlias(reflect.TypeFor[bridge.UserID](), reflect.TypeFor[userSchema]())
	r.RegisterTypeAlias(reflect.TypeFor[bridge.Status](), reflect.TypeFor[statusSchema]())
	return r
}

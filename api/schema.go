package api

import (
	"encoding/json"
	"reflect"

	"github.com/danielgtaylor/huma/v2"

	"github.com/falconalert/falconbridge/bridge"
)

// The types below give bodies their schemas. Those that are only read or written
// by hand, for speed or strictness, exist for the document alone; a test holds
// them to the bytes.

// itemBody is a notification as REST and MQTT carry it, see bridge.Notification.Item.
type itemBody struct {
	ID        int64          `json:"id" example:"27" doc:"Unique over all users."`
	Seq       bridge.Seq     `json:"seq" example:"3" doc:"Counts this user's notifications, 1, 2, 3 … A jump means muted, deleted or missed."`
	Kind      string         `json:"kind" example:"report.status" doc:"What it is about: message, report.status."`
	Title     string         `json:"title" example:"El estado de su reporte ha cambiado a: Aprobado"`
	Message   string         `json:"message" example:"El estado de su reporte titulado Página de phishing detectada ha sido actualizado a Aprobado"`
	User      bridge.UserID  `json:"created_by" doc:"The recipient; the name is inherited."`
	CreatedAt stamp          `json:"created_at"`
	ReadAt    maybeStamp     `json:"read_at" doc:"Null while unread."`
	ReportID  int64          `json:"report_id,omitempty" example:"2" doc:"Absent where it is about no report."`
	StatusID  bridge.Status  `json:"status_id,omitempty" doc:"Absent where it is about no report."`
	Data      map[string]any `json:"data,omitempty" doc:"What the application added, up to 4 KiB."`
}

// draftBody is what POST /notifications reads.
type draftBody struct {
	Title    string         `json:"title" minLength:"1" maxLength:"255" example:"Mantenimiento programado"`
	Message  string         `json:"message" minLength:"1" maxLength:"4000" example:"El servicio estará en pausa esta noche."`
	User     bridge.UserID  `json:"created_by" doc:"The recipient; the name is inherited."`
	Kind     string         `json:"kind,omitempty" enum:"message,report.status" default:"message"`
	ReportID int64          `json:"report_id,omitempty" minimum:"1" maximum:"9007199254740991"`
	StatusID bridge.Status  `json:"status_id,omitempty"`
	Data     map[string]any `json:"data,omitempty" doc:"Anything for the device, up to 4 KiB of compact JSON."`
}

type batchBody struct {
	Notifications []draftBody `json:"notifications" minItems:"1" maxItems:"1000" nullable:"false"`
}

// createdBody is what POST /notifications answers.
type createdBody struct {
	Message string     `json:"message" example:"Notificación creada correctamente"`
	ID      int64      `json:"id" example:"27"`
	Seq     bridge.Seq `json:"seq" example:"3"`
}

type batchCreatedBody struct {
	Notifications []batchEntryBody `json:"notifications" nullable:"false" doc:"In the order of the request."`
}

type batchEntryBody struct {
	ID   int64         `json:"id" example:"27"`
	Seq  bridge.Seq    `json:"seq" example:"3"`
	User bridge.UserID `json:"created_by"`
}

type appendedBody struct {
	ID  int64      `json:"id" example:"27"`
	Seq bridge.Seq `json:"seq" example:"3"`
}

type countBody struct {
	Total  int64      `json:"total" example:"12"`
	Unread int64      `json:"unread" example:"3"`
	Last   bridge.Seq `json:"last_seq" example:"12" doc:"The highest seq given, also while muted."`
}

type unreadBody struct {
	Unread int64 `json:"unread" example:"2" doc:"How many stay unread."`
}

type readBodySchema struct {
	UpTo bridge.Seq `json:"up_to,omitempty" minimum:"0" doc:"Mark those up to this seq; left out: all."`
}

type settingsPatch struct {
	ReviewEnabled switchSchema `json:"is_review_enabled" doc:"0 or 1; booleans are read too."`
}

type newReportSchema struct {
	ID     int64         `json:"id,omitempty" minimum:"1" maximum:"9007199254740991" doc:"The application's own id; left out: one is given."`
	Title  string        `json:"title" minLength:"1" maxLength:"255" example:"Página de phishing detectada"`
	User   bridge.UserID `json:"created_by" doc:"Who made the report, and is told of its status."`
	Status bridge.Status `json:"status_id,omitempty"`
}

type reportIDBody struct {
	ID int64 `json:"reportId" example:"2"`
}

type newStatusSchema struct {
	Status bridge.Status `json:"status_id"`
}

type deliveryBody struct {
	ClientID     string `json:"client_id" example:"pixel-8"`
	Acknowledged bool   `json:"acknowledged"`
}

// userPattern is what bridge.ParseUserID allows, "." and ".." left out, in the
// syntax that Go's regexp and ECMA 262 share.
const userPattern = `^(\.{0,2}[A-Za-z0-9_:@|-]|\.{3})[A-Za-z0-9._:@|-]*$`

// userSchema, statusSchema: how huma is to describe types of the domain, which
// does not know huma.
type (
	userSchema   struct{}
	statusSchema struct{}
	switchSchema struct{}
	maybeStamp   struct{}
)

func (userSchema) Schema(huma.Registry) *huma.Schema {
	one, most, zero, safe := 1, 128, 0.0, float64(maxSafeInteger)
	return &huma.Schema{
		Description: "A user id. A decimal without leading zeros up to 2^53-1 is written as a number, any other as a string; both forms are read.",
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

func (switchSchema) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{OneOf: []*huma.Schema{{Type: huma.TypeInteger, Enum: []any{0, 1}}, {Type: huma.TypeBoolean}}, Examples: []any{0}}
}

func (maybeStamp) Schema(r huma.Registry) *huma.Schema {
	s := stamp{}.Schema(r)
	s.Nullable = true
	return s
}

// arrays says of a top-level array that it is never null, which huma assumes of
// slices.
func arrays(s *huma.Schema) *huma.Schema {
	s.Nullable = false
	return s
}

// newRegistry names a schema after its Go type, without the Body or Schema that
// tells it from the domain's.
func newRegistry() huma.Registry {
	r := huma.NewMapRegistry("#/components/schemas/", func(t reflect.Type, hint string) string {
		for t.Kind() == reflect.Pointer {
			t = t.Elem()
		}
		if name, ok := schemaNames[t]; ok {
			return name
		}
		return huma.DefaultSchemaNamer(t, hint)
	})
	r.RegisterTypeAlias(reflect.TypeFor[bridge.UserID](), reflect.TypeFor[userSchema]())
	r.RegisterTypeAlias(reflect.TypeFor[bridge.Status](), reflect.TypeFor[statusSchema]())
	return r
}

var schemaNames = map[reflect.Type]string{
	reflect.TypeFor[itemBody]():         "Notification",
	reflect.TypeFor[draftBody]():        "NewNotification",
	reflect.TypeFor[batchBody]():        "NewNotifications",
	reflect.TypeFor[createdBody]():      "Created",
	reflect.TypeFor[batchCreatedBody](): "CreatedBatch",
	reflect.TypeFor[batchEntryBody]():   "CreatedEntry",
	reflect.TypeFor[appendedBody]():     "Appended",
	reflect.TypeFor[countBody]():        "Count",
	reflect.TypeFor[unreadBody]():       "Unread",
	reflect.TypeFor[readBodySchema]():   "ReadUpTo",
	reflect.TypeFor[settingsBody]():     "Settings",
	reflect.TypeFor[settingsPatch]():    "SettingsPatch",
	reflect.TypeFor[ReportBody]():       "Report",
	reflect.TypeFor[newReportSchema]():  "NewReport",
	reflect.TypeFor[reportIDBody]():     "ReportID",
	reflect.TypeFor[newStatusSchema]():  "NewStatus",
	reflect.TypeFor[statusBody]():       "ReportStatus",
	reflect.TypeFor[deliveryBody]():     "Delivery",
	reflect.TypeFor[connectionBody]():   "Connection",
	reflect.TypeFor[revocationBody]():   "Revocation",
	reflect.TypeFor[statsBody]():        "Stats",
	reflect.TypeFor[nodeBody]():         "Node",
	reflect.TypeFor[healthBody]():       "Health",
	reflect.TypeFor[problemBody]():      "Problem",
	reflect.TypeFor[fieldBody]():        "FieldProblem",
}

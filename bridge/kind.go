package bridge

// Kind says what a notification is about. All kinds of a user share one topic
// and one seq.
type Kind string

// The known kinds. A new one is one constant here, one row in kinds and one row
// in the table test.
const (
	KindMessage      Kind = "message"       // free text, the default of POST /notifications
	KindReportStatus Kind = "report.status" // a moderator decided on a report
)

// kind holds what differs between kinds.
type kind struct {
	// mutedBy is the setting whose 0 mutes the kind.
	mutedBy string
	// texts gives title and message by locale; nil where the caller writes them.
	texts map[Locale]func(Subject) (title, message string)
}

// Subject is what built-in texts speak of.
type Subject struct {
	ReportTitle string
	Status      Status
}

var kinds = map[Kind]kind{
	KindMessage: {mutedBy: SettingReviewEnabled},
	KindReportStatus: {mutedBy: SettingReviewEnabled, texts: map[Locale]func(Subject) (string, string){
		Spanish: func(s Subject) (string, string) {
			name := s.Status.Name(Spanish)
			return "El estado de su reporte ha cambiado a: " + name,
				"El estado de su reporte titulado " + s.ReportTitle + " ha sido actualizado a " + name
		},
		English: func(s Subject) (string, string) {
			name := s.Status.Name(English)
			return "The status of your report has changed to: " + name,
				"The status of your report titled " + s.ReportTitle + " has been updated to " + name
		},
	}},
}

// Locale is the language of built-in texts.
type Locale string

// The locales that have built-in texts.
const (
	Spanish Locale = "es"
	English Locale = "en"
)

// Text writes the built-in title and message of k, or "" and "" where k has none.
func (k Kind) Text(l Locale, s Subject) (title, message string) {
	if f := kinds[k].texts[l]; f != nil {
		return f(s)
	}
	return "", ""
}

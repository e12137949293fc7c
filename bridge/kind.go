package bridge

// Kind says what a notification is about: 1 to 64 characters of a-z 0-9 . _ -, of
// which the first is a letter or a digit. An application chooses its own. All kinds of
// a user share one topic and one seq.
type Kind string

// The built-in kinds.
const (
	KindMessage      Kind = "message"       // free text, the default of POST /notifications
	KindReportStatus Kind = "report.status" // a moderator decided on a report; its texts are built in
)

// maxKind is how many characters a kind has at most.
const maxKind = 64

// Valid reports whether k may be the kind of a notification.
func (k Kind) Valid() bool {
	if k == "" || len(k) > maxKind {
		return false
	}
	for i := range len(k) {
		switch c := k[i]; {
		case 'a' <= c && c <= 'z' || '0' <= c && c <= '9':
		case i > 0 && (c == '.' || c == '_' || c == '-'):
		default:
			return false
		}
	}
	return true
}

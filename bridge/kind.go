package bridge

// Kind is what a notification is about: 1 to 64 characters of a-z 0-9 . _ -, the first one a
// letter or digit. Applications choose their own kinds. All kinds of a user share one topic
// and one sequence of seqs.
type Kind string

// The built-in kinds. One more also belongs into BuiltInKinds, and its texts into text.go.
const (
	KindMessage      Kind = "message"       // free text, the default of POST /notifications
	KindReportStatus Kind = "report.status" // the status of a report changed; the texts are built in
)

// BuiltInKinds returns the built-in kinds.
func BuiltInKinds() []Kind { return []Kind{KindMessage, KindReportStatus} }

// maxKind is the most characters of a kind.
const maxKind = 64

// Valid reports whether k is a valid kind.
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

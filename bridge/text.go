package bridge

// Locale is the language of built-in texts.
type Locale string

// The locales that have built-in texts.
const (
	Spanish Locale = "es"
	English Locale = "en"
)

// texts are the built-in texts of one locale.
type texts struct {
	created  string                                              // what POST /notifications responds
	statuses map[Status]string                                   // a report's status in words
	changed  func(report, status string) (title, message string) // a report's status changed
}

// textTable has all built-in texts. A new locale is one constant and one entry.
var textTable = map[Locale]texts{
	Spanish: {
		created:  "Notificación creada correctamente", // the applications have always read this
		statuses: map[Status]string{Pending: "Pendiente", Approved: "Aprobado", Rejected: "Rechazado"},
		changed: func(report, status string) (title, message string) {
			return "El estado de su reporte ha cambiado a: " + status,
				"El estado de su reporte titulado " + report + " ha sido actualizado a " + status
		},
	},
	English: {
		created:  "Notification created",
		statuses: map[Status]string{Pending: "Pending", Approved: "Approved", Rejected: "Rejected"},
		changed: func(report, status string) (title, message string) {
			return "The status of your report has changed to: " + status,
				"The status of your report titled " + report + " has been updated to " + status
		},
	},
}

// Created is the text of a response to a notification that was created.
func (l Locale) Created() string { return l.texts().created }

// Status is s in words, "" where s is unknown.
func (l Locale) Status(s Status) string { return l.texts().statuses[s] }

// StatusChanged returns title and message of the notification that a report called
// title has the status s now.
func (l Locale) StatusChanged(report string, s Status) (title, message string) {
	return l.texts().changed(report, l.Status(s))
}

// texts are those of l, the Spanish ones where l has none.
func (l Locale) texts() texts {
	if t, ok := textTable[l]; ok {
		return t
	}
	return textTable[Spanish]
}

package bridge

import (
	"fmt"
	"maps"
	"slices"
)

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
	many     func(n int) string                                  // the title of one push for n notifications
	test     [2]string                                           // title and body of a push that was asked for as a test
}

// textTable has all texts that reach users by themselves. A new locale is one constant and
// one entry; the setting --locale follows from it. What REST answers and the pages say is
// next to these: docs/architecture.md lists the places.
var textTable = map[Locale]texts{
	Spanish: {
		created:  "Notificación creada correctamente", // the applications have always read this
		statuses: map[Status]string{Pending: "Pendiente", Approved: "Aprobado", Rejected: "Rechazado"},
		changed: func(report, status string) (title, message string) {
			return "El estado de su reporte ha cambiado a: " + status,
				"El estado de su reporte titulado " + report + " ha sido actualizado a " + status
		},
		many: func(n int) string { return fmt.Sprintf("Tiene %d notificaciones nuevas", n) },
		test: [2]string{"Notificación de prueba", "Este dispositivo recibe notificaciones."},
	},
	English: {
		created:  "Notification created",
		statuses: map[Status]string{Pending: "Pending", Approved: "Approved", Rejected: "Rejected"},
		changed: func(report, status string) (title, message string) {
			return "The status of your report has changed to: " + status,
				"The status of your report titled " + report + " has been updated to " + status
		},
		many: func(n int) string { return fmt.Sprintf("You have %d new notifications", n) },
		test: [2]string{"Test notification", "This device receives notifications."},
	},
}

// Locales returns the locales that have built-in texts, sorted.
func Locales() []Locale { return slices.Sorted(maps.Keys(textTable)) }

// Created returns the text of the response to POST /notifications.
func (l Locale) Created() string { return l.texts().created }

// Status returns s in words, or "" where s is unknown.
func (l Locale) Status(s Status) string { return l.texts().statuses[s] }

// StatusChanged returns title and message of the notification that the report of that
// title now has the status s.
func (l Locale) StatusChanged(report string, s Status) (title, message string) {
	return l.texts().changed(report, l.Status(s))
}

// Many returns the title of one push that stands for n notifications.
func (l Locale) Many(n int) string { return l.texts().many(n) }

// TestPush returns title and body of a push that was asked for as a test.
func (l Locale) TestPush() (title, body string) {
	t := l.texts().test
	return t[0], t[1]
}

// texts returns the texts of l, or the Spanish ones where l has none.
func (l Locale) texts() texts {
	if t, ok := textTable[l]; ok {
		return t
	}
	return textTable[Spanish]
}

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
	created  string                                              // message in the response to POST /notifications
	statuses map[Status]string                                   // names of a report's status
	changed  func(report, status string) (title, message string) // a report's status changed
	many     func(n int) string                                  // the title of one push for n notifications
	test     [2]string                                           // title and body of a test push
	sample   [2]string                                           // title and message of a first notification
}

// textTable has all texts that users receive without asking. A new locale is one constant and one
// entry here, from which --locale follows. It also needs the texts of REST, of the pages and of
// the JavaScript client, which docs/architecture.md lists under "Where to add"; tests that go
// through [Locales] fail until each exists.
var textTable = map[Locale]texts{
	Spanish: {
		created:  "Notificación creada correctamente", // applications depend on this text
		statuses: map[Status]string{Pending: "Pendiente", Approved: "Aprobado", Rejected: "Rechazado"},
		changed: func(report, status string) (title, message string) {
			return "El estado de su reporte ha cambiado a: " + status,
				"El estado de su reporte titulado " + report + " ha sido actualizado a " + status
		},
		many:   func(n int) string { return fmt.Sprintf("Tiene %d notificaciones nuevas", n) },
		test:   [2]string{"Notificación de prueba", "Este dispositivo recibe notificaciones."},
		sample: [2]string{"Hola", "Funciona."},
	},
	English: {
		created:  "Notification created",
		statuses: map[Status]string{Pending: "Pending", Approved: "Approved", Rejected: "Rejected"},
		changed: func(report, status string) (title, message string) {
			return "The status of your report has changed to: " + status,
				"The status of your report titled " + report + " has been updated to " + status
		},
		many:   func(n int) string { return fmt.Sprintf("You have %d new notifications", n) },
		test:   [2]string{"Test notification", "This device receives notifications."},
		sample: [2]string{"Hello", "It works."},
	},
}

// Locales returns the locales that have built-in texts, sorted.
func Locales() []Locale { return slices.Sorted(maps.Keys(textTable)) }

// Created returns the text of the response to POST /notifications.
func (l Locale) Created() string { return l.texts().created }

// Status returns the name of s, or "" if s is unknown.
func (l Locale) Status(s Status) string { return l.texts().statuses[s] }

// StatusChanged returns the title and message of the notification that the report with that
// title has the status s now.
func (l Locale) StatusChanged(report string, s Status) (title, message string) {
	return l.texts().changed(report, l.Status(s))
}

// Many returns the title of one push that stands for n notifications.
func (l Locale) Many(n int) string { return l.texts().many(n) }

// TestPush returns the title and body of a test push.
func (l Locale) TestPush() (title, body string) {
	t := l.texts().test
	return t[0], t[1]
}

// Sample returns the title and message of a first notification, which the welcome text of
// development mode offers to send.
func (l Locale) Sample() (title, message string) {
	s := l.texts().sample
	return s[0], s[1]
}

// texts returns the texts of l, or the Spanish ones if there are none.
func (l Locale) texts() texts {
	if t, ok := textTable[l]; ok {
		return t
	}
	return textTable[Spanish]
}

package bridge

import (
	"errors"
	"strings"
)

// The reasons a call fails. api/errors.go maps each to its HTTP status, broker
// to its MQTT reason code; callers test with errors.Is.
var (
	ErrNotFound    = errors.New("not found")
	ErrTooMany     = errors.New("too many subscriptions")
	ErrForbidden   = errors.New("not allowed")
	ErrConflict    = errors.New("already exists")
	ErrKeyReused   = errors.New("the idempotency key was used with another body")
	ErrKeyInFlight = errors.New("a request with this idempotency key is still in flight")
	// ErrUnavailable is returned where the database is unreachable, broken, full or too
	// slow. An append that fails with it may or may not be on disk, so it is never retried
	// without its idempotency key.
	ErrUnavailable = errors.New("the database is unavailable")
)

// FieldError is one fault of what the caller sent. It never contains the value.
type FieldError struct {
	Location string // e.g. "body.title"
	Message  string // e.g. "is required"
}

// InvalidError collects the faults of one request. Nothing was changed.
type InvalidError struct{ Fields []FieldError }

// Add notes one fault.
func (e *InvalidError) Add(location, message string) {
	e.Fields = append(e.Fields, FieldError{location, message})
}

// Err returns e, or nil where it has no fault.
func (e *InvalidError) Err() error {
	if len(e.Fields) == 0 {
		return nil
	}
	return e
}

func (e *InvalidError) Error() string {
	var b strings.Builder
	b.WriteString("invalid")
	for _, f := range e.Fields {
		b.WriteString("; " + f.Location + " " + f.Message)
	}
	return b.String()
}

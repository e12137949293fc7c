package bridge

import (
	"errors"
	"strings"
)

// The reasons why a call fails, for errors.Is. Package api maps them to HTTP statuses, and
// package broker to MQTT reason codes.
var (
	ErrNotFound             = errors.New("not found")
	ErrTooManySubscriptions = errors.New("too many subscriptions") // of one connection to other topics than its own
	ErrForbidden            = errors.New("not allowed")
	ErrConflict             = errors.New("already exists")
	ErrKeyReused            = errors.New("the idempotency key was used with another body")
	ErrKeyInFlight          = errors.New("a request with this idempotency key is still in flight")
	// ErrUnavailable is returned if the database is unreachable, broken, full or too slow. An
	// append that fails with it may or may not be on disk, so it must not be repeated without
	// an idempotency key.
	ErrUnavailable = errors.New("the database is unavailable")
)

// FieldError is one fault in a request. It never contains the value.
type FieldError struct {
	Location string // e.g. "body.title"
	Message  string // e.g. "is required"
}

// InvalidError has the faults of a request, which changed nothing.
type InvalidError struct{ Fields []FieldError }

// Add adds a fault.
func (e *InvalidError) Add(location, message string) {
	e.Fields = append(e.Fields, FieldError{location, message})
}

// Err returns e, or nil if it has no faults.
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

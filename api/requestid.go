package api

import (
	"context"
	"crypto/rand"
	"log/slog"
	"net/http"
	"time"
)

// requestID is the header that identifies a request in this server's log and the caller's.
const requestID = "X-Request-Id"

// named gives every request an id, which the response repeats. It keeps the caller's id if
// that has 1 to 128 characters of A-Z a-z 0-9 . _ -: others could forge a log entry.
func named(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id := r.Header[requestID]
		if len(id) != 1 || !validRequestID(id[0]) {
			id = []string{rand.Text()}
			r.Header[requestID] = id
		}
		w.Header()[requestID] = id
		next.ServeHTTP(w, r)
	})
}

func validRequestID(s string) bool {
	for i := range len(s) {
		switch c := s[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '.', c == '_', c == '-':
		default:
			return false
		}
	}
	return len(s) >= 1 && len(s) <= 128
}

// logCall logs every request but those of load balancers, at level debug.
func (x *exchange) logCall() {
	op := x.Operation()
	log := x.api.o.Logger
	if !log.Enabled(context.Background(), slog.LevelDebug) || op.Metadata[ruleKey].(*rule).probe {
		return
	}
	log.Debug("a request", "request_id", x.r.Header.Get(requestID), "operation", op.OperationID, "status", x.status,
		"user", x.claims.User, "remote", x.r.RemoteAddr, "took", time.Since(x.begun).Round(time.Microsecond))
}

// logFault logs why a request failed with 5xx: as an error if this program is at fault, as
// a warning if waiting may help. At most 10 warnings per second are logged, because all
// requests fail together while the database is unavailable.
func (x *exchange) logFault(p *problem, err error) {
	if p.kind.status < http.StatusInternalServerError || x.Operation().OperationID == "ready" { // see logReadiness
		return
	}
	log := x.api.o.Logger.Warn
	if p.kind == internal {
		log = x.api.o.Logger.Error
	} else if !x.api.faults.Allow(struct{}{}) {
		return
	}
	log("a request failed", "request_id", x.r.Header.Get(requestID), "operation", x.Operation().OperationID,
		"status", p.kind.status, "user", x.claims.User, "error", err)
}

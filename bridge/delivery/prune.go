package delivery

import (
	"context"
	"time"

	"github.com/falconalert/falconbridge/bridge"
)

const (
	pruneEvery  = 30 * time.Second
	expireEvery = time.Second           // reads skip expired rows at once; this removes them and informs devices
	pruneRows   = 500                   // most rows that a statement removes
	prunePause  = 50 * time.Millisecond // between statements, so that delivery is not delayed
)

// removal is a reason why rows are removed, an index into removals.
type removal int

const (
	removedNone removal = iota - 1 // not counted
	removedRetention
	removedExpired
	removedSessions
	removedKeys
	removedRevocations
	removedTombstones
	removedPastSessions
	removedAudit
)

// removals are the names of the reasons in metrics.
var removals = [...]string{"retention", "expired", "sessions", "idempotency_keys", "revocations", "tombstones", "past_sessions", "audit"}

// pruneRegularly removes old rows and finishes long changes that were begun, in small
// statements with pauses, until ctx ends.
func (h *Hub) pruneRegularly(ctx context.Context) {
	if h.o.Pruner == nil {
		return
	}
	every(ctx, pruneEvery, func() {
		h.refillRevocations(ctx)
		changed := h.runInSteps(ctx, "finish long changes", removedNone, h.o.Pruner.Continue)
		h.runInSteps(ctx, "remove expired sessions", removedSessions, h.o.Pruner.ExpireSessions)
		h.runInSteps(ctx, "remove past sessions", removedPastSessions, h.o.Pruner.ExpirePastSessions)
		h.runInSteps(ctx, "remove expired idempotency keys", removedKeys, h.o.Pruner.ExpireKeys)
		h.runInSteps(ctx, "remove revocations of expired tokens", removedRevocations, func(ctx context.Context, limit int) (int, error) {
			return h.o.Pruner.ExpireRevocations(ctx, h.o.TokenLife, limit)
		})
		h.runInSteps(ctx, "remove old tombstones", removedTombstones, h.o.Pruner.ExpireTombstones)
		if h.o.AuditAge > 0 {
			h.runInSteps(ctx, "remove old entries of the audit log", removedAudit, func(ctx context.Context, limit int) (int, error) {
				return h.o.Pruner.ExpireAudit(ctx, h.o.AuditAge, limit)
			})
		}
		if h.o.Retention > 0 {
			before := time.Now().Add(-h.o.Retention)
			changed = h.runInSteps(ctx, "remove notifications past their retention", removedRetention, func(ctx context.Context, limit int) (int, error) {
				return h.o.Pruner.Retain(ctx, before, limit)
			}) || changed
		}
		if changed && h.followers.Load() > 0 {
			// Long changes and retention may change millions of inboxes, mostly of users
			// without a device, so they send no hints. This node sweeps at once. The other
			// nodes find the changes with their next sweep.
			nudge(h.sweep)
		}
	})
}

// expireRegularly removes expired notifications until ctx ends.
func (h *Hub) expireRegularly(ctx context.Context) {
	if h.o.Pruner == nil {
		return
	}
	every(ctx, expireEvery, func() {
		h.runInSteps(ctx, "remove expired notifications", removedExpired, func(ctx context.Context, limit int) (int, error) {
			n, users, err := h.o.Pruner.ExpireNotifications(ctx, limit)
			for _, u := range users {
				h.broadcast(bridge.Hint{Type: bridge.HintState, User: u})
			}
			return n, err
		})
	})
}

// runInSteps calls step until nothing is left, it fails, or ctx ends, and reports whether it
// did anything. what names the work in the log.
func (h *Hub) runInSteps(ctx context.Context, what string, why removal, step func(context.Context, int) (int, error)) (did bool) {
	for {
		q, cancel := context.WithTimeout(ctx, h.o.Query)
		n, err := step(q, pruneRows)
		cancel()
		if err != nil && ctx.Err() == nil {
			h.failures.warn("could not "+what, err)
		}
		if err != nil || n == 0 {
			return did
		}
		did = true
		if why != removedNone {
			h.figures.removed[why].Add(int64(n))
		}
		if pause(ctx, prunePause); ctx.Err() != nil {
			return did
		}
	}
}

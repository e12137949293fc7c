package api

import (
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/falconalert/falconbridge/bridge"
)

// registerInbox registers the calls of users, whose tokens have no scope.
func (a *api) registerInbox() {
	huma.Register(a.huma, a.operation("GET /notifications", "listNotifications", tagInbox, "List your notifications",
		"An array, newest first; with `after`, oldest first. Empty while `is_review_enabled` is 0, and without the kinds that are muted. `Link: <…>; rel=\"next\"` leads to the next page.",
		rule{}), a.listOwn)
	huma.Register(a.huma, a.operation("GET /notifications/count", "countNotifications", tagInbox, "Count your notifications",
		"`total` and `unread` are 0 while `is_review_enabled` is 0, and do not count the kinds that are muted.",
		rule{}), a.countNotifications)
	huma.Register(a.huma, a.operation("GET /notifications/changes", "listChanges", tagInbox, "What changed of your inbox",
		"What was read, marked unread, deleted or muted since a rev. It applies to an inbox at any rev of at least `from`: `read_up_to`, `read`, `unread_ids`, `deleted`, in this order. "+
			"`from` null means: fetch the list again. An id that you do not know yet is one of a notification still on its way to you.",
		rule{}), a.listChanges)
	huma.Register(a.huma, a.operation("POST /notifications/read", "readNotifications", tagInbox, "Mark notifications as read",
		"All of them, or with a body those up to a seq. 202 means that the server goes on marking, also across a restart; `unread` is what is left so far.",
		rule{maxBody: a.o.MaxBody, optional: true, wait: a.o.Steps, goesOn: true}), a.readNotifications)
	huma.Register(a.huma, a.operation("POST /notifications/{id}/read", "readNotification", tagInbox, "Mark one notification as read",
		"Doing it twice is no error.",
		rule{}), a.readNotification)
	huma.Register(a.huma, a.operation("POST /notifications/{id}/unread", "unreadNotification", tagInbox, "Mark one notification as unread",
		"Undoes read. Doing it twice is no error.",
		rule{}), a.unreadNotification)
	huma.Register(a.huma, a.operation("DELETE /notifications/read", "deleteRead", tagInbox, "Delete what is read",
		"All that are read now, but for kinds that are muted. 202 means that the server goes on deleting, also across a restart.",
		rule{wait: a.o.Steps, goesOn: true}), a.deleteRead)
	huma.Register(a.huma, a.operation("DELETE /notifications/{id}", "deleteNotification", tagInbox, "Delete a notification",
		"Your own; with scope `admin` anybody's. It leaves history, replay and the retained message at once. Its seq is never used again.",
		rule{}), a.deleteNotification)
	huma.Register(a.huma, a.operation("GET /settings", "getSettings", tagInbox, "Read your settings", "",
		rule{}), a.getSettings)
	huma.Register(a.huma, a.operation("PATCH /settings", "patchSettings", tagInbox, "Change your settings",
		"What is left out stays as it is. `is_review_enabled` 0 mutes: notifications are stored, but neither listed, counted, delivered nor retained. "+
			"`kinds` has a switch for each kind that you chose something for, at most 64; null removes one. Back to 1, all are listed again; those muted meanwhile are never replayed. "+
			"202 means that the server goes on to hide or show what is there already.",
		rule{maxBody: a.o.MaxBody, wait: a.o.Steps, goesOn: true}), a.patchSettings)
	huma.Register(a.huma, a.operation("GET /reports", "listReports", tagReport, "List reports",
		"Newest first: your own, or with scope `reports:write` everybody's.",
		rule{forbids: true}), a.listReports)
	huma.Register(a.huma, a.operation("GET /reports/{id}", "getReport", tagReport, "Read a report",
		"Your own, or with scope `reports:write` anybody's. Another user's is not found.",
		rule{}), a.getReport)
	huma.Register(a.huma, a.operation("GET /healthz", "alive", tagHealth, "Is the process alive?", "",
		rule{open: true, probe: true}), a.alive)
	huma.Register(a.huma, a.operation("GET /readyz", "ready", tagHealth, "May requests be sent here?",
		"503 while the database or the bus does not answer, and while the node drains.",
		rule{open: true, probe: true}), a.ready)
}

// registerDevices registers the calls that set up Web Push for a user's devices.
func (a *api) registerDevices() {
	huma.Register(a.huma, a.operation("GET /push/key", "pushKey", tagInbox, "Read the key for Web Push",
		"404 where Web Push is not on.",
		rule{open: true}), a.pushKey)
	huma.Register(a.huma, a.operation("GET /devices", "listDevices", tagInbox, "List your devices",
		"Those that are registered for Web Push, keep a session or are connected.",
		rule{}), a.listDevices)
	huma.Register(a.huma, a.operation("PUT /devices/{client_id}", "putDevice", tagInbox, "Register a device for Web Push",
		"The device gets a push for what it has not acknowledged in time. An endpoint belongs to one registration: another user's with it ends. 409 past 32 registrations.",
		rule{maxBody: a.o.MaxBody, conflicts: true}), a.putDevice)
	huma.Register(a.huma, a.operation("DELETE /devices/{client_id}", "deleteDevice", tagInbox, "Remove a device",
		"Its registration, its session and its connection end.",
		rule{}), a.deleteDevice)
	huma.Register(a.huma, a.operation("POST /devices/{client_id}/test", "testDevice", tagInbox, "Send a test push to a device", "",
		rule{wait: pushWait}), a.testDevice)
}

// pushWait bounds the database and the push service together.
const pushWait = 8 * time.Second

// registerBackEnd registers the calls of the application's servers.
func (a *api) registerBackEnd() {
	huma.Register(a.huma, a.operation("POST /notifications", "createNotification", tagCreate, "Create a notification",
		"201 means: on disk, and it will be delivered. With an `Idempotency-Key` a repeated request gets the first one's answer, for 24 hours; after a 503 repeat it with the same key. A `traceparent` is handed on to devices with the live delivery.",
		rule{scope: bridge.ScopeWrite, maxBody: a.o.MaxBody, keyed: true, status: http.StatusCreated}), a.createNotification)
	huma.Register(a.huma, a.operation("POST /notifications/batch", "createNotifications", tagCreate, "Create up to 1000 notifications",
		"All or none, in one transaction. The body has at most 4 MiB.",
		rule{scope: bridge.ScopeWrite, maxBody: a.o.MaxBatchBody, keyed: true, status: http.StatusCreated}), a.createNotifications)
	huma.Register(a.huma, a.operation("DELETE /notifications", "withdrawNotification", tagCreate, "Withdraw what a key stands for",
		"Deletes the user's notification that was created with this `replaces`, as after an alarm that is over.",
		rule{scope: bridge.ScopeWrite}), a.withdraw)
	huma.Register(a.huma, a.operation("POST /reports", "createReport", tagReport, "Create a report",
		"409 where the id is taken.",
		rule{scope: bridge.ScopeReports, maxBody: a.o.MaxBody, conflicts: true, status: http.StatusCreated}), a.createReport)
	huma.Register(a.huma, a.operation("PUT /admin/reports/{id}/status", "setReportStatus", tagReport, "Change a report's status",
		"The report changes and its owner is notified in one transaction. The same status again changes nothing and sends no notification.",
		rule{scope: bridge.ScopeReports, maxBody: a.o.MaxBody}), a.setReportStatus)
	huma.Register(a.huma, a.operation("GET /users/{id}/notifications", "listUserNotifications", tagAdmin, "List a user's notifications",
		"As `GET /notifications`, for another user.",
		rule{scope: bridge.ScopeRead}), a.listOther)
	huma.Register(a.huma, a.operation("GET /users/{id}/settings", "getUserSettings", tagAdmin, "Read a user's settings",
		"As `GET /settings`, for another user: whether the user is muted.",
		rule{scope: bridge.ScopeRead}), a.getUserSettings)
	huma.Register(a.huma, a.operation("GET /notifications/{id}/deliveries", "listDeliveries", tagAdmin, "Which devices have a notification",
		"One entry a persistent device. Devices that a jump, a mute or a first subscription carried past it are not listed.",
		rule{scope: bridge.ScopeRead}), a.listDeliveries)
	huma.Register(a.huma, a.operation("GET /admin/notifications/{id}/explain", "explainNotification", tagAdmin, "What became of a notification",
		"Also of one that was deleted, superseded, expired or retained out, for 30 days. Never its title, message or data.",
		rule{scope: bridge.ScopeRead}), a.explain)
}

// registerAdmin registers the calls of operators.
func (a *api) registerAdmin() {
	huma.Register(a.huma, a.operation("DELETE /admin/users/{id}", "eraseUser", tagAdmin, "Erase a user",
		"Notifications, reports, sessions, settings: nothing stays, and nothing is visible as soon as the response comes. Connections end. "+
			"202 means that rows are still being deleted, also across a restart: call it again to learn when all are gone, with 204.",
		rule{scope: bridge.ScopeAdmin, wait: a.o.Steps, goesOn: true}), a.eraseUser)
	huma.Register(a.huma, a.operation("GET /admin/connections", "listConnections", tagAdmin, "Who is connected",
		"On all nodes. A page may be short, even empty, and have a next one: with a filter a call looks at 10,000 connections at most.",
		rule{scope: bridge.ScopeAdmin}), a.listConnections)
	huma.Register(a.huma, a.operation("GET /admin/devices", "listSessions", tagAdmin, "Which devices keep their place, and how far behind they are",
		"Those with a session, connected or absent, ordered by user and client id. A page may be short, as with `GET /admin/connections`.",
		rule{scope: bridge.ScopeAdmin}), a.listSessions)
	huma.Register(a.huma, a.operation("DELETE /admin/users/{id}/connections", "endConnections", tagAdmin, "End a user's connections",
		"On all nodes. The user may connect again: revoke the tokens to prevent it.",
		rule{scope: bridge.ScopeAdmin}), a.endConnections)
	huma.Register(a.huma, a.operation("DELETE /admin/users/{id}/connections/{client_id}", "endConnection", tagAdmin, "End the connection of one device",
		"Wherever it is. The device keeps its place, and may connect again.",
		rule{scope: bridge.ScopeAdmin}), a.endConnection)
	huma.Register(a.huma, a.operation("DELETE /admin/users/{id}/devices/{client_id}", "removeDevice", tagAdmin, "Remove a device of a user",
		"Its registration, its session and its connection end: it loses its place. 404 where it has none of them.",
		rule{scope: bridge.ScopeAdmin}), a.removeDevice)
	huma.Register(a.huma, a.operation("POST /admin/revocations", "revoke", tagAdmin, "Revoke tokens",
		"One by its `jti`, or a user's that were issued before a time (now, where it is left out) or carry no `iat`. Their connections end within 5 s, on all nodes.",
		rule{scope: bridge.ScopeAdmin, maxBody: a.o.MaxBody, status: http.StatusCreated}), a.revoke)
	huma.Register(a.huma, a.operation("GET /admin/audit", "listAudit", tagAdmin, "Who did what",
		"Newest first: erasures, revocations, ended connections, changes of a report's status, withdrawals, reads of other users' histories "+
			"(joined per reader, user and minute) and refused calls of tokens whose signature verified (at most one a second and user). "+
			"An entry is stored before what it describes is done. Entries are never changed, outlive an erasure, and are deleted after `--audit-retention`.",
		rule{scope: bridge.ScopeAdmin}), a.listAudit)
	huma.Register(a.huma, a.operation("POST /admin/webhooks/{id}/redeliver", "redeliverWebhook", tagAdmin, "Send a webhook again",
		"At once, with its id, also where the notification was acknowledged or read meanwhile. 404 where its notification is gone.",
		rule{scope: bridge.ScopeAdmin, status: http.StatusAccepted}), a.redeliver)
	huma.Register(a.huma, a.operation("GET /admin/stats", "stats", tagAdmin, "Figures of all nodes", "As of each node's last beat, a few seconds ago.",
		rule{scope: bridge.ScopeAdmin}), a.stats)
}

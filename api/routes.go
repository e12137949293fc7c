package api

import (
	"net/http"
	"strconv"
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
	huma.Register(a.huma, a.operation("GET /notifications/changes", "listChanges", tagInbox, "Read the changes of your inbox",
		"What was read, marked as unread, deleted or muted since a rev. Apply it to an inbox at any rev of at least `from`, in the order `read_up_to`, `read`, `unread_ids`, `deleted`. "+
			"If `from` is null, fetch the list again. An unknown id belongs to a notification that is still on its way to you.",
		rule{}), a.listChanges)
	huma.Register(a.huma, a.operation("POST /notifications/read", "readNotifications", tagInbox, "Mark notifications as read",
		"All of them, or with a body those up to a seq. 202 means that the server continues in the background, even across a restart; `unread` is the number left so far.",
		rule{maxBody: a.o.MaxBody, optional: true, wait: a.o.Steps, continues: true}), a.readNotifications)
	huma.Register(a.huma, a.operation("POST /notifications/{id}/read", "readNotification", tagInbox, "Mark one notification as read",
		"Marking it twice is not an error.",
		rule{}), a.readNotification)
	huma.Register(a.huma, a.operation("POST /notifications/{id}/unread", "unreadNotification", tagInbox, "Mark one notification as unread",
		"Undoes read. Marking it twice is not an error.",
		rule{}), a.unreadNotification)
	huma.Register(a.huma, a.operation("DELETE /notifications/read", "deleteRead", tagInbox, "Delete read notifications",
		"All that are read now, except those of muted kinds. 202 means that the server continues in the background, even across a restart.",
		rule{wait: a.o.Steps, continues: true}), a.deleteRead)
	huma.Register(a.huma, a.operation("DELETE /notifications/{id}", "deleteNotification", tagInbox, "Delete a notification",
		"Your own, or with scope `admin` anyone's. It leaves history, replay and the retained message at once. Its seq is never reused.",
		rule{}), a.deleteNotification)
	huma.Register(a.huma, a.operation("GET /settings", "getSettings", tagInbox, "Read your settings", "",
		rule{}), a.getSettings)
	huma.Register(a.huma, a.operation("PATCH /settings", "patchSettings", tagInbox, "Change your settings",
		"Omitted settings stay as they are. `is_review_enabled` 0 mutes: notifications are stored, but neither listed, counted, delivered nor retained. "+
			"`kinds` has a switch for each kind with a setting of its own, at most "+strconv.Itoa(bridge.MaxKinds)+"; null removes it. After a change back to 1 all are listed again; those that arrived while muted are never replayed. "+
			"202 means that the server is still hiding or showing existing notifications.",
		rule{maxBody: a.o.MaxBody, wait: a.o.Steps, continues: true}), a.patchSettings)
	huma.Register(a.huma, a.operation("GET /reports", "listReports", tagReport, "List reports",
		"Newest first: your own, or with scope `reports:write` everyone's.",
		rule{forbids: true}), a.listReports)
	huma.Register(a.huma, a.operation("GET /reports/{id}", "getReport", tagReport, "Read a report",
		"Your own, or with scope `reports:write` anyone's. Without it, another user's report is not found.",
		rule{}), a.getReport)
	huma.Register(a.huma, a.operation("GET /healthz", "alive", tagHealth, "Is the process alive?", "",
		rule{open: true, probe: true}), a.alive)
	huma.Register(a.huma, a.operation("GET /readyz", "ready", tagHealth, "Is the node ready for requests?",
		"503 while the database or the bus does not respond, and while the node drains.",
		rule{open: true, probe: true}), a.ready)
}

// registerDevices registers the calls that set up Web Push for a user's devices.
func (a *api) registerDevices() {
	huma.Register(a.huma, a.operation("GET /push/key", "pushKey", tagInbox, "Read the key for Web Push",
		"404 if Web Push is off.",
		rule{open: true}), a.pushKey)
	huma.Register(a.huma, a.operation("GET /devices", "listDevices", tagInbox, "List your devices",
		"Devices that are registered for Web Push, have a session or are connected.",
		rule{}), a.listDevices)
	huma.Register(a.huma, a.operation("PUT /devices/{client_id}", "putDevice", tagInbox, "Register a device for Web Push",
		"The device gets a push for each notification that it has not acknowledged in time. An endpoint belongs to one registration: registering it removes another user's registration with it. 409 beyond "+strconv.Itoa(bridge.MaxRegistrations)+" registrations.",
		rule{maxBody: a.o.MaxBody, conflicts: true}), a.putDevice)
	huma.Register(a.huma, a.operation("DELETE /devices/{client_id}", "deleteDevice", tagInbox, "Remove a device",
		"Ends its registration, its session and its connection.",
		rule{}), a.deleteDevice)
	huma.Register(a.huma, a.operation("POST /devices/{client_id}/test", "testDevice", tagInbox, "Send a test push to a device", "",
		rule{wait: pushWait}), a.testDevice)
}

// pushWait bounds the database and the push service together.
const pushWait = 8 * time.Second

// registerBackEnd registers the calls of the application's servers.
func (a *api) registerBackEnd() {
	huma.Register(a.huma, a.operation("POST /notifications", "createNotification", tagCreate, "Create a notification",
		"201 means that it is on disk and will be delivered. With an `Idempotency-Key`, a repeated request gets the response to the first one for 24 hours; after a 503, repeat it with the same key. A `traceparent` is passed on to devices with live deliveries.",
		rule{scope: bridge.ScopeWrite, maxBody: a.o.MaxBody, keyed: true, status: http.StatusCreated}), a.createNotification)
	huma.Register(a.huma, a.operation("POST /notifications/batch", "createNotifications", tagCreate, "Create up to "+strconv.Itoa(bridge.MaxBatch)+" notifications",
		"All or none, in one transaction. The body may have at most "+size(MaxBatchBody)+".",
		rule{scope: bridge.ScopeWrite, maxBody: a.o.MaxBatchBody, keyed: true, status: http.StatusCreated}), a.createNotifications)
	huma.Register(a.huma, a.operation("DELETE /notifications", "withdrawNotification", tagCreate, "Withdraw a notification by its key",
		"Deletes the user's notification that was created with this `replaces`, for example when an alarm is over.",
		rule{scope: bridge.ScopeWrite}), a.withdraw)
	huma.Register(a.huma, a.operation("POST /reports", "createReport", tagReport, "Create a report",
		"409 if the id is taken.",
		rule{scope: bridge.ScopeReports, maxBody: a.o.MaxBody, conflicts: true, status: http.StatusCreated}), a.createReport)
	huma.Register(a.huma, a.operation("PUT /admin/reports/{id}/status", "setReportStatus", tagReport, "Change a report's status",
		"Changes the report and notifies its owner in one transaction. Setting the current status again changes nothing and sends no notification.",
		rule{scope: bridge.ScopeReports, maxBody: a.o.MaxBody}), a.setReportStatus)
	huma.Register(a.huma, a.operation("GET /users/{id}/notifications", "listUserNotifications", tagAdmin, "List a user's notifications",
		"Like `GET /notifications`, for another user.",
		rule{scope: bridge.ScopeRead}), a.listOther)
	huma.Register(a.huma, a.operation("GET /users/{id}/settings", "getUserSettings", tagAdmin, "Read a user's settings",
		"Like `GET /settings`, for another user: shows whether the user is muted.",
		rule{scope: bridge.ScopeRead}), a.getUserSettings)
	huma.Register(a.huma, a.operation("GET /notifications/{id}/deliveries", "listDeliveries", tagAdmin, "List the deliveries of a notification",
		"One entry per persistent device. Devices that passed it by a jump, a mute or a first subscription are not listed.",
		rule{scope: bridge.ScopeRead}), a.listDeliveries)
	huma.Register(a.huma, a.operation("GET /admin/notifications/{id}/explain", "explainNotification", tagAdmin, "Explain what happened to a notification",
		"Also for 30 days after it was deleted, superseded, expired or retained out. Never includes its title, message or data.",
		rule{scope: bridge.ScopeRead}), a.explain)
}

// registerAdmin registers the calls of operators.
func (a *api) registerAdmin() {
	huma.Register(a.huma, a.operation("DELETE /admin/users/{id}", "eraseUser", tagAdmin, "Erase a user",
		"Deletes notifications, reports, sessions and settings; none of it is visible once the response arrives. Connections end. "+
			"202 means that rows are still being deleted, even across a restart; repeat the call until it returns 204 to know when all are gone.",
		rule{scope: bridge.ScopeAdmin, wait: a.o.Steps, continues: true}), a.eraseUser)
	huma.Register(a.huma, a.operation("GET /admin/connections", "listConnections", tagAdmin, "List connections",
		"On all nodes. A page may be short or even empty and still have a next one, because a call with a filter examines at most 10,000 connections.",
		rule{scope: bridge.ScopeAdmin}), a.listConnections)
	huma.Register(a.huma, a.operation("GET /admin/devices", "listSessions", tagAdmin, "List sessions and how far behind they are",
		"Devices with a session, connected or absent, ordered by user and client id. A page may be short, as with `GET /admin/connections`.",
		rule{scope: bridge.ScopeAdmin}), a.listSessions)
	huma.Register(a.huma, a.operation("DELETE /admin/users/{id}/connections", "endConnections", tagAdmin, "End a user's connections",
		"On all nodes. The user may connect again; revoke the tokens to prevent that.",
		rule{scope: bridge.ScopeAdmin}), a.endConnections)
	huma.Register(a.huma, a.operation("DELETE /admin/users/{id}/connections/{client_id}", "endConnection", tagAdmin, "End the connection of one device",
		"On any node. The device keeps its session and may connect again.",
		rule{scope: bridge.ScopeAdmin}), a.endConnection)
	huma.Register(a.huma, a.operation("DELETE /admin/users/{id}/devices/{client_id}", "removeDevice", tagAdmin, "Remove a user's device",
		"Ends its registration, its session and its connection, so that it loses its cursor. 404 if it has none of them.",
		rule{scope: bridge.ScopeAdmin}), a.removeDevice)
	huma.Register(a.huma, a.operation("POST /admin/revocations", "revoke", tagAdmin, "Revoke tokens",
		"One token by its `jti`, or all of a user's that were issued before a time (default: now) or have no `iat`. Their connections end within 5 s, on all nodes.",
		rule{scope: bridge.ScopeAdmin, maxBody: a.o.MaxBody, status: http.StatusCreated}), a.revoke)
	huma.Register(a.huma, a.operation("GET /admin/audit", "listAudit", tagAdmin, "List the audit log",
		"Newest first: erasures, revocations, ended connections, changes of a report's status, withdrawals, reads of other users' histories "+
			"(combined per reader, user and minute) and refused calls of tokens whose signature verified (at most one per second and user). "+
			"An entry is stored before the action it describes. Entries are never changed, outlive an erasure, and are deleted after `--audit-retention`.",
		rule{scope: bridge.ScopeAdmin}), a.listAudit)
	huma.Register(a.huma, a.operation("POST /admin/webhooks/{id}/redeliver", "redeliverWebhook", tagAdmin, "Send a webhook again",
		"At once and with the same id, even if the notification has been acknowledged or read meanwhile. 404 if its notification is gone.",
		rule{scope: bridge.ScopeAdmin, status: http.StatusAccepted}), a.redeliver)
	huma.Register(a.huma, a.operation("GET /admin/stats", "stats", tagAdmin, "Read the figures of all nodes", "As of each node's last heartbeat, a few seconds ago.",
		rule{scope: bridge.ScopeAdmin}), a.stats)
}

package api

import (
	"net/http"
	"reflect"

	"github.com/danielgtaylor/huma/v2"

	"github.com/falconalert/falconbridge/bridge"
)

// routes is every operation: what it is called, who may call it, what it takes
// and what it answers.
func (a *api) routes() []*route {
	rs := append(a.inboxRoutes(), a.backEndRoutes()...)
	return append(rs, a.adminRoutes()...)
}

// Tags group the operations in the document.
const (
	tagInbox  = "Inbox"
	tagCreate = "Create"
	tagReport = "Reports"
	tagAdmin  = "Operators"
	tagHealth = "Health"
)

var pageQuery = []*huma.Param{limitParam.param(), beforeSeq.param(), afterSeq.param(), {
	Name: "unread", In: "query", Description: "Only unread ones.", Schema: &huma.Schema{Type: huma.TypeBoolean},
}}

var pageHeaders = []string{"Link", "X-Last-Seq", "X-Unread-Count", "X-Epoch"}

// inboxRoutes are what a user may do with a token of no scope.
func (a *api) inboxRoutes() []*route {
	return []*route{
		{
			op: doc("GET /notifications", "listNotifications", tagInbox, "List your notifications",
				"An array, newest first; with `after`, oldest first. Empty while `is_review_enabled` is 0. `Link: <…>; rel=\"next\"` leads to the next page."),
			answer: answer{http.StatusOK, reflect.TypeFor[[]itemBody](), pageHeaders}, query: pageQuery,
			serve: a.listOwn,
		},
		{
			op: doc("GET /notifications/count", "countNotifications", tagInbox, "Count your notifications",
				"`total` and `unread` are 0 while `is_review_enabled` is 0."),
			answer: answer{http.StatusOK, reflect.TypeFor[countBody](), nil},
			serve:  a.countNotifications,
		},
		{
			op: doc("POST /notifications/read", "readNotifications", tagInbox, "Mark notifications as read",
				"All of them, or with a body those up to a seq."),
			maxBody: a.o.MaxBody, optional: true, request: reflect.TypeFor[readBodySchema](),
			answer: answer{http.StatusOK, reflect.TypeFor[unreadBody](), nil},
			serve:  a.readNotifications,
		},
		{
			op: doc("POST /notifications/{id}/read", "readNotification", tagInbox, "Mark one notification as read",
				"Doing it twice is no error."),
			answer: answer{http.StatusOK, reflect.TypeFor[unreadBody](), nil},
			serve:  a.readNotification,
		},
		{
			op: doc("DELETE /notifications/{id}", "deleteNotification", tagInbox, "Delete a notification",
				"Your own; with scope `admin` anybody's. It leaves history, replay and the retained message at once. Its seq is never used again."),
			answer: answer{status: http.StatusNoContent},
			serve:  a.deleteNotification,
		},
		{
			op:     doc("GET /settings", "getSettings", tagInbox, "Read your settings", ""),
			answer: answer{http.StatusOK, reflect.TypeFor[settingsBody](), nil},
			serve:  a.getSettings,
		},
		{
			op: doc("PATCH /settings", "patchSettings", tagInbox, "Change your settings",
				"`is_review_enabled` 0 mutes: notifications are stored, but neither listed nor delivered nor retained. Back to 1, all are listed again; those muted meanwhile are never replayed."),
			maxBody: a.o.MaxBody, request: reflect.TypeFor[settingsPatch](),
			answer: answer{http.StatusOK, reflect.TypeFor[settingsBody](), nil},
			serve:  a.patchSettings,
		},
		{
			op: doc("GET /reports", "listReports", tagReport, "List reports",
				"Newest first: your own, or with scope `reports:write` everybody's."),
			query: []*huma.Param{limitParam.param(), beforeID.param(),
				userQuery("created_by", "Only those of this user. Another user's needs scope `reports:write`.")},
			answer: answer{http.StatusOK, reflect.TypeFor[[]ReportBody](), []string{"Link"}},
			serve:  a.listReports,
		},
		{
			op: doc("GET /reports/{id}", "getReport", tagReport, "Read a report",
				"Your own, or with scope `reports:write` anybody's. A stranger's is not found."),
			answer: answer{http.StatusOK, reflect.TypeFor[ReportBody](), nil},
			serve:  a.getReport,
		},
		{
			op:   doc("GET /healthz", "alive", tagHealth, "Is the process alive?", ""),
			open: true, probe: true, answer: answer{http.StatusOK, reflect.TypeFor[healthBody](), nil},
			serve: a.alive,
		},
		{
			op: doc("GET /readyz", "ready", tagHealth, "May requests be sent here?",
				"503 while the database or the bus does not answer, and while the node drains."),
			open: true, probe: true, answer: answer{http.StatusOK, reflect.TypeFor[healthBody](), nil},
			serve: a.ready,
		},
	}
}

// backEndRoutes are what the application's own servers do.
func (a *api) backEndRoutes() []*route {
	return []*route{
		{
			op: doc("POST /notifications", "createNotification", tagCreate, "Create a notification",
				"201 means: on disk, and it will be delivered. With an `Idempotency-Key` a repeated request gets the first one's answer, for 24 hours; after a 503 repeat it with the same key."),
			scope: bridge.ScopeWrite, maxBody: a.o.MaxBody, keyed: true, request: reflect.TypeFor[draftBody](),
			answer: answer{http.StatusCreated, reflect.TypeFor[createdBody](), []string{"Idempotency-Replayed"}},
			serve:  a.createNotification,
		},
		{
			op: doc("POST /notifications/batch", "createNotifications", tagCreate, "Create up to 1000 notifications",
				"All or none, in one transaction. The body has at most 4 MiB."),
			scope: bridge.ScopeWrite, maxBody: a.o.MaxBatchBody, keyed: true, request: reflect.TypeFor[batchBody](),
			answer: answer{http.StatusCreated, reflect.TypeFor[batchCreatedBody](), []string{"Idempotency-Replayed"}},
			serve:  a.createBatch,
		},
		{
			op: doc("POST /reports", "createReport", tagReport, "Create a report",
				"409 where the id is taken."),
			scope: bridge.ScopeReports, maxBody: a.o.MaxBody, request: reflect.TypeFor[newReportSchema](),
			answer: answer{http.StatusCreated, reflect.TypeFor[reportIDBody](), []string{"Location"}}, conflicts: true,
			serve: a.createReport,
		},
		{
			op: doc("PUT /admin/reports/{id}/status", "setReportStatus", tagReport, "Change a report's status",
				"The report changes and its owner is notified in one transaction. The same status again changes nothing and notifies nobody."),
			scope: bridge.ScopeReports, maxBody: a.o.MaxBody, request: reflect.TypeFor[newStatusSchema](),
			answer: answer{http.StatusOK, reflect.TypeFor[statusBody](), nil},
			serve:  a.setStatus,
		},
		{
			op: doc("GET /users/{id}/notifications", "listUserNotifications", tagAdmin, "List a user's notifications",
				"As `GET /notifications`, for another user."),
			scope: bridge.ScopeRead, users: true, query: pageQuery,
			answer: answer{http.StatusOK, reflect.TypeFor[[]itemBody](), pageHeaders},
			serve:  a.listOther,
		},
		{
			op: doc("GET /notifications/{id}/deliveries", "listDeliveries", tagAdmin, "Which devices have a notification",
				"One entry a persistent device. Devices that a jump, a mute or a first subscription carried past it are not listed."),
			scope:  bridge.ScopeRead,
			answer: answer{http.StatusOK, reflect.TypeFor[[]deliveryBody](), nil},
			serve:  a.listDeliveries,
		},
	}
}

// adminRoutes are the operators'.
func (a *api) adminRoutes() []*route {
	return []*route{
		{
			op: doc("DELETE /admin/users/{id}", "eraseUser", tagAdmin, "Erase a user",
				"Notifications, reports, sessions, settings: nothing stays. Connections end."),
			scope: bridge.ScopeAdmin, users: true, wait: a.o.Erase, answer: answer{status: http.StatusNoContent},
			serve: a.eraseUser,
		},
		{
			op: doc("GET /admin/connections", "listConnections", tagAdmin, "Who is connected",
				"On all nodes, ordered by user and client id."),
			scope: bridge.ScopeAdmin, query: []*huma.Param{limitParam.param(), userQuery("user", "Only this user's."),
				{Name: "after", In: "query", Description: "The cursor of a `Link` header.", Schema: &huma.Schema{Type: huma.TypeString}}},
			answer: answer{http.StatusOK, reflect.TypeFor[[]connectionBody](), []string{"Link"}},
			serve:  a.listConnections,
		},
		{
			op: doc("DELETE /admin/users/{id}/connections", "endConnections", tagAdmin, "End a user's connections",
				"On all nodes. The user may connect again: revoke the tokens to prevent it."),
			scope: bridge.ScopeAdmin, users: true, answer: answer{status: http.StatusNoContent},
			serve: a.endConnections,
		},
		{
			op: doc("POST /admin/revocations", "revoke", tagAdmin, "Revoke tokens",
				"One by its `jti`, or a user's that were issued before a time (now, where it is left out) or carry no `iat`. Their connections end within 5 s, on all nodes."),
			scope: bridge.ScopeAdmin, maxBody: a.o.MaxBody, request: reflect.TypeFor[revocationBody](),
			answer: answer{http.StatusCreated, reflect.TypeFor[revocationBody](), nil},
			serve:  a.revoke,
		},
		{
			op:     doc("GET /admin/stats", "stats", tagAdmin, "Figures of all nodes", "As of each node's last beat, a few seconds ago."),
			scope:  bridge.ScopeAdmin,
			answer: answer{http.StatusOK, reflect.TypeFor[statsBody](), nil},
			serve:  a.stats,
		},
	}
}

// Package late finds notifications that were not acknowledged or read in time, and has them
// pushed to the device or posted to the application.
//
// One node at a time is the follower: it has a lease, and repeats these steps.
//
//	enter       Store.Enter reads the log and stores an attempt for each new notification
//	            and each registered device or rule
//	beginPushes Store.DuePush returns attempts whose time has come, each with whether it is
//	            still needed; Store.Begin records which ones are made
//	beginPosts  does the same for webhooks with Store.DueWebhooks
//	Send        sends the message (packages push and webhook)
//	record      Store.RecordLate stores the results
//
// # Where the decision is made
//
// The database decides. Only there can one statement read the notification, the cursors and
// the acknowledgements of the user's devices from the same snapshot. So to find out why
// something was or was not sent, read these in db/late.go:
//
//   - enter: for whom an attempt is stored, and when it is due
//   - due: what counts as acknowledged or read
//   - dueRow.domain: when an attempt is [Due.Cancelled]
//
// This package only decides when to ask, how many attempts run at once, and whether the
// database's decision is too old to act on (maxJudgementAge). docs/operations.md lists all
// that can delay a push.
//
// # Crashes
//
// Each attempt is stored as begun before it is made, and its result afterwards. After a crash
// in between, the attempt is repeated with the same id. Nothing else is sent twice, and
// nothing is lost.
package late

package app

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/falconalert/falconbridge/api"
	"github.com/falconalert/falconbridge/bridge/delivery"
	"github.com/falconalert/falconbridge/bridge/late"
	"github.com/falconalert/falconbridge/bridge/push"
	"github.com/falconalert/falconbridge/bridge/webhook"
	"github.com/falconalert/falconbridge/db"
	"github.com/falconalert/falconbridge/internal/config"
)

// makePusher creates the sender of Web Push, if it is on.
func (a *App) makePusher(context.Context) error {
	if a.c.Vapid != nil {
		a.pusher = push.NewSender(push.Options{Key: a.c.Vapid, Contact: a.c.VapidContact, Hosts: a.c.PushHosts, Base: a.c.PushBase, Locale: a.c.Locale})
	}
	return nil
}

// acks returns where the hub stores acknowledgements, or nil if neither Web Push nor webhooks
// need them.
func (a *App) acks() delivery.Acks {
	if a.pusher == nil && a.c.WebhookURL == nil {
		return nil
	}
	return a.db
}

// startLate starts the follower of late notifications, if Web Push or webhooks are on.
func (a *App) startLate(ctx context.Context) error {
	o := late.Options{Store: a.db, Node: a.node, Logger: a.log, PushAfter: a.c.PushAfter, Rules: a.c.WebhookRules}
	if a.pusher != nil {
		o.Pusher = a.pusher
	}
	if a.c.WebhookURL != nil {
		sender := webhook.NewSender(a.c.WebhookURL, a.c.WebhookSecrets)
		o.Poster = sender
		if a.c.WebhookFile != "" {
			a.spawn("webhook secrets", time.Second, watchSecrets(a.c.WebhookFile, sender, a.metrics.unusable, a.log))
		}
	}
	if o.Pusher == nil && o.Poster == nil {
		return nil
	}
	a.late = late.New(o)
	if err := a.late.Start(ctx); err != nil {
		a.log.Warn("late notifications are followed once the database responds", "error", err)
	}
	a.spawn("late notifications", 12*time.Second, a.late.Run) // finishes attempts, releases its lease
	return nil
}

// secretFile keeps a sender's secrets up to date with their file. While the file cannot be
// used, the former secrets stay in place.
type secretFile struct {
	name     string
	sender   *webhook.Sender
	unusable func(setting string) // called each time the file cannot be used
	log      *slog.Logger
	file     watchedFile
	logged   string // the last error that was logged
}

// watchSecrets returns a function that reads the file of a sender's secrets again until its
// context ends: every keysEvery, and at once on SIGHUP. unusable is called with the setting
// each time the file cannot be used.
func watchSecrets(name string, sender *webhook.Sender, unusable func(setting string), log *slog.Logger) func(context.Context) error {
	f := &secretFile{name: name, sender: sender, unusable: unusable, log: log.With("component", "late")}
	f.reload(true)
	return watch(f.reload, func() {})
}

// reload reads the file and replaces the secrets if they changed: with atOnce immediately,
// otherwise once the previous reading had the same content.
func (f *secretFile) reload(atOnce bool) {
	state, err := f.file.reread(f.name, config.MaxSecretFile)
	if err == nil && (state == unchanged || state == changing && !atOnce) {
		if state == unchanged {
			f.logged = ""
		}
		return
	}
	var secrets webhook.Secrets
	if err == nil {
		secrets, err = webhook.ParseSecrets(f.file.read)
	}
	if err != nil {
		f.unusable("webhook-secret-file")
		if line := err.Error(); line != f.logged {
			f.logged = line
			f.log.Warn("the file of webhook secrets cannot be used, the former secrets stay", "setting", "webhook-secret-file", "error", err)
		}
		return
	}
	first := f.file.used == nil
	f.file.used, f.logged = f.file.read, ""
	f.sender.SetSecrets(secrets)
	if !first {
		f.log.Info("the webhook secrets were replaced", "secrets", len(secrets))
	}
}

// lateOptions adds the options of the API that concern late notifications to o.
func (a *App) lateOptions(o api.Options) api.Options {
	if a.pusher != nil {
		o.Pusher = a.pusher
	}
	if a.late != nil {
		o.Late = a.db.LateStats
	}
	if a.c.WebhookURL != nil {
		o.Redeliver = a.db.Redeliver
	}
	return o
}

// lateFigures reports late notifications. How many are waiting is read from the database,
// which counts at most 10,000 rows, and only by the node that is the follower. Each node
// counts what it sent.
func (a *App) lateFigures(out sink) {
	if a.late == nil {
		return
	}
	out.gauge("late_active", "1 if this node follows late notifications.", one(a.late.Active()))
	push, webhooks := a.late.Counts()
	count := func(channel string, c late.Counts) {
		out.count("late_sent_total", "Late notifications pushed to a device or posted as webhooks.", c.Sent, "channel", channel)
		out.count("late_given_up_total", "Late notifications given up: they are not tried again.", c.GivenUp, "channel", channel)
		for reason, n := range c.Failed {
			out.count("late_failed_total", "Failed attempts to send late notifications, by reason.", n, "channel", channel, "reason", reason)
		}
	}
	waiting := func(string, late.Waiting) {}
	var duePushes, dueWebhooks late.Waiting
	if a.late.Active() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		var err error
		if duePushes, dueWebhooks, err = a.db.Waiting(ctx, db.LateCounted); err == nil {
			waiting = func(channel string, w late.Waiting) {
				out.gauge("late_waiting", fmt.Sprintf("Late notifications not yet sent, of all nodes; counted up to %d.", db.LateCounted), float64(w.Count), "channel", channel)
				out.gauge("late_oldest_seconds", "How long the oldest late notification not yet sent has been late, or 0.", w.Oldest.Seconds(), "channel", channel)
			}
		}
	}
	if a.pusher != nil {
		count("push", push)
		waiting("push", duePushes)
	}
	if a.c.WebhookURL != nil {
		count("webhook", webhooks)
		waiting("webhook", dueWebhooks)
	}
}

package app

import (
	"context"
	"time"

	"github.com/falconalert/falconbridge/api"
	"github.com/falconalert/falconbridge/bridge/delivery"
	"github.com/falconalert/falconbridge/bridge/late"
	"github.com/falconalert/falconbridge/bridge/push"
	"github.com/falconalert/falconbridge/bridge/webhook"
)

// makePusher makes what sends Web Push, where it is on.
func (a *App) makePusher(context.Context) error {
	if a.c.Vapid != nil {
		a.pusher = push.NewSender(push.Options{Key: a.c.Vapid, Contact: a.c.VapidContact, Hosts: a.c.PushHosts, Base: a.c.PushBase, Locale: a.c.Locale})
	}
	return nil
}

// acks is where the hub stores acknowledgements; nil where nothing asks for them.
func (a *App) acks() delivery.Acks {
	if a.pusher == nil && a.c.WebhookURL == nil {
		return nil
	}
	return a.db
}

// startLate follows late notifications, where Web Push or webhooks are on.
func (a *App) startLate(context.Context) error {
	o := late.Options{Store: a.db, Node: a.node, Logger: a.log, PushAfter: a.c.PushAfter, Rules: a.c.WebhookRules}
	if a.pusher != nil {
		o.Pusher = a.pusher
	}
	if a.c.WebhookURL != nil {
		o.Poster = webhook.NewSender(a.c.WebhookURL, a.c.WebhookSecrets)
	}
	if o.Pusher == nil && o.Poster == nil {
		return nil
	}
	a.late = late.New(o)
	a.spawn("late notifications", 12*time.Second, a.late.Run) // finishes attempts, releases its lease
	return nil
}

// lateOptions adds to o what the API does with late notifications.
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

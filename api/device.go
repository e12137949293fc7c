package api

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/bridge/late"
)

// Pusher sends Web Push messages.
type Pusher interface {
	PublicKey() string
	// CheckEndpoint returns an error, a message for the field, if the server would never
	// call the endpoint.
	CheckEndpoint(endpoint string) error
	// Test sends a message which shows that the device is registered.
	Test(ctx context.Context, r bridge.Registration) late.Outcome
}

// errNoPush is the error of all push calls while Web Push is off.
var errNoPush = &problem{kind: notFound, detail: "Web Push is off: the server has no --vapid-key-file"}

type pushKeyOutput struct {
	Body struct {
		Key string `json:"vapid_public_key" doc:"The applicationServerKey with which a browser subscribes."`
	}
}

func (a *api) pushKey(context.Context, *struct{}) (*pushKeyOutput, error) {
	if a.o.Pusher == nil {
		return nil, errNoPush
	}
	out := &pushKeyOutput{}
	out.Body.Key = a.o.Pusher.PublicKey()
	return out, nil
}

// byClient names one of the caller's devices.
type byClient struct {
	ClientID string `path:"client_id" doc:"The device's MQTT client id, percent-encoded." example:"pixel-8"`
}

// deviceOf returns the caller's device of that client id.
func deviceOf(ctx context.Context, client string) (bridge.Device, error) {
	return bridge.Device{User: caller(ctx).User, ClientID: client}, bridge.CheckClientID(client)
}

// newDevice is what PUT /devices/{client_id} reads: what PushSubscription.toJSON returns.
type newDevice struct {
	Push *subscription `json:"push"`
}

type subscription struct {
	Endpoint string           `json:"endpoint" format:"uri" maxLength:"2048" doc:"The push service's URL for this device; https only."`
	Keys     subscriptionKeys `json:"keys"`
}

type subscriptionKeys struct {
	P256DH string `json:"p256dh" doc:"The device's public key in base64url."`
	Auth   string `json:"auth" doc:"The device's authentication secret in base64url."`
}

type deviceInput struct {
	ClientID string `path:"client_id" doc:"The device's MQTT client id, percent-encoded." example:"pixel-8"`
	Body     sent[newDevice]
}

func (a *api) putDevice(ctx context.Context, in *deviceInput) (*struct{}, error) {
	dev, err := deviceOf(ctx, in.ClientID)
	if err != nil {
		return nil, err
	}
	body, err := in.Body.get(ctx)
	if err != nil {
		return nil, err
	}
	if a.o.Pusher == nil {
		return nil, errNoPush
	}
	var bad bridge.InvalidError
	if body.Push == nil {
		bad.Add("body.push", "is required")
		return nil, bad.Err()
	}
	claims := caller(ctx)
	r := bridge.Registration{Device: dev, Endpoint: body.Push.Endpoint, P256DH: body.Push.Keys.P256DH, Auth: body.Push.Keys.Auth,
		TokenID: claims.ID, IssuedAt: claims.IssuedAt}
	if err := a.o.Pusher.CheckEndpoint(r.Endpoint); err != nil {
		bad.Add("body.push.endpoint", err.Error())
	}
	var keys *bridge.InvalidError
	if errors.As(r.Check(), &keys) {
		bad.Fields = append(bad.Fields, keys.Fields...)
	}
	if err := bad.Err(); err != nil {
		return nil, err
	}
	err = a.o.Devices.RegisterDevice(ctx, r)
	switch {
	case errors.Is(err, bridge.ErrConflict):
		err = &problem{kind: conflict, detail: fmt.Sprintf("%d devices are already registered; remove one first", bridge.MaxRegistrations)}
	case errors.Is(err, bridge.ErrForbidden):
		err = &problem{kind: unauthorized, detail: "the token was revoked"}
	}
	return nil, err
}

type deviceBody struct {
	ClientID  string `json:"client_id" example:"pixel-8"`
	Push      bool   `json:"push" doc:"Whether it is registered for Web Push."`
	Session   bool   `json:"session" doc:"Whether it has a session that keeps its cursor while it is absent."`
	Connected bool   `json:"connected"`
	LastSeen  stamp  `json:"last_seen_at"`
}

type devicesOutput struct {
	Body []deviceBody `nullable:"false"`
}

func (a *api) listDevices(ctx context.Context, _ *struct{}) (*devicesOutput, error) {
	devices, err := a.o.Devices.Devices(ctx, caller(ctx).User)
	if err != nil {
		return nil, err
	}
	out := &devicesOutput{Body: make([]deviceBody, len(devices))}
	for i, d := range devices {
		out.Body[i] = deviceBody{d.ClientID, d.Push, d.Session, d.Connected, stamp(d.LastSeen)}
	}
	return out, nil
}

func (a *api) deleteDevice(ctx context.Context, in *byClient) (*struct{}, error) {
	dev, err := deviceOf(ctx, in.ClientID)
	if err != nil {
		return nil, err
	}
	return nil, a.dropDevice(ctx, dev)
}

// dropDevice removes all state of dev and ends its connection, on any node.
func (a *api) dropDevice(ctx context.Context, dev bridge.Device) error {
	if err := a.o.Devices.RemoveDevice(ctx, dev); err != nil {
		return err
	}
	a.o.Service.Ordered(dev.User)
	return nil
}

// testDevice reports only whether the push service accepted the message, nothing else of
// its response: the caller chose the address, which must not become a way to read it.
func (a *api) testDevice(ctx context.Context, in *byClient) (*struct{}, error) {
	dev, err := deviceOf(ctx, in.ClientID)
	if err != nil {
		return nil, err
	}
	if a.o.Pusher == nil {
		return nil, errNoPush
	}
	r, err := a.o.Devices.Registration(ctx, dev)
	if err != nil {
		return nil, err
	}
	switch o := a.o.Pusher.Test(ctx, r); o.Result {
	case late.Sent:
		return nil, nil
	case late.Gone:
		if err := a.o.Devices.Unregister(ctx, r); err != nil {
			return nil, err
		}
		return nil, &problem{kind: notFound, detail: "the push service no longer knows this device, which has to subscribe again"}
	case late.Limited:
		return nil, &problem{kind: tooMany, retry: int(math.Ceil(o.After.Seconds()))}
	}
	return nil, &problem{kind: unavailable, detail: "the push service did not accept the message"}
}

type redeliverInput struct {
	ID string `path:"id" doc:"The webhook-id." example:"msg_0123456789abcdef0123456789abcdef"`
}

func (a *api) redeliver(ctx context.Context, in *redeliverInput) (*statusOutput, error) {
	ref, found := strings.CutPrefix(in.ID, late.WebhookPrefix)
	if !found || a.o.Redeliver == nil || strings.IndexByte(ref, 0) >= 0 {
		return nil, bridge.ErrNotFound
	}
	return &statusOutput{202}, a.o.Redeliver(ctx, ref)
}

// lateBody has the figures of the pushes or webhooks for unacknowledged notifications.
type lateBody struct {
	Waiting int64   `json:"waiting" doc:"Due and not sent yet; counted up to 10,000."`
	Sent    int64   `json:"sent"`
	Failed  int64   `json:"failed" doc:"Given up."`
	Oldest  float64 `json:"oldest_seconds" doc:"For how long the oldest waiting one has been due; 0: none."`
}

func lateBodyOf(f late.Figures) *lateBody {
	return &lateBody{f.Waiting, f.Sent, f.Failed, f.Oldest.Seconds()}
}

package broker

import (
	"bytes"
	"context"
	"errors"
	"strconv"
	"strings"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/bridge/delivery"
)

// ack is the SUBACK or UNSUBACK under way.
type ack struct {
	codes  []byte // one a filter
	reason string
}

// errCongested refuses a SUBSCRIBE that waited too long for the database.
var errCongested = errors.New("too many devices connect at once")

// subscribe stores the subscriptions of one packet, in one transaction however many
// filters there are. A filter is granted once its subscription is on disk, and nothing is sent for it before the SUBACK. Filters of
// one packet come to what they would one after another ([MQTT-3.8.4-4]).
func (c *conn) subscribe(pk *packets.Packet, a *ack) {
	errs := c.storeSubscriptions(pk)
	for i, f := range pk.Filters {
		err := errs[i]
		switch {
		case errors.Is(err, errSince), errors.Is(err, errState), errors.Is(err, errCongested):
			a.reason = err.Error()
		case errors.Is(err, bridge.ErrTooMany):
			c.b.count.limited[LimitSubscriptions].Add(1)
		}
		a.codes[i] = c.subackCode(err, f.Qos)
	}
}

// store subscribes to the filters of pk and returns an error for each.
func (c *conn) storeSubscriptions(pk *packets.Packet) []error {
	since, state, err := subscribeProperties(pk.Properties.User)
	if err == nil && !c.b.subscribes.acquire(c.device.User) {
		err = errCongested
	}
	if err != nil {
		errs := make([]error, len(pk.Filters))
		for i, f := range pk.Filters {
			if errs[i] = err; !c.session.May(f.Filter) {
				errs[i] = bridge.ErrForbidden
			}
		}
		return errs
	}
	defer c.b.subscribes.release()
	ctx, cancel := context.WithTimeout(context.Background(), c.b.o.Query)
	defer cancel()
	rs := make([]delivery.SubscribeRequest, len(pk.Filters))
	for i, f := range pk.Filters {
		rs[i] = delivery.SubscribeRequest{
			Filter:         strings.Clone(f.Filter), // or it would hold on to the whole packet
			Subscription:   bridge.Subscription{QoS: min(f.Qos, 1), RetainAsPublished: f.RetainAsPublished, ID: f.Identifier},
			RetainHandling: f.RetainHandling, State: state,
		}
	}
	return c.session.Subscribe(ctx, rs, since)
}

func (c *conn) subackCode(err error, qos byte) byte {
	switch {
	case err == nil:
		return min(qos, 1)
	case c.version != 5:
		return codeUnspecified // the only one 3.1.1 has
	case errors.Is(err, bridge.ErrForbidden):
		return codeNotAuthorized
	case errors.Is(err, bridge.ErrTooMany):
		return codeQuota
	}
	return codeImplementation // the database is unavailable or congested, or since is malformed
}

// A SUBSCRIBE with a malformed property is answered with 0x83: the packet is valid, and
// not accepted (§3.9.3).
var (
	errSince = errors.New("the user property since is one whole number from 0 to 2^53-1")
	errState = errors.New("the user property state is one whole number from 0 to 2^53-1")
)

// askedFor reads the user properties since and state; nil where there is none.
func subscribeProperties(user []packets.UserProperty) (since *bridge.Seq, state *bridge.Rev, err error) {
	for _, u := range user {
		n, malformed := strconv.ParseUint(u.Val, 10, 53)
		switch u.Key {
		case "since":
			if malformed != nil || since != nil {
				return nil, nil, errSince
			}
			since = new(bridge.Seq(n))
		case "state":
			if malformed != nil || state != nil {
				return nil, nil, errState
			}
			state = new(bridge.Rev(n))
		}
	}
	return since, state, nil
}

// errUnsubscribe ends a 3.1.1 connection: its UNSUBACK cannot say that the filter
// is still subscribed, and the device will try again.
var errUnsubscribe = errors.New("the filters are still subscribed, and 3.1.1 has no UNSUBACK for that")

// errFilters ends a connection whose refusal would not fit its Maximum Packet Size.
var errFilters = &fault{codeQuota, "too many topic filters"}

// refuseFilters refuses a SUBSCRIBE or UNSUBSCRIBE of n filters, which are too many.
// It is not decoded: each filter would take 100 times the memory that it took on
// the wire.
func (c *conn) refuseFilters(p []byte, n int) error {
	c.b.count.limited[LimitFilters].Add(1)
	kind, code := packets.Suback, byte(codeQuota)
	if p[0]>>4 == packets.Unsubscribe {
		kind, code = packets.Unsuback, codeImplementation
	}
	size := 2 + n
	switch {
	case c.version == 5:
		size++
	case kind == packets.Unsuback:
		return errUnsubscribe
	default:
		code = codeUnspecified
	}
	if limit := int(c.client.Properties.Props.MaximumPacketSize); limit > 0 && 1+varintLen(size)+size > limit {
		return errFilters
	}
	f := frames.get()
	defer frames.put(f)
	f.b = appendUint16(appendVarint(append(f.b, kind<<4), size), int(packetID(p)))
	if c.version == 5 {
		f.b = append(f.b, 0) // no properties
	}
	f.b = append(f.b, bytes.Repeat([]byte{code}, n)...)
	return c.send(f.b)
}

func (c *conn) unsubscribe(pk *packets.Packet, a *ack) error {
	ctx, cancel := context.WithTimeout(context.Background(), c.b.o.Query)
	defer cancel()
	for i, f := range pk.Filters {
		existed, err := c.session.Unsubscribe(ctx, f.Filter)
		switch {
		case err != nil && c.version != 5:
			return errUnsubscribe
		case err != nil:
			a.codes[i] = codeImplementation
		case !existed:
			a.codes[i] = codeNoSubscription
		}
	}
	return nil
}

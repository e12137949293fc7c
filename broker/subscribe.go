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

// ack is a SUBACK or UNSUBACK before it is written.
type ack struct {
	codes  []byte // reason codes, one for each filter
	reason string // reason string; "": none
}

// errCongested refuses a SUBSCRIBE that waited too long for its turn to use the database.
var errCongested = errors.New("too many devices are connecting at the same time")

// subscribe stores the subscriptions of one packet and sets the reason codes of a. A filter
// is granted once its subscription is on disk, and nothing is sent for it before the
// SUBACK. The filters of a packet have the effect of as many packets in their order
// ([MQTT-3.8.4-4]), in a bounded number of statements.
func (c *conn) subscribe(pk *packets.Packet, a *ack) {
	errs := c.storeSubscriptions(pk)
	for i, f := range pk.Filters {
		err := errs[i]
		switch {
		case errors.Is(err, errSince), errors.Is(err, errState), errors.Is(err, errCongested):
			a.reason = err.Error()
		case errors.Is(err, bridge.ErrTooManySubscriptions):
			c.b.count.limited[LimitSubscriptions].Add(1)
		}
		a.codes[i] = c.subackCode(err, f.Qos)
	}
}

// storeSubscriptions subscribes to the filters of pk and returns an error or nil for each.
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
			Filter:         strings.Clone(f.Filter), // f.Filter references the packet's buffer
			Subscription:   bridge.Subscription{QoS: min(f.Qos, 1), RetainAsPublished: f.RetainAsPublished, ID: f.Identifier},
			RetainHandling: f.RetainHandling, State: state,
		}
	}
	return c.session.Subscribe(ctx, rs, since)
}

// subackCode returns the reason code for a filter whose subscription failed with err, or
// the granted QoS.
func (c *conn) subackCode(err error, qos byte) byte {
	switch {
	case err == nil:
		return min(qos, 1)
	case c.version != 5:
		return codeUnspecified // the only failure code of 3.1.1
	case errors.Is(err, bridge.ErrForbidden):
		return codeNotAuthorized
	case errors.Is(err, bridge.ErrTooManySubscriptions):
		return codeQuota
	}
	return codeImplementation // the database is unavailable or congested, or a property is malformed
}

// A SUBSCRIBE with a malformed since or state gets 0x83: the packet is valid, but the server
// does not accept it (§3.9.3).
var (
	errSince = errors.New("the user property since must be one whole number from 0 to 2^53-1")
	errState = errors.New("the user property state must be one whole number from 0 to 2^53-1")
)

// subscribeProperties reads the user properties since and state of a SUBSCRIBE. They are nil
// if not present.
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

// errUnsubscribe ends a 3.1.1 connection whose UNSUBSCRIBE failed. A 3.1.1 UNSUBACK has no
// reason codes, so it cannot tell the device that the filter is still subscribed; after
// reconnecting, the device can try again.
var errUnsubscribe = errors.New("the UNSUBSCRIBE failed, which an UNSUBACK of MQTT 3.1.1 cannot report")

// errFilters ends a connection if the refusal of its SUBSCRIBE or UNSUBSCRIBE would exceed
// its Maximum Packet Size.
var errFilters = &fault{codeQuota, "too many topic filters"}

// refuseFilters refuses the SUBSCRIBE or UNSUBSCRIBE p, which has n filters, more than
// MaxFilters. mochi does not decode it: a decoded filter takes 100 times as much memory as
// on the wire.
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

// unsubscribe removes the subscriptions of one packet and sets the reason codes of a. It
// returns errUnsubscribe if one could not be removed and the UNSUBACK has no code for it.
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

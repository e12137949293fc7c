package broker

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/falconalert/falconbridge/bridge"
)

// answer is what SUBACK or UNSUBACK will say.
type answer struct {
	codes   []byte
	granted []string
	reason  string
}

func (a *answer) grants(filter string) bool { return slices.Contains(a.granted, filter) }

// errTurn ends a SUBSCRIBE whose turn did not come.
var errTurn = errors.New("too many devices connect at once")

// subscribe stores subscriptions when it is this device's turn. A filter is granted
// once its subscription is on disk, and nothing is sent for it before the SUBACK.
// Filters of one packet are taken in their order, as if each came alone
// ([MQTT-3.8.4-4]).
func (c *conn) subscribe(pk *packets.Packet) *answer {
	turn := c.b.subscribes.take()
	if turn {
		defer c.b.subscribes.done()
	}
	ctx, cancel := context.WithTimeout(context.Background(), c.b.o.Query)
	defer cancel()
	since, sinceErr := sinceOf(pk.Properties.User)
	a := &answer{codes: make([]byte, len(pk.Filters))}
	for i, f := range pk.Filters {
		var err error
		switch filter := strings.Clone(f.Filter); { // or it would hold on to the whole packet
		case len(pk.Filters) > c.b.o.MaxFilters:
			err = bridge.ErrTooMany
			if i == 0 {
				c.b.count.limited[LimitFilters].Add(1)
			}
		case !c.session.May(filter):
			err = bridge.ErrForbidden
		case sinceErr != nil:
			err, a.reason = sinceErr, sinceErr.Error()
		case !turn:
			err, a.reason = errTurn, errTurn.Error()
		default:
			err = c.session.Subscribe(ctx, bridge.SubscribeRequest{
				Filter: filter,
				Subscription: bridge.Subscription{
					QoS: min(f.Qos, 1), RetainAsPublished: f.RetainAsPublished, ID: f.Identifier,
				},
				RetainHandling: f.RetainHandling,
				Since:          since,
			})
			switch {
			case err == nil:
				a.granted = append(a.granted, filter)
			case errors.Is(err, bridge.ErrTooMany):
				c.b.count.limited[LimitSubscriptions].Add(1)
			}
		}
		a.codes[i] = c.subackCode(err, f.Qos)
	}
	return a
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
	return codeImplementation // the database is away or crowded, or since is malformed
}

// errSince is answered with 0x83: the SUBSCRIBE is valid, and not accepted (§3.9.3).
var errSince = errors.New("the user property since is one whole number from 0 to 2^53-1")

// sinceOf reads the user property since; nil where there is none.
func sinceOf(user []packets.UserProperty) (*bridge.Seq, error) {
	var since *bridge.Seq
	for _, u := range user {
		if u.Key != "since" {
			continue
		}
		n, err := strconv.ParseUint(u.Val, 10, 53)
		if err != nil || since != nil {
			return nil, errSince
		}
		s := bridge.Seq(n)
		since = &s
	}
	return since, nil
}

// errUnsubscribe ends a 3.1.1 connection: its UNSUBACK cannot say that the filter
// is still subscribed, and the device will try again.
var errUnsubscribe = errors.New("the database is away, and 3.1.1 has no UNSUBACK for that")

func (c *conn) unsubscribe(pk *packets.Packet) (*answer, error) {
	ctx, cancel := context.WithTimeout(context.Background(), c.b.o.Query)
	defer cancel()
	a := &answer{codes: make([]byte, len(pk.Filters))}
	for i, f := range pk.Filters {
		existed, err := c.session.Unsubscribe(ctx, f.Filter)
		switch {
		case err != nil && c.version != 5:
			return a, errUnsubscribe
		case err != nil:
			a.codes[i] = codeImplementation
		case !existed:
			a.codes[i] = codeNoSubscription
		}
	}
	return a, nil
}

package api

import (
	"context"
	"net/http"
	"strconv"

	"github.com/falconalert/falconbridge/bridge"
)

// readBatch reads the body of POST /notifications/batch. It stops at the first
// entry too many: a body may hold a million empty ones.
func readBatch(body []byte) (drafts []bridge.Draft, err error) {
	over := false
	err = readObject(body, func(f *field) error {
		if !f.is("notifications") {
			return f.skip()
		}
		if f.peek() != '[' {
			return f.refuse("is an array")
		}
		return f.array(func(i int) error {
			if i == bridge.MaxBatch {
				over = true
				f.bad.Add("body.notifications", "has 1 to "+strconv.Itoa(bridge.MaxBatch)+" entries")
				return f.bad.Err()
			}
			if f.peek() != '{' {
				if len(f.bad.Fields) < maxFaults {
					f.bad.Add(place(i).String(), "is a JSON object")
				}
				return f.skip()
			}
			f.at = place(i)
			defer func() { f.at = root }()
			var d bridge.Draft
			err := f.object(func(name []byte) error {
				f.name = name
				return f.draft(&d)
			})
			drafts = append(drafts, d)
			return err
		})
	})
	if over {
		drafts = nil
	}
	return drafts, err
}

func (a *api) createBatch(ctx context.Context, c *call) error {
	key, err := c.idempotencyKey()
	if err != nil {
		return err
	}
	drafts, err := readBatch(c.body)
	if err != nil {
		return err
	}
	res, err := a.o.Service.NotifyAll(ctx, drafts, key)
	if err != nil {
		return err
	}
	b := append(make([]byte, 0, 32+64*len(res.Appended)), `{"notifications":[`...)
	for i := range res.Appended {
		n := &res.Appended[i]
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, `{"id":`...)
		b = strconv.AppendInt(b, n.ID, 10)
		b = append(b, `,"seq":`...)
		b = strconv.AppendInt(b, int64(n.Seq), 10)
		b = append(b, `,"created_by":`...)
		user, err := n.User.MarshalJSON()
		if err != nil {
			return err
		}
		b = append(append(b, user...), '}')
	}
	c.replayed(res)
	return c.reply(http.StatusCreated, append(b, `]}`...))
}

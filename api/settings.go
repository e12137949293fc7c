package api

import (
	"context"
	"net/http"

	"github.com/falconalert/falconbridge/bridge"
)

// settingsBody is a user's settings as JSON: a switch is 0 or 1, as applications
// have always read it.
type settingsBody struct {
	ReviewEnabled int `json:"is_review_enabled" enum:"0,1" example:"1" doc:"0 mutes: notifications are stored, but neither listed nor delivered."`
}

func bodyOf(s bridge.Settings) settingsBody {
	if s.ReviewEnabled {
		return settingsBody{1}
	}
	return settingsBody{0}
}

// readSettings reads the body of PATCH /settings: 0, 1, true or false.
func readSettings(body []byte) (bridge.Settings, error) {
	var s bridge.Settings
	var bad bridge.InvalidError
	given := false
	err := readObject(body, func(f *field) error {
		if !f.is(bridge.SettingReviewEnabled) {
			return f.skip()
		}
		given = true
		raw, err := f.raw()
		switch string(raw) {
		case "1", "true":
			s.ReviewEnabled = true
		case "0", "false":
		default:
			f.fault("is 0, 1, true or false")
		}
		return err
	})
	if err == nil && !given {
		bad.Add("body."+bridge.SettingReviewEnabled, "is required")
		err = bad.Err()
	}
	return s, err
}

func (a *api) getSettings(ctx context.Context, c *call) error {
	s, err := a.o.Service.Settings(ctx, c.claims.User)
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, bodyOf(s))
}

func (a *api) patchSettings(ctx context.Context, c *call) error {
	s, err := readSettings(c.body)
	if err != nil {
		return err
	}
	if err := a.o.Service.SetSettings(ctx, c.claims.User, s); err != nil {
		return err
	}
	return c.json(http.StatusOK, bodyOf(s))
}

package api

import (
	"context"

	"github.com/falconalert/falconbridge/bridge"
)

// settingsBody is a user's settings as JSON: a switch is 0 or 1, as applications
// have always read it.
type settingsBody struct {
	ReviewEnabled int `json:"is_review_enabled" enum:"0,1" example:"1" doc:"0 mutes: notifications are stored, but neither listed nor delivered."`
}

type settingsOutput struct{ Body settingsBody }

func settingsOf(s bridge.Settings) *settingsOutput {
	out := &settingsOutput{}
	if s.ReviewEnabled {
		out.Body.ReviewEnabled = 1
	}
	return out
}

func (a *api) getSettings(ctx context.Context, _ *struct{}) (*settingsOutput, error) {
	s, err := a.o.Service.Settings(ctx, caller(ctx).User)
	if err != nil {
		return nil, err
	}
	return settingsOf(s), nil
}

// settingsPatch is what PATCH /settings reads.
type settingsPatch struct {
	ReviewEnabled *onOff `json:"is_review_enabled" doc:"0 or 1; booleans are read too."`
}

type settingsInput struct {
	Body sent[settingsPatch]
}

func (a *api) patchSettings(ctx context.Context, in *settingsInput) (*settingsOutput, error) {
	patch, err := in.Body.get(ctx)
	if err != nil {
		return nil, err
	}
	on := patch.ReviewEnabled
	if on == nil {
		var bad bridge.InvalidError
		bad.Add("body."+bridge.SettingReviewEnabled, "is required")
		return nil, bad.Err()
	}
	s := bridge.Settings{ReviewEnabled: bool(*on)}
	if err := a.o.Service.SetSettings(ctx, caller(ctx).User, s); err != nil {
		return nil, err
	}
	return settingsOf(s), nil
}

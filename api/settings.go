package api

import (
	"context"
	"net/http"

	"github.com/falconalert/falconbridge/bridge"
)

// settingsBody are a user's settings as JSON. A switch is 0 or 1, which is what existing
// applications read.
type settingsBody struct {
	ReviewEnabled int            `json:"is_review_enabled" enum:"0,1" example:"1" doc:"0 mutes: notifications are stored, but neither listed nor delivered."`
	Kinds         map[string]int `json:"kinds" doc:"0 mutes a kind. Lists only kinds with a setting of their own."`
}

type settingsOutput struct{ Body settingsBody }

func settingsOf(s bridge.Settings) *settingsOutput {
	out := &settingsOutput{settingsBody{Kinds: make(map[string]int, len(s.Kinds))}}
	for k, on := range s.Kinds {
		out.Body.Kinds[string(k)] = 0
		if on {
			out.Body.Kinds[string(k)] = 1
		}
	}
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

func (a *api) getUserSettings(ctx context.Context, in *byUser) (*settingsOutput, error) {
	s, err := a.o.Service.Settings(ctx, in.User)
	if err != nil {
		return nil, err
	}
	return settingsOf(s), nil
}

// settingsPatch is what PATCH /settings reads.
type settingsPatch struct {
	ReviewEnabled *onOff   `json:"is_review_enabled,omitempty" doc:"0 or 1; booleans are accepted as well."`
	Kinds         switches `json:"kinds,omitempty" doc:"0, 1 or null by kind. Omitted kinds stay as they are, null removes one."`
}

type settingsInput struct {
	Body sent[settingsPatch]
}

type changedSettingsOutput struct {
	Status int
	Body   settingsBody
}

func (a *api) patchSettings(ctx context.Context, in *settingsInput) (*changedSettingsOutput, error) {
	patch, err := in.Body.get(ctx)
	if err != nil {
		return nil, err
	}
	if patch.ReviewEnabled == nil && patch.Kinds == nil {
		var bad bridge.InvalidError
		bad.Add("body."+bridge.SettingReviewEnabled, "is required unless "+bridge.SettingKinds+" is given")
		return nil, bad.Err()
	}
	s, done, err := a.o.Service.ChangeSettings(ctx, caller(ctx).User, bridge.SettingsChange{ReviewEnabled: (*bool)(patch.ReviewEnabled), Kinds: patch.Kinds})
	if err != nil {
		return nil, err
	}
	return &changedSettingsOutput{statusOf(done, http.StatusOK), settingsOf(s).Body}, nil
}

package bridge

import "fmt"

// SettingReviewEnabled and SettingKinds are the JSON names of a user's settings.
const (
	SettingReviewEnabled = "is_review_enabled"
	SettingKinds         = "kinds"
)

// MaxKinds is the most kinds that a user may have settings for.
const MaxKinds = 64

// Settings are what one user has muted. The settings of the server are in internal/config.
// The zero value is not the default, which is [DefaultSettings].
type Settings struct {
	// ReviewEnabled false mutes everything: notifications are stored, but neither listed,
	// delivered nor retained.
	ReviewEnabled bool
	// Kinds has the kinds that the user has a setting for. false mutes a kind, as
	// ReviewEnabled does everything.
	Kinds map[Kind]bool
}

// DefaultSettings returns the settings of a user who has never changed them.
func DefaultSettings() Settings { return Settings{ReviewEnabled: true} }

// Mutes reports whether notifications of kind k are muted.
func (s Settings) Mutes(k Kind) bool {
	on, chosen := s.Kinds[k]
	return !s.ReviewEnabled || chosen && !on
}

// SettingsChange is a change of a user's settings.
type SettingsChange struct {
	ReviewEnabled *bool          // nil: unchanged
	Kinds         map[Kind]*bool // only these are changed; a nil value removes the setting
}

// Apply returns s changed by c. It fails with an [*InvalidError] past MaxKinds.
func (c SettingsChange) Apply(s Settings) (Settings, error) {
	if c.ReviewEnabled != nil {
		s.ReviewEnabled = *c.ReviewEnabled
	}
	kinds := make(map[Kind]bool, len(s.Kinds)+len(c.Kinds))
	for k, on := range s.Kinds {
		kinds[k] = on
	}
	for k, on := range c.Kinds {
		if on == nil {
			delete(kinds, k)
		} else {
			kinds[k] = *on
		}
	}
	if len(kinds) > MaxKinds {
		var bad InvalidError
		bad.Add("body."+SettingKinds, fmt.Sprintf("would result in settings for more than %d kinds", MaxKinds))
		return s, &bad
	}
	s.Kinds = kinds
	return s, nil
}

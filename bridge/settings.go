package bridge

import "fmt"

// SettingReviewEnabled and SettingKinds are the JSON names of a user's settings.
const (
	SettingReviewEnabled = "is_review_enabled"
	SettingKinds         = "kinds"
)

// MaxKinds is how many kinds a user may have settings for.
const MaxKinds = 64

// Settings are one user's choices. The zero value is not the default: a user
// who never chose has [DefaultSettings].
type Settings struct {
	// ReviewEnabled false mutes: notifications are stored, but neither listed
	// nor delivered nor retained.
	ReviewEnabled bool
	// Kinds has the kinds that the user chose something for. false mutes a kind, as
	// ReviewEnabled does for all.
	Kinds map[Kind]bool
}

// DefaultSettings are those of a user who never chose.
func DefaultSettings() Settings { return Settings{ReviewEnabled: true} }

// Mutes reports whether notifications of kind k are muted.
func (s Settings) Mutes(k Kind) bool {
	on, chosen := s.Kinds[k]
	return !s.ReviewEnabled || chosen && !on
}

// SettingsChange is what a user chooses: what it leaves out stays.
type SettingsChange struct {
	ReviewEnabled *bool
	Kinds         map[Kind]*bool // nil: no choice any more
}

// Apply returns s with c. It fails with *InvalidError past MaxKinds.
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
